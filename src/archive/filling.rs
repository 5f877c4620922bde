//! The block in the making: records that are committed but not yet enough for a block, with the bytes they have in
//! the journal, so that the block is put together by copying and no record is written out twice.

use std::sync::Arc;

use super::pack::Pack;
use super::{Archived, BLOCK};
use crate::message::digest::Digest;

/// A block is full at this many bytes too, so that memory for blocks is bounded whatever the size of the messages. Packed it must
/// stay below 512 KiB, a quarter of a segment: larger values sled keeps as files of their own, whose content its cache does
/// not count. With blocks of 2 MiB that was 160 MB after ten minutes of 500 messages a second.
const BLOCK_BYTES: usize = 448 << 10;

/// A committed record with its bytes in the pack of its frame.
#[derive(Debug)]
pub(super) struct Pending {
    /// The record and what it owes.
    pub(super) kept: Archived,
    /// [`super::zone::fingerprint`] of its identity.
    pub(super) print: Option<u64>,
    /// The pack of its frame.
    pub(super) pack: Arc<Pack>,
    /// Which one of the pack it is.
    pub(super) at: usize,
    /// The node of the Merkle tree over 256 leaves that its leaf completes.
    pub(super) tile: Option<Digest>,
}

/// The records of the next block so far.
#[derive(Debug, Default)]
pub(super) struct Filling {
    records: Vec<Pending>,
    bytes: usize,
}

impl Filling {
    /// One more record; gives the block that it completes.
    pub(super) fn push(&mut self, pending: Pending) -> Option<Vec<Pending>> {
        self.bytes += pending.pack.size(pending.at);
        self.records.push(pending);
        if self.records.len() < BLOCK && self.bytes < BLOCK_BYTES {
            return None;
        }
        self.bytes = 0;
        Some(std::mem::replace(&mut self.records, Vec::with_capacity(BLOCK)))
    }

    /// The records that wait.
    pub(super) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.records.iter_mut()
    }
}
