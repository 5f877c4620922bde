//! Replays at the end against the mailboxes: the same feed, and tombstones only where a message was withdrawn.

use super::Kind;
use super::book::Book;
use super::ledger::Ledger;
use super::mailbox::{Feed, Slot};
use super::parties::{Law, Network};
use crate::message::digest::Digest;
use crate::message::time::Timestamp;
use crate::sim::log::Replayed;

/// How far the replay of one feed is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    last: u64,
    /// Letters of the mailbox that it has left out so far.
    left_out: u64,
}

/// All replays.
pub(super) struct Replays<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) network: &'a Network,
    pub(super) feeds: &'a [Feed],
    /// Digests of letters that are not those of an attempt.
    pub(super) odd: &'a dyn Fn(usize, u64) -> Option<Digest>,
    pub(super) fresh: bool,
    /// When the first message was due: what had expired before is shown nowhere.
    pub(super) started: Timestamp,
    progress: Vec<Progress>,
}

impl<'a> Replays<'a> {
    /// Before the first line.
    pub(super) fn new(
        ledger: &'a Ledger,
        network: &'a Network,
        feeds: &'a [Feed],
        odd: &'a dyn Fn(usize, u64) -> Option<Digest>,
        (fresh, started): (bool, Timestamp),
    ) -> Self {
        let progress = vec![Progress::default(); feeds.len()];
        Self { ledger, network, feeds, odd, fresh, started, progress }
    }

    /// Takes the next line.
    pub(super) fn take(&mut self, line: &Replayed, book: &mut Book) {
        book.found.replayed += 1;
        let (party, at) = (line.party.as_str(), line.feed_seq);
        let mut wrong = |no: Option<u32>, words: &str| {
            book.note(Kind::Replay, no, Some(party), || format!("the replay of {party}, at {at}: {words}"));
        };
        let (Some(place), Some(digest)) = (self.network.place(party), Digest::parse(&line.digest)) else {
            return wrong(None, "of an unknown party, or without a digest");
        };
        let feed = &self.feeds[place];
        let progress = &mut self.progress[place];
        if at <= progress.last {
            return wrong(None, "behind what comes after it, or twice");
        }
        // What the mailbox had between the last line and this one.
        let from = (progress.last + 1).max(feed.first);
        progress.left_out += at.min(feed.last() + 1).saturating_sub(from);
        progress.last = at;
        let bytes = line.sha256.as_deref().map(Digest::parse);
        if bytes.is_some_and(|bytes| bytes != Some(digest)) {
            wrong(None, "the digest is not that of the bytes");
        }
        let here = match feed.slot(at) {
            Slot::Attempt(no) => Some((Some(no), self.ledger.facts[no as usize].digest)),
            Slot::Foreign => (self.odd)(place, at).map(|digest| (None, digest)),
            Slot::Unseen => None,
        };
        match here {
            Some((no, letter)) if letter == digest => match no {
                Some(no) => self.shown(place, line, no, book),
                None => book.found.foreign += 1,
            },
            Some((no, _)) => wrong(no, "another message than in the mailbox"),
            None => self.not_in_mailbox(place, line, digest, book),
        }
    }

    /// An attempt of this run that the mailbox got too.
    fn shown(&self, place: usize, line: &Replayed, no: u32, book: &mut Book) {
        let (party, at) = (line.party.as_str(), line.feed_seq);
        let wrong = |book: &mut Book, words: &str| {
            book.note(Kind::Replay, Some(no), Some(party), || {
                format!("the replay of {party}, at {at}: {words}, attempt {no}")
            });
        };
        if !self.ledger.must.has(no, place) {
            return book.note(Kind::Misdelivered, Some(no), Some(party), || {
                format!("the replay of {party} shows attempt {no}, which it must not have")
            });
        }
        let expired = self.ledger.dates.get(&no).and_then(|dates| dates.expires);
        let gone = self.ledger.withdrawn.contains_key(&no) || expired.is_some_and(|at| at <= self.started);
        let fits = |law| self.network.entitled(law).has(place);
        let narrow = self.ledger.narrow.contains_key(&no) && !(fits(Law::Return) && fits(Law::Enforce));
        match line.sha256 {
            Some(_) if gone => wrong(book, "the content of what was withdrawn"),
            None if !gone && !narrow && !self.ledger.may_be_gone(no) => {
                wrong(book, "a tombstone for what nobody took back");
            }
            _ => {}
        }
    }

    fn not_in_mailbox(&self, place: usize, line: &Replayed, digest: Digest, book: &mut Book) {
        let (party, at) = (line.party.as_str(), line.feed_seq);
        match self.ledger.with_digest(digest) {
            Some(no) if !self.ledger.must.has(no, place) => {
                book.note(Kind::Misdelivered, Some(no), Some(party), || {
                    format!("the replay of {party} shows attempt {no}, which it must not have")
                });
            }
            // Taken out of the mailbox before it was read.
            Some(no) if self.ledger.withdrawn.get(&no) == Some(&true) && line.sha256.is_none() => {}
            no => {
                let feed = &self.feeds[place];
                if no.is_none() && !self.fresh && (feed.first == 0 || at < feed.first) {
                    book.found.foreign += 1;
                    return;
                }
                book.note(Kind::Replay, no, Some(party), || {
                    format!("the replay of {party}, at {at}: what its mailbox did not get")
                });
            }
        }
    }

    /// What no replay showed.
    pub(super) fn close(&self, book: &mut Book) {
        for (place, (feed, progress)) in self.feeds.iter().zip(&self.progress).enumerate() {
            if feed.first == 0 {
                continue;
            }
            let behind = (feed.last() + 1).saturating_sub((progress.last + 1).max(feed.first));
            let party = self.network.party(place).id.as_str();
            book.note_many(Kind::Replay, progress.left_out + behind, Some(party), || {
                format!(
                    "the replay of {party} leaves out {} letters of its mailbox",
                    progress.left_out + behind
                )
            });
        }
    }
}
