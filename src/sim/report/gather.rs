//! Reads a log into a report, a line at a time.
//!
//! Kept of an attempt is only when it was due, by its id, because letters know no more of it. What never came counts with the
//! time for which it was waited: a broker that dies in the middle must not have the percentiles of its good half.

use std::collections::{BTreeMap, HashMap};

use super::latency::{LONGEST, Latencies};
use super::series::{Happened, Series};
use super::steady::Steadiness;
use super::{Mailbox, Report};
use crate::message::digest::Digest;
use crate::sim::audit::{Findings, Undelivered};
use crate::sim::log::{LogError, Read, Reader, Run, Tried};

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// When the attempt that a letter came from was due.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: u64,
    accepted: bool,
    /// Archive sequence that its receipt told; 0 if none.
    seq: u64,
}

/// An id in 16 bytes: there may be millions.
fn key(id: &str) -> u128 {
    uuid::Uuid::try_parse(id).map_or_else(
        |_| Digest::of(id.as_bytes()).0.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte)),
        |id| id.as_u128(),
    )
}

struct Gathering {
    report: Report,
    due: HashMap<u128, Due>,
    /// The highest feed sequence of each party, for what comes again is not counted again; and the highest archive sequence
    /// in its feed, for what lies behind that was released to it later.
    read: HashMap<String, (u64, u64)>,
    /// When the run ended, microseconds from the start.
    end: u64,
}

/// When a run ended; of one that was killed nobody knows: later than anything.
fn end(run: &Run) -> u64 {
    let micros = run.ended.map(|ended| ended.duration_since(run.started).as_micros());
    micros.map_or(u64::MAX, |micros| u64::try_from(micros).unwrap_or_default())
}

/// See [`Report::of`].
pub fn gather(log: &Reader, findings: Option<Findings>) -> Result<Report, LogError> {
    let run = log.run()?;
    let seconds = run.plan.duration.as_secs();
    let whole = run.ended.is_some();
    let report = Report {
        findings: findings.filter(|_| whole),
        attempts: 0,
        puback: Latencies::default(),
        receipt: Latencies::default(),
        delivery: Latencies::default(),
        slip: Latencies::default(),
        series: Series::new(seconds),
        window: 0,
        outcomes: BTreeMap::new(),
        refusals: BTreeMap::new(),
        analysts: None,
        steady: Steadiness::default(),
        authorities: BTreeMap::new(),
        run,
    };
    let end = end(&report.run);
    let mut gathering = Gathering { report, due: HashMap::new(), read: HashMap::new(), end };
    let mut last_sent = 0;
    for tried in readable(whole, log.attempts()?) {
        let tried = tried?;
        last_sent = last_sent.max(tried.sent.unwrap_or_default());
        gathering.tried(&tried);
    }
    for letter in readable(whole, log.letters()?) {
        gathering.letter(letter?);
    }
    for line in readable(whole, log.analysed()?) {
        let line = line?;
        let analysts = gathering.report.analysts.get_or_insert_default();
        analysts.replays += 1;
        analysts.pages += line.pages;
        analysts.messages += line.messages;
        analysts.errors += u64::from(line.failed);
    }
    let samples = readable(whole, log.samples()?).collect::<Result<Vec<_>, _>>()?;
    let mut report = gathering.report;
    if report.slip.count() > 0 {
        report.window = last_sent / SECOND + 1;
    }
    report.steady = Steadiness::of(samples, last_sent, report.receipt.count());
    Ok(report)
}

/// What can be read: the end of a log that was not closed is no error.
fn readable<T>(
    whole: bool,
    lines: impl Iterator<Item = Result<T, LogError>>,
) -> impl Iterator<Item = Result<T, LogError>> {
    lines.take_while(move |line| whole || line.is_ok())
}

impl Gathering {
    fn tried(&mut self, tried: &Tried) {
        let report = &mut self.report;
        report.attempts += 1;
        if let Some(id) = &tried.id {
            let accepted = tried.outcome.as_deref() == Some("accepted");
            let this = Due { at: tried.due, accepted, seq: tried.seq.unwrap_or_default() };
            let known = self.due.entry(key(id)).or_insert(this);
            // Of several under one id, the letter is of the one that was accepted.
            if (!this.accepted, this.at) < (!known.accepted, known.at) {
                *known = this;
            }
        }
        if let Some(at) = tried.sent {
            report.series.happened(at, Happened { sent: 1, ..Happened::default() });
            report.slip.note(at.saturating_sub(tried.due));
        }
        if let Some(at) = tried.acked {
            let took = at.saturating_sub(tried.due);
            report.puback.note(took);
            report.series.due(tried.due).puback.note(took);
        }
        if let Some(at) = tried.receipted {
            let took = at.saturating_sub(tried.due);
            report.receipt.note(took);
            report.series.happened(at, Happened { receipted: 1, ..Happened::default() });
            report.series.due(tried.due).receipt.note(took);
        }
        if tried.sent.is_some() && tried.receipted.is_none() {
            let waited = self.waited(tried.due);
            self.report.receipt.note_missing(waited);
            self.report.series.due(tried.due).receipt.note(waited);
        }
        self.never_read(tried);
        let report = &mut self.report;
        if let Some(outcome) = &tried.outcome {
            *report.outcomes.entry(outcome.clone()).or_default() += 1;
        }
        if let Some(code) = &tried.code {
            *report.refusals.entry(code.clone()).or_default() += 1;
        }
    }

    /// How long something due then was waited for in vain.
    fn waited(&self, due: u64) -> u64 {
        self.end.saturating_sub(due).min(LONGEST)
    }

    /// Deliveries of an attempt that the auditor misses.
    fn never_read(&mut self, tried: &Tried) {
        let missed = self.report.findings.as_ref().map_or(&[][..], |findings| &findings.undelivered);
        let place = missed.binary_search_by_key(&tried.no, |missed: &Undelivered| missed.no);
        let parties = place.map_or(0, |place| missed[place].parties);
        let waited = self.waited(tried.due);
        for _ in 0..parties {
            self.report.delivery.note_missing(waited);
            self.report.series.due(tried.due).delivery.note(waited);
        }
    }

    fn letter(&mut self, letter: Read) {
        let Some(Due { at: due, seq, .. }) = self.due.get(&key(&letter.id)).copied() else { return };
        let (fed, archived) = self.read.entry(letter.party.clone()).or_default();
        if letter.feed_seq <= *fed {
            return;
        }
        *fed = letter.feed_seq;
        let released = seq < *archived;
        *archived = seq.max(*archived);
        let report = &mut self.report;
        report.series.happened(letter.at, Happened { delivered: 1, ..Happened::default() });
        let mailbox = report.authorities.entry(letter.party).or_default();
        if letter.held || released {
            mailbox.held += 1;
            return;
        }
        let took = letter.at.saturating_sub(due);
        mailbox.delivery.note(took);
        report.delivery.note(took);
        report.series.due(due).delivery.note(took);
    }
}

impl Mailbox {
    /// Letters of this run.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.delivery.count() + self.held
    }
}
