//! A question over messages: filters, all of which must hold, and a CEL condition. Subscriptions and replays ask so.
//!
//! It can also be asked of an outline, which is what is known of messages without reading them: then the answer may be
//! "perhaps". What an outline excludes, the full look would exclude too; so a reader may skip by it.

use std::sync::Arc;

use serde_json::Value;

use super::cel::Where;
use super::filter::{Filter, Subject};
use crate::message::envelope::{TYPE_PREFIX, split_type};
use crate::message::outcome::{Code, Refused};

/// Filters allowed in one question.
const MOST: usize = 32;

/// The question.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub(super) filters: Vec<Filter>,
    pub(super) condition: Option<Arc<Where>>,
}

/// What is known of messages without reading them.
#[derive(Debug, Clone, Copy)]
pub enum Outline<'a> {
    /// Of many: what occurs among them.
    Many {
        /// Type ids.
        kinds: &'a [&'a str],
        /// Originators.
        originators: &'a [&'a str],
        /// Values of `subject`.
        countries: &'a [&'a str],
    },
    /// Of one.
    One {
        /// `source`.
        source: &'a str,
        /// `id`.
        id: &'a str,
        /// Type id.
        kind: &'a str,
        /// Major version of the type.
        major: u32,
        /// `originator`.
        originator: &'a str,
        /// `subject`.
        country: Option<&'a str>,
    },
}

/// What an outline says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Might {
    /// False if no message of the outline matches.
    pub hold: bool,
    /// False if every message of the outline matches.
    pub fail: bool,
}

impl Might {
    const UNKNOWN: Self = Self { hold: true, fail: true };

    fn decided(holds: bool) -> Self {
        Self { hold: holds, fail: !holds }
    }

    fn all(parts: impl Iterator<Item = Self>) -> Self {
        parts.fold(Self::decided(true), |so_far, part| Self {
            hold: so_far.hold && part.hold,
            fail: so_far.fail || part.fail,
        })
    }

    fn not(self) -> Self {
        Self { hold: self.fail, fail: self.hold }
    }
}

#[derive(Clone, Copy)]
enum Op {
    Exact,
    Prefix,
    Suffix,
}

impl Op {
    fn holds(self, value: &str, want: &str) -> bool {
        match self {
            Self::Exact => value == want,
            Self::Prefix => value.starts_with(want),
            Self::Suffix => value.ends_with(want),
        }
    }
}

impl Query {
    /// Reads the members `filters` and `where`, either of which may be absent.
    ///
    /// # Errors
    /// `E-SCHEMA` with the place. What cannot be read never turns into "everything".
    pub fn parse(filters: Option<&Value>, condition: Option<&Value>) -> Result<Self, Refused> {
        let refuse = |path: &str, words: &str| Refused::new(Code::Schema, path, words);
        let filters = match filters {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= MOST => items
                .iter()
                .enumerate()
                .map(|(at, item)| Filter::parse(item, &format!("/filters/{at}")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(refuse("/filters", "must be a list of at most 32 filters")),
        };
        let condition = match condition {
            None => None,
            Some(Value::String(text)) => Some(Arc::new(Where::parse(text)?)),
            Some(_) => return Err(refuse("/where", "must be a CEL expression")),
        };
        Ok(Self { filters, condition })
    }

    /// True if it asks nothing: every message matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.condition.is_none()
    }

    /// True if the message matches.
    #[must_use]
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        self.filters.iter().all(|filter| filter.matches(subject))
            && self.condition.as_ref().is_none_or(|condition| condition.holds(subject.event))
    }

    /// What can be said of the messages of an outline.
    #[must_use]
    pub fn might(&self, outline: Outline<'_>) -> Might {
        let of_filters = self.filters.iter().map(|filter| might(filter, outline));
        let of_condition = self.condition.iter().map(|condition| match condition.anchor() {
            Some((name, value)) => Might { fail: true, ..ask(outline, name, Op::Exact, value) },
            None => Might::UNKNOWN,
        });
        Might::all(of_filters.chain(of_condition))
    }
}

fn might(filter: &Filter, outline: Outline<'_>) -> Might {
    match filter {
        Filter::Exact(map) => Might::all(map.iter().map(|(name, want)| ask(outline, name, Op::Exact, want))),
        Filter::Prefix(map) => {
            Might::all(map.iter().map(|(name, want)| ask(outline, name, Op::Prefix, want)))
        }
        Filter::Suffix(map) => {
            Might::all(map.iter().map(|(name, want)| ask(outline, name, Op::Suffix, want)))
        }
        Filter::All(filters) => Might::all(filters.iter().map(|filter| might(filter, outline))),
        // Any of them: not all of their opposites.
        Filter::Any(filters) => Might::all(filters.iter().map(|filter| might(filter, outline).not())).not(),
        Filter::Not(filter) => might(filter, outline).not(),
    }
}

fn ask(outline: Outline<'_>, name: &str, op: Op, want: &str) -> Might {
    match outline {
        Outline::Many { kinds, originators, countries } => {
            let hold = match name {
                "type" => kind_among(kinds, op, want),
                "originator" => originators.iter().any(|party| op.holds(party, want)),
                "subject" => countries.iter().any(|country| op.holds(country, want)),
                _ => true,
            };
            // A message may lack the attribute, and the sets do not say which one has what.
            Might { hold, fail: true }
        }
        Outline::One { source, id, kind, major, originator, country } => match name {
            "source" => Might::decided(op.holds(source, want)),
            "id" => Might::decided(op.holds(id, want)),
            "originator" => Might::decided(op.holds(originator, want)),
            "type" => Might::decided(op.holds(&format!("{TYPE_PREFIX}{kind}.v{major}"), want)),
            "subject" => Might::decided(country.is_some_and(|country| op.holds(country, want))),
            // The set of countries holds the subject, and more from the body.
            "country" if country.is_some_and(|country| op.holds(country, want)) => Might::decided(true),
            _ => Might::UNKNOWN,
        },
    }
}

/// Type ids have no version; a condition on `type` has.
fn kind_among(kinds: &[&str], op: Op, want: &str) -> bool {
    match op {
        Op::Exact => split_type(want).is_some_and(|(kind, _)| kinds.contains(&kind.as_str())),
        Op::Prefix => kinds.iter().any(|kind| {
            let whole = format!("{TYPE_PREFIX}{kind}.v");
            whole.starts_with(want) || want.starts_with(&whole)
        }),
        Op::Suffix => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use crate::rules::facets::Facets;
    use proptest::prelude::*;
    use serde_json::json;

    fn leaf() -> impl Strategy<Value = Value> {
        let asked = vec![
            ("country", "TN"),
            ("country", "LY"),
            ("country", "L"),
            ("subject", "TN"),
            ("subject", "Y"),
            ("type", "eu.ilonet.flow.route.v1"),
            ("type", "eu.ilonet.flow"),
            ("type", ".v2"),
            ("originator", "it-moi"),
            ("originator", "de"),
            ("id", "1"),
            ("priority", "urgent"),
        ];
        let dialect = prop::sample::select(vec!["exact", "prefix", "suffix"]);
        (dialect, prop::sample::select(asked))
            .prop_map(|(dialect, (name, value))| json!({ dialect: { name: value } }))
    }

    fn filter() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "all": list })),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "any": list })),
                inner.prop_map(|one| json!({ "not": one })),
            ]
        })
    }

    fn condition() -> impl Strategy<Value = Option<&'static str>> {
        prop::sample::select(vec![
            None,
            Some("event.originator == 'it-moi'"),
            Some("event.type == 'eu.ilonet.flow.route.v1' && 'CMED' in data.routes"),
            Some("has(data.routes)"),
        ])
    }

    #[derive(Debug, Clone)]
    struct Message {
        kind: &'static str,
        major: u32,
        originator: &'static str,
        country: Option<&'static str>,
        routes: Option<Vec<&'static str>>,
    }

    impl Message {
        fn event(&self) -> Value {
            let mut event = json!({
                "type": format!("{TYPE_PREFIX}{}.v{}", self.kind, self.major),
                "source": "/authority/x", "id": "1", "originator": self.originator, "data": {},
            });
            if let Some(country) = self.country {
                event["subject"] = country.into();
            }
            if let Some(routes) = &self.routes {
                event["data"] = json!({ "routes": routes, "countries": ["LY"] });
            }
            event
        }

        fn outline(&self) -> Outline<'_> {
            let Self { kind, major, originator, country, .. } = *self;
            Outline::One { source: "/authority/x", id: "1", kind, major, originator, country }
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        (
            prop::sample::select(vec!["flow.route", "event.incident"]),
            1_u32..3,
            prop::sample::select(vec!["it-moi", "de-bpol"]),
            prop::sample::select(vec![None, Some("TN"), Some("LY")]),
            prop::sample::select(vec![None, Some(vec!["CMED"]), Some(vec![])]),
        )
            .prop_map(|(kind, major, originator, country, routes)| Message {
                kind,
                major,
                originator,
                country,
                routes,
            })
    }

    proptest! {
        /// An outline never contradicts the full look: not that of one message, and not that of a block.
        #[test]
        fn outlines_are_never_wrong(
            filters in prop::collection::vec(filter(), 0..3),
            condition in condition(),
            messages in prop::collection::vec(message(), 1..5),
        ) {
            let condition = condition.map(Value::from);
            let query = Query::parse(Some(&json!(filters)), condition.as_ref()).expect("readable");
            let mut all = Vec::new();
            for message in &messages {
                let event = Tree::of(&message.event());
                let facets = Facets::of(message.country, "routine", event.root().at("data"));
                let matches = query.matches(Subject { event: event.root(), facets: &facets });
                let might = query.might(message.outline());
                prop_assert!(if matches { might.hold } else { might.fail }, "{message:?}");
                all.push(matches);
            }
            let kinds: Vec<&str> = messages.iter().map(|message| message.kind).collect();
            let originators: Vec<&str> = messages.iter().map(|message| message.originator).collect();
            let countries: Vec<&str> = messages.iter().filter_map(|message| message.country).collect();
            let block = Outline::Many { kinds: &kinds, originators: &originators, countries: &countries };
            let might = query.might(block);
            prop_assert!(!all.contains(&true) || might.hold);
            prop_assert!(!all.contains(&false) || might.fail);
        }
    }

    #[test]
    fn outlines_exclude_what_they_can() {
        let block = Outline::Many { kinds: &["flow.route"], originators: &["it-moi"], countries: &["TN"] };
        for (filter, hold) in [
            (json!({"exact": {"subject": "TN"}}), true),
            (json!({"exact": {"subject": "LY"}}), false),
            (json!({"exact": {"type": "eu.ilonet.flow.route.v2"}}), true),
            (json!({"exact": {"type": "eu.ilonet.flow.observation.v1"}}), false),
            (json!({"prefix": {"type": "eu.ilonet.event."}}), false),
            (json!({"any": [{"exact": {"subject": "LY"}}, {"exact": {"originator": "it-moi"}}]}), true),
            (json!({"any": [{"exact": {"subject": "LY"}}, {"exact": {"originator": "de-bpol"}}]}), false),
            (json!({"not": {"exact": {"subject": "TN"}}}), true),
        ] {
            let query = Query::parse(Some(&json!([filter])), None).expect("readable");
            assert_eq!(query.might(block).hold, hold, "{filter}");
        }
        let text = Value::from("event.subject == 'LY' && data.count > 3");
        assert!(!Query::parse(None, Some(&text)).expect("readable").might(block).hold);
    }
}
