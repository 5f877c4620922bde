//! Filters of subscriptions: the dialects of the CloudEvents Subscriptions API over the attributes of the envelope
//! and the facets of the body.
//!
//! A facet is a set: a condition on it holds when it holds for any member. An attribute that a message does not have
//! matches nothing; `not` turns that around, as the dialect says.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::facets::{self, Facets};
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::tree::Node;

/// Attributes of the envelope that may be asked for.
pub const ATTRIBUTES: &[&str] = &[
    "id",
    "source",
    "type",
    "subject",
    "time",
    "recordedtime",
    "originator",
    "purpose",
    "dataclassification",
    "datacategory",
    "dataregulation",
    "tlp",
    "handling",
    "evaluation",
    "audience",
    "exclude",
    "expirytime",
    "eraseby",
    "reviewby",
    "correlationid",
    "causationid",
    "specversion",
    "datacontenttype",
    "dataschema",
    "traceparent",
];

/// Nesting allowed.
const DEEPEST: usize = 8;
/// Conditions allowed in one subscription.
const MOST: usize = 64;

/// One filter expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Every attribute has exactly this value.
    Exact(BTreeMap<String, String>),
    /// Every attribute begins so.
    Prefix(BTreeMap<String, String>),
    /// Every attribute ends so.
    Suffix(BTreeMap<String, String>),
    /// All of these.
    All(Vec<Filter>),
    /// Any of these.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

/// What filters look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The message; only its attributes are read here.
    pub event: Node<'a>,
    /// Its facets.
    pub facets: &'a Facets,
}

impl Subject<'_> {
    /// True if the attribute, or any member of the set, satisfies the condition.
    pub fn any(&self, name: &str, holds: impl Fn(&str) -> bool) -> bool {
        match self.facets.get(name) {
            Some(set) => set.iter().any(holds),
            None => self.event.at(name).as_str().is_some_and(holds),
        }
    }
}

impl Filter {
    /// Reads one expression; `path` is where it stands.
    ///
    /// # Errors
    /// `E-SCHEMA` with the place. A filter that cannot be read is never taken for one that matches.
    pub fn parse(value: &Value, path: &str) -> Result<Self, Refused> {
        let mut left = MOST;
        parse(value, path, 0, &mut left)
    }

    /// True if the message satisfies it.
    #[must_use]
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::Exact(map) => map.iter().all(|(name, want)| subject.any(name, |value| value == want)),
            Self::Prefix(map) => {
                map.iter().all(|(name, want)| subject.any(name, |value| value.starts_with(want)))
            }
            Self::Suffix(map) => {
                map.iter().all(|(name, want)| subject.any(name, |value| value.ends_with(want)))
            }
            Self::All(filters) => filters.iter().all(|filter| filter.matches(subject)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(subject)),
            Self::Not(filter) => !filter.matches(subject),
        }
    }
}

fn refuse(path: &str, message: &str) -> Refused {
    Refused::many(Code::Schema, vec![Fault { path: path.to_owned(), message: message.to_owned() }])
}

fn parse(value: &Value, path: &str, depth: usize, left: &mut usize) -> Result<Filter, Refused> {
    if depth > DEEPEST {
        return Err(refuse(path, "nested too deep"));
    }
    let (dialect, body) = match value.as_object().map(|members| (members.len(), members.iter().next())) {
        Some((1, Some(member))) => member,
        _ => return Err(refuse(path, "must be an object with exactly one dialect")),
    };
    let at = format!("{path}/{dialect}");
    let list = |left: &mut usize| -> Result<Vec<Filter>, Refused> {
        let items = body.as_array().filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| refuse(&at, "must be a list of at least one filter"))?;
        items
            .iter()
            .enumerate()
            .map(|(index, item)| parse(item, &format!("{at}/{index}"), depth + 1, left))
            .collect()
    };
    Ok(match dialect.as_str() {
        "exact" => Filter::Exact(conditions(body, &at, left)?),
        "prefix" => Filter::Prefix(conditions(body, &at, left)?),
        "suffix" => Filter::Suffix(conditions(body, &at, left)?),
        "all" => Filter::All(list(left)?),
        "any" => Filter::Any(list(left)?),
        "not" => Filter::Not(Box::new(parse(body, &at, depth + 1, left)?)),
        _ => return Err(refuse(path, "must use one of the dialects exact, prefix, suffix, all, any, not")),
    })
}

fn conditions(body: &Value, path: &str, left: &mut usize) -> Result<BTreeMap<String, String>, Refused> {
    let members = body.as_object().filter(|members| !members.is_empty());
    let members = members.ok_or_else(|| refuse(path, "must be an object of at least one attribute"))?;
    members
        .iter()
        .map(|(name, value)| {
            let at = format!("{path}/{name}");
            *left = left.checked_sub(1).ok_or_else(|| refuse(path, "too many conditions"))?;
            if !ATTRIBUTES.contains(&name.as_str()) && !facets::NAMES.contains(&name.as_str()) {
                return Err(refuse(&at, "is no attribute of the envelope and no facet"));
            }
            match value.as_str() {
                Some(text) if !text.is_empty() && text.len() <= 256 => Ok((name.clone(), text.to_owned())),
                _ => Err(refuse(&at, "must be a text of 1 to 256 bytes")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use serde_json::json;

    fn holds(filter: &Value) -> bool {
        let event = Tree::of(&json!({"type": "eu.ilonet.flow.route.v1", "originator": "it-moi"}));
        let data = Tree::of(&json!({"routes": ["CMED", "WMED"]}));
        let facets = Facets::of(Some("TN"), "urgent", data.root());
        let filter = Filter::parse(filter, "").expect("readable");
        filter.matches(Subject { event: event.root(), facets: &facets })
    }

    #[test]
    fn dialects_do_what_they_say() {
        for (filter, expected) in [
            (json!({"exact": {"type": "eu.ilonet.flow.route.v1"}}), true),
            (json!({"exact": {"type": "eu.ilonet.flow"}}), false),
            (json!({"prefix": {"type": "eu.ilonet.flow."}}), true),
            (json!({"suffix": {"type": ".v1"}}), true),
            (json!({"exact": {"route": "WMED"}}), true),
            (json!({"exact": {"route": "WMED", "country": "LY"}}), false),
            (json!({"any": [{"exact": {"country": "LY"}}, {"exact": {"priority": "urgent"}}]}), true),
            (
                json!({"all": [{"exact": {"country": "TN"}}, {"not": {"exact": {"originator": "it-moi"}}}]}),
                false,
            ),
            (json!({"exact": {"correlationid": "x"}}), false),
            (json!({"not": {"exact": {"correlationid": "x"}}}), true),
        ] {
            assert_eq!(holds(&filter), expected, "{filter}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let deep = (0..12).fold(json!({"exact": {"id": "x"}}), |inner, _| json!({ "not": inner }));
        for bad in [
            json!({}),
            json!([]),
            json!({"exact": {}}),
            json!({"exact": {"nosuch": "x"}}),
            json!({"exact": {"type": 1}}),
            json!({"exact": {"type": ""}}),
            json!({"sql": "x"}),
            json!({"any": []}),
            json!({"exact": {"type": "a"}, "prefix": {"type": "b"}}),
            deep,
        ] {
            assert!(Filter::parse(&bad, "").is_err(), "{bad}");
        }
    }
}
