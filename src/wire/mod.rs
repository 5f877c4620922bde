//! The road: everything that speaks NATS, and the configuration text of nats-server.
//!
//! It carries bytes between streams and the broker and knows what NATS does and does not promise. It holds no rule,
//! keeps nothing, and never takes an identity from a header or a payload. `async_nats` appears in this room only.

pub mod accounts;
pub mod acker;
mod answers;
pub mod asking;
pub mod between;
pub mod certificates;
pub mod connect;
mod durables;
pub mod egress;
pub mod inspect;
pub mod intake;
pub mod journal;
pub mod keyring;
pub mod keys;
pub mod lease;
mod led;
pub mod mailbox;
pub mod outbox;
pub mod pipeline;
pub mod server;
pub mod services;
pub mod standstill;
pub mod stranded;
pub mod streams;
pub mod subscriptions;
pub mod survey;
pub mod suspects;
pub mod tls;

use std::path::PathBuf;

/// Why the road is closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the address, or not in time.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The key is not let in, or a right is missing.
    #[error("access denied: {0}")]
    Denied(String),
    /// The server does not know what we rely on; older ones ignore settings silently.
    #[error("nats-server {0} is too old: at least 2.12.7, or 2.14, is needed")]
    TooOld(String),
    /// Streams or consumers are not configured as they must be: all differences.
    #[error("not configured as it must be:\n{}", .0.join("\n"))]
    Drift(Vec<String>),
    /// A file with a key or a certificate.
    #[error("{}: {words}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        words: String,
    },
    /// What was asked for keys of parties cannot be done.
    #[error("{0}")]
    NotDone(String),
    /// The nats-server program.
    #[error("nats-server: {0}")]
    Server(String),
    /// The stream of the journal did not take an entry, or nobody knows whether it did: another instance may carry on.
    #[error("{0}")]
    Fenced(String),
    /// An answer of JetStream that is an error, or no answer.
    #[error("{call}: {words}")]
    Api {
        /// What was asked.
        call: String,
        /// What came back.
        words: String,
    },
}

impl Error {
    pub(crate) fn api(call: impl Into<String>, words: impl std::fmt::Display) -> Self {
        Self::Api { call: call.into(), words: words.to_string() }
    }
}

/// The name of the intake stream of a party.
#[must_use]
pub fn intake_stream(party: &crate::message::names::PartyId) -> String {
    format!("IN_{}", crate::message::subject::upper(party))
}

/// The header with the number of a letter in the feed of its recipient.
pub const FEED_SEQ: &str = "Ilo-Feed-Seq";

/// The name of the mailbox stream of a party.
#[must_use]
pub fn mailbox_stream(party: &crate::message::names::PartyId) -> String {
    format!("MBOX_{}", crate::message::subject::upper(party))
}
