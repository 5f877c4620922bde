//! Letters against the ledger: each mailbox has what it must have, once, in order, with the right digests, and nothing else.
//!
//! A letter that comes again with the same feed sequence, digest and place in the stream is at-least-once delivery and only
//! counted; from another place in the stream it was put in twice. Letters of other runs stand in the feed and count for its
//! digests; nothing else is asked of them.

use std::collections::HashMap;

use super::answers::Answers;
use super::book::Book;
use super::ledger::{Ledger, Standing};
use super::parties::Network;
use super::{Kind, Undelivered};
use crate::message::digest::Digest;
use crate::message::time::Timestamp;
use crate::sim::log::Read;

/// In a feed: a letter that is none of this run.
const FOREIGN: u32 = u32::MAX;
/// In a feed: nothing was seen there.
const UNSEEN: u32 = u32::MAX - 1;
/// A longer gap is no gap but a wrong number.
const LONGEST_GAP: u64 = 1 << 20;
/// Subject of what stands for a message that was withdrawn.
const TOMBSTONE: &str = "ctl.msg.receipt.zz";

/// The feed of one party as its mailbox showed it.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Feed sequence of the first letter; 0: none came.
    pub(super) first: u64,
    /// Attempts from there, by feed sequence.
    slots: Vec<u32>,
    running: Digest,
    /// The place in the archive of the last letter.
    place: (u64, u32),
    /// How far the places in the stream are ahead of the feed sequences, each from a feed sequence on: they go in step.
    ahead: Vec<(u64, u64)>,
}

/// What stands at a place of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is before the first letter, behind the last, or in a gap.
    Unseen,
    Foreign,
    Attempt(u32),
}

impl Feed {
    /// Before the first letter. If nothing had been published before, that must be number one.
    pub(super) fn begun(fresh: bool) -> Self {
        Self { first: u64::from(fresh), ..Self::default() }
    }

    /// Feed sequence of the last letter.
    pub(super) fn last(&self) -> u64 {
        (self.first + self.slots.len() as u64).saturating_sub(1)
    }

    pub(super) fn slot(&self, feed_seq: u64) -> Slot {
        let at = feed_seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.slots.get(at)).copied() {
            None | Some(UNSEEN) => Slot::Unseen,
            Some(FOREIGN) => Slot::Foreign,
            Some(no) => Slot::Attempt(no),
        }
    }

    /// Notes at which place of the stream the last letter stands.
    fn stands(&mut self, feed_seq: u64, stream_seq: Option<u64>) {
        let Some(ahead) = stream_seq.map(|place| place.wrapping_sub(feed_seq)) else { return };
        if self.ahead.last().is_none_or(|(_, before)| *before != ahead) {
            self.ahead.push((feed_seq, ahead));
        }
    }

    /// True if a letter that was seen stands at another place of the stream.
    fn is_elsewhere(&self, feed_seq: u64, stream_seq: Option<u64>) -> bool {
        let before = self.ahead.partition_point(|(from, _)| *from <= feed_seq).checked_sub(1);
        let (Some(before), Some(place)) = (before, stream_seq) else { return false };
        self.ahead[before].1 != place.wrapping_sub(feed_seq)
    }

    fn set(&mut self, feed_seq: u64, value: u32) {
        let at = feed_seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            *slot = value;
        }
    }
}

/// How a letter stands to those before it.
enum Step {
    /// It is the next, or fills a gap.
    New,
    /// It came before.
    Again,
}

/// All mailboxes.
pub(super) struct Mailboxes<'a, N> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) answers: &'a Answers,
    pub(super) network: &'a Network,
    pub(super) number: N,
    /// Nothing had been published before: then nothing foreign can be in a mailbox but what the broker says itself.
    pub(super) fresh: bool,
    /// When the first message was due: what had expired before must not be delivered.
    pub(super) started: Timestamp,
    pub(super) feeds: Vec<Feed>,
    /// Digests of letters that are not those of an attempt, by party and feed sequence.
    pub(super) odd: HashMap<(usize, u64), Digest>,
    /// Running digests that analysts told of a feed up to a feed sequence.
    pub(super) analysed: HashMap<(usize, u64), Vec<Digest>>,
    /// Erased messages.
    pub(super) erased: Vec<u32>,
}

impl<N: Fn(&str) -> Option<u32>> Mailboxes<'_, N> {
    /// Takes the next letter.
    pub(super) fn take(&mut self, read: &Read, book: &mut Book) {
        book.found.letters += 1;
        let party = read.party.as_str();
        let Some(place) = self.network.place(party) else {
            return book.note(Kind::Unexpected, None, Some(party), || {
                "a letter for a party that is not in the registry".to_owned()
            });
        };
        let digests = [&read.digest, &read.feed_digest, &read.sha256].map(|text| Digest::parse(text));
        let [Some(told), Some(running), Some(bytes)] = digests else {
            return book.note(Kind::Digest, None, Some(party), || {
                format!("letter {} has no readable digest", read.feed_seq)
            });
        };
        if read.odd_headers {
            book.note(Kind::Unexpected, None, Some(party), || {
                format!("letter {} of {party} has other headers than letters have", read.feed_seq)
            });
        }
        let own = (self.number)(&read.id).filter(|no| (*no as usize) < self.ledger.facts.len());
        match self.step(place, read, told, running, book) {
            Step::Again => return,
            Step::New => {}
        }
        let analysed = self.analysed.get(&(place, read.feed_seq)).into_iter().flatten();
        for _ in analysed.filter(|told| **told != running) {
            book.note(Kind::Replay, None, Some(party), || {
                format!("an analyst of {party} was shown another feed up to letter {}", read.feed_seq)
            });
        }
        // In the feed stands what the digest says; what is delivered for it is looked at below.
        let stands = own.filter(|no| self.ledger.facts[*no as usize].digest == told);
        let stands = stands.or_else(|| self.ledger.with_digest(told));
        self.feeds[place].set(read.feed_seq, stands.unwrap_or(FOREIGN));
        if stands.is_none() {
            self.odd.insert((place, read.feed_seq), told);
        }
        if read.source.starts_with("/broker/") {
            return self.of_broker(place, read, (told, bytes), stands, book);
        }
        if bytes != told {
            book.note(Kind::Digest, own, Some(party), || {
                format!("letter {} of {party} has the digest of other bytes", read.feed_seq)
            });
        }
        match own {
            Some(no) => self.of_run(place, read, (told, bytes), no, book),
            None if (self.number)(&read.id).is_some() => {
                book.note(Kind::Unexpected, None, Some(party), || {
                    format!(
                        "letter {} of {party} has a number of this run that the script does not have",
                        read.feed_seq
                    )
                })
            }
            None if stands.is_some() => book.note(Kind::Unexpected, stands, Some(party), || {
                format!("letter {} of {party} has the bytes of an attempt under another id", read.feed_seq)
            }),
            None if self.fresh => book.note(Kind::Unexpected, None, Some(party), || {
                format!(
                    "letter {} of {party} is of nobody in this run, and nothing was there before",
                    read.feed_seq
                )
            }),
            None => book.found.foreign += 1,
        }
    }

    /// The place of a letter in its feed, and the running digest.
    fn step(&mut self, place: usize, read: &Read, told: Digest, running: Digest, book: &mut Book) -> Step {
        let party = Some(read.party.as_str());
        let at = read.feed_seq;
        if at == 0 {
            book.note(Kind::Misordered, None, party, || "a letter without a feed sequence".to_owned());
            return Step::New;
        }
        let feed = &mut self.feeds[place];
        if feed.first == 0 {
            feed.first = at;
            feed.slots.push(UNSEEN);
            feed.stands(at, read.stream_seq);
            if at == 1 && Digest::default().feed(told) != running {
                note_running(book, party, at);
            }
            feed.running = running;
            return Step::New;
        }
        let last = feed.last();
        if at <= last {
            return self.back(place, read, told, book);
        }
        if at - last > LONGEST_GAP {
            book.note(Kind::Misordered, None, party, || format!("letter {at} follows letter {last}"));
            return Step::New;
        }
        let mut before = Some(feed.running);
        if at > last + 1 {
            before = self.gap(place, at - last - 1, (last, at), book);
        }
        let feed = &mut self.feeds[place];
        feed.slots.push(UNSEEN);
        feed.stands(at, read.stream_seq);
        if before.is_some_and(|before| before.feed(told) != running) {
            note_running(book, party, at);
        }
        feed.running = running;
        Step::New
    }

    /// A letter with a feed sequence that is not behind the last.
    fn back(&mut self, place: usize, read: &Read, told: Digest, book: &mut Book) -> Step {
        let (party, at) = (Some(read.party.as_str()), read.feed_seq);
        let before = match self.feeds[place].slot(at) {
            Slot::Unseen => {
                // The gap is noted already; the letter is as good as any other.
                return Step::New;
            }
            Slot::Foreign => self.odd.get(&(place, at)).copied(),
            Slot::Attempt(no) => Some(self.ledger.facts[no as usize].digest),
        };
        if before == Some(told) {
            if self.feeds[place].is_elsewhere(at, read.stream_seq) {
                book.note(Kind::Doubled, None, party, || format!("letter {at} stands twice in its mailbox"));
            } else {
                book.found.redelivered += 1;
            }
            return Step::Again;
        }
        book.note(Kind::Misordered, None, party, || format!("two different letters have feed sequence {at}"));
        Step::New
    }

    /// A gap is right if the letters of erased messages stood there: these are taken out of mailboxes. The running digest
    /// behind it, if it can be told.
    fn gap(&mut self, place: usize, missing: u64, (last, at): (u64, u64), book: &mut Book) -> Option<Digest> {
        let from = self.feeds[place].place;
        let mut waiting: Vec<((u64, u32), u32)> = self
            .erased
            .iter()
            .filter(|no| self.ledger.must.has(**no, place) && !self.ledger.got.has(**no, place))
            .filter_map(|no| self.archived(place, *no).map(|archived| (archived, *no)))
            .filter(|(archived, _)| *archived > from)
            .collect();
        waiting.sort_unstable();
        waiting.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
        if waiting.len() as u64 == missing {
            let mut running = self.feeds[place].running;
            for (archived, no) in waiting {
                self.feeds[place].place = archived;
                running = running.feed(self.ledger.facts[no as usize].digest);
                self.ledger.got.insert(no, place);
                self.feeds[place].slots.push(no);
            }
            return Some(running);
        }
        let party = self.network.party(place).id.as_str();
        book.note(Kind::Misordered, None, Some(party), || {
            format!("the feed of {party} has a gap: letter {at} follows letter {last}")
        });
        for _ in 0..missing {
            self.feeds[place].slots.push(UNSEEN);
        }
        None
    }

    /// A letter with the id of an attempt of this run.
    fn of_run(&mut self, place: usize, read: &Read, digests: (Digest, Digest), no: u32, book: &mut Book) {
        let (party, at) = (read.party.as_str(), read.feed_seq);
        let mine = self.ledger.facts[no as usize].digest;
        if digests.0 != mine && digests.1 != mine {
            return book.note(Kind::Unexpected, Some(no), Some(party), || {
                format!("letter {at} of {party} has the id of attempt {no} and other bytes")
            });
        }
        if !self.ledger.must.has(no, place) {
            return book.note(Kind::Misdelivered, Some(no), Some(party), || {
                format!("{party} got attempt {no}, which it must not have")
            });
        }
        let expired = self.ledger.dates.get(&no).and_then(|dates| dates.expires);
        if expired.is_some_and(|at| at <= self.started) {
            book.note(Kind::Misdelivered, Some(no), Some(party), || {
                format!("{party} got attempt {no}, which had expired")
            });
        }
        let subject = format!("ilo.out.{party}.{}", self.ledger.tail(no));
        if read.subject != subject {
            book.note(Kind::Unexpected, Some(no), Some(party), || {
                format!("letter {at} of {party} came on another subject than {subject}")
            });
        }
        self.got(place, no, at, book);
    }

    /// Where a message stands in the feed of a party: at its place in the archive, or at that of the grant; `None` if no
    /// receipt told it.
    fn archived(&self, place: usize, no: u32) -> Option<(u64, u32)> {
        let released = self.ledger.released.get(&(no, place)).copied();
        let archived = released.or_else(|| self.answers.place(no).map(|seq| (seq, 0)));
        archived.filter(|(seq, _)| *seq != u64::MAX)
    }

    /// A letter that a party must have came.
    fn got(&mut self, place: usize, no: u32, at: u64, book: &mut Book) {
        let party = self.network.party(place).id.as_str();
        if !self.ledger.got.insert(no, place) {
            return book.note(Kind::Doubled, Some(no), Some(party), || {
                format!("{party} got attempt {no} twice; the second time as letter {at}")
            });
        }
        let Some(archived) = self.archived(place, no) else { return };
        if archived < self.feeds[place].place {
            book.note(Kind::Misordered, Some(no), Some(party), || {
                format!("{party} got attempt {no} behind what was archived after it")
            });
        }
        self.feeds[place].place = archived;
    }

    /// A letter of the broker's own: in the place of a message that was withdrawn, a reminder, an order to erase.
    fn of_broker(
        &mut self,
        place: usize,
        read: &Read,
        (told, bytes): (Digest, Digest),
        stands: Option<u32>,
        book: &mut Book,
    ) {
        let (party, at) = (read.party.as_str(), read.feed_seq);
        let behind = read.subject.strip_prefix("ilo.out.").and_then(|rest| rest.strip_prefix(party));
        let tail = behind.and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
        if let Some(no) = stands {
            if !self.ledger.must.has(no, place) {
                return book.note(Kind::Misdelivered, Some(no), Some(party), || {
                    format!("{party} was told what became of attempt {no}, which it must not have")
                });
            }
            if !self.ledger.may_be_gone(no) || tail != TOMBSTONE {
                return book.note(Kind::Unexpected, Some(no), Some(party), || {
                    format!("letter {at} of {party} stands for attempt {no}, which nobody took back")
                });
            }
            return self.got(place, no, at, book);
        }
        if bytes != told {
            // In the place of a message of another run, or nothing that is known.
            if !self.fresh {
                book.found.foreign += 1;
                return;
            }
            return book.note(Kind::Digest, None, Some(party), || {
                format!("letter {at} of {party} has the digest of other bytes")
            });
        }
        let looked_at = self.ledger.dates.iter().any(|(no, dates)| {
            let owner = usize::from(self.ledger.facts[*no as usize].originator) == place;
            dates.looked_at
                && ((tail == TOMBSTONE && owner)
                    || (tail == "ctl.msg.erasure.zz" && self.ledger.must.has(*no, place)))
        });
        if looked_at || !self.fresh {
            book.found.foreign += 1;
        } else {
            book.note(Kind::Unexpected, None, Some(party), || {
                format!("letter {at} of {party} is the broker's own, and there is no reason for it")
            });
        }
    }

    /// What did not come.
    pub(super) fn missing(&self, book: &mut Book) {
        for (no, fact) in (0..).zip(&self.ledger.facts) {
            if fact.standing != Standing::Kept {
                continue;
            }
            let must = self.ledger.must.row(no);
            let mut without = must.clone();
            without.take(&self.ledger.got.row(no));
            // Its letters may have been taken out of the mailboxes, the last of a feed too.
            let erased = self.ledger.withdrawn.get(&no) == Some(&true);
            if without.is_empty() || erased {
                continue;
            }
            let parties = u32::try_from(without.count()).unwrap_or(u32::MAX);
            book.found.undelivered.push(Undelivered { no, parties });
            if without == must {
                book.note(Kind::Lost, Some(no), None, || {
                    format!(
                        "attempt {no} is told to be archived, and none of its {} recipients got it",
                        must.count()
                    )
                });
                continue;
            }
            for place in without.iter() {
                let party = self.network.party(place).id.as_str();
                book.note(Kind::Missing, Some(no), Some(party), || {
                    format!("{party} did not get attempt {no}")
                });
            }
        }
    }
}

fn note_running(book: &mut Book, party: Option<&str>, at: u64) {
    book.note(Kind::Digest, None, party, || {
        format!("the feed digest of letter {at} does not follow from the one before")
    });
}
