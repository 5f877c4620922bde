//! From the journal to items: which records a query means, and what of them may be seen.
//!
//! Reads through [`ReadOnly`]: no lock, no sled, nothing changed, beside a running broker or after it. What is personal is
//! left out and counted unless it is asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::query::{Head, Query};
use super::{Content, Item};
use crate::archive::{self, Body, Error, ReadOnly, Record};
use crate::message::time::Timestamp;

/// What opening a record's content gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// The received bytes.
    Bytes(Bytes),
    /// Personal, and that was not asked for.
    Sealed,
    /// Not there: why.
    Gone(Map<String, Value>),
}

/// Records that were meant but left out, by reason.
pub type LeftOut = BTreeMap<&'static str, u64>;

/// What the caller made of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It took it.
    Taken,
    /// It left it out, for this reason.
    LeftOut(&'static str),
    /// It wants no more.
    Stop,
}

/// The content of a record. The one place outside the archive that looks at it: `personal` is the operator's word that
/// the case plane, contacts, personal data and what is quarantined may be shown; these are sealed, so the archive must
/// have been opened with its keys besides.
///
/// # Errors
/// The key of a sealed message is damaged.
pub fn open(archive: &ReadOnly, record: &Record, personal: bool) -> Result<Opened, Error> {
    let gone = |why: &str| {
        let mut members = Map::new();
        members.insert("why".to_owned(), why.into());
        members.extend(record.code.map(|code| ("code".to_owned(), code.as_str().into())));
        Opened::Gone(members)
    };
    if record.body == Body::None {
        return Ok(gone(if record.is_own() { "note" } else { record.outcome.as_str() }));
    }
    if !personal && record.is_sealed() {
        return Ok(Opened::Sealed);
    }
    Ok(match archive.content(record)? {
        Some(archive::Opened::Content(bytes)) => Opened::Bytes(bytes),
        Some(archive::Opened::Gone) => gone("erased"),
        None => Opened::Sealed,
    })
}

/// Gives every record that the query means to `each`, in order, with its content.
///
/// # Errors
/// The archive is damaged, or what `each` says.
pub fn search<E: From<Error>>(
    archive: &ReadOnly,
    query: &Query,
    personal: bool,
    mut each: impl FnMut(&Record, Opened) -> Result<Next, E>,
) -> Result<LeftOut, E> {
    let mut left_out = LeftOut::new();
    let mut left = query.limit.unwrap_or(u64::MAX);
    let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
    let (from_ms, to_ms) = (ms(query.from).unwrap_or(i64::MIN), ms(query.to).unwrap_or(i64::MAX));
    let mut records = archive.records_between(query.after.unwrap_or(0).saturating_add(1), from_ms, to_ms);
    while left > 0 {
        let Some(record) = records.next() else { break };
        let record = record?;
        let head = query.head(&record);
        if head == Head::No {
            continue;
        }
        let opened = open(archive, &record, personal)?;
        if head == Head::Body {
            match &opened {
                Opened::Bytes(bytes) if query.body(bytes) => {}
                Opened::Bytes(_) => continue,
                // Whether they are meant cannot be told without looking.
                Opened::Sealed => {
                    *left_out.entry("personal, not looked into").or_default() += 1;
                    continue;
                }
                Opened::Gone(_) => continue,
            }
        }
        match each(&record, opened)? {
            Next::Taken => left -= 1,
            Next::LeftOut(why) => *left_out.entry(why).or_default() += 1,
            Next::Stop => break,
        }
    }
    Ok(left_out)
}

/// A record as an item of an export; `None` if it is sealed.
#[must_use]
pub fn item(record: &Record, opened: Opened) -> Option<Item> {
    let content = match opened {
        Opened::Bytes(bytes) => Content::Event(bytes),
        Opened::Gone(why) => Content::Tombstone(why),
        Opened::Sealed => return None,
    };
    let archived_at = Timestamp::from_millisecond(record.archived_ms).unwrap_or_default();
    Some(Item { seq: record.seq, archived_at, digest: record.digest, content })
}

/// Counts over what a query means.
#[derive(Debug, Default, serde::Serialize)]
pub struct Counts {
    records: u64,
    payload_bytes: u64,
    deliveries: u64,
    outcomes: BTreeMap<String, u64>,
    types: BTreeMap<String, u64>,
    originators: BTreeMap<String, u64>,
    countries: BTreeMap<String, u64>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    left_out: LeftOut,
}

impl Counts {
    /// Counts.
    ///
    /// # Errors
    /// The archive is damaged.
    pub fn of(archive: &ReadOnly, query: &Query, personal: bool) -> Result<Self, Error> {
        let mut counts = Self::default();
        let left_out = search(archive, query, personal, |record, _| {
            counts.add(record);
            Ok::<_, Error>(Next::Taken)
        })?;
        counts.left_out = left_out;
        Ok(counts)
    }

    fn add(&mut self, record: &Record) {
        let code = record.code.map_or("", crate::message::outcome::Code::as_str);
        let outcome = format!("{} {code}", record.outcome.as_str());
        self.records += 1;
        self.payload_bytes += record.body.len() as u64;
        self.deliveries += record.recipients.len() as u64;
        *self.outcomes.entry(outcome.trim_end().to_owned()).or_default() += 1;
        if let Some(summary) = &record.summary {
            *self.types.entry(summary.kind.to_string()).or_default() += 1;
            *self.originators.entry(summary.originator.to_string()).or_default() += 1;
            let country = summary.country.as_deref().unwrap_or("ZZ");
            *self.countries.entry(country.to_owned()).or_default() += 1;
        }
        self.first_seq = self.first_seq.or(Some(record.seq));
        self.last_seq = Some(record.seq);
    }
}
