//! Sweeping over a feed: block by block, past those that cannot hold what is looked for.
//!
//! A block that is skipped is not read; the feed's own numbers go on by what its zone says of the party's share.

use std::sync::Arc;

use super::Error;
use super::gist::{Gist, Sort, Vocabulary};
use super::reader::{FeedItem, Reader, Step, walk};
use crate::message::names::PartyId;

/// Deliveries whose blocks are taken from the index at once.
const AHEAD: u64 = 16_384;

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy)]
pub struct Sketch<'a> {
    /// Earliest archive time, Unix milliseconds.
    pub from_ms: i64,
    /// Latest archive time, Unix milliseconds.
    pub to_ms: i64,
    gist: &'a Gist,
    words: &'a Vocabulary,
}

impl<'a> Sketch<'a> {
    fn of(gist: &'a Gist, words: &'a Vocabulary) -> Self {
        Self { from_ms: gist.from_ms, to_ms: gist.to_ms, gist, words }
    }

    /// Type ids that occur in it.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'a str> {
        self.words.words(self.gist, Sort::Kind).collect()
    }

    /// Values of `subject` that occur in it.
    #[must_use]
    pub fn countries(&self) -> Vec<&'a str> {
        self.words.words(self.gist, Sort::Country).collect()
    }

    /// Originators that occur in it.
    #[must_use]
    pub fn originators(&self) -> Vec<&'a str> {
        self.words.words(self.gist, Sort::Originator).collect()
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
            let (sealed, fresh, words) = {
                let index = self.index.read();
                let sealed = index.sealed_behind(party, upto, AHEAD);
                let fresh = if sealed.is_empty() { index.fresh_behind(party, upto) } else { Vec::new() };
                (sealed, fresh, Arc::clone(&index.words))
            };
            if sealed.is_empty() {
                let upto = fresh.last().map_or(upto, |step| step.feed_seq);
                return Ok(Stretch { items: self.items(fresh.into_iter())?, upto });
            }
            for (gist, reach) in &sealed {
                // The sketch does not tell of older messages that are delivered by a record of this block.
                if !gist.releases && !wanted(&Sketch::of(gist, &words)) {
                    upto = reach.to;
                    continue;
                }
                let block = self.block(gist)?;
                let items = self.items(walk(&block, party).filter(|step| step.feed_seq > upto))?;
                if items.last().map(|item| item.feed_seq) != Some(reach.to) {
                    return Err(Error::Corrupt("a block without the deliveries of its zone"));
                }
                return Ok(Stretch { items, upto: reach.to });
            }
        }
    }

    fn items(&self, steps: impl Iterator<Item = Step>) -> Result<Vec<FeedItem>, Error> {
        steps.map(|step| self.item(step)).collect()
    }
}
