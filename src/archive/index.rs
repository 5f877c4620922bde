//! What readers have in memory: zones, known messages, places of frames, and the records that are not sealed yet.
//!
//! It reads no file. One lock guards it, so a record is always in the tail or in a zone, never in both or neither.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::Archived;
use super::fates::Fates;
use super::feeds::Feeds;
use super::frames::{FrameAt, Frames};
use super::journal::Place;
use super::known::Known;
use super::reader::Step;
use super::tree::Tree;
use super::zone::{Due, Zone};
use crate::message::names::PartyId;
use crate::message::raw::Position;

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Sealed blocks in order.
    pub(super) zones: Vec<Arc<Zone>>,
    /// Per party the zones that its feed goes through, with its first feed sequence there.
    through: HashMap<PartyId, Vec<(u64, usize)>>,
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
    /// Archive sequence of what has a date, in order, and its first date, Unix milliseconds. Also of what was erased since.
    pub(super) dues: Vec<(u64, i64)>,
}

impl Index {
    /// The index of what sled holds and the frames of the journal.
    pub(super) fn new(zones: Vec<Zone>, known: Known, places: Vec<Place>, segments: &[PathBuf]) -> Self {
        let frames = places.into_iter().collect();
        let mut index = Self { known, frames, segments: segments.into(), ..Self::default() };
        for zone in zones {
            for (party, (epoch, _, sequence)) in zone.positions.iter() {
                index.note(party, Position { epoch: *epoch, sequence: *sequence });
            }
            index.head = zone.last;
            index.dues.extend(zone.dues.iter().filter_map(|due| Some((due.seq, due.first_ms()?))));
            for (by, effect) in &zone.effects {
                index.fates.take(*by, effect);
            }
            index.add(zone);
        }
        index
    }

    /// One more sealed block. What falls due of its records is known already.
    pub(super) fn add(&mut self, mut zone: Zone) {
        zone.slim();
        let at = self.zones.len();
        for (party, share) in zone.shares.iter() {
            match self.through.get_mut(party) {
                Some(through) => through.push((share.first, at)),
                None => drop(self.through.insert(party.clone(), vec![(share.first, at)])),
            }
        }
        self.zones.push(Arc::new(zone));
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
        self.dues.extend(Due::of(record).and_then(|due| Some((due.seq, due.first_ms()?))));
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

    /// The zone that holds a sequence.
    pub(super) fn zone_of(&self, seq: u64) -> Option<Arc<Zone>> {
        let at = self.zones.partition_point(|zone| zone.last < seq);
        self.zones.get(at).filter(|zone| zone.first <= seq).cloned()
    }

    /// Where a zone before index `end` may hold this place of an intake stream: the last such zone.
    pub(super) fn covering(
        &self,
        end: usize,
        party: &PartyId,
        position: Position,
    ) -> Option<(usize, Arc<Zone>)> {
        let covers = |zone: &Arc<Zone>| {
            zone.positions.get(party).is_some_and(|(epoch, from, to)| {
                *epoch == position.epoch && (*from..=*to).contains(&position.sequence)
            })
        };
        let at = self.zones[..end].iter().rposition(covers)?;
        Some((at, Arc::clone(&self.zones[at])))
    }

    /// The frames that hold these sequences.
    pub(super) fn frames(&self, first: u64, last: u64) -> (Vec<FrameAt>, Arc<[PathBuf]>) {
        (self.frames.holding(first, last), Arc::clone(&self.segments))
    }

    /// Where the next `limit` deliveries of a party behind a feed sequence are: zones to read, then unsealed ones.
    pub(super) fn road(&self, party: &PartyId, after: u64, limit: usize) -> (Vec<Arc<Zone>>, Vec<Step>) {
        let (zones, promised) = self.zones_behind(party, after, limit as u64);
        let enough = !zones.is_empty() && promised >= limit as u64;
        (zones, if enough { Vec::new() } else { self.fresh_behind(party, after) })
    }

    /// The zones that hold the next `limit` deliveries of a party behind a feed sequence, as far as they are sealed, and
    /// how many these hold.
    pub(super) fn zones_behind(&self, party: &PartyId, after: u64, limit: u64) -> (Vec<Arc<Zone>>, u64) {
        let wanted = after.saturating_add(1);
        let through = self.through.get(party).map_or(&[][..], Vec::as_slice);
        let from = through.partition_point(|(first, _)| *first <= wanted).saturating_sub(1);
        let mut promised = 0_u64;
        let mut zones = Vec::new();
        for zone in through[from..].iter().filter_map(|(_, at)| self.zones.get(*at)) {
            let Some(share) = zone.shares.get(party) else { continue };
            if promised >= limit {
                break;
            }
            let behind = share.first + u64::from(share.count);
            if behind > wanted {
                promised += behind - share.first.max(wanted);
                zones.push(Arc::clone(zone));
            }
        }
        (zones, promised)
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
