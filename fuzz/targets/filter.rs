//! Filters and subscriptions: written and read again they are the same, `not` turns round, and no outline contradicts the full look.

use liaison::message::tree::Tree;
use liaison::rules::facets::Facets;
use liaison::rules::filter::{Filter, Subject};
use liaison::rules::query::{Outline, Query};
use liaison::rules::subscriptions::Subscription;
use serde_json::{Value, json};

use super::seen::MESSAGE;

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "{\"exact\":",
    "{\"prefix\":",
    "{\"suffix\":",
    "{\"all\":[",
    "{\"any\":[",
    "{\"not\":",
    "\"type\"",
    "\"country\"",
    "\"route\"",
    "\"subject\"",
    "\"originator\"",
    "\"it-moi\"",
    "\"TN\"",
    "\"eu.ilonet.\"",
    "\"name\":",
    "\"filters\":",
    "\"where\":",
    "}",
    "]",
    ",",
];

/// JSON: a filter, a list of filters, or a subscription.
pub fn run(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Ok(subscription) = Subscription::parse(&value) {
        let written = json!(subscription);
        let again = Subscription::parse(&written).expect("what was written is read");
        assert_eq!(json!(again), written, "written and read again it is the same");
    }
    let filters = match &value {
        Value::Array(items) => items.clone(),
        Value::Object(members) => match members.get("filters") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![value.clone()],
        },
        _ => vec![value.clone()],
    };
    for filter in &filters {
        one(filter);
    }
    outlined(&json!(filters), &MESSAGE);
}

fn one(value: &Value) {
    let Ok(filter) = Filter::parse(value, "") else { return };
    let written = json!(filter);
    assert_eq!(Filter::parse(&written, "").expect("what was written is read"), filter);
    let facets = Facets::of(Some("TN"), "routine", MESSAGE.root().at("data"));
    let subject = Subject { event: MESSAGE.root(), facets: &facets };
    let holds = filter.matches(subject);
    assert_ne!(Filter::Not(Box::new(filter)).matches(subject), holds, "not turns round");
}

/// What is known of the message without reading it never excludes what the full look would find.
fn outlined(filters: &Value, message: &Tree) {
    let Ok(query) = Query::parse(Some(filters), None) else { return };
    let facets = Facets::of(Some("TN"), "routine", message.root().at("data"));
    let holds = query.matches(Subject { event: message.root(), facets: &facets });
    let text = |name: &str| message.root().at(name).as_str().unwrap_or_default();
    let might = query.might(Outline::One {
        source: text("source"),
        id: text("id"),
        kind: "flow.observation",
        major: 1,
        originator: text("originator"),
        country: Some("TN"),
    });
    assert!(if holds { might.hold } else { might.fail }, "the outline contradicts the message");
}
