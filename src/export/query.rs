//! The query of analysts, operators and supervisors: which records of an archive, or messages of a feed, are meant.
//!
//! It has two parts. The head is decided from what is kept beside a message, without opening it; only where the head
//! says so is the body read. In a replay the broker decides, so the same query can be said as subscription filters.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::archive::{Plane, Record};
use crate::message::envelope::{TYPE_PREFIX, split_type};
use crate::message::names::{MessageId, PartyId, TypeId};
use crate::message::outcome::{Outcome, Refused};
use crate::message::subject::Publish;
use crate::message::time::{Timestamp, rfc3339};
use crate::message::tree::Tree;
use crate::rules::facets::Facets;
use crate::rules::filter::Subject;
use crate::rules::query::{Might, Outline, Query as Question};

/// A type or several: `flow.observation`, `eu.ilonet.flow.observation.v1`, or with a star at the end `flow.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    dialect: &'static str,
    condition: String,
}

impl Pattern {
    fn matches(&self, kind: &str) -> bool {
        match self.dialect {
            "exact" => kind == self.condition,
            _ => kind.starts_with(&self.condition),
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is a type id (flow.observation), a whole type (eu.ilonet.flow.observation.v1) or one with a star \
                     at the end (flow.*)";
        let short = text.strip_prefix(TYPE_PREFIX).unwrap_or(text);
        let (dialect, condition) = if let Some(beginning) = short.strip_suffix('*') {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            if !beginning.chars().all(fits) {
                return Err(wrong);
            }
            ("prefix", format!("{TYPE_PREFIX}{beginning}"))
        } else if split_type(&format!("{TYPE_PREFIX}{short}")).is_some() {
            ("exact", format!("{TYPE_PREFIX}{short}"))
        } else {
            let kind = TypeId::parse(short).map_err(|_| wrong)?;
            ("prefix", format!("{TYPE_PREFIX}{kind}.v"))
        };
        Ok(Self { text: text.to_owned(), dialect, condition })
    }
}

/// An ISO 3166-1 alpha-2 code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country(String);

impl std::str::FromStr for Country {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        if fits { Ok(Self(text.to_ascii_uppercase())) } else { Err("is a code of two letters, such as TN") }
    }
}

/// What is asked. A list that is empty asks for nothing; of a list that is not, one member must match.
#[derive(Debug, Default)]
pub struct Query {
    /// Archived at or after.
    pub from: Option<Timestamp>,
    /// Archived before.
    pub to: Option<Timestamp>,
    /// With a sequence above this.
    pub after: Option<u64>,
    /// Types.
    pub kinds: Vec<Pattern>,
    /// Countries that the message names, as its subject or anywhere in the body outside descriptions of persons.
    pub countries: Vec<Country>,
    /// Originators.
    pub originators: Vec<PartyId>,
    /// `source`, whole.
    pub sources: Vec<String>,
    /// `id`.
    pub ids: Vec<MessageId>,
    /// Planes.
    pub planes: Vec<Plane>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// At most so many.
    pub limit: Option<u64>,
    filters: Vec<Value>,
    condition: Option<String>,
    question: Question,
}

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Not meant.
    No,
    /// Meant.
    Yes,
    /// The body decides.
    Body,
}

impl Query {
    /// Takes filters of the subscription dialects and a CEL expression, both as `sub.put` takes them.
    ///
    /// # Errors
    /// `E-SCHEMA` with the place; a filter that cannot be read never matches everything.
    pub fn with_body(mut self, filters: Vec<Value>, condition: Option<String>) -> Result<Self, Refused> {
        let text = condition.as_deref().map(Value::from);
        self.question = Question::parse(Some(&json!(filters)), text.as_ref())?;
        (self.filters, self.condition) = (filters, condition);
        Ok(self)
    }

    /// What can be told without opening the message.
    #[must_use]
    pub fn head(&self, record: &Record) -> Head {
        if self.is_out_of_range(record) || !self.head_matches(record) {
            return Head::No;
        }
        let summary = record.summary.as_ref();
        let might = match summary {
            Some(summary) => self.question.might(Outline::One {
                source: &summary.source,
                id: summary.id.as_str(),
                kind: summary.kind.as_str(),
                major: summary.major,
                originator: summary.originator.as_str(),
                country: summary.country.as_deref(),
            }),
            None => Might { hold: true, fail: !self.filters.is_empty() || self.condition.is_some() },
        };
        let named =
            self.countries.is_empty() || self.names(summary.and_then(|summary| summary.country.as_deref()));
        match might {
            Might { hold: false, .. } => Head::No,
            Might { fail: false, .. } if named => Head::Yes,
            _ => Head::Body,
        }
    }

    fn is_out_of_range(&self, record: &Record) -> bool {
        self.after.is_some_and(|after| record.seq <= after)
            || self.from.is_some_and(|from| record.archived_ms < from.as_millisecond())
            || self.to.is_some_and(|to| record.archived_ms >= to.as_millisecond())
    }

    fn head_matches(&self, record: &Record) -> bool {
        let summary = record.summary.as_ref();
        let target = record.target.as_ref();
        // What is known of a refused message is what it was published as.
        let published = || Publish::parse(&record.subject);
        let kind = || match summary {
            Some(summary) => format!("{TYPE_PREFIX}{}.v{}", summary.kind, summary.major),
            None => published().map_or_else(String::new, |subject| {
                format!("{TYPE_PREFIX}{}.{}.v1", subject.family, subject.kind)
            }),
        };
        let plane = || match summary {
            Some(summary) => Some(summary.plane),
            None => published().and_then(|subject| Plane::parse(subject.plane)),
        };
        let source = || summary.map(|summary| &summary.source).or(target.map(|target| &target.source));
        let id = || summary.map(|summary| &summary.id).or(target.and_then(|target| target.id.as_ref()));
        let originator = || summary.map_or(&record.party, |summary| &summary.originator);
        let any = |empty: bool, holds: &dyn Fn() -> bool| empty || holds();
        any(self.outcomes.is_empty(), &|| self.outcomes.contains(&record.outcome))
            && any(self.originators.is_empty(), &|| self.originators.contains(originator()))
            && any(self.sources.is_empty(), &|| source().is_some_and(|source| self.sources.contains(source)))
            && any(self.ids.is_empty(), &|| id().is_some_and(|id| self.ids.contains(id)))
            && any(self.planes.is_empty(), &|| plane().is_some_and(|plane| self.planes.contains(&plane)))
            && any(self.kinds.is_empty(), &|| {
                let kind = kind();
                self.kinds.iter().any(|pattern| pattern.matches(&kind))
            })
    }

    fn names(&self, country: Option<&str>) -> bool {
        self.countries.iter().any(|wanted| Some(wanted.0.as_str()) == country)
    }

    /// What the body says, of a record whose head says [`Head::Body`].
    #[must_use]
    pub fn body(&self, payload: &[u8]) -> bool {
        if !self.countries.is_empty() && !self.may_name(payload) {
            return false;
        }
        let Some(tree) = Tree::lenient(payload) else { return false };
        let event = tree.root();
        let text = |name: &str| event.at(name).as_str();
        let facets = Facets::of(text("subject"), text("priority").unwrap_or("routine"), event.at("data"));
        let named = self.countries.is_empty()
            || facets
                .get("country")
                .is_some_and(|set| self.countries.iter().any(|wanted| set.contains(&wanted.0)));
        let subject = Subject { event, facets: &facets };
        named && self.question.matches(subject)
    }

    /// A look at the bytes that saves reading most messages: a code that stands nowhere in them is not named. An escape
    /// may hide letters; then only reading tells.
    fn may_name(&self, payload: &[u8]) -> bool {
        let quoted = |code: &[u8]| {
            payload.windows(4).any(|part| part[0] == b'"' && part[3] == b'"' && part[1..3] == *code)
        };
        self.countries.iter().any(|wanted| quoted(wanted.0.as_bytes()))
            || payload.windows(2).any(|part| part == b"\\u")
    }

    /// The same as filters of the subscription dialects, for a broker to decide by: types, countries, originators, sources
    /// and ids become filters beside those that were given.
    #[must_use]
    pub fn to_filters(&self) -> Vec<Value> {
        let exact = |name: &str, values: Vec<&str>| -> Option<Value> {
            let all: Vec<Value> = values.iter().map(|value| json!({ "exact": { name: value } })).collect();
            any_of(all)
        };
        let kinds =
            self.kinds.iter().map(|kind| json!({ kind.dialect: { "type": kind.condition } })).collect();
        let flags = [
            any_of(kinds),
            exact("country", self.countries.iter().map(|country| country.0.as_str()).collect()),
            exact("originator", self.originators.iter().map(PartyId::as_str).collect()),
            exact("source", self.sources.iter().map(String::as_str).collect()),
            exact("id", self.ids.iter().map(MessageId::as_str).collect()),
        ];
        flags.into_iter().flatten().chain(self.filters.iter().cloned()).collect()
    }

    /// The CEL expression.
    #[must_use]
    pub fn condition(&self) -> Option<&str> {
        self.condition.as_deref()
    }

    /// What was asked, for the manifest.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut one =
            |name: &str, value: Option<Value>| members.extend(value.map(|value| (name.to_owned(), value)));
        one("from", self.from.map(|at| rfc3339(at).into()));
        one("to", self.to.map(|at| rfc3339(at).into()));
        one("after", self.after.map(Value::from));
        one("limit", self.limit.map(Value::from));
        one("where", self.condition.clone().map(Value::from));
        let list = |values: Vec<&str>| (!values.is_empty()).then(|| json!(values));
        one("type", list(self.kinds.iter().map(|kind| kind.text.as_str()).collect()));
        one("country", list(self.countries.iter().map(|country| country.0.as_str()).collect()));
        one("originator", list(self.originators.iter().map(PartyId::as_str).collect()));
        one("source", list(self.sources.iter().map(String::as_str).collect()));
        one("id", list(self.ids.iter().map(MessageId::as_str).collect()));
        one("plane", list(self.planes.iter().map(|plane| plane.as_str()).collect()));
        one("outcome", list(self.outcomes.iter().map(|outcome| outcome.as_str()).collect()));
        one("filters", (!self.filters.is_empty()).then(|| json!(self.filters)));
        Value::Object(members)
    }
}

/// One of these; a single one needs no `any`.
fn any_of(mut filters: Vec<Value>) -> Option<Value> {
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(json!({ "any": filters })),
    }
}
