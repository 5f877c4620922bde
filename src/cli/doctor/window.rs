//! The running broker, asked through its window for operators: is it there, is it ready, what do its counters say.

use std::collections::HashMap;

use serde_json::Value;

use super::finding;
use super::finding::{Finding, Runbook, Severity};
use crate::broker::config::Config;
use crate::broker::survey::StandsBy;
use crate::client::exchange::{Endpoints, get};

/// Seconds since a checkpoint held everything, beyond which something is wrong.
const CHECKPOINT_LATE: f64 = 600.0;

/// What was seen of the broker.
pub struct Window {
    /// That of a `liaison up`, which says where it is.
    of_up: bool,
    /// Its process, if that was told and lives.
    pid: Option<u32>,
    /// Where it was asked; `None` if nobody said where.
    address: Option<String>,
    ready: Option<Value>,
    metrics: HashMap<String, f64>,
    fault: Option<String>,
}

/// What is said of an instance that stands by, which has no window.
pub fn of_standby(standby: &StandsBy) -> Finding {
    let StandsBy { kept, serves } = standby;
    let what = match serves {
        Some(serves) => format!("this instance stands by and has {kept} records; `{serves}` serves"),
        None => format!("this instance stands by and has {kept} records; nobody serves at the moment"),
    };
    let why = "it takes over within 15 s when the one that serves is gone";
    finding(
        Severity::Notice,
        Runbook::TookOver,
        what,
        why,
        "nothing; `liaison doctor` on the machine of the one that serves tells the rest",
    )
}

impl Window {
    /// Asks where `endpoints.json` or the configuration says.
    pub async fn look(told: Option<Endpoints>, config: Option<&Config>, of_up: bool) -> Self {
        let told = told.unwrap_or_default();
        let pid = told.pid.filter(|_| told.is_alive());
        let configured = config.map(|config| config.http.listen).filter(|listen| listen.port() != 0);
        let address = told.http.or_else(|| configured.map(|listen| listen.to_string()));
        let mut window = Self { of_up, pid, address, ready: None, metrics: HashMap::new(), fault: None };
        if let Some(address) = window.address.clone() {
            match ask(&address).await {
                Ok((ready, metrics)) => (window.ready, window.metrics) = (Some(ready), metrics),
                Err(error) => window.fault = Some(error.to_string()),
            }
        }
        window
    }

    /// True if a broker answers, or its process lives.
    pub fn is_alive(&self) -> bool {
        self.ready.is_some() || self.pid.is_some()
    }

    /// The process id, if it is known.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        let Some(ready) = &self.ready else { return vec![self.away()] };
        let mut found: Vec<Finding> = ready["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|check| check["ok"] == false)
            .map(unready)
            .collect();
        found.extend(self.counted_of_streams());
        found.extend(self.counted());
        found
    }

    fn away(&self) -> Finding {
        let (severity, what) = match (&self.address, self.pid, &self.fault) {
            (None, ..) if self.of_up => {
                (Severity::Critical, "no broker runs here: there is no endpoints.json".to_owned())
            }
            (None, ..) => (
                Severity::Notice,
                "where the broker's window is was not told: no endpoints.json, and [http] listen has no port"
                    .to_owned(),
            ),
            (Some(address), Some(pid), Some(fault)) => (
                Severity::Critical,
                format!("the broker (process {pid}) does not answer at {address}: {fault}"),
            ),
            (Some(address), ..) => {
                (Severity::Critical, format!("no broker runs: nobody answers at {address}"))
            }
        };
        finding(
            severity,
            Runbook::Down,
            what,
            "nothing is receipted or delivered; what parties send waits in their intake streams for seven days",
            "see the end of its log and its exit code, then start it",
        )
    }

    /// A number of the broker. One that is missing says nothing: the broker may be of another version.
    fn value(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    fn above(&self, name: &str, limit: f64) -> Option<f64> {
        self.value(name).filter(|value| *value > limit)
    }

    /// What the counters say of mailboxes and intakes.
    fn counted_of_streams(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(count) = self.above("liaison_mailboxes_stalled", 0.0) {
            found.push(finding(
                Severity::Warning,
                Runbook::MailboxStalled,
                format!("{count} mailboxes take nothing"),
                "their deliveries wait in the archive; no other authority is affected",
                "see /readyz for which; they must read and acknowledge, or the mailbox must grow",
            ));
        }
        if let Some(count) = self.above("liaison_mailboxes_damaged", 0.0) {
            found.push(finding(
                Severity::Critical,
                Runbook::MailboxDamaged,
                format!("{count} mailboxes have lost letters"),
                "letters that their authorities have not read are not there any more; the archive has them",
                "the log names mailbox and letters; see to the disk of nats-server, then have the mailbox made anew",
            ));
        }
        if let Some(count) = self.above("liaison_intakes_interrupted", 0.0) {
            found.push(finding(
                Severity::Warning,
                Runbook::IntakeInterrupted,
                format!("{count} intakes are interrupted"),
                "what these parties send is not read at the moment",
                "see the log for which and why: NATS, or somebody sends poison",
            ));
        }
        found
    }

    /// What the counters say beyond that and beyond readiness.
    fn counted(&self) -> Vec<Finding> {
        let value = |name: &str| self.value(name);
        let above = |name: &str, limit: f64| self.above(name, limit);
        let mut found = Vec::new();
        let mut tell = |severity, runbook, what: String, why, action| {
            found.push(finding(severity, runbook, what, why, action));
        };
        if value("liaison_config_last_reload_successful") == Some(0.0) {
            let why = "the old configuration is in force, not the one on the disk";
            let action = "`liaison check` names every fault; mend them and reload";
            tell(
                Severity::Warning,
                Runbook::ReloadFailed,
                "the last reload was refused".to_owned(),
                why,
                action,
            );
        }
        if let Some(seconds) = above("liaison_checkpoint_lapse_seconds", CHECKPOINT_LATE) {
            let why = "what is archived now cannot be proven later; after four hours intake stops";
            let action = "see /readyz and the log for the reason: disk, or rights of archive/checkpoints";
            let what = format!("for {seconds} s no checkpoint has held all records");
            tell(Severity::Critical, Runbook::CheckpointLate, what, why, action);
        }
        if above("liaison_lease_epoch", 0.0).is_some() && value("liaison_cluster_standbys") == Some(0.0) {
            let why = "if this instance dies nobody takes over, and there is no second copy of the archive but the stream";
            let action = "start the other instance, or see its log for why it ended";
            let what = "no instance stands by".to_owned();
            tell(Severity::Warning, Runbook::NoStandby, what, why, action);
        }
        if let Some(count) = above("liaison_erasures_overdue", 0.0) {
            let why = "an authority has not confirmed an erasure that the law gave a date for";
            let action = "`ledger` names who has not confirmed; call them";
            tell(
                Severity::Warning,
                Runbook::ErasuresOverdue,
                format!("{count} erasures are overdue"),
                why,
                action,
            );
        }
        if let Some(count) = above("liaison_overwrites_failed_total", 0.0) {
            let why = "personal data stand unsealed in an intake stream until they are seven days old";
            let action = "the log names stream and sequence; delete the messages by hand";
            let what = format!("{count} publications with personal data could not be overwritten");
            tell(Severity::Warning, Runbook::OverwritesFailed, what, why, action);
        }
        found
    }
}

/// A check of `/readyz` that does not hold.
fn unready(check: &Value) -> Finding {
    let name = check["check"].as_str().unwrap_or_default();
    let runbook = match name {
        "nats" => Runbook::NatsDisconnected,
        "archive" => Runbook::DiskLow,
        "checkpoint" => Runbook::CheckpointLate,
        "clock" => Runbook::ClockSkew,
        "audit" => Runbook::AuditStopped,
        _ => Runbook::NotReady,
    };
    finding(
        Severity::Critical,
        runbook,
        format!("the broker is not ready: {name}: {}", check["detail"].as_str().unwrap_or_default()),
        "it does not do all of its work",
        "the runbook of this check",
    )
}

/// `/readyz` and `/metrics`.
async fn ask(address: &str) -> std::io::Result<(Value, HashMap<String, f64>)> {
    let ready = serde_json::from_str(&get(address, "/readyz").await?).map_err(std::io::Error::other)?;
    Ok((ready, values(&get(address, "/metrics").await?)))
}

/// The samples without labels.
fn values(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains('{'));
    let samples = lines.filter_map(|line| line.split_once(' '));
    samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counters_and_checks_say_is_told() {
        let text = "# HELP liaison_up x\nliaison_up 1\nliaison_mailboxes_stalled 2\nliaison_mailboxes_damaged 1\nliaison_config_last_reload_successful 0\n\
                    liaison_intakes_interrupted 1\nliaison_checkpoint_lapse_seconds 700\nliaison_erasures_overdue 1\nliaison_lease_epoch 3\nliaison_cluster_standbys 0\n\
                    liaison_overwrites_failed_total 3\nliaison_messages_total{code=\"\"} 1\n";
        let checks = serde_json::json!({ "checks": [
            { "check": "nats", "ok": false, "detail": "not connected" }, { "check": "archive", "ok": true, "detail": "" },
            { "check": "audit", "ok": false, "detail": "cannot be written" },
        ] });
        let mut window = Window {
            of_up: true,
            pid: None,
            address: Some("127.0.0.1:1".to_owned()),
            ready: Some(checks),
            metrics: values(text),
            fault: None,
        };
        let found = window.findings();
        let told: Vec<&str> = found.iter().map(|finding| finding.runbook.heading()).collect();
        let expected = [
            "LiaisonNatsDisconnected",
            "LiaisonAuditStopped",
            "LiaisonMailboxStalled",
            "LiaisonMailboxDamaged",
            "LiaisonIntakeInterrupted",
            "LiaisonReloadFailed",
            "LiaisonCheckpointLate",
            "LiaisonNoStandby",
            "LiaisonErasuresOverdue",
            "LiaisonOverwritesFailed",
        ];
        assert_eq!(told, expected);
        window.ready = None;
        assert_eq!(window.findings()[0].runbook, Runbook::Down);
    }
}
