//! The report of a run: percentiles, throughput, refusals and steadiness, computed from its log, and shown.
//!
//! It reads the log once, streaming, and judges nothing: whether the broker was right the auditor says, whether it was
//! fast enough the assertions of whoever asked. Every latency counts from the time at which a message was due, not from
//! when it was sent: what waits behind a slow one is late too.

mod assertion;
mod drawing;
mod gather;
mod html;
mod interval;
mod json;
mod latency;
mod measure;
mod plots;
mod rows;
mod series;
mod steady;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use super::audit::Findings;
use super::log::{LogError, Reader, Run};

pub use self::assertion::{Assertion, AssertionError, Outcome};
pub use self::latency::{Latencies, Spread};
pub use self::series::{Happened, Interval, Series, Spreads};
pub use self::steady::{Course, Steadiness};

/// What a run was like.
#[derive(Debug)]
pub struct Report {
    /// What was played.
    pub run: Run,
    /// What the auditor found; none if nobody looked, or the run did not come to its end.
    pub findings: Option<Findings>,
    /// Attempts in the log.
    pub attempts: u64,
    /// From due to PubAck.
    pub puback: Latencies,
    /// From due to receipt.
    pub receipt: Latencies,
    /// From due to being read by an authority that reads promptly.
    pub delivery: Latencies,
    /// From due to sent: how late the simulation itself was.
    pub slip: Latencies,
    /// By time.
    pub series: Series,
    /// Whole seconds in which messages were sent.
    pub window: u64,
    /// Outcomes in receipts, by word.
    pub outcomes: BTreeMap<String, u64>,
    /// Refusals, by code.
    pub refusals: BTreeMap<String, u64>,
    /// What analysts replayed; none if there were none.
    pub analysts: Option<Analysts>,
    /// Memory and the like.
    pub steady: Steadiness,
    /// Each authority's mailbox, by party.
    pub authorities: BTreeMap<String, Mailbox>,
}

/// What one authority read.
#[derive(Debug, Clone, Default)]
pub struct Mailbox {
    /// Letters of this run that count for the delivery latency.
    pub delivery: Latencies,
    /// Letters that are no measure of the broker: read slowly or only afterwards, or released to it later.
    pub held: u64,
}

/// What analysts replayed while messages were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Analysts {
    /// Replays that were begun.
    pub replays: u64,
    /// Pages that came.
    pub pages: u64,
    /// Messages on them.
    pub messages: u64,
    /// Replays that ended with an error.
    pub errors: u64,
}

/// What happened a second, on average while messages were sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Attempts sent.
    pub sent: f64,
    /// Receipts.
    pub receipted: f64,
    /// Letters read.
    pub delivered: f64,
}

impl Report {
    /// Reads the log once. Of a run that was killed it takes what can be read, and no findings count.
    ///
    /// # Errors
    /// The log of a finished run cannot be read.
    pub fn of(log: &Reader, findings: impl Into<Option<Findings>>) -> Result<Self, LogError> {
        gather::gather(log, findings.into())
    }

    /// True if the run came to its end.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.run.ended.is_some()
    }

    /// Throughput while messages were sent; none if none were.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn throughput(&self) -> Option<Throughput> {
        let Happened { sent, receipted, delivered } = self.series.before(self.window);
        let each = |count: u64| count as f64 / self.window as f64;
        (self.window > 0).then(|| Throughput {
            sent: each(sent),
            receipted: each(receipted),
            delivered: each(delivered),
        })
    }

    /// The four latencies by name.
    #[must_use]
    pub fn latencies(&self) -> [(&'static str, &Latencies); 4] {
        [
            ("puback", &self.puback),
            ("receipt", &self.receipt),
            ("delivery", &self.delivery),
            ("slip", &self.slip),
        ]
    }

    /// The authorities, those first that waited longest by the 99th percentile.
    #[must_use]
    pub fn slowest_first(&self) -> Vec<(&str, &Mailbox)> {
        let mut all: Vec<_> =
            self.authorities.iter().map(|(party, mailbox)| (party.as_str(), mailbox)).collect();
        all.sort_by_key(|(_, mailbox)| std::cmp::Reverse(mailbox.delivery.percentile(99.0)));
        all
    }

    /// What the auditor found, in one sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(findings) = &self.findings else {
            return if self.complete() {
                "Nobody audited this run.".to_owned()
            } else {
                "The run did not come to its end: nothing can be said about losses.".to_owned()
            };
        };
        let wrong: Vec<String> = findings
            .counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(kind, count)| format!("{} {}", words::count(*count), measure::kind_name(*kind)))
            .collect();
        if wrong.is_empty() {
            let unsent = match findings.unsent {
                0 => String::new(),
                unsent => format!(" The run was broken off: {} more were not sent.", words::count(unsent)),
            };
            format!(
                "The auditor found nothing wrong in {} attempts, {} letters and {} replayed messages.{unsent}",
                words::count(findings.attempts - findings.unsent),
                words::count(findings.letters),
                words::count(findings.replayed)
            )
        } else {
            format!("The auditor found faults: {}.", wrong.join(", "))
        }
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// As JSON. Member names are stable; new ones may come. Times are microseconds.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::document(self)
    }

    /// The series over time as CSV with a header.
    ///
    /// # Errors
    /// Writing.
    pub fn csv(&self, to: impl std::io::Write) -> std::io::Result<()> {
        rows::write(self, to)
    }

    /// The latencies as a log of HdrHistogram intervals (V2, compressed), tagged `puback`, `receipt` and `delivery`.
    ///
    /// # Errors
    /// Writing.
    pub fn hdr_log(&self, to: impl std::io::Write) -> std::io::Result<()> {
        interval::write(self, to)
    }

    /// One file that needs no other and no network.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}
