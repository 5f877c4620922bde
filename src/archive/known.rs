//! The table of known messages: fingerprint of `source` and `id` -> archive sequence.
//!
//! It is in memory whole, so it is kept small: four bytes of the fingerprint and four of the sequence an entry. Two messages
//! may share these, and a message may come under an identity twice; such stay in a second table, and the reader compares
//! in full. The first of an identity stands: a later record under the same identity (a quarantined repeat) never hides an
//! accepted one, or its true duplicates would be refused and references to it would fail.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// Fingerprints are pieces of SHA-256: they need no hashing again.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, print: u32) {
        // The table takes its bits from both ends.
        self.0 = u64::from(print) << 32 | u64::from(print);
    }
}

/// Known messages.
#[derive(Debug, Default)]
pub(super) struct Known {
    first: HashMap<u32, u32, BuildHasherDefault<AsIs>>,
    /// Further sequences under a fingerprint, and those beyond four bytes.
    more: HashMap<u32, Vec<u64>>,
}

/// The part of a fingerprint that is kept.
fn short(print: u64) -> u32 {
    let bytes = print.to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl Known {
    /// Makes room, so that a start does not grow the table again and again.
    pub(super) fn reserve(&mut self, more: usize) {
        self.first.reserve(more);
    }

    /// One more message. Must be called in archive order.
    pub(super) fn insert(&mut self, print: u64, seq: u64) {
        let print = short(print);
        match (self.first.entry(print), u32::try_from(seq)) {
            (Entry::Vacant(free), Ok(seq)) => drop(free.insert(seq)),
            _ => self.more.entry(print).or_default().push(seq),
        }
    }

    /// The sequences that may be under a fingerprint, earliest first.
    pub(super) fn under(&self, print: u64) -> Vec<u64> {
        let print = short(print);
        let first = self.first.get(&print).map(|seq| u64::from(*seq));
        let more = self.more.get(&print).into_iter().flatten().copied();
        first.into_iter().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_fingerprints_lose_none_of_their_messages() {
        let mut known = Known::default();
        let late = u64::from(u32::MAX) + 7;
        for (print, seq) in [(7, 1), (8, 2), (7, 3), (7 | 1 << 40, 9), (11, late), (8, late + 1)] {
            known.insert(print, seq);
        }
        assert_eq!(
            known.under(7),
            [1, 3, 9],
            "what differs beyond four bytes is for the reader to tell apart"
        );
        assert_eq!(known.under(8), [2, late + 1]);
        assert_eq!(known.under(11), [late]);
        assert!(known.under(9).is_empty());
    }
}
