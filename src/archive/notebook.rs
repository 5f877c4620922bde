//! Where checkpoints are kept: the latest in a file of its own, and every one that was ever signed in a log.
//!
//! A checkpoint is on stable storage before anybody gets it: a log that forgets what it signed may sign another history.
//! Nothing is verified here but what is asked for.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use super::note::{KeyName, MOST_BYTES, Note};
use crate::message::fault::{self, Spot};

/// A note's last newline and two blank lines end it in the log: inside a checkpoint there is only one.
const BETWEEN: &str = "\n\n\n";

/// What the origin of the audit log's checkpoints ends in.
const AUDIT: &str = "/audit";

/// The checkpoints of one journal.
#[derive(Debug, Clone)]
pub struct Notebook {
    audit: bool,
    latest: PathBuf,
    log: PathBuf,
}

impl Notebook {
    /// The checkpoints over the messages of an archive.
    #[must_use]
    pub fn messages(archive: &Path) -> Self {
        let directory = archive.join("checkpoints");
        Self { audit: false, latest: directory.join("latest"), log: directory.join("log") }
    }

    /// The checkpoints over the audit log of an archive.
    #[must_use]
    pub fn audit(archive: &Path) -> Self {
        let directory = archive.join("checkpoints");
        Self { audit: true, latest: directory.join("audit-latest"), log: directory.join("audit-log") }
    }

    /// The origin of its checkpoints for a log of this name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the name is too long.
    pub fn origin(&self, log: &KeyName) -> Result<KeyName, Error> {
        if self.audit { KeyName::parse(&format!("{log}{AUDIT}")) } else { Ok(log.clone()) }
    }

    /// Whether a checkpoint is over the same kind of journal.
    #[must_use]
    pub fn is_of(&self, origin: &KeyName) -> bool {
        origin.as_str().ends_with(AUDIT) == self.audit
    }

    /// The file with the latest checkpoint.
    #[must_use]
    pub fn latest_file(&self) -> &Path {
        &self.latest
    }

    /// The file with all checkpoints.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// The latest checkpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Corrupt`] if it is no note.
    pub fn latest(&self) -> Result<Option<Note>, Error> {
        match std::fs::read_to_string(&self.latest) {
            Ok(text) => Note::parse(&text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at(&self.latest, error)),
        }
    }

    /// All checkpoints, oldest first; one that a crash cut off at the very end is left out.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Corrupt`] if something in the middle is no note.
    pub fn all(&self) -> Result<Vec<Note>, Error> {
        let bytes = match std::fs::read(&self.log) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::at(&self.log, error)),
        };
        let whole = std::str::from_utf8(&bytes[..ends(&bytes)]);
        let whole = whole.map_err(|_| Error::Corrupt("a log of checkpoints that is no text"))?;
        let notes = whole.split(BETWEEN).filter(|note| !note.is_empty());
        notes.map(|note| Note::parse(&format!("{note}\n"))).collect()
    }

    /// Writes a checkpoint to the log, then makes it the latest. It is on stable storage when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]: then it must not be given to anybody.
    pub fn keep(&self, note: &Note) -> Result<(), Error> {
        let faulty = fault::io(Spot::Checkpoint, &self.latest);
        faulty.map_err(|error| Error::at(&self.latest, error))?;
        fault::point(Spot::Checkpoint);
        self.log(note)?;
        fault::point(Spot::Logged);
        let fresh = self.latest.with_extension("new");
        let write = || {
            let mut new = File::create(&fresh)?;
            write!(new, "{note}")?;
            new.sync_all()?;
            std::fs::rename(&fresh, &self.latest)?;
            self.latest.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().map_err(|error| Error::at(&self.latest, error))
    }

    /// Writes a checkpoint to the log only: an earlier one that a witness has signed by now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&self, note: &Note) -> Result<(), Error> {
        if let Some(directory) = self.latest.parent() {
            super::journal::make_directory(directory)?;
        }
        let begun = self.log.try_exists().map_err(|error| Error::at(&self.log, error))?;
        if begun {
            self.cut()?;
        }
        let log = OpenOptions::new().append(true).create(true).open(&self.log);
        log.and_then(|mut log| write!(log, "{note}\n\n").and_then(|()| log.sync_all()))
            .map_err(|error| Error::at(&self.log, error))
    }

    /// Takes away what a crash left of a note at the end: the next one must not stand behind half a line.
    fn cut(&self) -> Result<(), Error> {
        let at = |error| Error::at(&self.log, error);
        let log = OpenOptions::new().read(true).write(true).open(&self.log).map_err(at)?;
        let len = log.metadata().map_err(at)?.len();
        // More than one note is never torn, and none is larger.
        let from = len.saturating_sub(2 * MOST_BYTES as u64);
        let mut tail = vec![0; usize::try_from(len - from).unwrap_or_default()];
        log.read_exact_at(&mut tail, from).map_err(at)?;
        let end = from + ends(&tail) as u64;
        if end == len {
            return Ok(());
        }
        log.set_len(end).and_then(|()| log.sync_all()).map_err(at)
    }
}

/// Where the last whole note ends.
fn ends(log: &[u8]) -> usize {
    log.windows(BETWEEN.len()).rposition(|end| end == BETWEEN.as_bytes()).map_or(0, |at| at + BETWEEN.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::note::{Kind, Signer};

    fn note(text: &str) -> Note {
        let signer = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[1; 32]);
        let mut note = Note::new(text.to_owned()).unwrap();
        note.add(signer.sign(text, 0));
        note
    }

    #[test]
    fn all_that_was_kept_is_there_and_a_torn_end_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let notebook = Notebook::messages(place.path());
        assert!(notebook.latest().unwrap().is_none() && notebook.all().unwrap().is_empty());
        let notes = [note("a\n1\nx\n"), note("a\n2\ny\n"), note("a\n3\nz\n")];
        notebook.keep(&notes[0]).unwrap();
        notebook.keep(&notes[1]).unwrap();
        assert_eq!(notebook.all().unwrap(), notes[..2]);
        assert_eq!(notebook.latest().unwrap().unwrap(), notes[1]);
        let whole = std::fs::read(notebook.log_file()).unwrap();
        let second = notes[0].to_string().len() + 2;
        for end in second..whole.len() {
            std::fs::write(notebook.log_file(), &whole[..end]).unwrap();
            assert_eq!(notebook.all().unwrap(), notes[..1], "cut at {end}");
        }
        notebook.keep(&notes[2]).unwrap();
        assert_eq!(notebook.all().unwrap(), [notes[0].clone(), notes[2].clone()]);
        std::fs::write(notebook.log_file(), [b"nonsense\n\n\n", whole.as_slice()].concat()).unwrap();
        assert!(notebook.all().is_err());
    }
}
