//! Counts of what is wrong, with the first few of each kind in words.
//!
//! Words name attempts and parties, never anything that stands in a message.

use super::{Finding, Findings, Kind};

/// Examples kept of each kind.
const EXAMPLES: u64 = 20;

/// The findings while they are made.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) found: Findings,
}

impl Book {
    /// Notes that something is wrong. The words are made only if they are kept.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        no: Option<u32>,
        party: Option<&str>,
        words: impl FnOnce() -> String,
    ) {
        let count = self.found.counts.entry(kind).or_default();
        *count += 1;
        if *count <= EXAMPLES {
            let party = party.map(str::to_owned);
            self.found.examples.push(Finding { kind, no, party, words: words() });
        }
    }

    /// Notes the same for so many.
    pub(super) fn note_many(
        &mut self,
        kind: Kind,
        times: u64,
        party: Option<&str>,
        words: impl FnOnce() -> String,
    ) {
        if times > 0 {
            self.note(kind, None, party, words);
            *self.found.counts.entry(kind).or_default() += times - 1;
        }
    }

    /// Counts a receipt.
    pub(super) fn receipt(&mut self, outcome: &str, code: Option<&str>) {
        *self.found.outcomes.entry(outcome.to_owned()).or_default() += 1;
        if let Some(code) = code {
            *self.found.refusals.entry(code.to_owned()).or_default() += 1;
        }
    }
}
