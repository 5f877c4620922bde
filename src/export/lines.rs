//! NDJSON: one item a line. The truth among the formats: from each line the received bytes can be had back, and
//! `liaison publish` takes such lines again.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Content, Item};
use crate::message::time::rfc3339;

#[derive(Serialize)]
struct Written<'a> {
    seq: u64,
    archived_at: String,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone: Option<&'a Map<String, Value>>,
}

/// Writes one line. `event` is the received text if that is one line; else it is the same JSON in one line, and `raw`
/// has the received bytes in base64. What is no JSON at all (something quarantined) has `raw` only.
pub(super) fn put(out: &mut impl Write, item: &Item) -> std::io::Result<()> {
    let mut line = Written {
        seq: item.seq,
        archived_at: rfc3339(item.archived_at),
        digest: format!("sha256:{}", item.digest),
        signature: item.signature.as_deref(),
        event: None,
        raw: None,
        tombstone: None,
    };
    let folded: Box<RawValue>;
    match &item.content {
        Content::Tombstone(members) => line.tombstone = Some(members),
        Content::Event(bytes) => match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(event) if event.get().len() == bytes.len() && !breaks(event.get()) => line.event = Some(event),
            Ok(event) => {
                // Line breaks stand between members only: inside strings JSON escapes them.
                folded = RawValue::from_string(event.get().replace(['\n', '\r'], " "))?;
                line.event = Some(&folded);
                line.raw = Some(STANDARD.encode(bytes));
            }
            Err(_) => line.raw = Some(STANDARD.encode(bytes)),
        },
    }
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// What a line of an export, of `replay` or of `subscribe` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The bytes of the event: as received, if the line was written by [`super::Export`].
    Event(Vec<u8>),
    /// Nothing to publish.
    Tombstone,
}

/// Takes an event out of a line that wraps one. `None` if it is anything else, such as a message itself: that has
/// `specversion`, and no member of a wrapper.
#[must_use]
pub fn read_line(line: &[u8]) -> Option<Line> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "they say that it is a wrapper")]
    struct Read<'a> {
        #[serde(alias = "feed_seq")]
        seq: u64,
        archived_at: String,
        digest: String,
        signature: Option<String>,
        /// What `subscribe --verify` found.
        signed: Option<IgnoredAny>,
        #[serde(borrow)]
        event: Option<&'a RawValue>,
        raw: Option<String>,
        tombstone: Option<Map<String, Value>>,
    }
    let read: Read<'_> = serde_json::from_slice(line).ok()?;
    match (read.raw, read.event, read.tombstone) {
        (Some(raw), _, None) => STANDARD.decode(raw).ok().map(Line::Event),
        (None, Some(event), None) => Some(Line::Event(event.get().as_bytes().to_vec())),
        (None, None, Some(_)) => Some(Line::Tombstone),
        _ => None,
    }
}
