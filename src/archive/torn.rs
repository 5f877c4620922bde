//! What was cut from the end of a journal: half a frame in a file of its own, in case that it was not torn but damaged.
//!
//! It was never receipted, and its messages come again. But it holds what they hold, plain or sealed, and nothing tells whose: so it
//! is overwritten and removed when anything is erased. Until then an operator may look at it. Who cuts is `journal.rs`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Error;
use super::journal::sync_directory;

/// Ending of such a file: `cut-<sequence>.torn`.
const TORN: &str = "torn";
/// Bytes that are overwritten at once.
const PIECE: usize = 64 << 10;

/// True if there is one.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn any(journal: &Path) -> Result<bool, Error> {
    Ok(!files(journal)?.is_empty())
}

/// Overwrites all of them, syncs, and removes them. After a crash in between they are found again, for the order to erase stands.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn forget(journal: &Path) -> Result<(), Error> {
    let files = files(journal)?;
    for path in &files {
        overwrite(path).and_then(|()| std::fs::remove_file(path)).map_err(|error| Error::at(path, error))?;
    }
    if files.is_empty() { Ok(()) } else { sync_directory(journal) }
}

fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    let zeros = vec![0; PIECE];
    while left > 0 {
        let piece = zeros.len().min(usize::try_from(left).unwrap_or(PIECE));
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    file.sync_all()
}

fn files(journal: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(journal).map_err(|error| Error::at(journal, error))? {
        let path = entry.map_err(|error| Error::at(journal, error))?.path();
        if path.extension().is_some_and(|ending| ending == TORN) {
            found.push(path);
        }
    }
    Ok(found)
}
