//! The feeds: per recipient a dense sequence and a running digest, in archive order.
//!
//! They are derived from the records alone, so they are the same after any restart or rebuild.

use std::collections::HashMap;

use crate::message::digest::Digest;
use crate::message::names::PartyId;

/// The heads of all feeds.
#[derive(Debug, Clone, Default)]
pub struct Feeds {
    heads: HashMap<PartyId, (u64, Digest)>,
}

impl Feeds {
    /// Last feed sequence and running digest of a party; 0 and zeros before the first delivery.
    #[must_use]
    pub fn head(&self, party: &PartyId) -> (u64, Digest) {
        self.heads.get(party).copied().unwrap_or_default()
    }

    /// One more delivery to a party.
    pub fn push(&mut self, party: &PartyId, message: Digest) -> (u64, Digest) {
        let (seq, digest) = self.head(party);
        let head = (seq + 1, digest.feed(message));
        self.set(party, head);
        head
    }

    /// Sets a head that was computed elsewhere.
    pub(super) fn set(&mut self, party: &PartyId, head: (u64, Digest)) {
        match self.heads.get_mut(party) {
            Some(known) => *known = head,
            None => drop(self.heads.insert(party.clone(), head)),
        }
    }
}
