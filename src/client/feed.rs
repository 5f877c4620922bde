//! Whether a letter is what was archived: its bytes are those of its digest, and its running digest follows from the one before.
//!
//! Only a reader can find out, for only it knows what it read before. What a crash or another reader took away in between is not a
//! fault: the running digest is held against the letter before only where both came to this reader. Where a message was withdrawn
//! before it was delivered, the broker's word stands in its place under the digest of the message; whether that word is true
//! cannot be seen here, for its bytes are gone.

use serde::Deserialize;

use super::Delivered;
use crate::message::digest::Digest;
use crate::message::envelope::{Source, split_type};

/// What is wrong with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedFault {
    /// Its digest is not that of its bytes.
    #[error("its bytes are not those of its digest")]
    Bytes,
    /// Its running digest is not that of the letter before and its own.
    #[error("its running digest does not follow from the letter before")]
    Running,
}

/// The end of a feed as one reader knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Feed {
    last: Option<(u64, Digest)>,
}

impl Feed {
    /// Looks at a letter, and knows it as the last if it is good. One that is not good changes nothing: it is not to be
    /// acknowledged, and comes again.
    ///
    /// # Errors
    /// [`FeedFault`].
    pub fn look(&mut self, letter: &Delivered) -> Result<(), FeedFault> {
        self.judge(letter.feed_seq, &letter.digest, &letter.feed_digest, &letter.payload)
    }

    fn judge(&mut self, seq: u64, digest: &str, running: &str, payload: &[u8]) -> Result<(), FeedFault> {
        let Some(own) = Digest::parse(digest) else { return Err(FeedFault::Bytes) };
        if Digest::of(payload) != own && withdrawn(payload) != Some(own) {
            return Err(FeedFault::Bytes);
        }
        let Some(running) = Digest::parse(running) else { return Err(FeedFault::Running) };
        let before = match self.last {
            // The feed begins with nothing before it, whatever was read.
            _ if seq == 1 => Some(Digest::default()),
            Some((last, running)) if last + 1 == seq => Some(running),
            _ => None,
        };
        if before.is_some_and(|before| before.feed(own) != running) {
            return Err(FeedFault::Running);
        }
        // What comes again is behind the end.
        if self.last.is_none_or(|(last, _)| last < seq) {
            self.last = Some((seq, running));
        }
        Ok(())
    }
}

/// The digest of the message in whose place this one stands: the broker says of it that it was withdrawn before it was delivered.
/// Nobody else can say so, for no other source is `/broker/`.
fn withdrawn(payload: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Notice {
        source: String,
        #[serde(rename = "type")]
        kind: String,
        data: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        outcome: String,
        sha256: String,
    }
    let notice: Notice = serde_json::from_slice(payload).ok()?;
    let is_brokers = matches!(Source::parse(&notice.source), Some(Source::Broker(_)));
    let is_receipt = split_type(&notice.kind).is_some_and(|(kind, _)| kind.as_str() == "msg.receipt");
    let is_withdrawal = matches!(notice.data.outcome.as_str(), "erased" | "expired" | "retracted");
    if is_brokers && is_receipt && is_withdrawal { Digest::parse(&notice.data.sha256) } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn notice(outcome: &str, of: Digest) -> Value {
        json!({ "source": "/broker/liaison-1", "type": "eu.ilonet.msg.receipt.v1",
            "data": { "outcome": outcome, "sha256": of.hex() } })
    }

    #[test]
    fn what_was_withdrawn_keeps_its_place_in_the_feed() {
        let (gone, after) = (Digest::of(b"gone"), Digest::of(b"after"));
        let first = Digest::default().feed(gone);
        for outcome in ["erased", "expired", "retracted"] {
            let mut feed = Feed::default();
            let payload = notice(outcome, gone).to_string();
            assert_eq!(feed.judge(1, &gone.hex(), &first.hex(), payload.as_bytes()), Ok(()), "{outcome}");
            let wrong = Digest::of(payload.as_bytes());
            assert_eq!(
                feed.judge(2, &after.hex(), &Digest::default().feed(wrong).feed(after).hex(), b"after"),
                Err(FeedFault::Running),
                "the digest that counts is that of the message, not that of the notice"
            );
            assert_eq!(feed.judge(2, &after.hex(), &first.feed(after).hex(), b"after"), Ok(()), "{outcome}");
        }
    }

    #[test]
    fn nothing_else_stands_for_another_message() {
        let gone = Digest::of(b"gone");
        let with = |place: &str, value: &str| {
            let mut changed = notice("erased", gone);
            changed.pointer_mut(place).into_iter().for_each(|member| *member = value.into());
            changed
        };
        for payload in [
            with("/source", "/authority/de-bpol"),
            with("/type", "eu.ilonet.msg.erasure.v1"),
            with("/data/outcome", "accepted"),
            with("/data/outcome", "review-due"),
            with("/data/sha256", &Digest::of(b"other").hex()),
            with("/data/sha256", "gone"),
            json!("gone"),
        ] {
            let judged = Feed::default().judge(
                1,
                &gone.hex(),
                &Digest::default().feed(gone).hex(),
                payload.to_string().as_bytes(),
            );
            assert_eq!(judged, Err(FeedFault::Bytes), "{payload}");
        }
    }

    #[test]
    fn a_feed_is_held_against_what_this_reader_had() {
        let digest = |seq: u64| Digest::of(&seq.to_be_bytes());
        let running = |seq: u64| (1..=seq).fold(Digest::default(), |before, seq| before.feed(digest(seq)));
        let mut feed = Feed::default();
        let mut read = |seq: u64, own: u64, end: u64| {
            feed.judge(seq, &format!("sha256:{}", digest(own)), &running(end).hex(), &seq.to_be_bytes())
        };
        assert_eq!(read(1, 1, 2), Err(FeedFault::Running), "the first has nothing before it");
        assert_eq!(read(1, 1, 1), Ok(()));
        assert_eq!(read(2, 2, 3), Err(FeedFault::Running));
        assert_eq!(read(2, 3, 2), Err(FeedFault::Bytes));
        assert_eq!(read(2, 2, 2), Ok(()));
        assert_eq!(read(1, 1, 1), Ok(()), "again");
        assert_eq!(read(3, 3, 3), Ok(()), "what came again is not the end");
        assert_eq!(read(7, 7, 8), Ok(()), "nothing is known of the one before");
        assert_eq!(read(8, 8, 8), Err(FeedFault::Running), "of which this is seen");
        assert_eq!(feed.judge(9, "sha256:", "", b""), Err(FeedFault::Bytes));
        assert_eq!(feed.judge(9, &Digest::of(b"").hex(), "", b""), Err(FeedFault::Running));
    }
}
