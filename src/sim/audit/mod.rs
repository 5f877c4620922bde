//! The auditor: believes neither broker nor run, and says what does not agree.
//!
//! It makes the script again from plan and seed and computes for itself who must get what; it shares no routing code with
//! the broker (`tests/it/tidy.rs` lets it import nothing of `rules/` and `broker/`). It says what is wrong and where,
//! never why.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::cast::{Cast, Officer};
use super::log::{LogError, Reader, Run};
use super::script::{self, Attempt, Script, Setting};
use crate::message::digest::Digest;
use answers::Answers;
use bits::Rows;
use book::Book;
use ledger::{Ledger, Making};
use mailbox::{Feed, Mailboxes};
use oracle::Oracle;
use parties::Network;
use replays::Replays;

mod answers;
mod bits;
mod book;
mod condition;
mod control;
mod deployed;
mod ledger;
mod mailbox;
mod oracle;
mod parties;
mod replays;
mod sets;
mod verdicts;
mod wants;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Receipted as accepted, and in no feed that must have it: not archived.
    Lost,
    /// Sent, and no receipt ever came; or queued more than once, and not every time receipted.
    Unanswered,
    /// Twice in one feed, or archived twice.
    Doubled,
    /// In a mailbox or a replay, and nobody sent it; or a receipt that answers nothing.
    Unexpected,
    /// The receipt says something else than the script.
    WrongVerdict,
    /// Delivered or replayed to a party that must not have it.
    Misdelivered,
    /// A party that must have it did not get it.
    Missing,
    /// A feed is not dense, or not in the order of the archive.
    Misordered,
    /// A digest of a letter or of a feed is not that of its bytes.
    Digest,
    /// The replay of a feed is not what its mailbox got.
    Replay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Lost,
        Self::Unanswered,
        Self::Doubled,
        Self::Unexpected,
        Self::WrongVerdict,
        Self::Misdelivered,
        Self::Missing,
        Self::Misordered,
        Self::Digest,
        Self::Replay,
    ];
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The attempt, where there is one.
    pub no: Option<u32>,
    /// The party whose mailbox or feed it is about.
    pub party: Option<String>,
    /// One sentence; never a word of a message.
    pub words: String,
}

/// An attempt that did not come to everybody who must have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// Its number.
    pub no: u32,
    /// To how many it did not come.
    pub parties: u32,
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Attempts in the script.
    pub attempts: u64,
    /// Those of them that were not sent because the run was broken off.
    #[serde(default)]
    pub unsent: u64,
    /// Receipts by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Receipts that refused or put aside, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Letters read from mailboxes.
    pub letters: u64,
    /// Messages replayed at the end.
    pub replayed: u64,
    /// Letters and replayed messages of other runs and other senders, and what the broker says itself where it may: not
    /// judged.
    pub foreign: u64,
    /// Letters that came again with the same place and digest, as at-least-once delivery may.
    #[serde(default)]
    pub redelivered: u64,
    /// Attempts that some party must have got and did not, by number. For the latencies; `counts` has them too.
    #[serde(skip)]
    pub undelivered: Vec<Undelivered>,
    /// Attempts that were sent again although a PubAck had come: a broker that works leaves none.
    #[serde(default)]
    pub resent: u64,
    /// How often something was wrong, by kind; kinds that were not are absent.
    pub counts: BTreeMap<Kind, u64>,
    /// The first few of each kind.
    pub examples: Vec<Finding>,
}

impl Findings {
    /// How often this was wrong.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// True if nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.values().all(|count| *count == 0)
    }
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Plan and registry of the log do not give a script.
    #[error("the script cannot be made again: {0}")]
    Script(String),
    /// The run did not come to its end.
    #[error("the run was not finished: its log cannot be compared")]
    Unfinished,
}

/// Audits the log of a finished run.
///
/// # Errors
/// See [`AuditError`]. What is wrong with the broker is no error but a finding.
pub fn audit(log: &Reader) -> Result<Findings, AuditError> {
    let run = log.run()?;
    let cast = Cast::choose(&run.plan, &run.registry).map_err(AuditError::Script)?;
    let setting = Setting { clock: run.clock, case_plane: run.case_plane, fresh: run.fresh };
    let seed = run.plan.seed;
    let attempts = Script::new(&run.plan, &cast, setting);
    compare(attempts, |id: &str| script::attempt_of(id, seed), &cast, &run, log)
}

/// Compares the log of a run with the attempts that were to be made; `number` tells the attempt with an id.
fn compare(
    attempts: impl Iterator<Item = Attempt>,
    number: impl Fn(&str) -> Option<u32>,
    cast: &Cast,
    run: &Run,
    log: &Reader,
) -> Result<Findings, AuditError> {
    let ended = run.ended.ok_or(AuditError::Unfinished)?;
    let oracle = Oracle::new(&run.registry, cast, run.fresh)?;
    let mut book = Book::default();
    let answers = Answers::read(log, &mut book)?;
    let parties = oracle.network.len();
    let mut ledger = Ledger::new(parties);
    let wanting = Rows::new(parties);
    let mut making = Making { oracle, answers: &answers, number, ended, wanting, controls: Vec::new() };
    for attempt in attempts {
        ledger.take(&mut making, &attempt)?;
    }
    control::decide(&mut ledger, &mut making)?;
    let Making { oracle: Oracle { network, .. }, number, .. } = making;
    ledger.close();
    book.found.attempts = ledger.facts.len() as u64;
    let place = |officer: &Officer| network.place(officer.party.as_str()).unwrap_or(usize::MAX);
    let of_officers: Vec<usize> = cast.officers.iter().map(place).collect();
    verdicts::check(&ledger, &answers, (&of_officers, run.interrupted), &mut book);
    strays(&number, run.fresh, log, &mut book)?;
    let (feeds, odd) = letters((&mut ledger, &answers, &network, number), run, log, &mut book)?;
    let odd = |party: usize, feed_seq: u64| odd.get(&(party, feed_seq)).copied();
    let mut replays = Replays::new(&ledger, &network, &feeds, &odd, (run.fresh, run.started));
    for line in log.replayed()? {
        replays.take(&line?, &mut book);
    }
    replays.close(&mut book);
    Ok(book.found)
}

/// Receipts that answer nothing: a second one with another outcome, or one that belongs to somebody else.
fn strays(
    number: impl Fn(&str) -> Option<u32>,
    fresh: bool,
    log: &Reader,
    book: &mut Book,
) -> Result<(), AuditError> {
    for stray in log.strays()? {
        let stray = stray?;
        let no = number(&stray.token);
        if no.is_none() && !fresh {
            // A broker that was started anew may tell receipts of an earlier run again.
            book.found.foreign += 1;
            continue;
        }
        book.note(Kind::Unexpected, no, Some(&stray.party), || {
            let of = no.map_or_else(|| "nothing".to_owned(), |no| format!("attempt {no}"));
            format!("{} of {} got a receipt for {of} that answers nothing", stray.post, stray.party)
        });
    }
    Ok(())
}

/// The running digests that analysts told, each different one of a place once: they replay the same again and again.
fn analysed(network: &Network, log: &Reader) -> Result<HashMap<(usize, u64), Vec<Digest>>, AuditError> {
    let mut told: HashMap<(usize, u64), Vec<Digest>> = HashMap::new();
    for line in log.analysed()? {
        let line = line?;
        let running = line.running.as_deref().and_then(Digest::parse);
        if let (Some(place), Some(running)) = (network.place(&line.party), running) {
            let known = told.entry((place, line.last)).or_default();
            if !known.contains(&running) {
                known.push(running);
            }
        }
    }
    Ok(told)
}

/// What the mailboxes showed: feeds by place of the party, and digests of letters that are none of this run.
type Seen = (Vec<Feed>, HashMap<(usize, u64), Digest>);

fn letters<N: Fn(&str) -> Option<u32>>(
    (ledger, answers, network, number): (&mut Ledger, &Answers, &Network, N),
    run: &Run,
    log: &Reader,
    book: &mut Book,
) -> Result<Seen, AuditError> {
    let erased = ledger.withdrawn.iter().filter(|(_, erases)| **erases).map(|(no, _)| *no).collect();
    let mut mailboxes = Mailboxes {
        ledger,
        answers,
        network,
        number,
        fresh: run.fresh,
        started: run.started,
        feeds: (0..network.len()).map(|_| Feed::begun(run.fresh)).collect(),
        odd: HashMap::new(),
        analysed: analysed(network, log)?,
        erased,
    };
    for read in log.letters()? {
        mailboxes.take(&read?, book);
    }
    mailboxes.missing(book);
    Ok((mailboxes.feeds, mailboxes.odd))
}

#[cfg(test)]
mod tests;
