//! What is under way: each attempt from its sending until nothing more is expected of it, and which receipt is whose.
//!
//! It sends nothing and reads no clock. A receipt belongs to the oldest attempt of its officer with the same bytes that has
//! none yet; where the receipt tells no usable digest, to the one at the stream sequence in its subject. One that belongs to none
//! is told as stray, unless it is told again, or the same bytes were sent more than once: each sending has a receipt of its own.
//! An attempt that was sent again is therefore kept, for a minute at most, while a receipt is missing that would tell something.

use std::collections::{HashMap, HashSet, VecDeque};

use super::echo::echoes;
use super::recent::Recent;
use super::station::Receipt;
use crate::message::digest::Digest;
use crate::sim::log::Tried;
use crate::sim::script::{Attempt, Expect};

/// How long a receipt is waited for before it is looked up, in microseconds.
const PATIENCE: u64 = 10_000_000;
/// How long the answer to a look-up is waited for.
const LOOK: u64 = 1_000_000;
/// How often the same bytes are sent again.
const AGAIN: u32 = 5;
/// Receipts of unreadable messages that came before their PubAck and may wait for it.
const EARLY: usize = 10_000;
/// How long the receipts of all sendings are waited for, from the last one on.
const ECHO: u64 = 60_000_000;

/// An attempt under way.
#[derive(Debug)]
struct Open {
    attempt: Attempt,
    digest: Digest,
    tried: Tried,
    asked: bool,
    /// Stream sequences of all its sendings that had a PubAck.
    sequences: Vec<u64>,
    /// The last sending had its PubAck.
    acked_last: bool,
    /// Receipts that came for it.
    receipts: u32,
    /// When it was sent last.
    last: u64,
    /// A look-up showed a receipt of these bytes, the last that was told; true if it says `duplicate`.
    stands: Option<bool>,
}

impl Open {
    /// True once its receipt is there.
    fn has_receipt(&self) -> bool {
        self.tried.receipted.is_some()
    }

    /// Of the same bytes sent by plan nobody can tell the receipts apart.
    fn is_counted(&self) -> bool {
        self.tried.sends > 1 && !matches!(self.attempt.expect, Expect::Duplicate(_))
    }

    /// True while a receipt is missing whose absence would tell something: the bytes are accepted, more sendings had a PubAck than a
    /// receipt, and nobody said `duplicate`. If somebody did, the receipt of an earlier sending got lost with a connection.
    fn awaits_echo(&self) -> bool {
        self.is_counted()
            && self.tried.outcome.as_deref() == Some("accepted")
            && (self.receipts as usize) < self.sequences.len()
    }

    /// True once nothing more is expected of it. An earlier PubAck cannot come behind that of the last sending.
    fn is_complete(&self) -> bool {
        let acked = if self.is_counted() { self.acked_last } else { self.tried.acked.is_some() };
        self.has_receipt() && acked && !self.awaits_echo()
    }

    /// What is written down of it.
    fn close(mut self) -> Tried {
        if self.tried.sends > 1 {
            // Behind an `accepted` that stands nothing was told. Before a `duplicate` that stands others may have got lost with a
            // connection, if there was more than the first.
            let told = self.stands.is_some_and(|duplicate| !duplicate || self.sequences.len() <= 2);
            let known = told || self.receipts as usize >= self.sequences.len();
            self.tried.receipts = (self.is_counted() && known).then_some(self.receipts);
            self.tried.sequences = self.sequences;
        }
        self.tried
    }
}

/// What must be done about an attempt whose time is up.
#[derive(Debug)]
pub enum Due {
    /// Look for its stored receipt: mark, officer, and the last tokens that it can have.
    Ask { mark: u64, officer: usize, token: String },
    /// Send it again.
    Again { no: u32 },
}

/// What came of something heard.
#[derive(Debug, Default)]
pub struct Came {
    /// Nothing more is expected of this one.
    pub finished: Option<Tried>,
    /// This one has its receipt now; those that refer to it can go.
    pub receipted: Option<Settled>,
    /// It belongs to nothing.
    pub stray: Option<Receipt>,
}

/// An attempt that has its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub no: u32,
    /// From due to receipt, in microseconds.
    pub took: u64,
    /// It was to be accepted, and is told to be known already: somebody has sent it before.
    pub is_known: bool,
}

/// All attempts under way.
#[derive(Debug, Default)]
pub struct Desk {
    /// Nothing had been published before: then nothing can be known already.
    fresh: bool,
    open: HashMap<u32, Open>,
    /// By officer and bytes, oldest first: those that wait for a receipt.
    by_digest: HashMap<(usize, Digest), VecDeque<u32>>,
    /// How many of each officer wait for a receipt.
    of_officer: HashMap<usize, u32>,
    /// By officer and stream sequence: receipts that nobody waits for yet.
    early: HashMap<(usize, u64), (u64, Receipt)>,
    /// Ids of receipts that answered an attempt. Each publication has a receipt with an id of its own, so none of them
    /// answers the same bytes sent once more, however often it is told.
    answered: Recent<String>,
    /// Officer and bytes of what was sent again.
    again: Recent<(usize, Digest)>,
    /// The attempts under way among them.
    counted: HashMap<(usize, Digest), u32>,
    /// Officers that sent something again: whose an early receipt is nobody can tell then.
    unsure: HashSet<usize>,
    /// When to look again, in order of time.
    deadlines: VecDeque<(u64, u32)>,
    /// The same for look-ups, which wait less.
    looks: VecDeque<(u64, u32)>,
}

impl Desk {
    /// On an archive on which nothing had been published before, or on another.
    #[must_use]
    pub fn on(fresh: bool) -> Self {
        Self { fresh, ..Self::default() }
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// How many of an officer wait for a receipt.
    #[must_use]
    pub fn of_officer(&self, officer: usize) -> u32 {
        self.of_officer.get(&officer).copied().unwrap_or_default()
    }

    /// Takes an attempt that is about to be sent for the first time.
    pub fn take(&mut self, attempt: Attempt, digest: Digest, due: u64) {
        let (no, officer) = (attempt.no, attempt.officer);
        self.by_digest.entry((officer, digest)).or_default().push_back(no);
        *self.of_officer.entry(officer).or_default() += 1;
        let tried = Tried { no, id: attempt.id.clone(), due, ..Tried::default() };
        let open = Open {
            attempt,
            digest,
            tried,
            asked: false,
            sequences: Vec::new(),
            acked_last: false,
            receipts: 0,
            last: due,
            stands: None,
        };
        self.open.insert(no, open);
    }

    /// How often it was sent.
    #[must_use]
    pub fn sends(&self, no: u32) -> u32 {
        self.open.get(&no).map_or(0, |open| open.tried.sends)
    }

    /// The attempt, to be sent.
    #[must_use]
    pub fn attempt(&self, no: u32) -> Option<&Attempt> {
        self.open.get(&no).map(|open| &open.attempt)
    }

    /// Notes that it was handed to the connection.
    pub fn sent(&mut self, no: u32, at: u64) {
        let Some(open) = self.open.get_mut(&no) else { return };
        open.tried.sent.get_or_insert(at);
        open.tried.sends += 1;
        open.asked = false;
        open.last = at;
        open.acked_last = false;
        if open.tried.sends > 1 {
            open.tried.resent += u32::from(open.tried.acked.is_some());
            let key = (open.attempt.officer, open.digest);
            self.unsure.insert(key.0);
            self.again.note(key);
            if open.is_counted() {
                self.counted.insert(key, no);
            }
        }
        self.deadlines.push_back((at + PATIENCE, no));
    }

    /// A PubAck.
    pub fn queued(&mut self, mark: u64, sequence: u64, at: u64) -> Came {
        let no = unmark(mark);
        let Some(open) = self.open.get_mut(&no) else { return Came::default() };
        open.tried.acked.get_or_insert(at);
        open.tried.stream_seq.get_or_insert(sequence);
        open.sequences.push(sequence);
        open.acked_last = mark & 0xFF == u64::from(open.tried.sends.saturating_sub(1) & 0xFF);
        let officer = open.attempt.officer;
        let is_answered = open.has_receipt();
        if let Some((came, receipt)) = self.early.remove(&(officer, sequence)) {
            if !is_answered {
                return self.answer(no, receipt, came);
            }
            open.receipts += 1;
            self.answered.note(receipt.id);
        }
        Came { finished: self.finish_if_complete(no), ..Came::default() }
    }

    /// A live receipt; one that nobody waits for is the echo of a re-send, one that answered before is told again: by a
    /// broker that was started anew, or because it had been looked up.
    pub fn receipt(&mut self, officer: usize, receipt: Receipt, at: u64) -> Came {
        if self.answered.has(&receipt.id) {
            return Came::default();
        }
        let by_digest = receipt.digest.and_then(|digest| self.by_digest.get(&(officer, digest)));
        if let Some(no) = by_digest.and_then(|waiting| waiting.front().copied()) {
            return self.answer(no, receipt, at);
        }
        if let Some(key) = receipt.digest.map(|digest| (officer, digest)).filter(|key| self.again.has(key)) {
            return self.of_another_sending(key, receipt);
        }
        let sequence = receipt.token.strip_prefix("unreadable-").and_then(|text| text.parse().ok());
        let Some(sequence) = sequence.filter(|_| receipt.digest.is_none()) else {
            return Came { stray: Some(receipt), ..Came::default() };
        };
        let there = self.open.values().find(|open| {
            open.attempt.officer == officer && open.tried.stream_seq == Some(sequence) && !open.has_receipt()
        });
        match there.map(|open| open.attempt.no) {
            Some(no) => self.answer(no, receipt, at),
            None => {
                if self.early.len() < EARLY {
                    self.early.insert((officer, sequence), (at, receipt));
                }
                Came::default()
            }
        }
    }

    /// A receipt for bytes that were sent more than once.
    fn of_another_sending(&mut self, key: (usize, Digest), receipt: Receipt) -> Came {
        self.answered.note(receipt.id);
        let Some(no) = self.counted.get(&key).copied() else { return Came::default() };
        if let Some(open) = self.open.get_mut(&no) {
            open.receipts += 1;
        }
        Came { finished: self.finish_if_complete(no), ..Came::default() }
    }

    /// The answer to a look-up.
    pub fn stored(&mut self, mark: u64, receipt: Option<Receipt>, at: u64) -> Came {
        let no = unmark(mark);
        let Some(open) = self.open.get_mut(&no) else { return Came::default() };
        // One for other bytes under the same id answers another attempt.
        let own = receipt.filter(|receipt| receipt.digest.is_none_or(|digest| digest == open.digest));
        let Some(receipt) = own else { return Came::default() };
        if !open.has_receipt() {
            return self.answer(no, receipt, at);
        }
        open.stands = Some(receipt.outcome == "duplicate");
        if self.answered.has(&receipt.id) {
            return Came::default();
        }
        let key = (open.attempt.officer, open.digest);
        self.of_another_sending(key, receipt)
    }

    fn answer(&mut self, no: u32, receipt: Receipt, at: u64) -> Came {
        let Some(open) = self.open.get_mut(&no) else { return Came::default() };
        let id = open.attempt.id.as_deref();
        let echoed = echoes(&open.attempt.payload, &receipt.detail);
        self.answered.note(receipt.id);
        open.receipts += 1;
        open.asked = false;
        let tried = &mut open.tried;
        // A receipt that was looked up was found by its token.
        tried.token = Some(receipt.token).filter(|token| !token.is_empty() && Some(token.as_str()) != id);
        tried.target = Some(receipt.target).filter(|target| target != id.unwrap_or_default());
        tried.echoes = echoed;
        tried.receipted = Some(at);
        tried.code = receipt.code;
        tried.seq = receipt.seq;
        tried.recipients = receipt.recipients;
        tried.sha256 = receipt.digest.map(|digest| digest.hex());
        let is_known = !self.fresh
            && receipt.outcome == "duplicate"
            && tried.sends <= 1
            && open.attempt.expect == Expect::Accepted;
        tried.outcome = Some(receipt.outcome);
        let settled = Settled { no, took: at.saturating_sub(tried.due), is_known };
        self.no_longer_waiting(no);
        Came { finished: self.finish_if_complete(no), receipted: Some(settled), stray: None }
    }

    fn no_longer_waiting(&mut self, no: u32) {
        let Some(open) = self.open.get(&no) else { return };
        let key = (open.attempt.officer, open.digest);
        if let Some(waiting) = self.by_digest.get_mut(&key) {
            waiting.retain(|other| *other != no);
            if waiting.is_empty() {
                self.by_digest.remove(&key);
            }
        }
        if let Some(count) = self.of_officer.get_mut(&key.0) {
            *count = count.saturating_sub(1);
        }
    }

    fn finish_if_complete(&mut self, no: u32) -> Option<Tried> {
        if self.open.get(&no)?.is_complete() { self.close(no) } else { None }
    }

    fn close(&mut self, no: u32) -> Option<Tried> {
        let open = self.open.remove(&no)?;
        let key = (open.attempt.officer, open.digest);
        if self.counted.get(&key) == Some(&no) {
            self.counted.remove(&key);
        }
        Some(open.close())
    }

    /// When something is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let first = |queue: &VecDeque<(u64, u32)>| queue.front().map(|(at, _)| *at);
        first(&self.deadlines).into_iter().chain(first(&self.looks)).min()
    }

    /// What must be done by now; attempts of which nothing more is hoped are in `given_up`. Who cannot send again now
    /// calls [`Self::later`].
    pub fn due(&mut self, now: u64, given_up: &mut Vec<Tried>) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((_, no)) = self.deadlines.front().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_front();
            let Some(open) = self.open.get_mut(&no) else { continue };
            let answered = open.has_receipt();
            if answered && !open.awaits_echo() {
                // Only the PubAck did not come.
                given_up.extend(self.close(no));
                continue;
            }
            if answered && open.asked {
                continue; // it is closed when the look-up has had its time
            }
            if answered && now < open.last + ECHO {
                self.deadlines.push_back((now + PATIENCE, no));
                continue;
            }
            let token = open
                .attempt
                .id
                .clone()
                .or_else(|| open.tried.stream_seq.map(|seq| format!("unreadable-{seq}")));
            // Under the id of a re-send stands the receipt of the first sending: it would prove nothing.
            let asks = !open.asked && !matches!(open.attempt.expect, Expect::Duplicate(_));
            match token.filter(|_| asks) {
                Some(token) => {
                    open.asked = true;
                    due.push(Due::Ask { mark: mark(no, 0), officer: open.attempt.officer, token });
                    self.looks.push_back((now + LOOK, no));
                }
                None if answered => given_up.extend(self.close(no)),
                None => self.again(no, &mut due, given_up),
            }
        }
        while let Some((_, no)) = self.looks.front().copied().filter(|(at, _)| *at <= now) {
            self.looks.pop_front();
            match self.open.get(&no) {
                Some(open) if open.asked && !open.has_receipt() => self.again(no, &mut due, given_up),
                Some(open) if open.asked && open.awaits_echo() => given_up.extend(self.close(no)),
                Some(open) if open.has_receipt() => self.deadlines.push_front((now, no)),
                _ => {}
            }
        }
        due
    }

    fn again(&mut self, no: u32, due: &mut Vec<Due>, given_up: &mut Vec<Tried>) {
        let Some(open) = self.open.get(&no) else { return };
        if open.tried.sends > AGAIN {
            self.no_longer_waiting(no);
            given_up.extend(self.close(no));
        } else {
            due.push(Due::Again { no });
        }
    }

    /// All that are under way, as they are, and the receipts that nobody claimed, with their officers and times.
    pub fn abandon(&mut self) -> (Vec<Tried>, Vec<(usize, u64, Receipt)>) {
        let Self { open, early, unsure, .. } = std::mem::take(self);
        let claimed = |officer: usize| unsure.contains(&officer);
        let strays = early.into_iter().filter(|((officer, _), _)| !claimed(*officer));
        let strays = strays.map(|((officer, _), (at, receipt))| (officer, at, receipt)).collect();
        (open.into_values().map(Open::close).collect(), strays)
    }

    /// Looks at it again later: its officer is away.
    pub fn later(&mut self, no: u32, now: u64) {
        if let Some(open) = self.open.get_mut(&no) {
            open.asked = true;
        }
        self.looks.push_back((now + LOOK, no));
    }
}

/// The mark of a sending: the attempt and how often it was sent before.
#[must_use]
pub fn mark(no: u32, sends: u32) -> u64 {
    (u64::from(no) << 8) | u64::from(sends & 0xFF)
}

fn unmark(mark: u64) -> u32 {
    u32::try_from(mark >> 8).unwrap_or(u32::MAX)
}
