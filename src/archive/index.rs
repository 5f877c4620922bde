//! What readers have in memory: gists of sealed blocks, known messages, places of frames, and the records that are not sealed yet.
//!
//! What grows with the archive is kept to a few bytes a record (decision 0022). It reads no file. One lock guards it, so a record
//! is always in the tail or in a sealed block, never in both or neither.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::Archived;
use super::fates::Fates;
use super::feeds::Feeds;
use super::frames::{FrameAt, Frames};
use super::gist::{Gist, Vocabulary};
use super::known::Known;
use super::reader::Step;
use super::trail::{Reach, Trail};
use super::tree::Tree;
use super::zone::Zone;
use crate::message::names::PartyId;
use crate::message::raw::Position;

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Sealed blocks in order.
    pub(super) gists: Vec<Arc<Gist>>,
    /// The words of their gists.
    pub(super) words: Arc<Vocabulary>,
    /// Per party the blocks that its feed goes through.
    feeds: HashMap<PartyId, Trail>,
    /// Per party the blocks that hold places of its intake stream.
    intake: HashMap<PartyId, Trail>,
    /// Slots of message keys that sealed blocks count on.
    pub(super) slots: u64,
    /// Messages by fingerprint.
    pub(super) known: Known,
    /// Records not sealed yet.
    pub(super) tail: VecDeque<Archived>,
    /// Heads of all feeds.
    pub(super) heads: Feeds,
    /// How far each intake stream was decided.
    pub(super) positions: HashMap<PartyId, Position>,
    /// Frames in order.
    pub(super) frames: Frames,
    /// Segment files.
    pub(super) segments: Arc<[PathBuf]>,
    /// Last archive sequence.
    pub(super) head: u64,
    /// The Merkle tree over all records.
    pub(super) tree: Tree,
    /// What was done to which message.
    pub(super) fates: Fates,
}

impl Index {
    /// One more block that stands in sled at the start.
    pub(super) fn found(&mut self, zone: &Zone) {
        for (party, (epoch, _, sequence)) in zone.positions.iter() {
            self.note(party, Position { epoch: *epoch, sequence: *sequence });
        }
        for (by, effect) in &zone.effects {
            self.fates.take(*by, effect);
        }
        self.head = zone.last;
        self.add(zone);
    }

    /// One more sealed block. What its records do to others is known already.
    pub(super) fn add(&mut self, zone: &Zone) {
        let at = self.gists.len();
        for (party, share) in zone.shares.iter() {
            let to = share.first + u64::from(share.count) - 1;
            self.feeds.entry(party.clone()).or_default().push(0, Reach { zone: at, from: share.first, to });
        }
        for (party, (epoch, from, to)) in zone.positions.iter() {
            let reach = Reach { zone: at, from: *from, to: *to };
            self.intake.entry(party.clone()).or_default().push(*epoch, reach);
        }
        self.slots = self.slots.max(zone.slots);
        self.gists.push(Arc::new(Arc::make_mut(&mut self.words).gist(zone)));
    }

    /// One more committed record.
    pub(super) fn take(&mut self, kept: Archived, print: Option<u64>) {
        let record = kept.record();
        if let Some(print) = print {
            self.known.insert(print, record.seq);
        }
        if !record.is_own() {
            self.note(&record.party, record.position);
        }
        for effect in &record.effects {
            self.fates.take(record.seq, effect);
        }
        self.head = record.seq;
        for delivery in kept.deliveries() {
            self.heads.set(&delivery.party, (delivery.feed_seq, delivery.feed_digest));
        }
        self.tail.push_back(kept);
    }

    /// Keeps the furthest position of a party. A stream that was made anew counts from 1 again; the order of the archive
    /// says which life is the later one, for the creation time comes from a clock that may have been set back.
    fn note(&mut self, party: &PartyId, position: Position) {
        match self.positions.get_mut(party) {
            Some(known) if known.epoch == position.epoch && known.sequence >= position.sequence => {}
            Some(known) => *known = position,
            None => drop(self.positions.insert(party.clone(), position)),
        }
    }

    /// The record at a sequence that is not sealed.
    pub(super) fn in_tail(&self, seq: u64) -> Option<&Archived> {
        let first = self.tail.front()?.record().seq;
        self.tail.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// The same, to be changed.
    pub(super) fn in_tail_mut(&mut self, seq: u64) -> Option<&mut Archived> {
        let first = self.tail.front()?.record().seq;
        self.tail.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Where the block stands that holds a sequence, if it is sealed.
    pub(super) fn at(&self, seq: u64) -> Option<usize> {
        let at = self.gists.partition_point(|gist| gist.last < seq);
        self.gists.get(at).filter(|gist| gist.first <= seq).map(|_| at)
    }

    /// The sealed block that holds a sequence.
    pub(super) fn gist_of(&self, seq: u64) -> Option<Arc<Gist>> {
        self.gists.get(self.at(seq)?).cloned()
    }

    /// Where a block before index `end` may hold this place of an intake stream: the last such block.
    pub(super) fn covering(
        &self,
        end: usize,
        party: &PartyId,
        position: Position,
    ) -> Option<(usize, Arc<Gist>)> {
        let at = self.intake.get(party)?.covering(end, position.epoch, position.sequence)?.zone;
        Some((at, Arc::clone(self.gists.get(at)?)))
    }

    /// The parties whose feeds go through a block, with what goes through it.
    pub(super) fn through(&self, zone: usize) -> impl Iterator<Item = (&PartyId, Reach)> {
        self.feeds.iter().filter_map(move |(party, trail)| {
            let reach = trail.before(zone + 1).filter(|reach| reach.zone == zone)?;
            Some((party, reach))
        })
    }

    /// The last block before another that the feed of a party goes through.
    pub(super) fn before(&self, party: &PartyId, zone: usize) -> Option<(usize, Arc<Gist>)> {
        let at = self.feeds.get(party)?.before(zone)?.zone;
        Some((at, Arc::clone(self.gists.get(at)?)))
    }

    /// The last sealed block that the feed of each party goes through.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&PartyId, usize)> {
        self.feeds.iter().filter_map(|(party, trail)| Some((party, trail.last()?.zone)))
    }

    /// The frames that hold these sequences.
    pub(super) fn frames(&self, first: u64, last: u64) -> (Vec<FrameAt>, Arc<[PathBuf]>) {
        (self.frames.holding(first, last), Arc::clone(&self.segments))
    }

    /// Where the next `limit` deliveries of a party behind a feed sequence are: blocks to read, then unsealed ones.
    pub(super) fn road(&self, party: &PartyId, after: u64, limit: usize) -> (Vec<Arc<Gist>>, Vec<Step>) {
        let behind = self.sealed_behind(party, after, limit as u64);
        let wanted = after.saturating_add(1);
        let promised: u64 = behind.iter().map(|(_, reach)| reach.to + 1 - reach.from.max(wanted)).sum();
        let enough = !behind.is_empty() && promised >= limit as u64;
        let gists = behind.into_iter().map(|(gist, _)| gist).collect();
        (gists, if enough { Vec::new() } else { self.fresh_behind(party, after) })
    }

    /// The blocks that hold the next `limit` deliveries of a party behind a feed sequence, as far as they are sealed, and
    /// which deliveries these hold.
    pub(super) fn sealed_behind(&self, party: &PartyId, after: u64, limit: u64) -> Vec<(Arc<Gist>, Reach)> {
        let wanted = after.saturating_add(1);
        let mut promised = 0;
        let mut found = Vec::new();
        for reach in self.feeds.get(party).into_iter().flat_map(|trail| trail.from(wanted)) {
            let Some(gist) = self.gists.get(reach.zone).filter(|_| promised < limit) else { break };
            promised += reach.to + 1 - reach.from.max(wanted);
            found.push((Arc::clone(gist), reach));
        }
        found
    }

    /// The deliveries of a party behind a feed sequence that are not sealed.
    pub(super) fn fresh_behind(&self, party: &PartyId, after: u64) -> Vec<Step> {
        let wanted = after.saturating_add(1);
        // From the back: a courier is mostly near the head.
        let mut fresh: Vec<Step> = Vec::new();
        'tail: for kept in self.tail.iter().rev() {
            for delivery in kept.deliveries().iter().rev().filter(|delivery| delivery.party == *party) {
                if delivery.feed_seq < wanted {
                    break 'tail;
                }
                fresh.push(Step::of(kept, delivery));
            }
        }
        fresh.reverse();
        fresh
    }
}
