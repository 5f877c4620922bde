//! Replay requests and cursors: what was understood, written out and read again, is understood the same.

use bytes::Bytes;
use liaison::broker::replay::Cursor;
use liaison::broker::replay::request::Asked;
use liaison::message::names::PartyId;
use liaison::message::time::{Timestamp, rfc3339};
use serde_json::{Value, json};

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "\"from\":",
    "\"to\":",
    "\"after\":",
    "\"filters\":",
    "\"where\":",
    "\"limit\":",
    "\"max_bytes\":",
    "\"2026-03-02T10:00:00Z\"",
    "\"-009999-01-02T01:59:59Z\"",
    "\"9999-12-30T22:00:00.999999999Z\"",
    "1000",
    "0",
    "524288",
    "1e3",
    "1.0",
    "\"AQAAAAAAAAAB\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "[{\"exact\":{\"country\":\"TN\"}}]",
    "\"event.subject == 'TN'\"",
];

/// A request of a party.
pub fn run(bytes: &[u8]) {
    let party = PartyId::parse("de-bpol").expect("well formed");
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(seq) = Cursor::Feed.read(&party, text)
    {
        assert_eq!(Cursor::Feed.write(&party, seq), text, "a cursor is written in one way");
    }
    let Ok(asked) = Asked::read(&party, &Bytes::copy_from_slice(bytes)) else { return };
    assert!(
        (1..=1_000).contains(&asked.limit)
            && (1..=524_288).contains(&asked.max_bytes)
            && asked.from_ms <= asked.to_ms
    );
    let given: Value =
        if bytes.is_empty() { json!({}) } else { serde_json::from_slice(bytes).expect("JSON") };
    let mut written = json!({
        "after": Cursor::Feed.write(&party, asked.after), "limit": asked.limit, "max_bytes": asked.max_bytes,
    });
    for (name, at_ms) in [("from", asked.from_ms), ("to", asked.to_ms)] {
        if given.get(name).is_some() {
            // Rounded up, the last moment that can be written has none.
            let Ok(at) = Timestamp::from_millisecond(at_ms) else { return };
            written[name] = rfc3339(at).into();
        }
    }
    for name in ["filters", "where"] {
        if let Some(value) = given.get(name) {
            written[name] = value.clone();
        }
    }
    let again = Asked::read(&party, &Bytes::from(written.to_string()));
    let again = again.unwrap_or_else(|refused| panic!("what was written is read: {refused:?}"));
    assert_eq!((again.after, again.limit, again.max_bytes), (asked.after, asked.limit, asked.max_bytes));
    assert_eq!((again.from_ms, again.to_ms), (asked.from_ms, asked.to_ms));
    assert_eq!(again.filter, asked.filter, "the same question");
}
