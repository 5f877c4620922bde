//! The auditor: believes neither broker nor run, and says what does not agree.
//!
//! It makes the script again from plan and seed and computes for itself who must get what; it shares no routing code with
//! the broker (`tests/it/tidy.rs` lets it import nothing of `rules/` and `broker/`). It says what is wrong and where,
//! never why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::log::LogError;
use super::log::Reader;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Receipted as accepted, and in no feed that must have it: not archived.
    Lost,
    /// Sent, and no receipt ever came.
    Unanswered,
    /// Twice in one feed, or archived twice.
    Doubled,
    /// In a mailbox or a replay, and nobody sent it.
    Unexpected,
    /// The receipt says something else than the script.
    WrongVerdict,
    /// Delivered or replayed to a party that must not have it.
    Misdelivered,
    /// A party that must have it did not get it.
    Missing,
    /// A feed is not dense, or not in the order of the archive.
    Misordered,
    /// A digest of a letter or of a feed is not that of its bytes.
    Digest,
    /// The replay of a feed is not what its mailbox got.
    Replay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Lost,
        Self::Unanswered,
        Self::Doubled,
        Self::Unexpected,
        Self::WrongVerdict,
        Self::Misdelivered,
        Self::Missing,
        Self::Misordered,
        Self::Digest,
        Self::Replay,
    ];
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The attempt, where there is one.
    pub no: Option<u32>,
    /// The party whose mailbox or feed it is about.
    pub party: Option<String>,
    /// One sentence; never a word of a message.
    pub words: String,
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Attempts in the script.
    pub attempts: u64,
    /// Receipts by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Receipts that refused or put aside, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Letters read from mailboxes.
    pub letters: u64,
    /// Messages replayed at the end.
    pub replayed: u64,
    /// Letters and replayed messages of other runs and other senders, which are not judged.
    pub foreign: u64,
    /// How often something was wrong, by kind; kinds that were not are absent.
    pub counts: BTreeMap<Kind, u64>,
    /// The first few of each kind.
    pub examples: Vec<Finding>,
}

impl Findings {
    /// How often this was wrong.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// True if nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.values().all(|count| *count == 0)
    }
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Plan and registry of the log do not give a script.
    #[error("the script cannot be made again: {0}")]
    Script(String),
    /// The run did not come to its end.
    #[error("the run was not finished: its log cannot be compared")]
    Unfinished,
}

/// Audits the log of a finished run.
///
/// # Errors
/// See [`AuditError`]. What is wrong with the broker is no error but a finding.
pub fn audit(_log: &Reader) -> Result<Findings, AuditError> {
    Err(AuditError::Script("not written yet".to_owned()))
}
