//! Messages for the tests: the example files, moved to now, and a report that is valid whenever it is made.

use std::path::Path;

use serde_json::Value;

/// The clock of the examples.
pub const CLOCK: &str = "2026-03-02T10:00:00Z";

/// An example file.
pub fn example(path: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(path);
    serde_json::from_slice(
        &std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
    )
    .expect("JSON")
}

/// A message with every time and day moved by what the examples' clock lies back.
pub fn shifted(mut value: Value) -> Value {
    let clock: jiff::Timestamp = CLOCK.parse().expect("a time");
    shift(&mut value, jiff::Timestamp::now().duration_since(clock));
    value
}

fn shift(value: &mut Value, by: jiff::SignedDuration) {
    match value {
        Value::String(text) if text.len() >= 20 && text.as_bytes()[10] == b'T' => {
            if let Ok(at) = text.parse::<jiff::Timestamp>() {
                *text = format!("{:.3}", at.checked_add(by).expect("in range"));
            }
        }
        // A day has no hours to move by: whole days, so that it does not come to lie behind the times around it.
        Value::String(text) if text.len() == 10 => {
            if let Ok(day) = text.parse::<jiff::civil::Date>() {
                let days = jiff::Span::new().days(by.as_secs().div_euclid(86_400));
                *text = day.checked_add(days).expect("in range").to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(members) => members.values_mut().for_each(|member| shift(member, by)),
        _ => {}
    }
}

/// A valid report of `it-moi` / `tn-01` with a fresh id.
pub fn report() -> Value {
    let mut message = shifted(example("valid/01-flow-observation-mixed.json")["message"].clone());
    message["id"] = fresh_id().into();
    message
}

/// The subject on which [`report`] is published.
pub const REPORT_SUBJECT: &str = "ilo.in.it-moi.tn-01.net.flow.observation.tn";

pub fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
