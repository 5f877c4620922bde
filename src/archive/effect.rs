//! What a record does to an earlier one: withdraw, correct, erase, release, confirm, hold.
//!
//! Effects stand in the heads of records, so that they are derived from the journal alone, survive everything that the
//! journal survives, and are covered by its proofs. What they mean together is `fates`' word; who may cause which is
//! the rules'.

use serde::{Deserialize, Serialize};

use super::record::Entry;
use super::words::{Ground, Handled};
use crate::message::digest::Digest;
use crate::message::names::{PartyId, TypeId};

/// What a record does to the record with the archive sequence `target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Archive sequence of the earlier record.
    pub target: u64,
    /// What is done to it.
    pub act: Act,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// `msg.correction`: new data stand for the old.
    Correct {
        /// Type of what is corrected.
        kind: TypeId,
    },
    /// `msg.retraction`: it is not delivered or shown any more.
    Retract,
    /// `msg.erasure`, or the sweep: its content is destroyed.
    Erase {
        /// On what ground.
        ground: Ground,
        /// Until when holders must have erased it, Unix milliseconds.
        due_ms: i64,
        /// True if each holder must confirm.
        attest: bool,
    },
    /// `msg.release`, ask: a holder asks for a wider audience.
    Ask {
        /// Who asks.
        party: PartyId,
    },
    /// `msg.release`, grant: the target is delivered to these parties too.
    Release {
        /// Digest of the target, for the running digests of their feeds.
        digest: Digest,
        /// True if the target is sealed, so that this digest is masked on disk like its own.
        sealed: bool,
        /// Who gets it now, sorted by party.
        to: Vec<Entry>,
        /// Who was named or grouped in the grant and does not get it, sorted by party.
        withheld: Vec<Entry>,
    },
    /// `msg.release`, refuse.
    Deny,
    /// A recipient says what it did.
    Confirm {
        /// Who.
        party: PartyId,
        /// What.
        handled: Handled,
    },
    /// The originator looked at it again and needs it until then, Unix milliseconds.
    Review {
        /// New `reviewby`.
        until_ms: i64,
    },
    /// The originator was reminded that `reviewby` has passed.
    Remind,
    /// Legal hold on or off: while it is on, the sweep does not erase.
    Hold {
        /// True if it is put on.
        on: bool,
    },
}
