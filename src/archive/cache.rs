//! A few decoded blocks, shared by all readers: some sixty couriers that catch up read the same ones one after the
//! other, and after a crash thousands of messages that come again are looked up in the same block.
//!
//! Records never change but when a body is taken away, and then its block is let go. It is bounded twice, by blocks and by bytes; what it holds beyond
//! that is what its users still have in their hands.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::record::Record;
use super::zone::Shares;

/// One block: its records, and what feeds have of them.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) shares: Shares,
    pub(super) records: Vec<Arc<Record>>,
}

/// Most blocks held.
const MOST_BLOCKS: usize = 16;
/// Most bytes held, by [`weight`]. 16 blocks of ordinary reports weigh 10 MiB; a block is sealed at half a MiB of records, so
/// only blocks full of the largest messages come near this.
const MOST_BYTES: usize = 32 << 20;

#[derive(Debug)]
struct Held {
    first: u64,
    weight: usize,
    block: Arc<Block>,
}

/// The blocks used last, the very last in front.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<VecDeque<Held>>,
}

impl Cache {
    /// The block that begins with this sequence.
    pub(super) fn get(&self, first: u64) -> Option<Arc<Block>> {
        let mut held = self.held.lock();
        let at = held.iter().position(|held| held.first == first)?;
        let found = held.remove(at)?;
        let block = Arc::clone(&found.block);
        held.push_front(found);
        Some(block)
    }

    /// Lets go of the block that begins with this sequence: a body in it was taken away.
    pub(super) fn forget(&self, first: u64) {
        self.held.lock().retain(|held| held.first != first);
    }

    /// Holds a block that was read, and lets go what was not used for longest.
    pub(super) fn put(&self, first: u64, block: &Arc<Block>) {
        let fresh = Held { first, weight: weight(&block.records), block: Arc::clone(block) };
        let mut held = self.held.lock();
        held.retain(|held| held.first != first); // two readers may have read it at once
        held.push_front(fresh);
        while held.len() > MOST_BLOCKS || held.iter().map(|held| held.weight).sum::<usize>() > MOST_BYTES {
            held.pop_back();
        }
    }
}

/// Roughly what a block takes in memory: the records, their bytes, their ledgers. Party names are shared.
fn weight(block: &[Arc<Record>]) -> usize {
    let one = |record: &Arc<Record>| {
        let ledger = record.recipients.len() + record.withheld.len();
        let detail: usize =
            record.detail.iter().map(|fault| fault.path.len() + fault.message.len() + 48).sum();
        512 + record.body.len() + ledger * size_of::<super::record::Entry>() + detail
    };
    block.iter().map(one).sum()
}
