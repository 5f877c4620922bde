//! The answers that a line waits for: a number a letter, the letter's future behind it.
//!
//! Numbers rise, and streams answer nearly in order, so the open ones lie in a queue and are found by their place. One look
//! at the oldest now and then takes the place of a timer a letter. The library's own way costs a subscription entry, a
//! timer and a semaphore for each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::Message;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::egress::SendError;

type Told = Result<u64, SendError>;

/// What is waited for on one line. How much that is, is the senders' to bound: each has a window.
#[derive(Debug, Default)]
pub(super) struct Answers {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Number of the first in the queue.
    first: u64,
    waiting: VecDeque<Waiting>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// `None` once it was told.
    to: Option<oneshot::Sender<Told>>,
}

/// What a stream says to a publication.
#[derive(Deserialize)]
struct PubAck<'a> {
    #[serde(default)]
    seq: u64,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    description: std::borrow::Cow<'a, str>,
}

impl Answers {
    /// A number for a letter that is about to be sent. If the line is closed, the future ends at once.
    pub(super) fn await_one(&self, now: Instant) -> (u64, oneshot::Receiver<Told>) {
        let (to, answer) = oneshot::channel();
        let mut open = self.open.lock();
        let number = open.first + open.waiting.len() as u64;
        let to = (!open.closed).then_some(to);
        open.waiting.push_back(Waiting { since: now, to });
        if open.closed {
            open.shed();
        }
        (number, answer)
    }

    /// Takes an answer to the letter that its subject names.
    pub(super) fn take(&self, message: &Message) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        if let Some(number) = number {
            self.tell(number, read(message));
        }
    }

    /// Tells a sender. One who hung up is not waiting any more.
    pub(super) fn tell(&self, number: u64, told: Told) {
        let mut open = self.open.lock();
        let Some(at) = number.checked_sub(open.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let Some(to) = open.waiting.get_mut(at).and_then(|waiting| waiting.to.take()) else { return };
        open.shed();
        drop(open);
        to.send(told).unwrap_or_default();
    }

    /// Tells all who have waited too long that no answer came; true if there was one.
    pub(super) fn give_up(&self, now: Instant, patience: Duration) -> bool {
        let mut given_up = false;
        let mut open = self.open.lock();
        let late = |waiting: &&mut Waiting| now.saturating_duration_since(waiting.since) >= patience;
        for waiting in open.waiting.iter_mut().take_while(late) {
            if let Some(to) = waiting.to.take() {
                given_up = true;
                to.send(Err(SendError("timed out: no answer of the stream".to_owned()))).unwrap_or_default();
            }
        }
        open.shed();
        given_up
    }

    /// The line broke: nothing is answered any more.
    pub(super) fn close(&self) {
        let mut open = self.open.lock();
        open.closed = true;
        open.waiting.iter_mut().for_each(|waiting| waiting.to = None);
        open.shed();
    }
}

impl Open {
    /// Lets go of those in front who were told.
    fn shed(&mut self) {
        while self.waiting.front().is_some_and(|waiting| waiting.to.is_none()) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

fn read(message: &Message) -> Told {
    if message.status.is_some() {
        return Err(SendError("no stream takes this subject".to_owned()));
    }
    match serde_json::from_slice(&message.payload) {
        Ok(PubAck { error: Some(refusal), .. }) => Err(SendError(refusal.description.into_owned())),
        Ok(PubAck { seq, error: None }) if seq > 0 => Ok(seq),
        _ => Err(SendError("an answer that is no PubAck".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::time;

    #[tokio::test]
    async fn every_sender_is_told_once_in_whatever_order() {
        let answers = Answers::default();
        let now = time::stopwatch();
        let (first, one) = answers.await_one(now);
        let (second, two) = answers.await_one(now);
        let (_, three) = answers.await_one(now);
        answers.tell(second, Ok(22));
        answers.tell(second, Ok(23));
        answers.tell(first, Ok(11));
        answers.tell(99, Ok(1));
        assert_eq!(one.await.expect("told").expect("stored"), 11);
        assert_eq!(two.await.expect("told").expect("stored"), 22);
        assert_eq!(answers.open.lock().waiting.len(), 1, "who was told is let go");
        assert!(!answers.give_up(now + Duration::from_secs(1), Duration::from_secs(2)));
        assert!(answers.give_up(now + Duration::from_secs(3), Duration::from_secs(2)));
        assert!(three.await.expect("told").is_err());
        assert!(answers.open.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_closed_line_ends_all_waiting_and_lets_nobody_wait() {
        let answers = Answers::default();
        let (_, one) = answers.await_one(time::stopwatch());
        answers.close();
        assert!(one.await.is_err());
        assert!(answers.await_one(time::stopwatch()).1.await.is_err());
    }
}
