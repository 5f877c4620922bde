//! S-7: what must not contradict itself. Periods, counts with their range, shares, votes, years, references to persons.
//!
//! Bounds of single numbers are the schema's. Nothing here needs another message.

use std::collections::BTreeSet;

use super::places::{Faults, Path};
use crate::message::time;
use crate::message::tree::{Kind, Node};

/// Shares are sums of decimals: what rounding adds is no fault.
const ROUNDING: f64 = 1e-6;

/// Looks at one value of a body. `votes` is the number of votes in the steering board, Art. 7(2).
pub(super) fn visit(path: &Path<'_>, value: Node<'_>, votes: u64, faults: &mut Faults) {
    match value.kind() {
        Kind::Object => {
            count(path, value, faults);
            order(path, value, faults);
            if path.name() == Some("votes") {
                ballot(path, value, votes, faults);
            }
        }
        Kind::List => {
            if value.items().next().is_some_and(Node::is_object) {
                shares(path, value, faults);
            }
            match path.name() {
                Some("composition") => twice(path, value, "/nationality", faults),
                Some("persons") => {
                    twice(path, value, "/personRef", faults);
                    twice(path, value, "/person/personRef", faults);
                }
                Some("years") => years(path, value, faults),
                _ => {}
            }
        }
        _ => {}
    }
}

/// min <= value <= max.
fn count(path: &Path<'_>, members: Node<'_>, faults: &mut Faults) {
    if members.get("basis").is_none() {
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

fn number(members: Node<'_>, name: &str) -> Option<f64> {
    members.get(name)?.as_f64()
}

/// from <= to for instants, from <= until for days.
fn order(path: &Path<'_>, members: Node<'_>, faults: &mut Faults) {
    let text = |name: &str| members.at(name).as_str();
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

fn ballot(path: &Path<'_>, members: Node<'_>, votes: u64, faults: &mut Faults) {
    let cast: f64 = ["for", "against", "abstain"].iter().filter_map(|name| number(members, name)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a board has few votes")]
    if cast > votes as f64 {
        faults.add(|| path.pointer(), "has more votes than the board");
    }
}

/// The shares of one list add up to at most the whole.
fn shares(path: &Path<'_>, list: Node<'_>, faults: &mut Faults) {
    let sum: f64 = list.items().filter_map(|item| item.get("share")?.as_f64()).sum();
    if sum > 1.0 + ROUNDING {
        faults.add(|| path.pointer(), "has shares that add up to more than 1");
    }
}

/// The same text at `below` in two items.
fn twice(path: &Path<'_>, list: Node<'_>, below: &str, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (at, item) in list.items().enumerate() {
        if item.pointer(below).and_then(Node::as_str).is_some_and(|text| !seen.insert(text)) {
            faults.add(|| path.below(&format!("/{at}{below}")), "is given twice");
        }
    }
}

/// A programme and a report span two consecutive years, Art. 8(2)(a).
fn years(path: &Path<'_>, list: Node<'_>, faults: &mut Faults) {
    let mut years = list.items();
    if let (Some(first), Some(second), None) = (years.next(), years.next(), years.next())
        && let (Some(first), Some(second)) = (first.as_f64(), second.as_f64())
        && (second - first - 1.0).abs() > f64::EPSILON
    {
        faults.add(|| path.pointer(), "must be two consecutive years");
    }
}
