//! Sweeping over a feed: block by block, past those that cannot hold what is looked for.
//!
//! A block that is skipped is not read; the feed's own numbers go on by what its zone says of the party's share.

use std::collections::BTreeSet;

use super::Error;
use super::reader::{FeedItem, Reader, walk};
use super::zone::Zone;
use crate::message::names::PartyId;

/// Deliveries whose zones are taken from the index at once.
const AHEAD: u64 = 16_384;

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Sketch<'a> {
    /// Earliest archive time, Unix milliseconds.
    pub from_ms: i64,
    /// Latest archive time, Unix milliseconds.
    pub to_ms: i64,
    /// Type ids that occur in it.
    pub kinds: &'a BTreeSet<String>,
    /// Values of `subject` that occur in it.
    pub countries: &'a BTreeSet<String>,
    /// Originators that occur in it.
    pub originators: &'a BTreeSet<PartyId>,
}

impl<'a> Sketch<'a> {
    fn of(zone: &'a Zone) -> Self {
        let Zone { from_ms, to_ms, kinds, countries, originators, .. } = zone;
        Self { from_ms: *from_ms, to_ms: *to_ms, kinds, countries, originators }
    }
}

/// A piece of a feed.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Deliveries in order. Between them and the place asked from, only blocks that were not wanted are left out.
    pub items: Vec<FeedItem>,
    /// Feed sequence up to which nothing else is left to look at. Equal to the one asked from at the end of the feed.
    pub upto: u64,
}

impl Reader {
    /// The deliveries to a party in the next block behind a feed sequence that `wanted` does not exclude; behind the
    /// last block, what is not sealed yet.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn stretch(
        &self,
        party: &PartyId,
        after: u64,
        wanted: impl Fn(&Sketch<'_>) -> bool,
    ) -> Result<Stretch, Error> {
        let mut upto = after;
        loop {
            // Under one look: a block that is sealed in between is neither missed nor given twice.
            let zones = {
                let index = self.index.read();
                let (zones, _) = index.zones_behind(party, upto, AHEAD);
                if zones.is_empty() {
                    let items = index.fresh_behind(party, upto);
                    let upto = items.last().map_or(upto, |item| item.feed_seq);
                    return Ok(Stretch { items, upto });
                }
                zones
            };
            for zone in &zones {
                let Some(share) = zone.shares.get(party) else { continue };
                let end = share.first + u64::from(share.count) - 1;
                if !wanted(&Sketch::of(zone)) {
                    upto = end;
                    continue;
                }
                let block = self.block(zone)?;
                let items: Vec<FeedItem> =
                    walk(zone, &block, party).filter(|item| item.feed_seq > upto).collect();
                if items.last().map(|item| item.feed_seq) != Some(end) {
                    return Err(Error::Corrupt("a block without the deliveries of its zone"));
                }
                return Ok(Stretch { items, upto: end });
            }
        }
    }
}
