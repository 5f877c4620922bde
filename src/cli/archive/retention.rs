//! `liaison archive retention`: what the next sweep of the broker would do, from the same plan. `liaison archive rebuild`: sled anew
//! from the journal, while no broker runs.

use std::path::PathBuf;

use serde_json::json;

use super::super::exit::line;
use super::super::serve::Root;
use super::super::{Exit, Failure};
use super::archive_in;
use crate::archive::{Archive, Fate};
use crate::broker::retention;
use crate::message::time::{self, Timestamp};

/// Arguments of `archive retention`.
#[derive(Debug, clap::Args)]
pub struct RetentionArgs {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    /// As if the sweep ran then, RFC 3339; default is now.
    #[arg(long, env = "LIAISON_AT")]
    at: Option<Timestamp>,
}

/// Arguments of `archive rebuild`.
#[derive(Debug, clap::Args)]
pub struct RebuildArgs {
    /// Data directory of `liaison up`, or an archive directory; no broker may be running on it.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    #[command(flatten)]
    root: Root,
}

/// Prints one line for each thing that falls due, in archive order.
pub fn retention(args: &RetentionArgs) -> Result<Exit, Failure> {
    let archive = Archive::read_only(&archive_in(&args.data))?;
    let now = args.at.unwrap_or_else(time::now).as_millisecond();
    let subjects = archive.retained(
        |record| retention::subject(record, Fate::default(), false),
        |subject, fate, held| (subject.fate, subject.has_holders) = (fate, held),
    )?;
    for planned in retention::plan(&subjects, now) {
        if !line(&json!(planned))? {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// Moves sled aside and builds it anew.
pub fn rebuild(args: &RebuildArgs) -> Result<Exit, Failure> {
    let directory = archive_in(&args.data);
    let root = args.root.of_archive(&args.data, &directory)?;
    let recovery = Archive::rebuild(&directory, &root)?;
    line(&json!({ "records": recovery.records, "seconds": recovery.took.as_secs_f64() }))?;
    Ok(Exit::Ok)
}
