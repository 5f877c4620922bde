//! Notes that commands at the machine leave for the log: it has one writer, the broker, which may be running or not.
//!
//! A note is a file of its own in `<archive>/audit-notes/`, synced before anything is given out; the broker takes it into the log at
//! its next look and then removes it. After a crash in between it is taken in twice, never not at all.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::entry::Entry;
use crate::archive::Error;
use crate::archive::journal::{make_directory, sync_directory};

const DIRECTORY: &str = "audit-notes";

/// Leaves a note.
///
/// # Errors
/// [`Error::Io`]: the archive may not be written by this user, or lies on a medium that cannot be.
pub fn leave(archive: &Path, entry: &Entry) -> Result<(), Error> {
    let directory = archive.join(DIRECTORY);
    make_directory(&directory)?;
    let name = format!("{:020}-{}", entry.at_ms, uuid::Uuid::now_v7());
    let (fresh, file) = (directory.join(format!("{name}.new")), directory.join(format!("{name}.note")));
    let write = File::create_new(&fresh)
        .and_then(|mut out| out.write_all(&serde_json::to_vec(entry)?).and_then(|()| out.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, &file));
    write.map_err(|error| Error::at(&file, error))?;
    sync_directory(&directory)
}

/// The notes that are there, oldest first, each with its file. One that cannot be read is no note; it is left where it is.
///
/// # Errors
/// [`Error::Io`].
pub fn found(archive: &Path) -> Result<Vec<(PathBuf, Entry)>, Error> {
    let directory = archive.join(DIRECTORY);
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| Error::at(&directory, error))?,
    };
    let mut notes = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| Error::at(&directory, error))?.path();
        if file.extension().is_none_or(|ending| ending != "note") {
            continue;
        }
        let bytes = std::fs::read(&file).map_err(|error| Error::at(&file, error))?;
        notes.extend(serde_json::from_slice(&bytes).ok().map(|entry| (file, entry)));
    }
    notes.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(notes)
}

/// Removes a note that is in the log.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(file: &Path) -> Result<(), Error> {
    std::fs::remove_file(file).map_err(|error| Error::at(file, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::audit::{Object, What};

    #[test]
    fn notes_are_found_in_order_until_they_are_removed() {
        let archive = tempfile::tempdir().expect("temp dir");
        assert!(found(archive.path()).expect("reads").is_empty());
        for at_ms in [7, 5] {
            let entry = Entry::of_operator(at_ms, 1_000, What::Exported, Object::default());
            leave(archive.path(), &entry).expect("leaves");
        }
        std::fs::write(archive.path().join(DIRECTORY).join("x.note"), b"no note").expect("writes");
        let notes = found(archive.path()).expect("reads");
        assert_eq!(notes.iter().map(|(_, entry)| entry.at_ms).collect::<Vec<_>>(), [5, 7]);
        remove(&notes[0].0).expect("removes");
        assert_eq!(found(archive.path()).expect("reads").len(), 1);
    }
}
