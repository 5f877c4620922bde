//! A finding: what is wrong, why it matters, what to do, and which runbook has more. Only the shape; who finds what is in the files
//! beside this one.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Notice,
    /// It will become bad, or is bad for one party.
    Warning,
    /// The exchange does not do its work, or soon will not.
    Critical,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! runbooks {
    ($($name:ident = $anchor:literal,)*) => {
        /// A section of `docs/ops/RUNBOOKS.md`, named after the alert that it belongs to, or after what only the doctor sees.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Runbook { $(#[doc = $anchor] $name,)* }

        impl Runbook {
            /// All of them.
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The heading of the section.
            #[must_use]
            pub fn heading(self) -> &'static str {
                match self { $(Self::$name => $anchor,)* }
            }
        }
    };
}

runbooks! {
    Archive = "Archive damaged",
    AuditStopped = "LiaisonAuditStopped",
    Certificate = "Certificate runs out",
    CheckpointLate = "LiaisonCheckpointLate",
    ClockSkew = "LiaisonClockSkew",
    Configuration = "Configuration",
    Descriptors = "LiaisonDescriptorsLow",
    DiskLow = "LiaisonDiskLow",
    Down = "LiaisonDown",
    ErasuresOverdue = "LiaisonErasuresOverdue",
    IntakeInterrupted = "LiaisonIntakeInterrupted",
    IntakeLag = "LiaisonSlowArchive",
    Keys = "Keys",
    MailboxDamaged = "LiaisonMailboxDamaged",
    MailboxNotRead = "LiaisonMailboxNotRead",
    MailboxStalled = "LiaisonMailboxStalled",
    NatsDisconnected = "LiaisonNatsDisconnected",
    NoStandby = "LiaisonNoStandby",
    NotReady = "LiaisonNotReady",
    OverwritesFailed = "LiaisonOverwritesFailed",
    ReloadFailed = "LiaisonReloadFailed",
    Streams = "Streams differ",
    SyncInterval = "Sync interval",
    TookOver = "LiaisonTookOver",
}

/// What is wrong and what to do.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Where to read on.
    pub runbook: Runbook,
}

impl Finding {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "what": self.what,
            "why": self.why,
            "action": self.action,
            "runbook": self.runbook.heading(),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { severity, what, why, action, runbook } = self;
        let mut text = format!("{:<9} {what}\n", severity.as_str());
        for (name, words) in [("why", *why), ("do", *action), ("runbook", runbook.heading())] {
            writeln!(text, "          {name}: {words}").expect("writing to a String must not fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_that_a_finding_names_has_its_section() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ops/RUNBOOKS.md");
        let text = std::fs::read_to_string(file).expect("the runbooks");
        for runbook in Runbook::ALL {
            let heading = format!("## {}", runbook.heading());
            assert!(text.lines().any(|line| line == heading), "{heading} is missing");
        }
    }
}
