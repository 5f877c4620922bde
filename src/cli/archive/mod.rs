//! `liaison archive`: offline tools over a data directory, each a file. None of them takes the writer's lock, so they
//! may be used beside a running broker.

mod backup;
mod exporting;
mod looking;
mod proof;
mod retention;

use std::path::{Path, PathBuf};

pub use self::proof::own_key;

use super::exit::words;
use super::{Exit, Failure};
use crate::archive;
use crate::archive::audit::{Entry, Object, What, left};
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
    /// Prove that nothing was changed: a data directory, an export with its manifest, or the proof of one record.
    Verify(proof::VerifyArgs),
    /// Write the proof that a record is in the archive, as one file that needs no archive to be checked.
    Prove(proof::ProveArgs),
    /// Print the latest signed checkpoint: keep it where the archive's keeper cannot reach it.
    Checkpoint(proof::CheckpointArgs),
    /// What the next sweep would erase, and whom it would remind: one line each.
    Retention(retention::RetentionArgs),
    /// Build sled anew from the journal; no broker may be running.
    Rebuild(retention::RebuildArgs),
    /// Copy an archive beside its running broker, to a new directory, or as a tar stream to stdout.
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup and verify everything in it.
    Restore(backup::RestoreArgs),
}

/// Which archive, given either way.
#[derive(Debug, clap::Args)]
struct Place {
    /// Data directory of `liaison up`, or an archive directory.
    #[arg(long, env = "LIAISON_DATA")]
    data: Option<PathBuf>,
    /// The same without a flag, which goes before; to be verified also an NDJSON export. Default is ./liaison-data.
    directory: Option<PathBuf>,
}

impl Place {
    fn directory(&self) -> &Path {
        let given = self.directory.as_deref().or(self.data.as_deref());
        given.unwrap_or(Path::new("./liaison-data"))
    }
}

/// Runs it.
pub fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Stats(args) => looking::stats(*args),
        Command::Show(args) => looking::show(*args),
        Command::Export(args) => exporting::run(*args),
        Command::Verify(args) => proof::verify(&args),
        Command::Prove(args) => proof::prove(&args),
        Command::Checkpoint(args) => proof::checkpoint(&args),
        Command::Retention(args) => retention::retention(&args),
        Command::Rebuild(args) => retention::rebuild(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
    }
}

/// The archive in a data directory of `liaison up`, or the archive directory itself.
pub fn archive_in(directory: &Path) -> PathBuf {
    let inner = directory.join("archive");
    if inner.is_dir() { inner } else { directory.to_owned() }
}

/// Leaves a note in the audit log before content is given out. An archive that this user may not write, or a copy on a medium that
/// cannot be, is shown all the same: who can read the files needs no command of ours. But that is said.
fn note(data: &Path, object: Object) {
    let uid = rustix::process::getuid().as_raw();
    let entry = Entry::of_operator(time::now().as_millisecond(), uid, What::Exported, object);
    if let Err(error) = left::leave(&archive_in(data), &entry) {
        words(&format!("liaison: this could not be noted in the audit log: {error}\n"));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: archive::Error) -> Failure {
    let exit = match error {
        archive::Error::Keys(_) => Exit::Configuration,
        archive::Error::Locked(_) => Exit::Failure,
        _ => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        failed(error)
    }
}
