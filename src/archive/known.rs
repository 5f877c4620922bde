//! The table of known messages: fingerprint of `source` and `id` -> archive sequence.
//!
//! A fingerprint is 64 bits, so two different messages may share one; then both stay in the table, and the reader
//! compares in full. The first of an identity stands: a later record under the same identity (a quarantined repeat)
//! never hides an accepted one, or its true duplicates would be refused and references to it would fail.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Known messages.
#[derive(Debug, Default)]
pub(super) struct Known {
    first: HashMap<u64, u64>,
    /// Further sequences under a fingerprint; empty but for collisions and repeats, so it costs nothing.
    more: HashMap<u64, Vec<u64>>,
}

impl Known {
    /// One more message. Must be called in archive order.
    pub(super) fn insert(&mut self, print: u64, seq: u64) {
        match self.first.entry(print) {
            Entry::Vacant(free) => drop(free.insert(seq)),
            Entry::Occupied(_) => self.more.entry(print).or_default().push(seq),
        }
    }

    /// The sequences under a fingerprint, earliest first.
    pub(super) fn under(&self, print: u64) -> Vec<u64> {
        let first = self.first.get(&print).copied();
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
        for (print, seq) in [(7, 1), (8, 2), (7, 3), (7, 9)] {
            known.insert(print, seq);
        }
        assert_eq!(known.under(7), [1, 3, 9]);
        assert_eq!(known.under(8), [2]);
        assert!(known.under(9).is_empty());
    }
}
