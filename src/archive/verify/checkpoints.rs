//! What was signed of the tree, held against the tree: the checkpoints of the archive and those that others kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Against, Finding};
use crate::archive::Error;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::note::{Note, Verifier};
use crate::archive::notebook::Notebook;
use crate::archive::tree::{Head, root_of};
use crate::message::digest::Digest;

/// What became of the checkpoints.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checked {
    /// Checkpoints that the tree agrees with.
    pub agreed: usize,
    /// Of all that were read, how many the log's key verified; `None` if there was no key.
    pub verified: Option<usize>,
    /// Size of the largest that the tree agrees with.
    pub largest: u64,
    /// Checkpoints that are none, or that the key does not verify, by file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Checkpoints by size, compared as the tree grows.
pub struct Signed<'a> {
    heads: Vec<(Head, PathBuf)>,
    /// The next that is due.
    due: usize,
    checked: Checked,
    finding: Option<Finding>,
    notebook: &'a Notebook,
}

/// Reads the archive's own checkpoints and those given.
///
/// # Errors
/// [`Error::Io`] if one that was given cannot be read.
pub fn load<'a>(notebook: &'a Notebook, against: &Against<'_>) -> Result<Signed<'a>, Error> {
    let mut signed = Signed {
        heads: Vec::new(),
        due: 0,
        checked: Checked { verified: against.key.map(|_| 0), ..Checked::default() },
        finding: None,
        notebook,
    };
    let own = notebook.all().map(|notes| (notes, notebook.log_file()));
    let latest = notebook.latest().map(|note| (note.into_iter().collect(), notebook.latest_file()));
    for (read, file) in [(own, notebook.log_file()), (latest, notebook.latest_file())] {
        match read {
            Ok((notes, file)) => notes.iter().for_each(|note: &Note| signed.take(note, file, against.key)),
            Err(Error::Io(fault)) => return Err(Error::Io(fault)),
            Err(error) => signed.refuse(file, &error),
        }
    }
    for file in against.held {
        let text = std::fs::read_to_string(file).map_err(|error| Error::at(file, error))?;
        match Note::parse(&text) {
            Ok(note) => signed.take(&note, file, against.key),
            Err(error) => signed.refuse(file, &error),
        }
    }
    signed.heads.sort_by_key(|(head, _)| head.size);
    signed.compare(0, || root_of(&[]));
    Ok(signed)
}

impl Signed<'_> {
    fn take(&mut self, note: &Note, file: &Path, key: Option<&Verifier>) {
        let verified = key.map_or(Ok(None), |key| note.verify(key));
        let read = verified.and_then(|_| Checkpoint::parse(note.text())).and_then(|read| {
            let origin = key.map(|key| self.notebook.origin(key.name())).transpose()?;
            let other =
                self.notebook.is_of(&read.origin) && origin.is_some_and(|origin| origin != read.origin);
            if other { Err(Error::Corrupt("a checkpoint of another log")) } else { Ok(read) }
        });
        match read {
            // Given for the other journal of the same archive.
            Ok(checkpoint) if !self.notebook.is_of(&checkpoint.origin) => {}
            Ok(checkpoint) => {
                self.checked.verified = self.checked.verified.map(|count| count + 1);
                self.heads.push((checkpoint.head, file.to_owned()));
            }
            Err(error) => self.refuse(file, &error),
        }
    }

    fn refuse(&mut self, file: &Path, error: &Error) {
        self.checked.refused.push(format!("{}: {error}", file.display()));
    }

    /// True if nothing was signed, as far as can be told.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.checked.refused.is_empty()
    }

    /// The tree has grown to this size.
    pub fn compare(&mut self, size: u64, root: impl FnOnce() -> Digest) {
        let mut root = Some(root);
        let mut known = None;
        while let Some((head, file)) = self.heads.get(self.due).filter(|(head, _)| head.size <= size) {
            let now = *known.get_or_insert_with(|| root.take().map_or(head.root, |root| root()));
            if head.root == now {
                self.checked.agreed += 1;
                self.checked.largest = self.checked.largest.max(head.size);
            } else if self.finding.is_none() {
                self.finding = Some(Finding {
                    first_bad: self.checked.largest + 1,
                    through: Some(head.size),
                    what: "a checkpoint signs other records",
                    file: file.clone(),
                    offset: None,
                });
            }
            self.due += 1;
        }
    }

    /// What became of all. `size` is that of the tree, if the journal was read to its end.
    pub fn done(mut self, size: Option<u64>) -> (Checked, Option<Finding>) {
        if let (Some(size), Some((_, file)), None) = (size, self.heads.get(self.due), &self.finding) {
            self.finding = Some(Finding {
                first_bad: size + 1,
                through: self.heads.last().map(|(head, _)| head.size),
                what: "records are missing at the end: a checkpoint signs them",
                file: file.clone(),
                offset: None,
            });
        }
        if !self.checked.refused.is_empty() && self.finding.is_none() {
            self.finding = Some(Finding {
                first_bad: self.checked.largest + 1,
                through: None,
                what: "a checkpoint is damaged or not signed by this key: nothing vouches for the records behind the last good one",
                file: self.notebook.latest_file().to_owned(),
                offset: None,
            });
        }
        (self.checked, self.finding)
    }
}
