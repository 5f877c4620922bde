//! What a reader says of a message after it was archived: its content, what was done to it, who holds it; and of the
//! tree that all records are leaves of.
//!
//! It answers from the index and changes nothing. Who may ask is the broker's business.

use std::sync::Arc;

use super::Error;
use super::fates::{Fate, Withdrawn};
use super::gist::Sort;
use super::reader::Reader;
use super::record::Record;
use super::tree::{TILE, Tree};
use super::vault::Opened;
use super::zone::Due;
use crate::message::digest::Digest;
use crate::message::names::PartyId;

impl Reader {
    /// Opens a message's body for one who may read it.
    ///
    /// # Errors
    /// [`Error::Io`]. A damaged key is none: [`Opened::Lost`].
    pub fn open(&self, record: &Record) -> Result<Opened, Error> {
        self.vault.open_body(record.seq, record.digest, &record.body)
    }

    /// True if the content of a message is nowhere in this archive any more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_gone(&self, record: &Record) -> Result<bool, Error> {
        match record.body.slot() {
            Some(slot) => self.vault.is_destroyed(slot),
            None => Ok(record.body.is_empty()),
        }
    }

    /// Orders to erase by records behind a sequence: record and target, in archive order.
    #[must_use]
    pub fn erasures_behind(&self, by: u64) -> Vec<(u64, u64)> {
        self.index.read().fates.erasures_behind(by).to_vec()
    }

    /// What was done to a message since it was archived.
    #[must_use]
    pub fn fate(&self, seq: u64) -> Fate {
        self.index.read().fates.of(seq).cloned().unwrap_or_default()
    }

    /// Why a message is not delivered or shown any more at this time, Unix milliseconds.
    #[must_use]
    pub fn withdrawn(&self, record: &Record, now_ms: i64) -> Option<Withdrawn> {
        match self.index.read().fates.of(record.seq) {
            Some(fate) => fate.withdrawn(record, now_ms),
            None => Fate::default().withdrawn(record, now_ms),
        }
    }

    /// The messages that were retracted or are to be erased, with what was done to them: the latest of them, in order.
    #[must_use]
    pub fn recalled(&self, most: usize) -> Vec<(u64, Fate)> {
        let index = self.index.read();
        let mut latest: Vec<u64> = index.fates.recalled().map(|(seq, _)| seq).collect();
        latest.sort_unstable();
        let latest = latest.split_off(latest.len().saturating_sub(most));
        latest.into_iter().filter_map(|seq| Some((seq, index.fates.of(seq)?.clone()))).collect()
    }

    /// Sequences of the records that correct a message of one of these types, in order.
    #[must_use]
    pub fn corrections_of(&self, kinds: &[&str]) -> Vec<u64> {
        self.index.read().fates.corrections_of(kinds)
    }

    /// Messages with a date of their own, for erasure or another look, that has passed at this time, Unix milliseconds, and
    /// that nobody ordered to be erased yet.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn due_at(&self, now_ms: i64) -> Result<Vec<u64>, Error> {
        let (gists, mut dues) = {
            let index = self.index.read();
            let passed = index.gists.iter().filter(|gist| gist.due_ms <= now_ms).cloned();
            let tail = index.tail.iter().filter_map(|kept| Due::of(kept.record()));
            (passed.collect::<Vec<_>>(), tail.collect::<Vec<_>>())
        };
        for gist in gists {
            let mut left = self.dues(&gist)?;
            let mut index = self.index.write();
            left.retain(|due| index.fates.of(due.seq).is_none_or(|fate| fate.erased.is_none()));
            // A block of which nothing is left is not read for this again.
            let due_ms = left.iter().filter_map(Due::first_ms).min().unwrap_or(i64::MAX);
            let at = index.at(gist.first).and_then(|at| index.gists.get_mut(at));
            if let Some(at) = at.filter(|at| at.due_ms != due_ms) {
                Arc::make_mut(at).due_ms = due_ms;
            }
            dues.extend(left);
        }
        let index = self.index.read();
        let passed = dues.iter().filter(|due| due.first_ms().is_some_and(|at| at <= now_ms));
        let still = |due: &&Due| index.fates.of(due.seq).is_none_or(|fate| fate.erased.is_none());
        Ok(passed.filter(still).map(|due| due.seq).collect())
    }

    /// Messages that nobody ordered to be erased yet, in blocks with a type whose time has passed for the oldest record.
    /// `kept_ms` is how long a type is kept, milliseconds.
    #[must_use]
    pub fn outlived(&self, now_ms: i64, kept_ms: impl Fn(&str) -> i64) -> Vec<u64> {
        let index = self.index.read();
        let old = index.gists.iter().filter(|gist| {
            let mut kinds = index.words.words(gist, Sort::Kind);
            kinds.any(|kind| gist.from_ms.saturating_add(kept_ms(kind)) <= now_ms)
        });
        let still = |seq: &u64| index.fates.of(*seq).is_none_or(|fate| fate.erased.is_none());
        old.flat_map(|gist| gist.first..=gist.last).filter(still).collect()
    }

    /// Who holds a message: its recipients, then those to whom it was released.
    #[must_use]
    pub fn holders(&self, record: &Record) -> Vec<PartyId> {
        let mut holders: Vec<PartyId> = record.delivered_to().map(|entry| entry.party.clone()).collect();
        if let Some(fate) = self.index.read().fates.of(record.seq) {
            holders.extend(fate.released_to.iter().map(|entry| entry.party.clone()));
        }
        holders
    }

    /// The leaf hashes of the records with these sequences.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn leaves(&self, first: u64, last: u64) -> Result<Vec<Digest>, Error> {
        let (frames, _) = self.index.read().frames(first, last);
        let Some(start) = frames.first().map(|frame| frame.first) else { return Ok(Vec::new()) };
        let mut leaves = Vec::new();
        for pack in self.packs(first, last)? {
            leaves.extend(pack.leaves()?);
        }
        let skip = usize::try_from(first - start).unwrap_or(usize::MAX);
        let count = usize::try_from(last + 1 - first).unwrap_or(usize::MAX);
        Ok(leaves.into_iter().skip(skip).take(count).collect())
    }

    /// Builds the tree over the sealed blocks: nodes from their zones, the leaves behind the last from the journal.
    pub(super) fn grow_tree(&self, sealed: u64, tiles: Vec<Digest>) -> Result<(), Error> {
        let behind = tiles.len() as u64 * TILE;
        let leaves = if behind < sealed { self.leaves(behind + 1, sealed)? } else { Vec::new() };
        if behind + leaves.len() as u64 != sealed {
            return Err(Error::Corrupt("a tree that does not fit the blocks"));
        }
        self.index.write().tree = Tree::restore(tiles, leaves)?;
        Ok(())
    }

    /// Slots of message keys that the archive counts on.
    pub(super) fn slots(&self) -> u64 {
        let index = self.index.read();
        let tail = index.tail.iter().filter_map(|kept| kept.record().body.slot()).map(|slot| slot + 1);
        tail.chain([index.slots]).max().unwrap_or_default()
    }

    /// A copy of the Merkle tree as it is now.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.index.read().tree.clone()
    }
}
