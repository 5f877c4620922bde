//! A look at the journal alone: for offline tools, beside a running broker or after it.
//!
//! Takes no lock, opens no sled, changes nothing; a torn tail is simply not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::body::Body;
use super::fates::{Fate, Fates};
use super::journal::{self, Found};
use super::record::Record;
use super::root::RootKey;
use super::vault::{Opened, Vault};
use super::{Error, ahead};
use crate::message::digest::Digest;
use crate::message::time::{Timestamp, rfc3339};

/// A journal opened for reading.
#[derive(Debug)]
pub struct ReadOnly {
    directory: PathBuf,
    found: Arc<Found>,
    vault: Option<Arc<Vault>>,
}

/// Counts over a journal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// Records.
    pub records: u64,
    /// Frames.
    pub frames: usize,
    /// Segment files.
    pub segments: usize,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes of the received messages that are kept.
    pub payload_bytes: u64,
    /// Records by outcome and code.
    pub outcomes: BTreeMap<String, u64>,
    /// Accepted records by type.
    pub types: BTreeMap<String, u64>,
    /// Deliveries owed.
    pub deliveries: u64,
    /// First archive time.
    pub first: Option<String>,
    /// Last archive time.
    pub last: Option<String>,
    /// Hash of the last frame: the head of the chain.
    pub chain_head: Option<String>,
    /// Bytes of a torn frame at the end, which was never receipted.
    pub torn_bytes: u64,
}

impl ReadOnly {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let journal = directory.join("journal");
        if !journal.is_dir() {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no journal here");
            return Err(Error::at(&journal, missing));
        }
        Ok(Self { directory: directory.to_owned(), found: Arc::new(journal::walk(&journal)?), vault: None })
    }

    /// The same with the keys: sealed content can be read, and digests of sealed messages are not masked.
    ///
    /// # Errors
    /// [`Error::Keys`], [`Error::Io`].
    pub fn unlocked(self, root: &RootKey) -> Result<Self, Error> {
        let vault = Vault::look(&self.directory.join("keys"), root)?;
        Ok(Self { vault: Some(Arc::new(vault)), ..self })
    }

    /// The digest of what was received; `None` if it is masked and there are no keys.
    #[must_use]
    pub fn digest(&self, record: &Record) -> Option<Digest> {
        (self.vault.is_some() || !record.is_sealed()).then_some(record.digest)
    }

    /// The content of a record; `None` if it is sealed and there are no keys.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`]. A damaged key is none: [`Opened::Lost`].
    pub fn content(&self, record: &Record) -> Result<Option<Opened>, Error> {
        match (&self.vault, &record.body) {
            (Some(vault), body) => vault.open_body(record.seq, record.digest, body).map(Some),
            (None, Body::Sealed { .. }) => Ok(None),
            (None, body @ Body::Plain { .. }) => {
                let unreadable = Error::Corrupt("a signed body that cannot be read");
                body.content().map(Opened::Content).map(Some).ok_or(unreadable)
            }
            (None, Body::None | Body::Redacted(_)) => Ok(Some(Opened::Gone)),
        }
    }

    /// Counts everything; reads and checks the whole journal.
    ///
    /// # Errors
    /// [`Error::Damaged`] at the first place that is not what was written.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats {
            frames: self.found.places.len(),
            segments: self.found.segments.len(),
            torn_bytes: self.found.cut,
            chain_head: self.found.last.map(|place| place.header.hash().hex()),
            ..Stats::default()
        };
        for path in &self.found.segments {
            stats.journal_bytes += std::fs::metadata(path).map_err(|error| Error::at(path, error))?.len();
        }
        for record in self.records(1) {
            let record = record?;
            let at = Timestamp::from_millisecond(record.archived_ms).map(rfc3339).ok();
            stats.first = stats.first.or_else(|| at.clone());
            stats.last = at;
            stats.records += 1;
            stats.payload_bytes += record.body.len() as u64;
            stats.deliveries += record.recipients.len() as u64;
            let code = record.code.map_or("", crate::message::outcome::Code::as_str);
            let outcome = format!("{} {code}", record.outcome.as_str());
            *stats.outcomes.entry(outcome.trim_end().to_owned()).or_default() += 1;
            if let Some(summary) = &record.summary {
                *stats.types.entry(summary.kind.to_string()).or_default() += 1;
            }
        }
        Ok(stats)
    }

    /// The records, each made into what the caller wants of it, and told afterwards what was done to it and whether others hold
    /// it: that stands in later records, and to hold all of them until then would take the whole archive into memory.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn retained<T>(
        &self,
        make: impl Fn(&Record) -> T,
        tell: impl Fn(&mut T, Fate, bool),
    ) -> Result<Vec<T>, Error> {
        let mut fates = Fates::default();
        let mut kept = Vec::new();
        for record in self.records(1) {
            let record = record?;
            for effect in &record.effects {
                fates.take(record.seq, effect);
            }
            kept.push((record.seq, record.is_delivered() && !record.recipients.is_empty(), make(&record)));
        }
        let told = kept.into_iter().map(|(seq, delivered, mut made)| {
            let fate = fates.of(seq).cloned().unwrap_or_default();
            let held = delivered || !fate.released_to.is_empty();
            tell(&mut made, fate, held);
            made
        });
        Ok(told.collect())
    }

    /// Whether the journal still holds what it held when it was last closed.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it ends before that, or goes on otherwise.
    pub fn agrees_with_head(&self) -> Result<(), Error> {
        self.found.agrees_with_head(&self.directory.join("journal"))
    }

    /// Bytes of a torn frame at the end, which was never receipted.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.found.cut
    }

    /// The last archive sequence; 0 if there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.found.last.map_or(0, |place| place.header.last())
    }

    /// The records from a sequence on.
    pub fn records(&self, from: u64) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        self.records_between(from, i64::MIN, i64::MAX)
    }

    /// The records from a sequence on that were archived at or after `from_ms` and before `to_ms`, Unix milliseconds. A
    /// frame is one commit and has one time, so frames outside are not read.
    pub fn records_between(
        &self,
        from: u64,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Iterator<Item = Result<Record, Error>> + use<> {
        let start = self.found.places.partition_point(|place| place.header.last() < from);
        let meant = |at: &usize| {
            let place = &self.found.places[*at];
            (from_ms..to_ms).contains(&place.header.committed_ms)
        };
        let frames: Vec<usize> = (start..self.found.places.len()).filter(meant).collect();
        ahead::read(&self.found, frames, self.vault.as_ref().map(|vault| vault.mask()))
            .filter(move |record| record.as_ref().map_or(true, |record| record.seq >= from))
    }
}
