//! What later messages refer to, and no more: the last accepted messages, requests that wait for an answer.
//!
//! Rings of a fixed size: what falls out is simply not referred to any more.

use std::collections::VecDeque;

use bytes::Bytes;

use super::dice::Dice;

/// Messages remembered.
const MESSAGES: usize = 1_024;
/// Requests, asks and the like remembered.
const WAITING: usize = 256;

/// An accepted message.
pub(super) struct Earlier {
    pub(super) no: u32,
    pub(super) officer: usize,
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) payload: Bytes,
    /// Its audience as written, and the authorities that it names.
    pub(super) audience: String,
    pub(super) named: Vec<usize>,
    /// Attributes that a correction takes over.
    pub(super) marks: Vec<(&'static str, String)>,
    /// A control message has been about it: no second one is, so that none contradicts another.
    pub(super) spoken_of: bool,
}

/// A message that waits for an answer.
pub(super) struct Waiting {
    /// Number of the message.
    pub(super) no: u32,
    pub(super) source: String,
    pub(super) id: String,
    /// Authority that sent it.
    pub(super) from: usize,
    /// Authorities that may answer.
    pub(super) asked: Vec<usize>,
    /// Its audience as written.
    pub(super) audience: String,
    /// File number, for the case plane.
    pub(super) file: String,
}

/// All that is remembered.
#[derive(Default)]
pub(super) struct Past {
    pub(super) messages: VecDeque<Earlier>,
    /// Requests for information.
    pub(super) requests: VecDeque<Waiting>,
    /// Requests to establish an identity.
    pub(super) identities: VecDeque<Waiting>,
    /// Asks for a wider release; `id` is that of the message that is asked for.
    pub(super) asks: VecDeque<Waiting>,
    /// Source and id of the last messages, for references.
    pub(super) references: Vec<(String, String)>,
    /// The last attempt that told of a deployment.
    pub(super) deployed: Option<u32>,
}

impl Past {
    /// Remembers an accepted message.
    pub(super) fn remember(&mut self, message: Earlier, source: &str) {
        if self.references.len() < 64 {
            self.references.push((source.to_owned(), message.id.clone()));
        } else {
            self.references[message.no as usize % 64] = (source.to_owned(), message.id.clone());
        }
        if self.messages.len() >= MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// An earlier message for which this holds, found within a few tries.
    pub(super) fn some(&self, dice: &mut Dice, holds: impl Fn(&Earlier) -> bool) -> Option<usize> {
        if self.messages.is_empty() {
            return None;
        }
        (0..24).map(|_| dice.below(self.messages.len())).find(|at| holds(&self.messages[*at]))
    }
}

/// Adds at the end; the oldest goes if there are too many.
pub(super) fn wait(queue: &mut VecDeque<Waiting>, waiting: Waiting) {
    if queue.len() >= WAITING {
        queue.pop_front();
    }
    queue.push_back(waiting);
}
