//! S-7: what must not contradict itself. Periods, counts with their range, shares, votes, years, references to persons.
//!
//! Bounds of single numbers are the schema's. Nothing here needs another message.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::places::{Faults, Path};
use crate::message::time;

/// Shares are sums of decimals: what rounding adds is no fault.
const ROUNDING: f64 = 1e-6;

/// Looks at one value of a body. `votes` is the number of votes in the steering board, Art. 7(2).
pub(super) fn visit(path: &Path<'_>, value: &Value, votes: u64, faults: &mut Faults) {
    match value {
        Value::Object(members) => {
            count(path, members, faults);
            order(path, members, faults);
            if path.name() == Some("votes") {
                ballot(path, members, votes, faults);
            }
        }
        Value::Array(items) => {
            if items.first().is_some_and(Value::is_object) {
                shares(path, items, faults);
            }
            match path.name() {
                Some("composition") => twice(path, items, "/nationality", faults),
                Some("persons") => {
                    twice(path, items, "/personRef", faults);
                    twice(path, items, "/person/personRef", faults);
                }
                Some("years") => years(path, items, faults),
                _ => {}
            }
        }
        _ => {}
    }
}

/// min <= value <= max.
fn count(path: &Path<'_>, members: &Map<String, Value>, faults: &mut Faults) {
    if !members.contains_key("basis") {
        return;
    }
    let Some(value) = number(members, "value") else { return };
    if number(members, "min").is_some_and(|min| min > value) {
        faults.add(|| path.below("/min"), "is above value");
    }
    if number(members, "max").is_some_and(|max| max < value) {
        faults.add(|| path.below("/max"), "is below value");
    }
}

fn number(members: &Map<String, Value>, name: &str) -> Option<f64> {
    members.get(name)?.as_f64()
}

/// from <= to for instants, from <= until for days.
fn order(path: &Path<'_>, members: &Map<String, Value>, faults: &mut Faults) {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let Some(from) = text("from") else { return };
    let reversed = text("to").and_then(|to| Some(time::parse(from)? > time::parse(to)?));
    if reversed == Some(true) {
        faults.add(|| path.below("/to"), "is before from");
    }
    // Days are written so that the order of texts is the order of days.
    if text("until").is_some_and(|until| until < from) {
        faults.add(|| path.below("/until"), "is before from");
    }
}

fn ballot(path: &Path<'_>, members: &Map<String, Value>, votes: u64, faults: &mut Faults) {
    let cast: f64 = ["for", "against", "abstain"].iter().filter_map(|name| number(members, name)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a board has few votes")]
    if cast > votes as f64 {
        faults.add(|| path.pointer(), "has more votes than the board");
    }
}

/// The shares of one list add up to at most the whole.
fn shares(path: &Path<'_>, items: &[Value], faults: &mut Faults) {
    let sum: f64 = items.iter().filter_map(|item| item.get("share")?.as_f64()).sum();
    if sum > 1.0 + ROUNDING {
        faults.add(|| path.pointer(), "has shares that add up to more than 1");
    }
}

/// The same text at `below` in two items.
fn twice(path: &Path<'_>, items: &[Value], below: &str, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        if item.pointer(below).and_then(Value::as_str).is_some_and(|text| !seen.insert(text)) {
            faults.add(|| path.below(&format!("/{at}{below}")), "is given twice");
        }
    }
}

/// A programme and a report span two consecutive years, Art. 8(2)(a).
fn years(path: &Path<'_>, items: &[Value], faults: &mut Faults) {
    if let [first, second] = items
        && let (Some(first), Some(second)) = (first.as_f64(), second.as_f64())
        && (second - first - 1.0).abs() > f64::EPSILON
    {
        faults.add(|| path.pointer(), "must be two consecutive years");
    }
}
