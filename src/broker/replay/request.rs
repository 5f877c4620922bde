//! Reading a replay request: strict, every fault with its place, never with its value.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Cursor;
use crate::archive::{Sketch, Summary};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp};
use crate::rules::query::{Might, Outline, Query};
use crate::wire::services::Failure;

/// Longest request.
const LONGEST: usize = 64 << 10;
/// Messages of a page, unless asked otherwise.
const LIMIT: u64 = 200;
/// Most messages of a page.
const MOST: u64 = 1_000;
/// Most bytes of a page.
const MOST_BYTES: u64 = 524_288;
/// What a request may say.
const MEMBERS: [&str; 7] = ["from", "to", "after", "filters", "where", "limit", "max_bytes"];

/// One request.
#[derive(Debug)]
pub struct Asked {
    /// Archived at this moment or later, Unix milliseconds.
    pub from_ms: i64,
    /// Archived before this moment, Unix milliseconds.
    pub to_ms: i64,
    /// Behind this feed sequence.
    pub after: u64,
    /// What is looked for.
    pub query: Query,
    /// Most messages.
    pub limit: usize,
    /// Most bytes of the reply.
    pub max_bytes: usize,
    /// SHA-256 of the JSON `[filters, where]` without spaces, if there are such.
    pub filter: Option<Digest>,
}

impl Asked {
    /// Reads a request of a party.
    ///
    /// # Errors
    /// A refusal with its place.
    pub fn read(party: &PartyId, payload: &Bytes) -> Result<Self, Failure> {
        if payload.len() > LONGEST {
            return Err(refuse("", "must have at most 65536 bytes"));
        }
        let members = members(payload)?;
        only(&members, &MEMBERS)?;
        let (from_ms, to_ms) = period(&members)?;
        let after = cursor(&members, Cursor::Feed, party)?;
        let (filters, condition) = (members.get("filters"), members.get("where"));
        let query = Query::parse(filters, condition).map_err(|refused| Failure::of(400, &refused))?;
        let filter = [filters, condition].iter().any(Option::is_some);
        let filter = filter.then(|| Digest::of(json!([filters, condition]).to_string().as_bytes()));
        let limit = number(&members, "limit", MOST)?.unwrap_or(LIMIT);
        let max_bytes = number(&members, "max_bytes", MOST_BYTES)?.unwrap_or(MOST_BYTES);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self { from_ms, to_ms, after, query, limit: size(limit), max_bytes: size(max_bytes), filter })
    }

    /// False if a block holds nothing of what is looked for.
    pub(super) fn wants(&self, block: &Sketch<'_>) -> bool {
        if block.to_ms < self.from_ms || block.from_ms >= self.to_ms {
            return false;
        }
        let (kinds, originators, countries) = (block.kinds(), block.originators(), block.countries());
        let outline = Outline::Many { kinds: &kinds, originators: &originators, countries: &countries };
        self.query.might(outline).hold
    }

    /// True if it was archived in the period asked for.
    pub(super) fn covers(&self, archived_ms: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&archived_ms)
    }

    /// What can be said of a message without reading it.
    pub(super) fn might(&self, summary: &Summary) -> Might {
        self.query.might(Outline::One {
            source: &summary.source,
            id: summary.id.as_str(),
            kind: summary.kind.as_str(),
            major: summary.major,
            originator: summary.originator.as_str(),
            country: summary.country.as_deref(),
        })
    }
}

/// A refused request.
pub(in crate::broker) fn refuse(path: &str, words: &str) -> Failure {
    Failure::new(400, "E-REQUEST", path, words)
}

/// The members of a request; an empty one has none.
pub(in crate::broker) fn members(payload: &Bytes) -> Result<Map<String, Value>, Failure> {
    if payload.is_empty() {
        return Ok(Map::new());
    }
    match crate::message::json::read(payload).map_err(|refused| Failure::of(400, &refused))?.to_value() {
        Value::Object(members) => Ok(members),
        _ => Err(refuse("", "must be an object")),
    }
}

/// Refuses a member that is not declared: one that was misspelt would widen what is asked for.
pub(in crate::broker) fn only(members: &Map<String, Value>, declared: &[&str]) -> Result<(), Failure> {
    match members.keys().find(|name| !declared.contains(&name.as_str())) {
        Some(name) => {
            let name: String = name.replace('~', "~0").replace('/', "~1").chars().take(100).collect();
            Err(refuse(&format!("/{name}"), "is not a declared member"))
        }
        None => Ok(()),
    }
}

/// `from` and `to` as Unix milliseconds: from the first, before the second.
pub(in crate::broker) fn period(members: &Map<String, Value>) -> Result<(i64, i64), Failure> {
    let at = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(time::parse) {
            Some(at) => Ok(Some(upwards(at))),
            None => Err(refuse(&format!("/{name}"), "must be an RFC 3339 time with seconds and offset")),
        },
    };
    let (from, to) = (at("from")?.unwrap_or(i64::MIN), at("to")?.unwrap_or(i64::MAX));
    if from > to { Err(refuse("/to", "must not be before from")) } else { Ok((from, to)) }
}

/// Whole milliseconds, upwards: archive times have no smaller part.
fn upwards(at: Timestamp) -> i64 {
    let ms = (at.as_nanosecond() + 999_999).div_euclid(1_000_000);
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// `after`, or the beginning.
pub(in crate::broker) fn cursor(
    members: &Map<String, Value>,
    list: Cursor,
    party: &PartyId,
) -> Result<u64, Failure> {
    match members.get("after") {
        None => Ok(0),
        Some(value) => value
            .as_str()
            .and_then(|text| list.read(party, text))
            .ok_or_else(|| refuse("/after", "must be a cursor that this party was given")),
    }
}

/// A number from 1 on.
pub(in crate::broker) fn number(
    members: &Map<String, Value>,
    name: &str,
    most: u64,
) -> Result<Option<u64>, Failure> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().filter(|number| (1..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(refuse(&format!("/{name}"), &format!("must be a whole number from 1 to {most}"))),
        },
    }
}
