//! How large an archive is, and its disk. Looks only; opens neither journal nor sled.

use std::path::Path;

use super::Error;
use super::journal::segments_in;

/// All in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// All segments of the journal.
    pub journal: u64,
    /// All files of sled.
    pub sled: u64,
    /// What this user may still write, where there is least room.
    pub free: u64,
    /// The whole file system.
    pub total: u64,
}

/// Measures the archive in this directory.
///
/// # Errors
/// [`Error::Io`].
pub fn size(archive: &Path) -> Result<Size, Error> {
    let disk = rustix::fs::statvfs(archive).map_err(|error| Error::at(archive, error.into()))?;
    let mut size = Size {
        free: super::space::least(archive)?.free,
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
        ..Size::default()
    };
    for segment in segments_in(&archive.join("journal"))? {
        size.journal += segment.metadata().map_or(0, |meta| meta.len());
    }
    let sled = archive.join("sled");
    if sled.is_dir() {
        for entry in std::fs::read_dir(&sled).map_err(|error| Error::at(&sled, error))? {
            // sled removes files while it runs.
            size.sled += entry.and_then(|entry| entry.metadata()).map_or(0, |meta| meta.len());
        }
    }
    Ok(size)
}
