//! What is said, when, and what must become of it: the messages of a simulation, made one after the other.
//!
//! Every verdict is known because the message was made to get it, not because somebody judged it: nothing here calls the
//! rules. Times in messages come from the plan's clock and every number from its seed, so the same plan gives the same
//! bytes. Nothing is kept but what later messages refer to.

use std::time::Duration;

use bytes::Bytes;

use super::cast::Cast;
use super::plan::Plan;
use crate::message::outcome::Code;
use crate::message::time::Timestamp;

/// One publication that is to be tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Dense, from 0, in the order of `due`.
    pub no: u32,
    /// When it is to be sent, from the start.
    pub due: Duration,
    /// Place of the post in [`Cast::officers`].
    pub officer: usize,
    /// Subject.
    pub subject: String,
    /// The id that its receipt will carry; `None` if none can be read.
    pub id: Option<String>,
    /// The bytes.
    pub payload: Bytes,
    /// What must become of it.
    pub expect: Expect,
    /// It is not sent before this attempt has its receipt: it refers to it, or answers it.
    pub after: Option<u32>,
}

/// What must become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Accepted.
    Accepted,
    /// The same bytes as that attempt, which was accepted.
    Duplicate(u32),
    /// Put aside with this code.
    Quarantined(Code),
    /// Refused with this code.
    Rejected(Code),
}

/// What a script must know of the network.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The time at which the messages say that the simulation starts.
    pub clock: Timestamp,
    /// The case plane is on.
    pub case_plane: bool,
    /// Nothing was published before: only then is it known whom `@local` means.
    pub fresh: bool,
}

/// The attempts of a plan, in the order in which they are due.
pub struct Script {}

impl Script {
    /// Begins.
    #[must_use]
    pub fn new(_plan: &Plan, _cast: &Cast, _setting: Setting) -> Self {
        Self {}
    }
}

impl Iterator for Script {
    type Item = Attempt;

    fn next(&mut self) -> Option<Attempt> {
        None
    }
}

/// The number of the attempt that has this id, if the id is of a script with this seed.
#[must_use]
pub fn attempt_of(_id: &str, _seed: u64) -> Option<u32> {
    None
}
