//! A zone: what is known of a block without reading it, so that queries skip blocks instead of reading records.

use std::collections::BTreeSet;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::effect::{Act, Effect};
use super::feeds::Feeds;
use super::filling::Pending;
use super::record::Record;
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::Outcome;

/// A party's share of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its first feed sequence in the block.
    pub first: u64,
    /// How many deliveries.
    pub count: u32,
    /// Running digest before the first.
    pub before: Digest,
}

/// What feeds have of a block.
pub type Shares = LiteMap<PartyId, Share>;

/// Summary of the records of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// First archive sequence.
    pub first: u64,
    /// Last archive sequence.
    pub last: u64,
    /// Earliest archive time, Unix milliseconds.
    pub from_ms: i64,
    /// Latest archive time, Unix milliseconds.
    pub to_ms: i64,
    /// Types accepted in it.
    pub kinds: BTreeSet<String>,
    /// Countries of the envelopes.
    pub countries: BTreeSet<String>,
    /// Originators.
    pub originators: BTreeSet<PartyId>,
    /// Feeds that go through it.
    pub shares: Shares,
    /// Per intake stream: epoch, lowest and highest stream sequence.
    pub positions: LiteMap<PartyId, (i64, u64, u64)>,
    /// What its records do to earlier ones, with the sequence of each record.
    pub effects: Vec<(u64, Effect)>,
    /// Records with a date on which something falls due.
    pub dues: Vec<Due>,
    /// Slots of message keys up to and including its last sealed body.
    pub slots: u64,
    /// Nodes of the archive's Merkle tree over 256 leaves each that became whole in it.
    pub tiles: Vec<Digest>,
}

/// A record with a date on which something falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Archive sequence.
    pub seq: u64,
    /// `eraseby`, or the end of the time that a message put aside is kept, Unix milliseconds.
    pub erase_ms: Option<i64>,
    /// `reviewby`, Unix milliseconds.
    pub review_ms: Option<i64>,
}

impl Due {
    /// Of a record; `None` if nothing ever falls due.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        /// A message put aside is kept for 7 days (`domain.md` section 8).
        const ASIDE_MS: i64 = 7 * 24 * 3_600 * 1_000;
        let summary = record.summary.as_ref();
        let aside = record.outcome == Outcome::Quarantined && !record.body.is_empty();
        let erase_ms = summary
            .and_then(|summary| summary.erase_ms)
            .or_else(|| aside.then_some(record.archived_ms + ASIDE_MS));
        let review_ms = summary.and_then(|summary| summary.review_ms);
        (erase_ms.is_some() || review_ms.is_some()).then_some(Self { seq: record.seq, erase_ms, review_ms })
    }

    /// The first of its dates, Unix milliseconds.
    pub(super) fn first_ms(&self) -> Option<i64> {
        self.erase_ms.into_iter().chain(self.review_ms).min()
    }
}

impl Zone {
    /// The zone of a block; `feeds` moves on over its records. What each delivery is was computed at the commit and is
    /// not hashed again.
    #[must_use]
    pub(super) fn of(block: &[Pending], feeds: &mut Feeds) -> Self {
        let mut zone = Self {
            first: block.first().map_or(0, |pending| pending.kept.record.seq),
            last: block.last().map_or(0, |pending| pending.kept.record.seq),
            from_ms: i64::MAX,
            to_ms: i64::MIN,
            kinds: BTreeSet::new(),
            countries: BTreeSet::new(),
            originators: BTreeSet::new(),
            shares: LiteMap::new(),
            positions: LiteMap::new(),
            effects: Vec::new(),
            dues: Vec::new(),
            slots: 0,
            tiles: Vec::new(),
        };
        for pending in block {
            zone.take(&pending.kept.record);
            zone.tiles.extend(pending.tile);
            for delivery in pending.kept.deliveries() {
                match zone.shares.get_mut(&delivery.party) {
                    Some(share) => share.count += 1,
                    None => {
                        let (last, before) = feeds.head(&delivery.party);
                        let share = Share { first: last + 1, count: 1, before };
                        zone.shares.insert(delivery.party.clone(), share);
                    }
                }
                feeds.set(&delivery.party, (delivery.feed_seq, delivery.feed_digest));
            }
        }
        zone
    }

    fn take(&mut self, record: &Record) {
        self.from_ms = self.from_ms.min(record.archived_ms);
        self.to_ms = self.to_ms.max(record.archived_ms);
        if let Some(summary) = &record.summary {
            if !self.kinds.contains(summary.kind.as_str()) {
                self.kinds.insert(summary.kind.to_string());
            }
            if let Some(country) =
                summary.country.as_ref().filter(|country| !self.countries.contains(*country))
            {
                self.countries.insert(country.clone());
            }
            if !self.originators.contains(&summary.originator) {
                self.originators.insert(summary.originator.clone());
            }
        }
        self.effects.extend(record.effects.iter().map(|effect| (record.seq, told(effect))));
        self.dues.extend(Due::of(record));
        self.slots = self.slots.max(record.body.slot().map_or(0, |slot| slot + 1));
        if record.is_own() {
            return;
        }
        let (epoch, sequence) = (record.position.epoch, record.position.sequence);
        match self.positions.get_mut(&record.party) {
            Some(range) if range.0 == epoch => {
                *range = (epoch, range.1.min(sequence), range.2.max(sequence));
            }
            // The stream was made anew: nothing of its old life can come again, so that is not looked up any more.
            Some(range) => *range = (epoch, sequence, sequence),
            None => drop(self.positions.insert(record.party.clone(), (epoch, sequence, sequence))),
        }
    }
}

/// An effect as a zone may tell it. A zone has no mask, and nobody asks it for digests: that of a sealed message stays out of it.
fn told(effect: &Effect) -> Effect {
    let mut effect = effect.clone();
    if let Act::Release { digest, sealed: true, .. } = &mut effect.act {
        *digest = Digest::default();
    }
    effect
}

/// What stands for `source` and `id` in the table of known messages: 8 bytes of SHA-256. Equal fingerprints are
/// compared in full before anything follows from them.
#[must_use]
pub fn fingerprint(source: &str, id: &MessageId) -> u64 {
    let hash = Sha256::new().chain_update(source).chain_update([0]).chain_update(id.as_str()).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first)
}

/// [`fingerprint`] of a record's identity, if it has one.
#[must_use]
pub fn print_of(record: &Record) -> Option<u64> {
    record.identity().map(|(source, id)| fingerprint(source, id))
}

/// The fingerprints of a block as stored: 8 bytes and the offset from the block's first sequence, little endian.
#[must_use]
pub(super) fn pack_ids(block: &[Pending]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block.len() * 10);
    for (offset, print) in (0_u16..).zip(block).filter_map(|(at, pending)| Some((at, pending.print?))) {
        bytes.extend_from_slice(&print.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes
}

/// Reads what [`pack_ids`] wrote: fingerprint and archive sequence.
pub fn unpack_ids(first: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    bytes.chunks_exact(10).filter_map(move |chunk| {
        let print = u64::from_le_bytes(chunk[..8].try_into().ok()?);
        let offset = u16::from_le_bytes(chunk[8..].try_into().ok()?);
        Some((print, first + u64::from(offset)))
    })
}
