//! `liaison archive`: offline tools over a data directory, each a file. None of them takes the writer's lock, so they
//! may be used beside a running broker.

mod exporting;
mod looking;

use std::path::{Path, PathBuf};

use super::selecting::InArchive;
use super::{Exit, Failure};
use crate::archive::{self, Archive};
use crate::export::source::Source;
use crate::message::time;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Counts by outcome and code, first and last sequence, bytes.
    Stats(Box<looking::StatsArgs>),
    /// Print records, one JSON line each; their content only if asked for.
    Show(Box<looking::ShowArgs>),
    /// Write messages as NDJSON, CSV, GeoJSON or Parquet, with a manifest.
    Export(Box<exporting::Args>),
}

/// Runs it.
pub fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Stats(args) => looking::stats(*args),
        Command::Show(args) => looking::show(*args),
        Command::Export(args) => exporting::run(*args),
    }
}

/// The archive in a data directory of `liaison up`, or the archive directory itself.
fn archive_in(directory: &Path) -> PathBuf {
    let inner = directory.join("archive");
    if inner.is_dir() { inner } else { directory.to_owned() }
}

/// The archive to search; unlocked with its root key if personal data is asked for.
fn source_in(directory: &Path, selection: &InArchive) -> Result<Source, Failure> {
    let archive = archive_in(directory);
    let mut opened = Archive::read_only(&archive).map_err(failed)?;
    if selection.personal() {
        opened = opened.unlock(&archive, &selection.root_key(directory, &archive)?).map_err(failed)?;
    }
    Source::new(opened, time::now().as_millisecond()).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: archive::Error) -> Failure {
    let exit = if matches!(error, archive::Error::Keys(_)) { Exit::Configuration } else { Exit::Io };
    Failure::new(exit, error.to_string())
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        failed(error)
    }
}
