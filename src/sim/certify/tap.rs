//! What a client really published: its side of the NATS protocol, read as it passes.
//!
//! A client's own word is not enough to say that it sent the same bytes again and nothing else. Kept are
//! subjects and digests; no message.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::sync::Notify;

use crate::message::digest::Digest;
use crate::message::time;

/// Longest control line that is looked at; nats-server takes 4 KB.
const LINE: usize = 64 * 1024;
/// Publications kept; a client in a loop must not fill memory.
const MOST: usize = 200_000;

/// One publication of the client.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When, since the tap was made.
    pub at: Duration,
    /// Subject.
    pub subject: String,
    /// Of the payload.
    pub digest: Digest,
    /// It takes a letter, where this is the reply subject of one: `+ACK`, the same with a wish for the next, or nothing.
    pub takes: bool,
}

/// Everything that a client published.
#[derive(Debug)]
pub struct Tap {
    since: Instant,
    heard: Mutex<Vec<Heard>>,
    news: Notify,
}

impl Default for Tap {
    fn default() -> Self {
        Self { since: time::stopwatch(), heard: Mutex::default(), news: Notify::new() }
    }
}

impl Tap {
    /// So far.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was published as messages, not as requests or acknowledgements.
    #[must_use]
    pub fn messages(&self) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.subject.starts_with("ilo.in.")).collect()
    }

    /// Forgets.
    pub fn clear(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until so many messages were published; false if they were not within the limit.
    pub async fn messages_at_least(&self, count: usize, limit: Duration) -> bool {
        let wait = async {
            loop {
                let news = self.news.notified();
                if self.messages().len() >= count {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    fn note(&self, subject: &str, payload: &[u8]) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < MOST {
            heard.push(Heard {
                at: self.since.elapsed(),
                subject: subject.to_owned(),
                digest: Digest::of(payload),
                takes: payload.is_empty() || payload.starts_with(b"+ACK") || payload.starts_with(b"+NXT"),
            });
        }
        drop(heard);
        self.news.notify_waiters();
    }
}

/// The reading of one connection.
#[derive(Debug)]
pub struct Reading {
    tap: Arc<Tap>,
    bytes: BytesMut,
    waiting: Option<Announced>,
}

/// A publication whose payload is still to come.
#[derive(Debug)]
struct Announced {
    subject: String,
    headers: usize,
    size: usize,
}

impl Announced {
    /// `PUB subject [reply] size` or `HPUB subject [reply] headers size`.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next()?;
        let subject = words.next()?.to_owned();
        let size = words.next_back()?.parse().ok()?;
        let headers = match verb.to_ascii_uppercase().as_str() {
            "PUB" => 0,
            "HPUB" => words.next_back()?.parse().ok()?,
            _ => return None,
        };
        (headers <= size).then_some(Self { subject, headers, size })
    }
}

impl Reading {
    /// Of a new connection.
    #[must_use]
    pub fn of(tap: Arc<Tap>) -> Self {
        Self { tap, bytes: BytesMut::new(), waiting: None }
    }

    /// Takes what came.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        loop {
            if let Some(announced) = &self.waiting {
                // The payload and its line break.
                if self.bytes.len() < announced.size + 2 {
                    return;
                }
                self.tap.note(&announced.subject, &self.bytes[announced.headers..announced.size]);
                self.bytes.advance(announced.size + 2);
                self.waiting = None;
            }
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                if self.bytes.len() > LINE {
                    self.bytes.clear();
                }
                return;
            };
            let line = self.bytes.split_to(end + 1);
            self.waiting = std::str::from_utf8(&line).ok().and_then(Announced::read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_are_read_however_they_are_cut() {
        let sent = b"CONNECT {\"verbose\":false}\r\nPING\r\nPUB ilo.in.a.b 5\r\nPUB x\r\nSUB ilo.rcpt.> 1\r\n\
            HPUB ilo.in.a.b _INBOX.1 12 17\r\nNATS/1.0\r\n\r\nhello\r\npub ilo.svc.a.confirm r 2\r\n{}\r\nPUB ilo.in.a.b 0\r\n\r\n";
        for cut in 1..sent.len() {
            let tap = Arc::new(Tap::default());
            let mut reading = Reading::of(Arc::clone(&tap));
            sent.chunks(cut).for_each(|chunk| reading.take(chunk));
            let heard = tap.heard();
            let digests: Vec<Digest> = heard.iter().map(|heard| heard.digest).collect();
            assert_eq!(
                digests,
                [&b"PUB x"[..], b"hello", b"{}", b""].map(Digest::of),
                "cut into {cut}: {heard:?}"
            );
            assert_eq!(tap.messages().len(), 3);
        }
    }

    #[test]
    fn what_is_no_publication_is_passed_over() {
        let tap = Arc::new(Tap::default());
        let mut reading = Reading::of(Arc::clone(&tap));
        reading.take(b"PUB\r\nPUB a\r\nPUB a x\r\nHPUB a 9 3\r\n\xff\xfe\r\n");
        reading.take(&vec![b'x'; LINE + 1]);
        assert!(tap.heard().is_empty() && reading.bytes.is_empty());
    }
}
