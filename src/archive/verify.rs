//! The proof that nothing was changed: a whole archive is read and held against itself and against what was signed.
//!
//! ```text
//! headers: chain, dense sequences -> contents, on all cores: checksum, Merkle root -> tree: every checkpoint
//! ```
//! Needs public keys only, takes no lock, opens no sled, changes nothing; works beside a running broker. Whoever can write
//! the whole directory can write a whole history: only a checkpoint that somebody else holds shows that.

mod checkpoints;
mod content;
mod export;
mod walk;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::checkpoints::Checked;
pub(super) use self::content::{each_frame, each_record, whole_frame};
pub use self::export::{ExportReport, export, manifest_of};
pub(super) use self::walk::{Walk, walk};

use super::Error;
use super::note::Verifier;
use super::notebook::Notebook;
use super::pack::Pack;
use super::tree::Frontier;

/// The first thing that is not as it was archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// First archive sequence that is not what was archived, or not there.
    pub first_bad: u64,
    /// Last sequence that may be meant, where it is known that no later one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
    /// What is wrong.
    pub what: &'static str,
    /// Where: a segment or checkpoint file.
    pub file: PathBuf,
    /// Byte offset in a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// What was found in one journal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// True if nothing is wrong.
    pub ok: bool,
    /// The first thing that is.
    #[serde(flatten)]
    pub finding: Option<Finding>,
    /// Records that were verified, from the first one on.
    pub records: u64,
    /// Frames that hold them.
    pub frames: usize,
    /// Segment files.
    pub segments: usize,
    /// Root of the tree over them, lower-case hexadecimal.
    pub root: String,
    /// Hash of the last frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_head: Option<String>,
    /// What checkpoints said.
    pub checkpoints: Checked,
    /// True if all that is wrong is a last frame that is not whole and that no checkpoint signs: a crash leaves that, and the
    /// next start cuts it.
    #[serde(skip)]
    pub torn: bool,
}

/// What an archive is held against.
#[derive(Debug, Default)]
pub struct Against<'a> {
    /// Key of the log; without it signatures are not verified.
    pub key: Option<&'a Verifier>,
    /// Checkpoints that somebody kept elsewhere.
    pub held: &'a [PathBuf],
}

/// Verifies the messages of an archive.
///
/// # Errors
/// [`Error::Io`]: something cannot be read, or there is no journal. What is wrong with what can be read is in the report.
pub fn messages(archive: &Path, against: &Against<'_>) -> Result<Report, Error> {
    let journal = archive.join("journal");
    // Checkpoints first: what is signed while we read may be ahead of what we read.
    let notebook = Notebook::messages(archive);
    let signed = checkpoints::load(&notebook, against)?;
    if !is_there(&journal)? {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no journal here");
        return Err(Error::at(&journal, missing));
    }
    hold(&walk(&journal)?, signed, content::records)
}

/// Verifies the audit log of an archive, if it has one. A log that is not there, but of which something was signed, was taken
/// away: that is a finding.
///
/// # Errors
/// [`Error::Io`]: something cannot be read.
pub fn audit(archive: &Path, against: &Against<'_>) -> Result<Option<Report>, Error> {
    let journal = archive.join("audit");
    let notebook = Notebook::audit(archive);
    let signed = checkpoints::load(&notebook, against)?;
    if !is_there(&journal)? && signed.is_empty() {
        return Ok(None);
    }
    hold(&walk(&journal)?, signed, content::entries).map(Some)
}

/// Whether a journal is there. One that cannot be looked at is not one that is missing.
fn is_there(journal: &Path) -> Result<bool, Error> {
    journal.try_exists().map_err(|error| Error::at(journal, error))
}

fn hold(
    walked: &Walk,
    mut signed: checkpoints::Signed<'_>,
    look: fn(&Pack, u64) -> Result<(), u64>,
) -> Result<Report, Error> {
    let mut report = Report { segments: walked.segments.len(), ..Report::default() };
    let mut tree = Frontier::default();
    let bad = content::each_frame(walked, look, |place, leaves, ()| {
        for leaf in leaves {
            tree.push(leaf);
            signed.compare(tree.size(), || tree.head().root);
        }
        report.frames += 1;
        report.chain_head = Some(place.header.hash().hex());
        Ok(())
    })?;
    let torn = walked.torn && bad.is_none();
    let finding = earlier(bad, walked.finding.clone());
    let ends_here = finding.is_none() || torn;
    report.records = tree.size();
    report.root = tree.head().root.hex();
    let (checked, disagreed) = signed.done(ends_here.then_some(report.records));
    report.checkpoints = checked;
    report.torn = torn && disagreed.is_none();
    // A checkpoint names a range only; a break in it is where the change is.
    let apart = |disagreed: &Finding| {
        let bad = finding.as_ref().map(|finding| finding.first_bad);
        bad.is_none_or(|bad| disagreed.through.is_some_and(|through| through < bad))
    };
    report.finding = disagreed.filter(apart).or(finding);
    report.ok = report.finding.is_none();
    Ok(report)
}

/// Of two findings the one that comes first.
fn earlier(one: Option<Finding>, other: Option<Finding>) -> Option<Finding> {
    match (one, other) {
        (Some(one), Some(other)) if other.first_bad < one.first_bad => Some(other),
        (one, other) => one.or(other),
    }
}
