//! What an acceptance found, and how it is written down.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::message::names::{PartyId, PostId};
use crate::message::time::Timestamp;

/// Evidence kept of one check.
const EVIDENCE: usize = 10;

/// What became of a check or of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it must be.
    Pass,
    /// Not as it must be.
    Fail,
    /// It did not come to it.
    NotObserved,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotObserved => "not observed",
        }
    }
}

/// One thing that a client must do.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What it must do.
    pub words: &'static str,
    /// Whether it did.
    pub verdict: Verdict,
    /// Ids, sequence numbers, times.
    pub evidence: Vec<String>,
}

impl Check {
    /// Passes if there is nothing wrong; what is wrong is the evidence, else what was seen.
    #[must_use]
    pub fn without(words: &'static str, wrong: Vec<String>, seen: String) -> Self {
        if wrong.is_empty() {
            return Self { words, verdict: Verdict::Pass, evidence: vec![seen] };
        }
        let more = wrong.len().saturating_sub(EVIDENCE);
        let mut evidence = wrong;
        evidence.truncate(EVIDENCE);
        if more > 0 {
            evidence.push(format!("and {more} more"));
        }
        Self { words, verdict: Verdict::Fail, evidence }
    }

    /// Something that did not happen, so that nothing can be said.
    #[must_use]
    pub fn unseen(words: &'static str, why: String) -> Self {
        Self { words, verdict: Verdict::NotObserved, evidence: vec![why] }
    }
}

/// What a scenario showed.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Its name.
    pub scenario: &'static str,
    /// What it is about.
    pub words: &'static str,
    /// Fails if a check does; not observed if none fails and one was not.
    pub verdict: Verdict,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

/// The certificate of a member-state system.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// Version of this document.
    pub format: u32,
    /// Of the program.
    pub version: &'static str,
    /// Whose system.
    pub party: PartyId,
    /// The post that published, if not the system user.
    pub post: Option<PostId>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Pass only if every scenario passed.
    pub verdict: Verdict,
    /// The scenarios.
    pub scenarios: Vec<Shown>,
}

/// The worst of several: one failure fails all, and what was not seen is not passed.
#[must_use]
pub fn together(verdicts: &[Verdict]) -> Verdict {
    let any = |wanted| verdicts.contains(&wanted);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::NotObserved) || verdicts.is_empty() {
        Verdict::NotObserved
    } else {
        Verdict::Pass
    }
}

impl Certificate {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.subject(), self.verdict.as_str());
        for shown in &self.scenarios {
            put(&mut text, format_args!("\n{:<12}  {}\n", shown.verdict.as_str(), shown.words));
            for check in &shown.checks {
                put(&mut text, format_args!("  {:<12}  {}\n", check.verdict.as_str(), check.words));
                for evidence in &check.evidence {
                    put(&mut text, format_args!("  {:<12}    {evidence}\n", ""));
                }
            }
        }
        text
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Acceptance of {}\n\n**{}**, with liaison {}, from {:.0} to {:.0}.\n\n\
             | scenario | result | seconds |\n|---|---|---|\n",
            plain(&self.subject()),
            self.verdict.as_str(),
            self.version,
            self.started,
            self.ended
        );
        for shown in &self.scenarios {
            let seconds = shown.took_ms / 1_000;
            put(&mut text, format_args!("| {} | {} | {seconds} |\n", shown.scenario, shown.verdict.as_str()));
        }
        for shown in &self.scenarios {
            put(&mut text, format_args!("\n## {}\n\n{}\n\n", shown.scenario, shown.words));
            for check in &shown.checks {
                put(&mut text, format_args!("- **{}**: {}\n", check.verdict.as_str(), check.words));
                for evidence in &check.evidence {
                    put(&mut text, format_args!("  - {}\n", plain(evidence)));
                }
            }
        }
        text
    }

    fn subject(&self) -> String {
        match &self.post {
            Some(post) => format!("{} ({post})", self.party),
            None => self.party.to_string(),
        }
    }
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes everything");
}

/// Text in which Markdown sees nothing. What a foreign program printed may stand in it.
fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '\n' | '\r' => safe.push(' '),
            '*' | '_' | '`' | '[' | ']' | '|' | '\\' | '#' => {
                safe.push('\\');
                safe.push(letter);
            }
            other => safe.push(other),
        }
    }
    safe
}
