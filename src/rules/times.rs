//! The rules of time: S-6 (order and clock), S-9 (deadlines after recording), lateness.
//!
//! It reads no clock: `now` comes in. What makes a text an instant is the schema's word and `message::time`'s.

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::places::{Faults, Path};
use crate::message::envelope::Envelope;
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::time::{self, Timestamp};
use crate::message::tree::Node;

/// How far ahead of the broker's clock a sender's may be (S-6).
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// After this an observation is flagged late (S-6).
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Implementing Regulation (EU) 2021/581, Art. 9(3): an event is reported within 24 hours.
const EVENT_CLOCK: SignedDuration = SignedDuration::from_hours(24);

/// Members of bodies that are instants.
pub(super) const INSTANTS: [&str; 8] =
    ["from", "to", "dueBy", "knownSince", "scheduled", "asOf", "lastMessage", "at"];

/// S-6: `time` at or before `recordedtime`, and that at most five minutes ahead of the broker.
pub(super) fn clock(envelope: &Envelope, now: Timestamp) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if envelope.time > envelope.recorded {
        faults.add(|| "/time".to_owned(), "is later than recordedtime");
    }
    if envelope.recorded.duration_since(now) > AHEAD {
        faults.add(|| "/recordedtime".to_owned(), "is more than 5 minutes ahead of the broker's clock");
    }
    faults.refuse(Code::Time)
}

/// Why a message is late, if it is. It is accepted all the same.
pub(super) fn late(envelope: &Envelope, data: Node<'_>, now: Timestamp) -> Vec<Fault> {
    let mut remarks = Vec::new();
    let mut remark = |path: &str, message: &str| {
        remarks.push(Fault { path: path.to_owned(), message: message.to_owned() });
    };
    if now.duration_since(envelope.time) > LATE {
        remark("/time", "late: observed more than 7 days ago");
    }
    if envelope.kind.as_str() == "event.incident"
        && let Some(known) = data.at("knownSince").as_str().and_then(time::parse)
        && envelope.recorded.duration_since(known) > EVENT_CLOCK
    {
        remark("/data/knownSince", "late: recorded more than 24 hours after it was known");
    }
    remarks
}

/// An instant that the schema takes and no calendar has: a leap second (`docs/DOMAIN.md`, times).
pub(super) fn visit(path: &Path<'_>, text: &str, faults: &mut Faults) {
    let looks_like_one = text.len() >= 20 && text.as_bytes()[10] == b'T';
    if looks_like_one
        && path.name().is_some_and(|name| INSTANTS.contains(&name))
        && time::parse(text).is_none()
    {
        faults.add(|| path.pointer(), "is no instant; leap seconds are not taken");
    }
}

/// S-9: `expirytime`, `eraseby`, `reviewby` and the body's `dueBy` lie after `recordedtime`. A `dueBy` that is a day
/// is over when the day is. The activities of a programme keep their dates: a later version lists what is past.
pub(super) fn deadlines(envelope: &Envelope, data: Node<'_>, prefix: &str) -> Result<(), Refused> {
    let mut faults = Faults::default();
    let attributes = [
        ("/expirytime", envelope.expiry),
        ("/eraseby", envelope.erase_by),
        ("/reviewby", envelope.review_by),
    ];
    for (path, at) in attributes {
        if at.is_some_and(|at| at <= envelope.recorded) {
            faults.add(|| path.to_owned(), "is not after recordedtime");
        }
    }
    if data.at("dueBy").as_str().is_some_and(|due| is_past(due, envelope.recorded)) {
        faults.add(|| format!("{prefix}/dueBy"), "is not after recordedtime");
    }
    faults.refuse(Code::Time)
}

fn is_past(due: &str, recorded: Timestamp) -> bool {
    match (time::parse(due), due.parse::<Date>()) {
        (Some(at), _) => at <= recorded,
        (None, Ok(day)) => day < day_of(recorded),
        (None, Err(_)) => false,
    }
}

/// The day in UTC.
pub(super) fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}
