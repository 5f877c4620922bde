//! Who plays: the posts that publish, the authorities that read, the analysts that replay, from plan and registry.
//!
//! It decides who, never what is said. Where the registry has fewer posts or authorities than the plan wants, [`enrol`]
//! writes one that has enough; invented ones have names of their own, so that nobody takes them for real.

use std::time::Duration;

use serde_json::Value;

use super::plan::Plan;
use crate::message::names::{PartyId, PostId};

/// Everybody in a simulation. The order is part of the run: the log names officers and authorities by their place.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Posts that publish.
    pub officers: Vec<Officer>,
    /// Authorities that read.
    pub authorities: Vec<Authority>,
    /// Places in `authorities` of those that also replay everything, all the time.
    pub analysts: Vec<usize>,
}

/// A post that publishes.
#[derive(Debug, Clone)]
pub struct Officer {
    /// Its authority.
    pub party: PartyId,
    /// The post.
    pub post: PostId,
    /// When it is not connected, from and to, counted from the start.
    pub away: Option<(Duration, Duration)>,
}

/// An authority that reads its mailbox.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its id.
    pub party: PartyId,
    /// How it reads.
    pub reads: Reads,
    /// The list of subscriptions it stores with `sub.put` before the start, one call an item; empty: it keeps what it has.
    pub subscriptions: Vec<Value>,
}

/// How an authority reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reads {
    /// At once.
    Promptly,
    /// At most so many messages a second, until everything has been sent.
    Slowly(f64),
    /// Not before everything has been sent.
    Afterwards,
}

impl Cast {
    /// Chooses who plays. The same plan and registry give the same cast.
    ///
    /// # Errors
    /// The registry has too few posts or authorities, or is none.
    pub fn choose(_plan: &Plan, _registry: &str) -> Result<Self, String> {
        Err("not written yet".to_owned())
    }
}

/// A registry with enough posts and authorities for the plan, or `None` if this one has.
///
/// # Errors
/// It is no registry.
pub fn enrol(_plan: &Plan, _registry: &str) -> Result<Option<String>, String> {
    Err("not written yet".to_owned())
}
