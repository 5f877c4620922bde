//! The journal: segment files of frames. Its fdatasync is the commit point of the whole house.
//!
//! A crash in the middle of an append leaves a torn frame at the very end; it was never receipted, so it is cut and
//! reported. A frame that is bad with a good one behind it is damage, and is never cut: the house refuses to open and
//! names the place. After a failed write or sync nothing is written any more, and the next start writes the last frame
//! again before it believes it: only that one can be whole in the kernel's memory and not on the disk.

mod reading;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub(super) use self::reading::at;
pub use self::reading::{Reading, read, whole};

use self::reading::damaged;
use super::frame::{self, HEADER, Header, Zstd};
use super::pack::Pack;
use super::{Error, Fault};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};

/// A segment is rolled at this size.
const SEGMENT: u64 = 64 << 20;

/// Name of the file that [`Journal::close`] writes: sequence of the last record and hash of its frame.
const HEAD: &str = "HEAD";

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index into the list of segments.
    pub segment: usize,
    /// Byte offset of the header.
    pub offset: u64,
    /// The header.
    pub header: Header,
}

/// A journal opened for appending.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    segments: Vec<PathBuf>,
    file: File,
    size: u64,
    head: Digest,
    next: u64,
    zstd: Zstd,
    broken: bool,
}

/// What opening found.
#[derive(Debug)]
pub struct Found<P = Vec<Place>> {
    /// All frames in order, as whoever opens wants them: a place takes 120 bytes, and at low load each record is a frame.
    pub places: P,
    /// The last frame.
    pub last: Option<Place>,
    /// All segment files.
    pub segments: Vec<PathBuf>,
    /// Bytes cut from a torn tail.
    pub cut: u64,
    /// What the last closing noted, until its frame is found.
    noted: Option<(u64, String)>,
}

impl<P: Extend<Place>> Found<P> {
    fn add(&mut self, place: Place) {
        // Of the frames that reach as far as the noted record only the first holds it.
        if self.noted.as_ref().is_some_and(|(seq, hash)| {
            let before = self.next() <= *seq;
            before && *seq <= place.header.last() && place.header.hash().hex() == *hash
        }) {
            self.noted = None;
        }
        self.last = Some(place);
        self.places.extend([place]);
    }
}

impl<P> Found<P> {
    /// Sequence of the next record.
    fn next(&self) -> u64 {
        self.last.map_or(1, |place| place.header.last() + 1)
    }

    /// Where the good frames of the last segment end.
    fn end(&self) -> u64 {
        let last = self.last.filter(|place| place.segment + 1 == self.segments.len());
        last.map_or(0, |place| place.offset + HEADER as u64 + u64::from(place.header.len))
    }

    /// A frame that was there when the journal was closed must be there for ever. Later frames may stand behind it, so a note
    /// that a crash left behind is no fault; one that cannot be read says nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is not there.
    pub(super) fn agrees_with_head(&self, directory: &Path) -> Result<(), Error> {
        if self.noted.is_none() {
            return Ok(());
        }
        let file = self.segments.last().map_or(directory, PathBuf::as_path);
        Err(damaged(file, self.end(), self.next()))
    }
}

impl Journal {
    /// Opens or begins a journal: checks every header and the chain, every checksum of the last segment, cuts a torn
    /// tail.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] with file, offset and the first sequence concerned.
    pub fn open<P: Default + Extend<Place>>(directory: &Path) -> Result<(Self, Found<P>), Error> {
        make_directory(directory)?;
        let mut found = walk(directory)?;
        found.agrees_with_head(directory)?;
        if found.cut > 0 {
            cut(directory, &found)?;
        }
        settle(directory, &found)?;
        let head = found.last.map_or(Digest::default(), |place| place.header.hash());
        let next = found.next();
        if found.segments.is_empty() {
            found.segments.push(begin(directory, next)?);
        }
        let last = found.segments.last().cloned().unwrap_or_default();
        let file = OpenOptions::new().append(true).open(&last).map_err(|error| Error::at(&last, error))?;
        let size = file.metadata().map_err(|error| Error::at(&last, error))?.len();
        let journal = Self {
            directory: directory.to_owned(),
            segments: found.segments.clone(),
            file,
            size,
            head,
            next,
            zstd: Zstd::new()?,
            broken: false,
        };
        Ok((journal, found))
    }

    /// Sequence of the next record.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Hash of the last frame.
    #[must_use]
    pub fn head(&self) -> Digest {
        self.head
    }

    /// The next frame as it would stand here; nothing is written.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] from packing.
    pub fn encode(
        &mut self,
        pack: &Pack,
        leaves: &[Digest],
        committed_ms: i64,
    ) -> Result<(Header, Vec<u8>), Error> {
        frame::encode(&mut self.zstd, self.head, committed_ms, pack, leaves, self.next)
    }

    /// Appends one frame and waits until it is on stable storage.
    ///
    /// # Errors
    /// As [`Journal::put`].
    pub fn append(&mut self, pack: &Pack, leaves: &[Digest], committed_ms: i64) -> Result<Place, Error> {
        if self.broken {
            return Err(Error::Poisoned);
        }
        let (header, bytes) = self.encode(pack, leaves, committed_ms)?;
        self.put(header, &bytes)
    }

    /// Appends a frame that was encoded, here or by another instance, and waits until it is on stable storage.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it does not follow. [`Error::Io`] once, [`Error::Poisoned`] ever after: the kernel may have
    /// dropped the pages, and trying again would be believing.
    pub fn put(&mut self, header: Header, bytes: &[u8]) -> Result<Place, Error> {
        if self.broken {
            return Err(Error::Poisoned);
        }
        if header.prev != self.head || header.first != self.next {
            return Err(Error::Corrupt("a frame that does not follow the last one"));
        }
        self.broken = true;
        if self.size >= SEGMENT {
            self.roll()?;
        }
        let path = self.segments.last().cloned().unwrap_or_default();
        self.write(&path, bytes).map_err(|error| Error::at(&path, error))?;
        self.broken = false;
        let place = Place { segment: self.segments.len() - 1, offset: self.size, header };
        self.size += bytes.len() as u64;
        self.head = header.hash();
        self.next = header.last() + 1;
        Ok(place)
    }

    fn write(&mut self, path: &Path, frame: &[u8]) -> std::io::Result<()> {
        fault::point(Spot::Write);
        fault::io(Spot::Write, path)?;
        // In one piece, but for tests that want it torn.
        let (start, rest) =
            frame.split_at(if cfg!(debug_assertions) { frame.len() / 2 } else { frame.len() });
        self.file.write_all(start)?;
        fault::point(Spot::HalfWritten);
        fault::io(Spot::HalfWritten, path)?;
        self.file.write_all(rest)?;
        fault::point(Spot::Written);
        fault::io(Spot::Sync, path)?;
        self.file.sync_data()?;
        fault::point(Spot::Synced);
        Ok(())
    }

    /// Notes the last frame beside the segments, so that the next start knows damage at the end from a torn tail.
    ///
    /// # Errors
    /// [`Error::Io`]. The journal is whole all the same.
    pub fn close(&mut self) -> Result<(), Error> {
        if self.broken || self.next == 1 {
            return Ok(());
        }
        let (path, fresh) = (self.directory.join(HEAD), self.directory.join("HEAD.new"));
        let note = || {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{} {}", self.next - 1, self.head)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        note().map_err(|error| Error::at(&path, error))?;
        sync_directory(&self.directory)
    }

    /// Ends the writing for good: what stands behind the journal has failed.
    pub fn poison(&mut self) {
        self.broken = true;
    }

    /// Lets a test put a file in the place of the current segment that cannot be written or synced.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, path: &Path) {
        self.file = OpenOptions::new().write(true).open(path).expect("the test's file opens");
    }

    /// The segment files, in order.
    #[must_use]
    pub fn segments(&self) -> &[PathBuf] {
        &self.segments
    }

    fn roll(&mut self) -> Result<(), Error> {
        let path = begin(&self.directory, self.next)?;
        self.file = OpenOptions::new().append(true).open(&path).map_err(|error| Error::at(&path, error))?;
        self.segments.push(path);
        self.size = 0;
        Ok(())
    }
}

/// Makes a directory and syncs the one it stands in, up to the first that was there before.
pub(super) fn make_directory(directory: &Path) -> Result<(), Error> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    make_directory(parent)?;
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::at(directory, error)),
        _ => sync_directory(parent),
    }
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(|error| Error::at(directory, error))
}

/// Sequence and frame hash that the last closing noted, if that can be read.
pub(super) fn noted_head(directory: &Path) -> Option<(u64, String)> {
    let note = std::fs::read_to_string(directory.join(HEAD)).ok()?;
    let (seq, hash) = note.trim_end().split_once(' ')?;
    Some((seq.parse().ok()?, hash.to_owned()))
}

/// Cuts a torn tail. The bytes are put aside first, as well as that goes: if they were not torn but damaged, somebody
/// may still mend them. On a full disk they cannot be, and the cut must go on all the same, for it makes room.
fn cut<P>(directory: &Path, found: &Found<P>) -> Result<(), Error> {
    let Some(last) = found.segments.last() else { return Ok(()) };
    let (end, next) = (found.end(), found.next());
    let file =
        OpenOptions::new().read(true).write(true).open(last).map_err(|error| Error::at(last, error))?;
    let mut torn = vec![0; usize::try_from(found.cut).unwrap_or_default()];
    let aside = directory.join(format!("cut-{next:020}.torn"));
    if file.read_exact_at(&mut torn, end).and_then(|()| std::fs::write(&aside, &torn)).is_err() {
        drop(std::fs::remove_file(&aside));
    }
    file.set_len(end).and_then(|()| file.sync_all()).map_err(|error| Error::at(last, error))
}

/// Makes sure that what is about to be believed is on the disk. A process that was killed between write and sync, or
/// whose sync failed, leaves a frame that reads well and may exist in the kernel's memory only; its messages come again
/// and would be receipted by their positions. So the last frame is written again, byte for byte, and synced, with the
/// directory that names its file. Earlier frames were synced before the last one was begun.
fn settle<P>(directory: &Path, found: &Found<P>) -> Result<(), Error> {
    if let Some((place, path)) =
        found.last.and_then(|place| Some((place, found.segments.get(place.segment)?)))
    {
        let again = || {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let mut frame = vec![0; HEADER + place.header.len as usize];
            file.read_exact_at(&mut frame, place.offset)?;
            file.write_all_at(&frame, place.offset)?;
            file.sync_all()
        };
        again().map_err(|error| Error::at(path, error))?;
    }
    sync_directory(directory)
}

/// Makes a segment file and syncs the directory, so that a crash cannot forget the file's name.
fn begin(directory: &Path, first: u64) -> Result<PathBuf, Error> {
    let path = directory.join(format!("seg-{first:020}.liaj"));
    File::create_new(&path).map_err(|error| Error::at(&path, error))?;
    sync_directory(directory)?;
    Ok(path)
}

/// Walks a journal without changing it.
///
/// # Errors
/// [`Error::Io`] or [`Error::Damaged`].
pub fn walk<P: Default + Extend<Place>>(directory: &Path) -> Result<Found<P>, Error> {
    // First: what is closed while we read lies behind.
    let noted = noted_head(directory);
    let segments = segments_in(directory)?;
    let mut found = Found { places: P::default(), last: None, segments: segments.clone(), cut: 0, noted };
    for (segment, path) in segments.iter().enumerate() {
        walk_segment(path, segment, segment + 1 == segments.len(), &mut found)?;
    }
    Ok(found)
}

pub(super) fn segments_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut segments = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(segments),
        entries => entries.map_err(|error| Error::at(directory, error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| Error::at(directory, error))?.path();
        if path.extension().is_some_and(|ending| ending == "liaj") {
            segments.push(path);
        }
    }
    segments.sort();
    Ok(segments)
}

/// One segment: of the last one every checksum is verified, of the others the headers and the chain, so that a start
/// does not read the whole journal.
fn walk_segment<P: Extend<Place>>(
    path: &Path,
    segment: usize,
    last: bool,
    found: &mut Found<P>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(|error| Error::at(path, error))?;
    let size = file.metadata().map_err(|error| Error::at(path, error))?.len();
    let mut offset = 0;
    while offset < size {
        let (prev, next) = (found.last.map_or(Digest::default(), |place| place.header.hash()), found.next());
        let header = read_header(&file, path, offset, size)?;
        let good = header.filter(|header| {
            header.prev == prev
                && header.first == next
                && offset + HEADER as u64 + u64::from(header.len) <= size
                && (!last || covered(&file, header, offset))
        });
        let Some(header) = good else {
            if !last || holds_good_frame(&file, path, offset, size)? {
                return Err(damaged(path, offset, next));
            }
            found.cut = size - offset;
            return Ok(());
        };
        found.add(Place { segment, offset, header });
        offset += HEADER as u64 + u64::from(header.len);
    }
    Ok(())
}

fn read_header(file: &File, path: &Path, offset: u64, size: u64) -> Result<Option<Header>, Error> {
    if offset + HEADER as u64 > size {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, offset).map_err(|error| Error::at(path, error))?;
    Ok(Header::read(&bytes))
}

fn covered(file: &File, header: &Header, offset: u64) -> bool {
    let mut payload = vec![0; header.len as usize];
    file.read_exact_at(&mut payload, offset + HEADER as u64).is_ok() && header.covers(&payload)
}

/// Whether a whole frame stands here or anywhere behind: then this is damage in the middle, not a torn tail. One that
/// stands right here is whole but does not belong here: a segment before it is missing.
fn holds_good_frame(file: &File, path: &Path, from: u64, size: u64) -> Result<bool, Error> {
    let len = usize::try_from(size - from).map_err(|_| Error::Corrupt("a segment beyond memory"))?;
    let mut bytes = vec![0; len]; // at most a segment and one frame
    file.read_exact_at(&mut bytes, from).map_err(|error| Error::at(path, error))?;
    Ok(bytes.windows(4).enumerate().filter(|(_, window)| *window == frame::MAGIC).any(|(at, _)| {
        Header::read(&bytes[at..]).is_some_and(|header| {
            bytes
                .get(at + HEADER..at + HEADER + header.len as usize)
                .is_some_and(|payload| header.covers(payload))
        })
    }))
}

/// The fault of an operation on a path.
impl Error {
    pub(super) fn at(path: &Path, error: std::io::Error) -> Self {
        Self::Io(Fault::new(&path.display().to_string(), error))
    }
}
