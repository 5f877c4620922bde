//! Reading: shared by couriers, services and offline tools; never waits for a sync, never changes anything.
//!
//! Zones and fingerprints are in memory, and the records that are not sealed yet. Blocks are read from sled, and from
//! the journal where sled's copy is missing or bad.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use super::feeds::Feeds;
use super::journal::{self, Place};
use super::record::Record;
use super::store::Store;
use super::zone::{Zone, fingerprint};
use super::{Archived, Error};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId};
use crate::message::raw::Position;

/// One delivery of a feed.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// Dense per party, from 1.
    pub feed_seq: u64,
    /// Running digest after it.
    pub feed_digest: Digest,
    /// The message.
    pub record: Arc<Record>,
}

/// A kept record that is not sealed yet.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    pub(super) kept: Archived,
}

/// What is in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    zones: Vec<Zone>,
    ids: HashMap<u64, u64>,
    tail: VecDeque<Tail>,
    heads: Feeds,
    positions: HashMap<PartyId, Position>,
    places: Vec<Place>,
    segments: Vec<PathBuf>,
    genesis: Digest,
    head: u64,
}

impl Index {
    pub(super) fn new(
        zones: Vec<Zone>,
        ids: Vec<(u64, u64)>,
        places: Vec<Place>,
        segments: Vec<PathBuf>,
        genesis: Digest,
    ) -> Self {
        let mut positions = HashMap::new();
        for zone in &zones {
            for (party, (epoch, _, sequence)) in &zone.positions {
                note(&mut positions, party, Position { epoch: *epoch, sequence: *sequence });
            }
        }
        let head = zones.last().map_or(0, |zone| zone.last);
        let ids = ids.into_iter().collect();
        Self { zones, ids, places, segments, genesis, positions, head, ..Self::default() }
    }

    fn know(&mut self, record: &Record) {
        if let Some((source, id)) = record.identity() {
            self.ids.insert(fingerprint(source, id), record.seq);
        }
        note(&mut self.positions, &record.party, record.position);
        self.head = self.head.max(record.seq);
    }

    /// The frames that hold these sequences.
    fn frames(&self, first: u64, last: u64) -> (Vec<Place>, Vec<PathBuf>) {
        let from = self.places.partition_point(|place| place.header.last() < first);
        let places =
            self.places[from..].iter().take_while(|place| place.header.first <= last).copied().collect();
        (places, self.segments.clone())
    }
}

/// Keeps the furthest position of a party; a stream made anew (later epoch) begins again.
fn note(positions: &mut HashMap<PartyId, Position>, party: &PartyId, position: Position) {
    match positions.get_mut(party) {
        Some(known) if (known.epoch, known.sequence) >= (position.epoch, position.sequence) => {}
        Some(known) => *known = position,
        None => drop(positions.insert(party.clone(), position)),
    }
}

/// A reader of the archive.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Store,
    index: Arc<RwLock<Index>>,
}

impl Reader {
    pub(super) fn new(store: Store, index: Index) -> Self {
        Self { store, index: Arc::new(RwLock::new(index)) }
    }

    pub(super) fn genesis(&self) -> Digest {
        self.index.read().genesis
    }

    /// A commit is on stable storage.
    pub(super) fn append(
        &self,
        place: Place,
        segments: &[PathBuf],
        tails: impl Iterator<Item = Tail>,
        heads: &Feeds,
    ) {
        let mut index = self.index.write();
        if index.places.is_empty() {
            index.genesis = place.header.hash();
        }
        index.places.push(place);
        if index.segments.len() != segments.len() {
            index.segments = segments.to_vec();
        }
        for tail in tails {
            index.know(&tail.kept.record);
            for delivery in tail.kept.deliveries.iter() {
                index.heads.set(delivery.party.clone(), (delivery.feed_seq, delivery.feed_digest));
            }
            index.tail.push_back(tail);
        }
        debug_assert!(index.tail.back().is_none_or(|tail| tail.kept.record.seq == index.head), "{heads:?}");
    }

    /// A block is in sled; its records leave the memory.
    pub(super) fn sealed(&self, zone: Zone) {
        let mut index = self.index.write();
        while index.tail.front().is_some_and(|tail| tail.kept.record.seq <= zone.last) {
            index.tail.pop_front();
        }
        index.zones.push(zone);
    }

    /// A block was sealed while opening.
    pub(super) fn add_block(&self, zone: Zone, records: &[Arc<Record>]) {
        let mut index = self.index.write();
        for record in records {
            index.know(record);
        }
        index.zones.push(zone);
    }

    /// The unsealed rest found while opening, and the heads of all feeds.
    pub(super) fn hold(&self, tails: Vec<Tail>, heads: &Feeds) {
        let mut index = self.index.write();
        for tail in tails {
            index.know(&tail.kept.record);
            index.tail.push_back(tail);
        }
        index.heads = heads.clone();
    }

    /// The heads of all feeds after the sealed blocks: the last block of each party is read once.
    pub(super) fn sealed_heads(&self) -> Result<Feeds, Error> {
        let mut last: BTreeMap<PartyId, usize> = BTreeMap::new();
        for (at, zone) in self.index.read().zones.iter().enumerate() {
            for party in zone.shares.keys() {
                last.insert(party.clone(), at);
            }
        }
        let mut by_block: BTreeMap<usize, Vec<PartyId>> = BTreeMap::new();
        for (party, at) in last {
            by_block.entry(at).or_default().push(party);
        }
        let mut feeds = Feeds::default();
        for (at, parties) in by_block {
            let Some(zone) = self.index.read().zones.get(at).cloned() else { continue };
            let records = self.block(&zone)?;
            for party in parties {
                if let Some(item) = walk(&zone, &records, &party).last() {
                    feeds.set(party, (item.feed_seq, item.feed_digest));
                }
            }
        }
        Ok(feeds)
    }

    fn block(&self, zone: &Zone) -> Result<Vec<Arc<Record>>, Error> {
        let whole = |records: &Vec<Record>| {
            records.first().is_some_and(|record| record.seq == zone.first)
                && records.last().is_some_and(|record| record.seq == zone.last)
        };
        if let Some(records) = self.store.block(zone.first).filter(whole) {
            return Ok(records.into_iter().map(Arc::new).collect());
        }
        let (places, segments) = self.index.read().frames(zone.first, zone.last);
        let mut records = Vec::new();
        for place in &places {
            let frame = journal::read(&segments, place)?;
            records.extend(
                frame
                    .into_iter()
                    .filter(|record| (zone.first..=zone.last).contains(&record.seq))
                    .map(Arc::new),
            );
        }
        Ok(records)
    }

    /// The last archive sequence; 0 if there is none.
    #[must_use]
    pub fn head_seq(&self) -> u64 {
        self.index.read().head
    }

    /// The record at a sequence.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn get(&self, seq: u64) -> Result<Option<Arc<Record>>, Error> {
        let zone = {
            let index = self.index.read();
            if let Some(first) = index.tail.front().map(|tail| tail.kept.record.seq)
                && let Some(at) = seq.checked_sub(first)
            {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                return Ok(index.tail.get(at).map(|tail| Arc::clone(&tail.kept.record)));
            }
            let at = index.zones.partition_point(|zone| zone.last < seq);
            match index.zones.get(at) {
                Some(zone) if zone.first <= seq => zone.clone(),
                _ => return Ok(None),
            }
        };
        let at = usize::try_from(seq - zone.first).unwrap_or(usize::MAX);
        Ok(self.block(&zone)?.into_iter().nth(at))
    }

    /// The message known under `source` and `id`.
    #[must_use]
    pub fn find(&self, source: &str, id: &MessageId) -> Option<Arc<Record>> {
        let seq = self.index.read().ids.get(&fingerprint(source, id)).copied()?;
        let record = self.get(seq).ok().flatten()?;
        (record.identity() == Some((source, id))).then_some(record)
    }

    /// How far the intake stream of a party was decided.
    #[must_use]
    pub fn last_position(&self, party: &PartyId) -> Option<Position> {
        self.index.read().positions.get(party).copied()
    }

    /// The record of a publication, by its place in the intake stream.
    #[must_use]
    pub fn at_position(&self, party: &PartyId, position: Position) -> Option<Arc<Record>> {
        let here = |record: &Record| record.party == *party && record.position == position;
        let zones: Vec<Zone> = {
            let index = self.index.read();
            let mut tail = index.tail.iter().rev().map(|tail| &tail.kept.record);
            if let Some(record) = tail.find(|record| here(record)) {
                return Some(Arc::clone(record));
            }
            let covers = |zone: &&Zone| {
                zone.positions.get(party).is_some_and(|(epoch, from, to)| {
                    *epoch == position.epoch && (*from..=*to).contains(&position.sequence)
                })
            };
            index.zones.iter().rev().filter(covers).cloned().collect()
        };
        zones.iter().find_map(|zone| self.block(zone).ok()?.into_iter().find(|record| here(record)))
    }

    /// The last feed sequence of a party.
    #[must_use]
    pub fn feed_head(&self, party: &PartyId) -> u64 {
        self.index.read().heads.head(party).0
    }

    /// The feed of a party behind a sequence, in order: at most `limit` messages, and not many more bytes than
    /// `most_bytes`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn feed(
        &self,
        party: &PartyId,
        after: u64,
        limit: usize,
        most_bytes: usize,
    ) -> Result<Vec<FeedItem>, Error> {
        let (zones, tail) = {
            let index = self.index.read();
            let from = index
                .zones
                .iter()
                .rposition(|zone| {
                    zone.shares
                        .get(party)
                        .is_some_and(|share| share.first + u64::from(share.count) <= after + 1)
                })
                .map_or(0, |at| at + 1);
            let zones: Vec<Zone> = index.zones[from..]
                .iter()
                .filter(|zone| zone.shares.contains_key(party))
                .take(limit)
                .cloned()
                .collect();
            let tail: Vec<FeedItem> = index.tail.iter().filter_map(|tail| item(tail, party)).collect();
            (zones, tail)
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        for zone in &zones {
            let records = self.block(zone)?;
            for item in walk(zone, &records, party).filter(|item| item.feed_seq > after) {
                bytes += item.record.payload.len();
                found.push(item);
                if found.len() >= limit || bytes >= most_bytes {
                    return Ok(found);
                }
            }
        }
        for item in tail.into_iter().filter(|item| item.feed_seq > after) {
            if found.len() >= limit || bytes >= most_bytes {
                break;
            }
            // A block sealed between the look at zones and tail would leave a gap; the caller asks again.
            if found.last().is_some_and(|last: &FeedItem| last.feed_seq + 1 != item.feed_seq) {
                break;
            }
            bytes += item.record.payload.len();
            found.push(item);
        }
        Ok(found)
    }

    /// What a record owes to whom: feed sequence and running digest of each recipient.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn deliveries(&self, seq: u64) -> Result<Vec<super::Delivery>, Error> {
        let zone = {
            let index = self.index.read();
            if let Some(tail) = index.tail.iter().find(|tail| tail.kept.record.seq == seq) {
                return Ok(tail.kept.deliveries.to_vec());
            }
            match index.zones.iter().find(|zone| (zone.first..=zone.last).contains(&seq)) {
                Some(zone) => zone.clone(),
                None => return Ok(Vec::new()),
            }
        };
        let records = self.block(&zone)?;
        let here = zone.shares.keys().filter_map(|party| {
            let item = walk(&zone, &records, party).find(|item| item.record.seq == seq)?;
            Some(super::Delivery {
                party: party.clone(),
                feed_seq: item.feed_seq,
                feed_digest: item.feed_digest,
            })
        });
        Ok(here.collect())
    }

    /// All accepted records of these types, in archive order; blocks without any are skipped.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn scan_kinds(&self, kinds: &[&str]) -> Result<Vec<Arc<Record>>, Error> {
        let wanted = |record: &Record| {
            record.summary.as_ref().is_some_and(|summary| kinds.contains(&summary.kind.as_str()))
        };
        let (zones, tail) = {
            let index = self.index.read();
            let with = |zone: &&Zone| kinds.iter().any(|kind| zone.kinds.contains(*kind));
            let zones: Vec<Zone> = index.zones.iter().filter(with).cloned().collect();
            let tail: Vec<Arc<Record>> =
                index.tail.iter().map(|tail| Arc::clone(&tail.kept.record)).collect();
            (zones, tail)
        };
        let mut found = Vec::new();
        for zone in &zones {
            found.extend(self.block(zone)?.into_iter().filter(|record| wanted(record)));
        }
        found.extend(tail.into_iter().filter(|record| wanted(record)));
        Ok(found)
    }

    /// Bytes of sled on disk.
    #[must_use]
    pub fn sled_bytes(&self) -> u64 {
        self.store.size()
    }
}

fn item(tail: &Tail, party: &PartyId) -> Option<FeedItem> {
    let delivery = tail.kept.deliveries.iter().find(|delivery| delivery.party == *party)?;
    Some(FeedItem {
        feed_seq: delivery.feed_seq,
        feed_digest: delivery.feed_digest,
        record: Arc::clone(&tail.kept.record),
    })
}

/// A party's deliveries in a block, with the running digest.
fn walk<'a>(
    zone: &Zone,
    records: &'a [Arc<Record>],
    party: &'a PartyId,
) -> impl Iterator<Item = FeedItem> + use<'a> {
    let share = zone.shares.get(party).copied();
    let mut head = share.map_or((0, Digest::default()), |share| (share.first - 1, share.before));
    records
        .iter()
        .filter(move |record| {
            share.is_some()
                && record.is_delivered()
                && record.recipients.iter().any(|entry| entry.party == *party)
        })
        .map(move |record| {
            head = (head.0 + 1, head.1.feed(record.digest));
            FeedItem { feed_seq: head.0, feed_digest: head.1, record: Arc::clone(record) }
        })
}
