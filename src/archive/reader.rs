//! Reading: shared by couriers, services and offline tools; never waits for a sync, never changes anything.
//!
//! What cannot be read is an error and never "not there": a message that is wrongly taken for unknown would be accepted a
//! second time.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::cache::{Block, Cache};
use super::feeds::Feeds;
use super::frame::Zstd;
use super::gist::{Gist, Sort};
use super::index::Index;
use super::journal::{self, Place};
use super::pack::Pack;
use super::record::Record;
use super::store::{self, Store};
use super::vault::Vault;
use super::zone::{Shares, Zone, fingerprint};
use super::{Archived, Delivery, Error, owe};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId};
use crate::message::raw::Position;

/// Places that [`Reader::at_or_before`] looks at: the last is some 70,000 places back.
const LOOKS: usize = 28;

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

/// One delivery before its message was looked up.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) feed_seq: u64,
    pub(super) feed_digest: Digest,
    /// Archive sequence of the message.
    of: u64,
    /// The message, if it is the record itself.
    own: Option<Arc<Record>>,
}

impl Step {
    pub(super) fn of(kept: &Archived, delivery: &Delivery) -> Self {
        let own = (delivery.of == kept.record().seq).then(|| Arc::clone(kept.record_arc()));
        Self { feed_seq: delivery.feed_seq, feed_digest: delivery.feed_digest, of: delivery.of, own }
    }
}

/// A reader of the archive.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) store: Store,
    pub(super) index: Arc<RwLock<Index>>,
    pub(super) cache: Arc<Cache>,
    /// What feeds have of blocks whose zone in sled is bad, by the first sequence of the block.
    pub(super) mended: Arc<Mutex<HashMap<u64, Shares>>>,
    pub(super) vault: Arc<Vault>,
    /// Held for writing while a frame of the journal is written anew: its bytes are not read in between.
    pub(super) rewriting: Arc<RwLock<()>>,
}

impl Reader {
    pub(super) fn new(store: Store, index: Index, vault: Arc<Vault>) -> Self {
        let index = Arc::new(RwLock::new(index));
        Self { store, index, cache: Arc::default(), mended: Arc::default(), vault, rewriting: Arc::default() }
    }

    /// A commit is on stable storage. Gives, for each record, the node over 256 leaves that its leaf completes.
    pub(super) fn append(
        &self,
        place: Place,
        segments: &[PathBuf],
        kept: &[(Archived, Option<u64>)],
        leaves: &[Digest],
    ) -> Vec<Option<Digest>> {
        let mut index = self.index.write();
        index.frames.push(&place);
        if index.segments.len() != segments.len() {
            index.segments = segments.into();
        }
        for (kept, print) in kept {
            index.take(kept.clone(), *print);
        }
        leaves.iter().map(|leaf| index.tree.push(*leaf)).collect()
    }

    /// A record of the journal that sled lacks was found while opening.
    pub(super) fn hold(&self, kept: Archived, print: Option<u64>, leaf: Digest) -> Option<Digest> {
        let mut index = self.index.write();
        index.take(kept, print);
        index.tree.push(leaf)
    }

    /// A block is in sled; its records leave the memory.
    pub(super) fn sealed(&self, zone: &Zone) {
        let mut index = self.index.write();
        while index.tail.front().is_some_and(|kept| kept.record().seq <= zone.last) {
            index.tail.pop_front();
        }
        index.add(zone);
    }

    /// The heads of all feeds after the sealed blocks, which the index learns too: the last block of each party is read
    /// once.
    pub(super) fn sealed_heads(&self) -> Result<Feeds, Error> {
        let mut by_block: BTreeMap<usize, Vec<PartyId>> = BTreeMap::new();
        self.index.read().ends().for_each(|(party, at)| by_block.entry(at).or_default().push(party.clone()));
        let mut feeds = Feeds::default();
        for (at, parties) in by_block {
            let gist = self.index.read().gists.get(at).cloned();
            let gist = gist.ok_or(Error::Corrupt("a feed through no block"))?;
            let block = self.block(&gist)?;
            for party in parties {
                let end = walk(&block, &party).last();
                let end = end.ok_or(Error::Corrupt("a block without the deliveries of its zone"))?;
                feeds.set(&party, (end.feed_seq, end.feed_digest));
            }
        }
        self.index.write().heads = feeds.clone();
        Ok(feeds)
    }

    /// The frames of the journal that hold these sequences.
    pub(super) fn packs(&self, first: u64, last: u64) -> Result<Vec<Pack>, Error> {
        let _still = self.rewriting.read();
        let (frames, segments) = self.index.read().frames(first, last);
        frames.iter().map(|frame| journal::read(&segments, &frame.place(&segments)?)).collect()
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
        let gist = {
            let index = self.index.read();
            if let Some(kept) = index.in_tail(seq) {
                return Ok(Some(Arc::clone(kept.record_arc())));
            }
            index.gist_of(seq)
        };
        let Some(gist) = gist else { return Ok(None) };
        let at = usize::try_from(seq - gist.first).unwrap_or(usize::MAX);
        Ok(self.block(&gist)?.records.get(at).cloned())
    }

    /// What a record owes: feed sequence and running digest of each recipient. Empty if nothing was delivered, or there
    /// is no such record.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn deliveries(&self, seq: u64) -> Result<Vec<Delivery>, Error> {
        let gist = {
            let index = self.index.read();
            if let Some(kept) = index.in_tail(seq) {
                return Ok(kept.deliveries().to_vec());
            }
            index.gist_of(seq)
        };
        let Some(gist) = gist else { return Ok(Vec::new()) };
        let block = self.block(&gist)?;
        let asked = block.records.iter().find(|record| record.seq == seq);
        let Some(asked) = asked else { return Ok(Vec::new()) };
        let mut feeds = Feeds::default();
        for (party, share) in block.shares.iter() {
            feeds.set(party, (share.first - 1, share.before));
        }
        let before = block.records.iter().take_while(|record| record.seq < seq);
        before.for_each(|record| drop(owe(Arc::clone(record), &mut feeds)));
        Ok(owe(Arc::clone(asked), &mut feeds).deliveries().to_vec())
    }

    /// The message known under `source` and `id`: the first that was accepted or quarantined under them.
    ///
    /// # Errors
    /// The journal cannot be read. That is not "unknown": the message must not be accepted again.
    pub fn find(&self, source: &str, id: &MessageId) -> Result<Option<Arc<Record>>, Error> {
        let candidates = self.index.read().known.under(fingerprint(source, id));
        for seq in candidates {
            let record = self.get(seq)?.ok_or(Error::Corrupt("a known message without a record"))?;
            if record.identity() == Some((source, id)) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// How far the intake stream of a party was decided.
    #[must_use]
    pub fn last_position(&self, party: &PartyId) -> Option<Position> {
        self.index.read().positions.get(party).copied()
    }

    /// The record of a publication, by its place in the intake stream; the latest if there are several. Only the last
    /// life of a stream (epoch) is surely found: nothing of an earlier one can come again.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn at_position(&self, party: &PartyId, position: Position) -> Result<Option<Arc<Record>>, Error> {
        let here = |record: &&Arc<Record>| record.party == *party && record.position == position;
        let mut end = {
            let index = self.index.read();
            if let Some(record) = index.tail.iter().rev().map(Archived::record_arc).find(here) {
                return Ok(Some(Arc::clone(record)));
            }
            index.gists.len() // what is sealed from here on was in the tail just now
        };
        loop {
            let covering = self.index.read().covering(end, party, position);
            let Some((at, gist)) = covering else { return Ok(None) };
            if let Some(record) = self.block(&gist)?.records.iter().rev().find(here) {
                return Ok(Some(Arc::clone(record)));
            }
            end = at;
        }
    }

    /// A publication at this place of its intake stream or before it: the nearest of some that lie ever further apart. What was
    /// only answered has no record, so not every place is found.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn at_or_before(&self, party: &PartyId, upto: Position) -> Result<Option<Arc<Record>>, Error> {
        let steps = std::iter::successors(Some(0_u64), |step| Some(step + step / 2 + 1));
        for sequence in steps.map_while(|step| upto.sequence.checked_sub(step)).take(LOOKS) {
            let found = self.at_position(party, Position { sequence, ..upto })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last feed sequence of a party.
    #[must_use]
    pub fn feed_head(&self, party: &PartyId) -> u64 {
        self.index.read().heads.head(party).0
    }

    /// The feed of a party behind a sequence, in order and without a gap: at most `limit` messages, and not many more
    /// bytes than `most_bytes`.
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
        let (gists, fresh) = self.index.read().road(party, after, limit);
        let mut found: Vec<FeedItem> = Vec::new();
        let mut bytes = 0;
        // False when enough was found.
        let mut take = |step: Step| {
            if step.feed_seq != after + 1 + found.len() as u64 {
                return Err(Error::Corrupt("a feed with a gap"));
            }
            if found.len() >= limit || bytes >= most_bytes {
                return Ok(false);
            }
            let item = self.item(step)?;
            bytes += item.record.body.len();
            found.push(item);
            Ok(true)
        };
        for gist in &gists {
            let block = self.block(gist)?;
            for step in walk(&block, party).filter(|step| step.feed_seq > after) {
                if !take(step)? {
                    return Ok(found);
                }
            }
        }
        for step in fresh {
            if !take(step)? {
                break;
            }
        }
        Ok(found)
    }

    /// A delivery with its message.
    pub(super) fn item(&self, step: Step) -> Result<FeedItem, Error> {
        let record = match step.own {
            Some(record) => record,
            None => self.get(step.of)?.ok_or(Error::Corrupt("a release of a message that is not there"))?,
        };
        Ok(FeedItem { feed_seq: step.feed_seq, feed_digest: step.feed_digest, record })
    }

    /// All records of these types, in archive order; blocks without any are skipped.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn scan_kinds(&self, kinds: &[&str]) -> Result<Vec<Arc<Record>>, Error> {
        let wanted = |record: &&Arc<Record>| {
            record.summary.as_ref().is_some_and(|summary| kinds.contains(&summary.kind.as_str()))
        };
        let (gists, tail) = {
            let index = self.index.read();
            let with =
                |gist: &&Arc<Gist>| index.words.words(gist, Sort::Kind).any(|kind| kinds.contains(&kind));
            let gists: Vec<Arc<Gist>> = index.gists.iter().filter(with).cloned().collect();
            let tail = index.tail.iter().map(Archived::record_arc).filter(wanted).cloned();
            (gists, tail.collect::<Vec<_>>())
        };
        let mut found = Vec::new();
        for gist in &gists {
            found.extend(self.records(gist)?.iter().filter(wanted).cloned());
        }
        found.extend(tail);
        Ok(found)
    }

    /// Puts these bodies in the place of a block's in sled.
    pub(super) fn replace_bodies(&self, first: u64, bodies: &[Vec<u8>], now_ms: i64) -> Result<(), Error> {
        let packed = store::pack(bodies.iter().map(Vec::as_slice), &mut Zstd::new()?)?;
        if self.store.replace_bodies(first, &packed, now_ms)? { Ok(()) } else { self.forget_unused(now_ms) }
    }

    /// Destroys every key that no block of sled has any more: of blocks that were sealed anew when a crash, or a value that cannot be
    /// read, kept the old key from going. No block may be on its way to sled.
    pub(super) fn forget_unused(&self, now_ms: i64) -> Result<(), Error> {
        let firsts: Vec<u64> = self.index.read().gists.iter().map(|gist| gist.first).collect();
        let kept = firsts.into_iter().filter_map(|first| self.store.slot_of(first)).collect();
        self.vault.forget_blocks_but(&kept, now_ms)
    }

    /// Bytes of sled on disk.
    #[must_use]
    pub fn sled_bytes(&self) -> u64 {
        self.store.size()
    }
}

/// A party's deliveries in a block, with the running digest.
pub(super) fn walk<'a>(block: &'a Block, party: &'a PartyId) -> impl Iterator<Item = Step> + use<'a> {
    let share = block.shares.get(party).copied();
    let mut head = share.map_or((0, Digest::default()), |share| (share.first - 1, share.before));
    let records = share.map_or(&[][..], |_| &block.records);
    records.iter().flat_map(move |record| record.owes(party).map(move |owed| (record, owed))).map(
        move |(record, (of, digest))| {
            head = (head.0 + 1, head.1.feed(digest));
            let own = (of == record.seq).then(|| Arc::clone(record));
            Step { feed_seq: head.0, feed_digest: head.1, of, own }
        },
    )
}
