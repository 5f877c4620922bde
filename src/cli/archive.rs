//! `liaison archive`: offline looks into a data directory. Reads the journal only; changes nothing.

use std::path::PathBuf;

use serde_json::json;

use super::exit::line;
use super::{Exit, Failure};
use crate::archive::{self, Archive, Record};
use crate::message::time::{Timestamp, rfc3339};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Counts by outcome and code, first and last sequence, bytes.
    Stats {
        /// Data directory of `liaison up`, or an archive directory.
        #[arg(default_value = "./liaison-data")]
        directory: PathBuf,
    },
    /// Print records, one JSON line each, without personal data planes' content.
    Show {
        /// Data directory of `liaison up`, or an archive directory.
        #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
        data: PathBuf,
        /// First archive sequence.
        #[arg(long, env = "LIAISON_FROM", default_value_t = 1)]
        from: u64,
        /// Most records.
        #[arg(long, env = "LIAISON_LIMIT", default_value_t = 20)]
        limit: usize,
        /// Print the content too.
        #[arg(long, env = "LIAISON_CONTENT")]
        content: bool,
    },
}

/// Runs it.
pub fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Stats { directory } => {
            let stats = Archive::read_only(&archive_in(directory))
                .and_then(|archive| archive.stats())
                .map_err(failed)?;
            let value = serde_json::to_value(stats)
                .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
            line(&value)?;
        }
        Command::Show { data, from, limit, content } => {
            let archive = Archive::read_only(&archive_in(data)).map_err(failed)?;
            for record in archive.records(*from).take(*limit) {
                if !line(&shown(&record.map_err(failed)?, *content))? {
                    break;
                }
            }
        }
    }
    Ok(Exit::Ok)
}

fn archive_in(directory: &std::path::Path) -> PathBuf {
    let inner = directory.join("archive");
    if inner.is_dir() { inner } else { directory.to_owned() }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: archive::Error) -> Failure {
    Failure::new(Exit::Io, error.to_string())
}

fn shown(record: &Record, content: bool) -> serde_json::Value {
    let time = |ms| Timestamp::from_millisecond(ms).map(rfc3339).unwrap_or_default();
    let summary = record.summary.as_ref();
    let mut value = json!({
        "seq": record.seq,
        "outcome": record.outcome,
        "code": record.code,
        "detail": record.detail,
        "party": record.party,
        "subject": record.subject,
        "stream_sequence": record.position.sequence,
        "arrived": time(record.arrived_ms),
        "archived": time(record.archived_ms),
        "sha256": record.digest.hex(),
        "source": summary.map(|summary| &summary.source),
        "id": summary.map(|summary| &summary.id),
        "type": summary.map(|summary| &summary.kind),
        "recipients": record.recipients.iter().map(|entry| json!({"party": entry.party, "why": entry.why})).collect::<Vec<_>>(),
        "withheld": record.withheld.iter().map(|entry| json!({"party": entry.party, "reason": entry.why})).collect::<Vec<_>>(),
    });
    if content {
        value["event"] =
            record.plain().and_then(|plain| serde_json::from_slice(plain).ok()).unwrap_or_default();
    }
    value
}
