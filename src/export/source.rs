//! From the journal to items: which records a query means, and what of them may be seen.
//!
//! Reads through [`ReadOnly`]: no lock, no sled, nothing changed, beside a running broker or after it. What is sealed is left
//! out and counted unless the root key was given; what was withdrawn is a tombstone.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::query::{Head, Query};
use super::{Content, Item};
use crate::archive::{self, Error, Fate, ReadOnly, Record, Withdrawn};
use crate::message::digest::Digest;
use crate::message::time::Timestamp;

/// What opening a record's content gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// What was received.
    Content(archive::Content),
    /// Sealed, and the root key was not given: the case plane, contacts, personal data, what is quarantined.
    Sealed,
    /// There was a message, and it may not be seen any more, or was never kept: why.
    Gone(Map<String, Value>),
    /// There never was a message: a note of the broker's own.
    Note,
}

/// Records that were meant but left out, by reason.
pub type LeftOut = BTreeMap<&'static str, u64>;

/// What the caller made of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It took it.
    Taken,
    /// It is nothing that counts here.
    Passed,
    /// It left it out, for this reason.
    LeftOut(&'static str),
    /// It wants no more.
    Stop,
}

/// An archive that is looked through.
#[derive(Debug)]
pub struct Source {
    archive: ReadOnly,
    now_ms: i64,
    /// What records from the first one asked about on did to earlier ones.
    fates: OnceCell<HashMap<u64, Fate>>,
}

impl Source {
    /// Looks through this archive. `now_ms`, Unix milliseconds, is when what has expired is counted as such.
    #[must_use]
    pub fn new(archive: ReadOnly, now_ms: i64) -> Self {
        Self { archive, now_ms, fates: OnceCell::new() }
    }

    /// Gives every record that the query means to `each`, in order; with its content, if `content` is asked for. To tell
    /// what a later record withdrew, the rest of the journal is read before the first content is given.
    ///
    /// # Errors
    /// The archive is damaged, or what `each` says.
    pub fn search<E: From<Error>>(
        &self,
        query: &Query,
        content: bool,
        mut each: impl FnMut(&Record, Option<Opened>) -> Result<Next, E>,
    ) -> Result<LeftOut, E> {
        let mut left_out = LeftOut::new();
        let mut left = query.limit.unwrap_or(u64::MAX);
        let ms = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        let (from_ms, to_ms) = (ms(query.from).unwrap_or(i64::MIN), ms(query.to).unwrap_or(i64::MAX));
        let first = query.after.unwrap_or(0).saturating_add(1);
        let mut records = self.archive.records_between(first, from_ms, to_ms);
        while left > 0 {
            let Some(record) = records.next() else { break };
            let record = record?;
            let head = query.head(&record);
            let mut opened = None;
            if head == Head::No || (head == Head::Body && !self.matches(query, &record, &mut left_out)?) {
                continue;
            }
            if content {
                let shown = self.open(&record)?;
                if head == Head::Body && !matches!(shown, Opened::Content(_)) {
                    // Withdrawn: it is not told what was in it.
                    continue;
                }
                opened = Some(shown);
            }
            match each(&record, opened)? {
                Next::Taken => left -= 1,
                Next::Passed => {}
                Next::LeftOut(why) => *left_out.entry(why).or_default() += 1,
                Next::Stop => break,
            }
        }
        Ok(left_out)
    }

    /// The digest of what was received; `None` if it is sealed and the root key was not given.
    #[must_use]
    pub fn digest(&self, record: &Record) -> Option<Digest> {
        self.archive.digest(record)
    }

    /// What the body says. Of what is sealed that cannot be told.
    fn matches(&self, query: &Query, record: &Record, left_out: &mut LeftOut) -> Result<bool, Error> {
        Ok(match self.archive.content(record) {
            Ok(Some(archive::Opened::Content(content))) => query.body(&content.payload),
            Ok(Some(archive::Opened::Gone | archive::Opened::Lost)) => false,
            Ok(None) => {
                *left_out.entry("sealed, not looked into").or_default() += 1;
                false
            }
            Err(error) => return Err(error),
        })
    }

    /// The content of a record, or what stands in its place.
    fn open(&self, record: &Record) -> Result<Opened, Error> {
        if record.is_own() && record.body.is_empty() && record.summary.is_none() {
            return Ok(Opened::Note);
        }
        if self.digest(record).is_none() {
            // Not even a tombstone: its digest would be one that nobody knows.
            return Ok(Opened::Sealed);
        }
        let gone = |why: &str| std::iter::once(("why".to_owned(), Value::from(why))).collect::<Map<_, _>>();
        let none = Fate::default();
        let fate = self.fates(record.seq)?.get(&record.seq).unwrap_or(&none);
        if let Some(withdrawn) = fate.withdrawn(record, self.now_ms) {
            let mut why = gone(withdrawn.as_str());
            if let Withdrawn::Erased(by) | Withdrawn::Retracted(by) = withdrawn {
                why.insert("by".to_owned(), by.into());
            }
            return Ok(Opened::Gone(why));
        }
        Ok(match self.archive.content(record) {
            Ok(Some(archive::Opened::Content(content))) => Opened::Content(content),
            Ok(None) => Opened::Sealed,
            Ok(Some(archive::Opened::Gone)) => match record.code {
                Some(code) => {
                    let mut why = gone(record.outcome.as_str());
                    why.insert("code".to_owned(), code.as_str().into());
                    Opened::Gone(why)
                }
                None => Opened::Gone(gone("erased")),
            },
            // Its key is damaged: the rest of the archive is not.
            Ok(Some(archive::Opened::Lost)) => Opened::Gone(gone("lost")),
            Err(error) => return Err(error),
        })
    }

    /// What was done to the records from this sequence on. Only later records do something to one, and records are asked
    /// about in order: what stands before the first one is not read.
    fn fates(&self, first: u64) -> Result<&HashMap<u64, Fate>, Error> {
        if let Some(fates) = self.fates.get() {
            return Ok(fates);
        }
        let mut fates: HashMap<u64, Fate> = HashMap::new();
        for record in self.archive.records(first) {
            let record = record?;
            for effect in &record.effects {
                fates.entry(effect.target).or_default().apply(record.seq, &effect.act);
            }
        }
        Ok(self.fates.get_or_init(|| fates))
    }
}

/// A record as an item of an export, or what is made of one that is none.
///
/// # Errors
/// It is sealed, or a note, or its content was not asked for.
pub fn item(record: &Record, opened: Option<Opened>) -> Result<Item, Next> {
    let (content, signature) = match opened {
        Some(Opened::Content(content)) => (Content::Event(content.payload), content.signature),
        Some(Opened::Gone(why)) => (Content::Tombstone(why), None),
        Some(Opened::Sealed) => return Err(Next::LeftOut("sealed")),
        Some(Opened::Note) | None => return Err(Next::Passed),
    };
    let archived_at = Timestamp::from_millisecond(record.archived_ms).unwrap_or_default();
    Ok(Item { seq: record.seq, archived_at, digest: record.digest, signature, content })
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
    pub fn of(source: &Source, query: &Query) -> Result<Self, Error> {
        let mut counts = Self::default();
        let left_out = source.search(query, false, |record, _| {
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
