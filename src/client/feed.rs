//! Whether a letter is what was archived: its bytes are those of its digest, and its running digest follows from the one before.
//!
//! Only a reader can find out, for only it knows what it read before. What a crash or another reader took away in between is not a
//! fault: the running digest is held against the letter before only where both came to this reader.

use super::Delivered;
use crate::message::digest::Digest;

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
        let own = Digest::of(payload);
        if Digest::parse(digest) != Some(own) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
