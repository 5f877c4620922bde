//! What the broker says by itself: that a message was withdrawn before it was delivered, that its content is to be
//! erased, that it is time to look at it again.
//!
//! Receipts are `receipt`'s. Like them, a notice is made from what is kept alone, so it is the same whenever it is made
//! again. It holds no content of the message.

use serde_json::{Value, json};

use super::receipt::Issuer;
use crate::archive::{Ground, Record, Withdrawn};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp};

/// What stands in a feed at the place of a message that is not delivered any more: a `msg.receipt` that says why, with the
/// digest of the message, so that the running digest can still be recomputed. `msg.receipt` has no word of its own for a
/// message that was retracted, and gets none within its version: what ends before its day has expired, and `detail` says why.
#[must_use]
pub fn tombstone(issuer: &Issuer, to: &PartyId, record: &Record, why: Withdrawn) -> Value {
    let Some(summary) = &record.summary else { return Value::Null };
    let at = time::rfc3339(Timestamp::from_millisecond(record.archived_ms).unwrap_or_default());
    let (outcome, detail) = match why {
        Withdrawn::Erased(_) => ("erased", "its content was erased"),
        Withdrawn::Retracted(_) => ("expired", "its originator retracted it"),
        Withdrawn::Expired => ("expired", "its time has passed"),
    };
    let data = json!({
        "target": { "source": summary.source, "id": summary.id },
        "outcome": outcome,
        "detail": [{ "path": "", "message": detail }],
        "at": at,
        "recipient": to,
        "sha256": record.digest.hex(),
    });
    event(issuer, "msg.receipt", &format!("{}-{to}-{}", why.as_str(), record.seq), &at, to.as_str(), &data)
}

/// A reminder to the originator that `reviewby` has passed.
#[must_use]
pub fn reminder(issuer: &Issuer, record: &Record, at_ms: i64) -> Value {
    let Some(summary) = &record.summary else { return Value::Null };
    let at = time::rfc3339(Timestamp::from_millisecond(at_ms).unwrap_or_default());
    let data = json!({
        "target": { "source": summary.source, "id": summary.id },
        "outcome": "accepted",
        "detail": [{ "path": "/reviewby", "message": "has passed: review it, or its content is erased" }],
        "at": at,
        "sha256": record.digest.hex(),
    });
    let key = format!("review-{}-{at_ms}", record.seq);
    event(issuer, "msg.receipt", &key, &at, summary.originator.as_str(), &data)
}

/// An order to erase that nobody had to send: a date has come.
#[must_use]
pub fn erasure(issuer: &Issuer, record: &Record, ground: Ground, due_ms: i64, at_ms: i64) -> Value {
    let Some(summary) = &record.summary else { return Value::Null };
    let rfc3339 = |ms| time::rfc3339(Timestamp::from_millisecond(ms).unwrap_or_default());
    let data = json!({
        "targets": [{ "source": summary.source, "id": summary.id }],
        "ground": ground.as_str(),
        "dueBy": rfc3339(due_ms),
        "attest": true,
    });
    // Not the holders: each of them would read who the others are, and that is the originator's to know.
    let owner = summary.originator.as_str();
    event(issuer, "msg.erasure", &format!("erase-{}", record.seq), &rfc3339(at_ms), owner, &data)
}

/// An event of the broker. `key` is what it is about: the same key gives the same id.
fn event(issuer: &Issuer, kind: &str, key: &str, at: &str, audience: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id(issuer, key),
        "source": format!("/broker/{}", issuer.broker),
        "type": format!("eu.ilonet.{kind}.v1"),
        "time": at,
        "recordedtime": at,
        "datacontenttype": "application/json",
        "originator": issuer.operator,
        "purpose": "ctl",
        "dataclassification": "LIMITE",
        "datacategory": "none",
        "tlp": "TLP:AMBER",
        "audience": audience,
        "data": data,
    })
}

/// A UUID of version 8 (RFC 9562: content of our own).
pub(super) fn id(issuer: &Issuer, key: &str) -> String {
    let Digest(bytes) = Digest::of_two(issuer.broker.as_bytes(), key.as_bytes());
    let mut short = [0_u8; 16];
    short.copy_from_slice(&bytes[..16]);
    uuid::Builder::from_custom_bytes(short).into_uuid().to_string()
}
