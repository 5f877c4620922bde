//! The answers that a line waits for: a number a parcel, its future behind it.
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

/// What a stream says to a publication, or while a parcel comes in.
#[derive(Deserialize)]
struct PubAck<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
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
    /// A number for what is about to be sent. If the line is closed, the future ends at once.
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

    /// Takes an answer; the number stands in its subject behind this prefix.
    pub(super) fn take(&self, prefix: &str, message: &Message) {
        let behind = message.subject.strip_prefix(prefix).and_then(|behind| behind.split('.').next());
        if let Some(number) = behind.and_then(|number| number.parse().ok())
            && let Some(told) = read(message)
        {
            self.tell(number, told);
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

/// `None` while there is more to come.
fn read(message: &Message) -> Option<Told> {
    if message.status.is_some() {
        return Some(Err(SendError("no stream takes this subject".to_owned())));
    }
    told(&message.payload)
}

fn told(payload: &[u8]) -> Option<Told> {
    let unreadable = || SendError("an answer that is no PubAck".to_owned());
    let Ok(PubAck { kind, seq, error }) = serde_json::from_slice(payload) else {
        return Some(Err(unreadable()));
    };
    match (kind.as_deref(), error) {
        (Some("ack"), _) => None,
        (_, Some(refusal)) => Some(Err(SendError(refusal.description.into_owned()))),
        (Some("gap"), None) => Some(Err(SendError("a part of the parcel got lost on the way".to_owned()))),
        (None, None) if seq > 0 => Some(Ok(seq)),
        _ => Some(Err(unreadable())),
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

    /// The words are those of nats-server 2.15.1.
    #[test]
    fn what_a_stream_says_to_a_parcel_is_understood() {
        let told = |payload: &str| told(payload.as_bytes()).map(|told| told.map_err(|error| error.0));
        assert_eq!(told(r#"{"type":"ack","seq":0,"msgs":500}"#), None, "it has begun");
        assert_eq!(told(r#"{"stream":"MBOX_X","seq":42,"batch":"b","count":7}"#), Some(Ok(42)));
        assert!(told(r#"{"type":"gap","last_seq":3,"seq":5}"#).expect("an end").is_err());
        let full = r#"{"type":"err","seq":3,"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"}}"#;
        assert_eq!(told(full), Some(Err("maximum bytes exceeded".to_owned())));
        let unknown =
            r#"{"error":{"code":400,"err_code":10206,"description":"unknown"},"stream":"MBOX_X","seq":0}"#;
        assert_eq!(told(unknown), Some(Err("unknown".to_owned())));
        // All of it stood there already: where, is not said.
        assert!(told(r#"{"stream":"MBOX_X","seq":0,"batch":"b","count":2}"#).expect("an end").is_err());
        assert!(told("+OK").expect("an end").is_err());
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
