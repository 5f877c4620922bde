//! `liaison archive stats` and `show`: what is in the journal. Reads it only; changes nothing.

use std::path::PathBuf;

use serde_json::json;

use super::super::exit::line;
use super::super::{Exit, Failure};
use super::{archive_in, failed};
use crate::archive::{Archive, Record};
use crate::message::time::{Timestamp, rfc3339};

/// Arguments of `archive stats`.
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(default_value = "./liaison-data")]
    directory: PathBuf,
}

/// Arguments of `archive show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
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
}

/// Runs `archive stats`.
pub fn stats(args: &StatsArgs) -> Result<Exit, Failure> {
    let stats = Archive::read_only(&archive_in(&args.directory))
        .and_then(|archive| archive.stats())
        .map_err(failed)?;
    let value =
        serde_json::to_value(stats).map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    line(&value)?;
    Ok(Exit::Ok)
}

/// Runs `archive show`.
pub fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let archive = Archive::read_only(&archive_in(&args.data)).map_err(failed)?;
    for record in archive.records(args.from).take(args.limit) {
        if !line(&shown(&record.map_err(failed)?, args.content))? {
            break;
        }
    }
    Ok(Exit::Ok)
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
