//! Blocks as they are read: from sled, and from the journal where sled's copy is missing or bad.
//!
//! What a feed has of a block needs the running digest before it, and only the zone in sled holds that. Where the zone is bad it is
//! computed from the blocks before, and then held: damage is rare, and the next start builds sled anew.

use std::sync::Arc;

use super::Error;
use super::cache::Block;
use super::gist::Gist;
use super::reader::{Reader, walk};
use super::record::Record;
use super::zone::{Due, Share, Shares, Zone};
use crate::message::digest::Digest;
use crate::message::names::PartyId;

impl Reader {
    /// A block for one who will want its neighbours too.
    pub(super) fn block(&self, gist: &Gist) -> Result<Arc<Block>, Error> {
        if let Some(block) = self.cache.get(gist.first) {
            return Ok(block);
        }
        let records = self.records(gist)?;
        let block = Arc::new(Block { shares: self.shares(gist)?, records });
        self.cache.put(gist.first, &block);
        Ok(block)
    }

    /// The records of a block for one who passes by once.
    pub(super) fn records(&self, gist: &Gist) -> Result<Vec<Arc<Record>>, Error> {
        let whole = |records: &[Record]| (gist.first..=gist.last).eq(records.iter().map(|record| record.seq));
        if let Some(records) = self.store.block(gist.first).filter(|records| whole(records)) {
            return Ok(records.into_iter().map(Arc::new).collect());
        }
        let mut records = Vec::new();
        for pack in self.packs(gist.first, gist.last)? {
            let frame = pack.records(Some(self.vault.mask()))?;
            records.extend(frame.into_iter().filter(|record| (gist.first..=gist.last).contains(&record.seq)));
        }
        if !whole(&records) {
            return Err(Error::Corrupt("a block that the journal does not hold whole"));
        }
        Ok(records.into_iter().map(Arc::new).collect())
    }

    /// What of a block falls due some day.
    pub(super) fn dues(&self, gist: &Gist) -> Result<Vec<Due>, Error> {
        match self.zone(gist) {
            Some(zone) => Ok(zone.dues),
            None => Ok(self.records(gist)?.iter().filter_map(|record| Due::of(record)).collect()),
        }
    }

    fn zone(&self, gist: &Gist) -> Option<Zone> {
        self.store.zone(gist.first).filter(|zone| (zone.first, zone.last) == (gist.first, gist.last))
    }

    fn shares(&self, gist: &Gist) -> Result<Shares, Error> {
        if let Some(zone) = self.zone(gist) {
            return Ok(zone.shares);
        }
        if let Some(shares) = self.mended.lock().get(&gist.first) {
            return Ok(shares.clone());
        }
        let (at, through) = {
            let index = self.index.read();
            let at = index.at(gist.first).ok_or(Error::Corrupt("a block that is not in the index"))?;
            let through: Vec<_> = index.through(at).map(|(party, reach)| (party.clone(), reach)).collect();
            (at, through)
        };
        let mut shares = Shares::new();
        for (party, reach) in through {
            let count = u32::try_from(reach.to + 1 - reach.from)
                .map_err(|_| Error::Corrupt("a block with too many deliveries"))?;
            let before = self.digest_before(&party, at)?;
            shares.insert(party, Share { first: reach.from, count, before });
        }
        self.mended.lock().insert(gist.first, shares.clone());
        Ok(shares)
    }

    /// The running digest of a feed before a block: from the last zone before it that can be read, over the records of those
    /// that cannot.
    fn digest_before(&self, party: &PartyId, mut at: usize) -> Result<Digest, Error> {
        let mut passed = Vec::new();
        let mut digest = Digest::default();
        loop {
            let before = self.index.read().before(party, at);
            let Some((before, gist)) = before else { break };
            let mended = || self.mended.lock().get(&gist.first).cloned();
            let known = self.zone(&gist).map(|zone| zone.shares).or_else(mended);
            at = before;
            passed.push(gist);
            if let Some(share) = known.as_ref().and_then(|shares| shares.get(party)) {
                digest = share.before;
                break;
            }
        }
        for gist in passed.iter().rev() {
            let owed = Share { first: 1, count: 0, before: digest };
            let shares = Shares::from_iter([(party.clone(), owed)]);
            let block = Block { shares, records: self.records(gist)? };
            digest = walk(&block, party).last().map_or(digest, |step| step.feed_digest);
        }
        Ok(digest)
    }
}
