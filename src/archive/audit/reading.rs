//! Reading the audit log, while it is written or offline: pages behind a sequence, entries picked by the caller.
//!
//! Only every so many frames have their place in memory, so that a log of years costs little; what lies between is
//! walked over. Each frame is checked as it is read.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{DIRECTORY, Entry};
use crate::archive::Error;
use crate::archive::frame::{self, HEADER, Header};
use crate::archive::journal::{self, Found, Place};
use crate::archive::pack::Pack;
use crate::message::digest::Digest;
use crate::message::time::{Timestamp, rfc3339};

/// A mark every so many frames.
const STRIDE: usize = 64;
/// Entries that one page looks at.
const SCAN: usize = 20_000;

/// The place of a frame.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Sequence of its first entry.
    first: u64,
    segment: usize,
    offset: u64,
}

/// Some places of the log, and how far it goes.
#[derive(Debug, Default)]
pub(super) struct Marks {
    segments: Arc<[PathBuf]>,
    marks: Vec<Mark>,
    frames: usize,
    head: u64,
}

impl Marks {
    pub(super) fn of(found: Found<Self>) -> Self {
        Self { segments: found.segments.into(), ..found.places }
    }

    pub(super) fn add(&mut self, place: &Place, segments: &[PathBuf]) {
        if self.segments.len() != segments.len() {
            self.segments = segments.into();
        }
        self.note(place);
    }

    fn note(&mut self, place: &Place) {
        if self.frames.is_multiple_of(STRIDE) {
            let first = place.header.first;
            self.marks.push(Mark { first, segment: place.segment, offset: place.offset });
        }
        self.frames += 1;
        self.head = place.header.last();
    }
}

impl Extend<Place> for Marks {
    fn extend<I: IntoIterator<Item = Place>>(&mut self, places: I) {
        places.into_iter().for_each(|place| self.note(&place));
    }
}

/// An entry with its sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Dense from 1.
    pub seq: u64,
    /// The entry.
    pub entry: Entry,
}

impl Numbered {
    /// The entry as supervisors see it.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        let Entry { at_ms, who, identity, what, object, result } = &self.entry;
        let at = Timestamp::from_millisecond(*at_ms).unwrap_or_default();
        serde_json::json!({
            "seq": self.seq,
            "at": rfc3339(at),
            "who": who,
            "identity": identity.to_string(),
            "what": what,
            "object": object,
            "result": result,
        })
    }
}

/// What one reading gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries picked, in order.
    pub entries: Vec<Numbered>,
    /// Up to this sequence everything was looked at.
    pub upto: u64,
}

/// A reader of the log.
#[derive(Debug, Clone)]
pub struct Reader {
    marks: Arc<RwLock<Marks>>,
}

impl Reader {
    pub(super) fn new(marks: Arc<RwLock<Marks>>) -> Self {
        Self { marks }
    }

    /// Reads the log of an archive beside a running broker or after it; takes no lock, changes nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn offline(archive: &Path) -> Result<Self, Error> {
        let found = journal::walk(&archive.join(DIRECTORY))?;
        Ok(Self::new(Arc::new(RwLock::new(Marks::of(found)))))
    }

    /// The sequence of the last entry; 0 if there is none.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.marks.read().head
    }

    /// The entries behind a sequence that `wanted` picks, at most `most`. Looks at a bounded number of entries: `upto`
    /// says where to go on.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn page(&self, after: u64, most: usize, wanted: impl Fn(&Entry) -> bool) -> Result<Page, Error> {
        let (start, segments, head) = self.from(after);
        let mut page = Page { entries: Vec::new(), upto: after };
        let Some(start) = start.filter(|_| after < head) else { return Ok(page) };
        let mut walk = Walk::from(&segments, start)?;
        let mut seen = 0;
        while page.upto < head {
            let (first, pack) = walk.next()?;
            for (seq, at) in (first..).zip(0..pack.len()).filter(|(seq, _)| *seq > after) {
                let entry = Entry::read(&pack, at)?;
                if wanted(&entry) {
                    page.entries.push(Numbered { seq, entry });
                }
                (page.upto, seen) = (seq, seen + 1);
                if page.entries.len() >= most || seen >= SCAN {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Leaf hashes of the entries behind a sequence, in order; about as many as asked for, for whole frames are read.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn leaves(&self, after: u64, most: usize) -> Result<Vec<Digest>, Error> {
        let (start, segments, head) = self.from(after);
        let mut leaves = Vec::new();
        let Some(start) = start.filter(|_| after < head) else { return Ok(leaves) };
        let mut walk = Walk::from(&segments, start)?;
        while leaves.len() < most && walk.next <= head {
            let (first, pack) = walk.next()?;
            leaves
                .extend((first..).zip(pack.leaves()?).filter(|(seq, _)| *seq > after).map(|(_, leaf)| leaf));
        }
        Ok(leaves)
    }

    /// Where to begin to read what stands behind a sequence, and the last one there is.
    fn from(&self, after: u64) -> (Option<Mark>, Arc<[PathBuf]>, u64) {
        let marks = self.marks.read();
        let at = marks.marks.partition_point(|mark| mark.first <= after.saturating_add(1));
        (at.checked_sub(1).map(|at| marks.marks[at]), Arc::clone(&marks.segments), marks.head)
    }

    /// The last entry that `wanted` picks.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn last(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Option<Numbered>, Error> {
        let (marks, segments, head) = {
            let marks = self.marks.read();
            (marks.marks.clone(), Arc::clone(&marks.segments), marks.head)
        };
        let mut end = head;
        for mark in marks.into_iter().rev() {
            let mut walk = Walk::from(&segments, mark)?;
            let mut found = None;
            let mut next = mark.first;
            while next <= end {
                let (first, pack) = walk.next()?;
                next = first;
                for at in 0..pack.len() {
                    let entry = Entry::read(&pack, at)?;
                    if wanted(&entry) {
                        found = Some(Numbered { seq: next, entry });
                    }
                    next += 1;
                }
            }
            if found.is_some() {
                return Ok(found);
            }
            end = mark.first - 1;
        }
        Ok(None)
    }
}

/// A walk over frames in order.
struct Walk<'a> {
    segments: &'a [PathBuf],
    segment: usize,
    file: BufReader<File>,
    offset: u64,
    next: u64,
}

impl<'a> Walk<'a> {
    fn from(segments: &'a [PathBuf], mark: Mark) -> Result<Self, Error> {
        let file = open(segments, mark.segment, mark.offset)?;
        Ok(Self { segments, segment: mark.segment, file, offset: mark.offset, next: mark.first })
    }

    /// The next frame: the sequence of its first entry, and the entries.
    fn next(&mut self) -> Result<(u64, Pack), Error> {
        let mut bytes = [0; HEADER];
        if self.file.read_exact(&mut bytes).is_err() {
            (self.segment, self.offset) = (self.segment + 1, 0);
            self.file = open(self.segments, self.segment, 0)?;
            let path = &self.segments[self.segment];
            self.file.read_exact(&mut bytes).map_err(|error| Error::at(path, error))?;
        }
        let path = &self.segments[self.segment];
        let damaged = Error::Damaged { file: path.clone(), offset: self.offset, first: self.next };
        let header = Header::read(&bytes).filter(|header| header.first == self.next);
        let Some(header) = header else { return Err(damaged) };
        let mut payload = vec![0; header.len as usize];
        self.file.read_exact(&mut payload).map_err(|error| Error::at(path, error))?;
        if !header.covers(&payload) {
            return Err(damaged);
        }
        self.offset += HEADER as u64 + u64::from(header.len);
        self.next = header.last() + 1;
        Ok((header.first, frame::decode(&header, &payload)?))
    }
}

fn open(segments: &[PathBuf], segment: usize, offset: u64) -> Result<BufReader<File>, Error> {
    let path = segments.get(segment).ok_or(Error::Corrupt("an audit log that ends before its head"))?;
    let opened = File::open(path).and_then(|mut file| file.seek(SeekFrom::Start(offset)).map(|_| file));
    Ok(BufReader::new(opened.map_err(|error| Error::at(path, error))?))
}
