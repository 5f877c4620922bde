//! The audit log: who did what to which messages, when, from which identity; a journal of its own beside the messages.
//!
//! It has the frames, the chain and the checks of the message journal and stands behind the same lock. An entry names
//! what it is about by numbers and digests and holds no content, so it may outlive what it speaks of. Nothing here
//! decides what is noted or who may read it; that is the broker's business.

mod entry;
pub mod left;
mod reading;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

pub use self::entry::{Actor, Entry, Identity, Object, Outcomes, Span, What, Word};
pub use self::reading::{Numbered, Page, Reader};

use self::reading::Marks;
use super::journal::{self, Found, Journal};
use super::pack::Pack;
use super::{Archive, Error, open};
use crate::message::digest::Digest;

/// The directory of the log in that of the archive.
const DIRECTORY: &str = "audit";

/// The log opened for writing.
#[derive(Debug)]
pub struct Audit {
    journal: Journal,
    marks: Arc<RwLock<Marks>>,
    /// The archive's own lock, held as long as either is open.
    _lock: std::fs::File,
}

impl Archive {
    /// Opens or begins the audit log of this archive; also tells how many bytes of a torn frame were cut.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn audit(&self) -> Result<(Audit, u64), Error> {
        let lock = self.lock.try_clone().map_err(|error| Error::at(&self.directory, error))?;
        Audit::begin(&self.directory, lock)
    }
}

impl Audit {
    /// Opens the log of an archive that nobody writes at the moment, for tools that must note what they do.
    ///
    /// # Errors
    /// [`Error::Locked`] while a broker runs, [`Error::Damaged`], [`Error::Io`].
    pub fn open(archive: &Path) -> Result<Self, Error> {
        journal::make_directory(archive)?;
        let lock = open::lock(archive)?;
        Self::begin(archive, lock).map(|(audit, _)| audit)
    }

    fn begin(archive: &Path, lock: std::fs::File) -> Result<(Self, u64), Error> {
        let (journal, found) = Journal::open(&archive.join(DIRECTORY))?;
        let cut = found.cut;
        let marks = Arc::new(RwLock::new(Marks::of(found)));
        Ok((Self { journal, marks, _lock: lock }, cut))
    }

    /// Appends entries in one frame; when it returns they are on stable storage. Gives the sequence of the first.
    ///
    /// # Errors
    /// [`Error::Io`] the first time, [`Error::Poisoned`] ever after.
    pub fn append(&mut self, entries: &[Entry]) -> Result<u64, Error> {
        let first = self.journal.next();
        let committed = entries.iter().map(|entry| entry.at_ms).max().unwrap_or_default();
        let bytes = entries.iter().map(Entry::to_bytes).collect::<Result<Vec<_>, _>>()?;
        let pack = Pack::of_entries(&bytes)?;
        let place = self.journal.append(&pack, &pack.leaves()?, committed)?;
        self.marks.write().add(&place, self.journal.segments());
        Ok(first)
    }

    /// A reader of what is written so far and later; cheap to clone.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.marks))
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// [`Error::Io`]. The log is whole all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.journal.close()
    }

    /// Lets a test write where nothing can be written.
    #[cfg(test)]
    pub(crate) fn write_to(&mut self, path: &Path) {
        self.journal.write_to(path);
    }
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries.
    pub entries: u64,
    /// Frames.
    pub frames: usize,
    /// Hash of the last frame: with `entries` it says which log this is.
    pub head: Digest,
    /// Bytes of a torn frame at the end, which nobody was told was written.
    pub torn_bytes: u64,
}

/// Checks the whole log of an archive: every header, the chain, every checksum, every Merkle root, every entry, and the
/// note of the last close. It sees what was changed, dropped, swapped or inserted. A log that was cut at a frame and then
/// written on from there has another head: whoever held the old one can tell.
///
/// # Errors
/// [`Error::Damaged`] with the sequence of the first entry that is not proven, or [`Error::Io`].
pub fn verify(archive: &Path) -> Result<Verified, Error> {
    let directory = archive.join(DIRECTORY);
    let found: Found = journal::walk(&directory)?;
    found.agrees_with_head(&directory)?;
    for place in &found.places {
        let readable = journal::read(&found.segments, place)
            .is_ok_and(|pack| (0..pack.len()).all(|at| Entry::read(&pack, at).is_ok()));
        if !readable {
            let file = found.segments.get(place.segment).cloned().unwrap_or_default();
            return Err(Error::Damaged { file, offset: place.offset, first: place.header.first });
        }
    }
    let last = found.last.map(|place| place.header);
    Ok(Verified {
        entries: last.map_or(0, |header| header.last()),
        frames: found.places.len(),
        head: last.map_or(Digest::default(), |header| header.hash()),
        torn_bytes: found.cut,
    })
}
