//! Sweeping over a feed: block by block, past those that cannot hold what is looked for.
//!
//! A block that is skipped is not read; the feed's own numbers go on by what its zone says of the party's share.

use std::collections::BTreeSet;

use super::Error;
use super::effect::Act;
use super::reader::{FeedItem, Reader, Step, walk};
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
            let (zones, fresh) = {
                let index = self.index.read();
                let (zones, _) = index.zones_behind(party, upto, AHEAD);
                let fresh = if zones.is_empty() { index.fresh_behind(party, upto) } else { Vec::new() };
                (zones, fresh)
            };
            if zones.is_empty() {
                let upto = fresh.last().map_or(upto, |step| step.feed_seq);
                return Ok(Stretch { items: self.items(fresh.into_iter())?, upto });
            }
            for zone in &zones {
                let Some(share) = zone.shares.get(party) else { continue };
                let end = share.first + u64::from(share.count) - 1;
                if !releases(zone, party) && !wanted(&Sketch::of(zone)) {
                    upto = end;
                    continue;
                }
                let block = self.block(zone)?;
                let steps = walk(zone, &block, party).filter(|step| step.feed_seq > upto);
                let items = self.items(steps)?;
                if items.last().map(|item| item.feed_seq) != Some(end) {
                    return Err(Error::Corrupt("a block without the deliveries of its zone"));
                }
                return Ok(Stretch { items, upto: end });
            }
        }
    }

    fn items(&self, steps: impl Iterator<Item = Step>) -> Result<Vec<FeedItem>, Error> {
        steps.map(|step| self.item(step)).collect()
    }
}

/// True if an older message is delivered to the party by a record of this block: the sketch of the block does not tell
/// of it.
fn releases(zone: &Zone, party: &PartyId) -> bool {
    zone.effects.iter().any(|(_, effect)| match &effect.act {
        Act::Release { to, .. } => to.iter().any(|entry| entry.party == *party),
        _ => false,
    })
}
