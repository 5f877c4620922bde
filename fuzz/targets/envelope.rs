//! The envelope: what was read from a message, written out and read again is the same.

use liaison::message::envelope::{Envelope, TYPE_PREFIX};
use liaison::message::time::rfc3339;
use liaison::message::tree::Tree;
use serde_json::{Value, json};

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "\"id\":",
    "\"source\":",
    "\"/authority/it-moi/post/tn-01\"",
    "\"/broker/x\"",
    "\"type\":",
    "\"eu.ilonet.flow.route.v1\"",
    ".v01",
    ".v+1",
    "\"time\":",
    "\"2026-03-02T10:00:00Z\"",
    "\"2026-02-30T10:00:00Z\"",
    "\"9999-12-31T23:59:59.999999999-23:59\"",
    "\"audience\":",
    "@ms,",
    ",,",
    "\"exclude\":",
    "\"originator\":",
    "\"eraseby\":",
    "\"tlp\":",
    "\"priority\":",
    "/post/",
    "{",
    "}",
    ":",
    ",",
    "\"",
];

/// A message, of which nothing was asked before.
pub fn run(bytes: &[u8]) {
    let Some(tree) = Tree::lenient(bytes) else { return };
    if let Ok(envelope) = Envelope::read(tree.root()) {
        comes_back(&envelope);
    }
}

/// Written and read again it says the same.
pub fn comes_back(envelope: &Envelope) {
    let written = write(envelope);
    let again = Tree::of(&written);
    let again = Envelope::read(again.root()).expect("what was written is read");
    assert_eq!(write(&again), written, "written and read again it is the same");
}

fn write(envelope: &Envelope) -> Value {
    let Envelope { kind, major, .. } = envelope;
    let mut value = json!({
        "id": envelope.id.as_str(),
        "source": envelope.source_text,
        "type": format!("{TYPE_PREFIX}{kind}.v{major}"),
        "time": rfc3339(envelope.time),
        "recordedtime": rfc3339(envelope.recorded),
        "originator": envelope.originator.as_str(),
        "purpose": envelope.purpose,
        "dataclassification": envelope.classification,
        "datacategory": envelope.category,
        "tlp": envelope.tlp,
        "audience": envelope.audience.join(","),
        "priority": envelope.priority,
    });
    if !envelope.exclude.is_empty() {
        let names: Vec<&str> = envelope.exclude.iter().map(|party| party.as_str()).collect();
        value["exclude"] = names.join(",").into();
    }
    if let Some(country) = &envelope.country {
        value["subject"] = country.as_str().into();
    }
    for (name, there) in [("handling", envelope.has_handling), ("evaluation", envelope.has_evaluation)] {
        if there {
            value[name] = "x".into();
        }
    }
    let times =
        [("expirytime", envelope.expiry), ("eraseby", envelope.erase_by), ("reviewby", envelope.review_by)];
    for (name, at) in times {
        if let Some(at) = at {
            value[name] = rfc3339(at).into();
        }
    }
    value
}
