//! Tests of the report, on logs whose latencies are known.

mod assertions;
mod figures;
mod shown;

use std::path::Path;
use std::time::Duration;

use super::Report;
use crate::sim::audit::{Finding, Findings, Kind};
use crate::sim::log::{Analysed, Read, Reader, Run, Sample, Tried, Writer};
use crate::sim::plan::Plan;

/// What was played in these tests.
pub fn run(seconds: u64) -> Run {
    let start = "2026-03-02T00:00:00Z".parse().unwrap();
    Run {
        version: "0.1.0".to_owned(),
        plan: Plan { name: "a test".to_owned(), duration: Duration::from_secs(seconds), ..Plan::default() },
        registry: String::new(),
        clock: start,
        started: start,
        ended: Some("2026-03-02T01:00:00Z".parse().unwrap()),
        case_plane: false,
        interrupted: false,
        fresh: true,
    }
}

/// The id of an attempt.
pub fn id(no: u32) -> String {
    uuid::Uuid::from_u128(u128::from(no)).to_string()
}

/// An accepted attempt: due, sent 10 us later, acked after 100 us, receipted after `took`.
pub fn tried(no: u32, due: u64, took: u64) -> Tried {
    Tried {
        no,
        id: Some(id(no)),
        due,
        sent: Some(due + 10),
        sends: 1,
        acked: Some(due + 100),
        receipted: Some(due + took),
        outcome: Some("accepted".to_owned()),
        ..Tried::default()
    }
}

/// The same, refused.
pub fn refused(no: u32, due: u64, code: &str) -> Tried {
    Tried { outcome: Some("rejected".to_owned()), code: Some(code.to_owned()), ..tried(no, due, 500) }
}

/// A letter.
pub fn letter(party: &str, feed_seq: u64, no: u32, at: u64) -> Read {
    Read {
        party: party.to_owned(),
        subject: format!("ilo.out.{party}.net.flow.observation.tn"),
        feed_seq,
        id: id(no),
        source: "urn:ilo:it-moi:tn-01".to_owned(),
        sha256: String::new(),
        digest: String::new(),
        feed_digest: String::new(),
        stream_seq: None,
        odd_headers: false,
        at,
        held: false,
    }
}

/// A sample with so much memory.
pub fn sample(second: u64, rss: u64) -> Sample {
    Sample {
        at: second * 1_000_000,
        rss,
        descriptors: 40,
        threads: 12,
        cpu_ms: second * 100,
        ..Sample::default()
    }
}

/// What an auditor finds who looked and found this.
pub fn found(counts: &[(Kind, u64)]) -> Findings {
    Findings {
        attempts: 100,
        letters: 200,
        replayed: 200,
        counts: counts.iter().copied().collect(),
        examples: counts
            .iter()
            .map(|(kind, _)| Finding {
                kind: *kind,
                no: Some(7),
                party: Some("fr-dnpaf".to_owned()),
                words: "is not in <the> feed".to_owned(),
            })
            .collect(),
        ..Findings::default()
    }
}

/// Everything that is in a log.
#[derive(Default)]
pub struct Log {
    pub tried: Vec<Tried>,
    pub letters: Vec<Read>,
    pub samples: Vec<Sample>,
    pub analysed: Vec<Analysed>,
}

impl Log {
    /// A hundred messages in two seconds, receipted after 1 to 100 ms and delivered after 2 to 200 ms.
    pub fn hundred() -> Self {
        let due = |no: u32| u64::from(no) * 20_000;
        let took = |no: u32| u64::from(no + 1) * 1_000;
        Self {
            tried: (0..100).map(|no| tried(no, due(no), took(no))).collect(),
            letters: (0..100)
                .map(|no| letter("fr-dnpaf", u64::from(no) + 1, no, due(no) + 2 * took(no)))
                .collect(),
            ..Self::default()
        }
    }

    /// Written and closed.
    pub fn write(&self, directory: &Path, run: &Run) -> Reader {
        let mut writer = Writer::create(directory, run).unwrap();
        self.tried.iter().for_each(|line| writer.tried(line).unwrap());
        self.letters.iter().for_each(|line| writer.read(line).unwrap());
        self.samples.iter().for_each(|line| writer.sample(line).unwrap());
        self.analysed.iter().for_each(|line| writer.analysed(line).unwrap());
        writer.finish(run).unwrap();
        Reader::of(directory)
    }

    /// Reported.
    pub fn report(&self, run: &Run, findings: impl Into<Option<Findings>>) -> Report {
        let directory = tempfile::tempdir().unwrap();
        let log = self.write(directory.path(), run);
        Report::of(&log, findings).unwrap()
    }
}
