//! A copy of an archive beside its running broker: journals up to the last whole frame, checkpoints, and what is given.
//!
//! Keys are never copied: destroying a message's key must erase it from every backup too, and who finds a backup must not be
//! able to sign. sled is not copied either; it is built anew. Nothing is locked, nothing waits.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Error;
use super::checkpoint::Checkpoint;
use super::frame::{HEADER, Header};
use super::journal::{Place, make_directory, sync_directory};
use super::notebook::Notebook;
use super::verify::{Walk, walk, whole_frame};
use crate::message::digest::Digest;
use crate::message::time::{self, rfc3339};

/// Name of the manifest in a backup. It is written last: a backup without it is none.
pub const MANIFEST: &str = "manifest.json";
/// Version of the manifest.
pub const VERSION: u16 = 1;

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Path in the data directory, with `/`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// What a backup holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u16,
    /// When it was begun, RFC 3339.
    pub made: String,
    /// Records of messages.
    pub records: u64,
    /// Hash of the last frame of messages.
    pub chain_head: Option<String>,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Records under the latest checkpoint in it.
    pub checkpoint: u64,
    /// All files but the manifest itself.
    pub files: Vec<Member>,
}

/// Where a backup goes.
pub enum Sink {
    /// A new or empty directory.
    Directory(PathBuf),
    /// A tar stream.
    Stream(Box<tar::Builder<Box<dyn Write>>>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// A directory, which is made; it must have nothing in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn directory(path: &Path) -> Result<Self, Error> {
        make_directory(path)?;
        let taken = std::fs::read_dir(path).map_err(|error| Error::at(path, error))?.next().is_some();
        if taken {
            return Err(Error::at(
                path,
                std::io::Error::new(std::io::ErrorKind::AlreadyExists, "is not empty"),
            ));
        }
        Ok(Self::Directory(path.to_owned()))
    }

    /// A tar stream.
    #[must_use]
    pub fn stream(out: Box<dyn Write>) -> Self {
        Self::Stream(Box::new(tar::Builder::new(out)))
    }

    /// Writes one file of exactly so many bytes.
    fn put(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<Member, Error> {
        let place = Path::new(name);
        let mut hashed = Hashed { from: from.take(bytes), hash: Sha256::new(), read: 0 };
        match self {
            Self::Directory(directory) => {
                let path = directory.join(place);
                make_directory(path.parent().unwrap_or(directory))?;
                let at = |error| Error::at(&path, error);
                let mut file = File::create_new(&path).map_err(at)?;
                std::io::copy(&mut hashed, &mut file).and_then(|_| file.sync_all()).map_err(at)?;
                sync_directory(path.parent().unwrap_or(directory))?;
            }
            Self::Stream(tar) => {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes);
                header.set_mode(0o600);
                tar.append_data(&mut header, place, &mut hashed).map_err(|error| Error::at(place, error))?;
            }
        }
        if hashed.read != bytes {
            let short =
                std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "became shorter while it was copied");
            return Err(Error::at(place, short));
        }
        Ok(Member { name: name.to_owned(), bytes, sha256: Digest(hashed.hash.finalize().into()).hex() })
    }

    fn end(self) -> Result<(), Error> {
        let Self::Stream(tar) = self else { return Ok(()) };
        let ended = tar.into_inner().and_then(|mut out| out.flush());
        ended.map_err(|error| Error::at(Path::new("the backup stream"), error))
    }
}

/// Copies an archive, and these files of the data directory (name in the backup, file).
///
/// # Errors
/// [`Error::Io`], also if there is no journal, whose copy would look like that of an empty archive; [`Error::Damaged`] if it is: such a copy would take the place of a good one.
pub fn backup(archive: &Path, given: &[(String, PathBuf)], mut sink: Sink) -> Result<Manifest, Error> {
    let messages = archive.join("journal");
    // Asked for by itself: one that cannot be looked into is not one that is missing.
    std::fs::read_dir(&messages).map_err(|error| {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no journal here");
        Error::at(&messages, if error.kind() == std::io::ErrorKind::NotFound { missing } else { error })
    })?;
    let mut manifest = Manifest { version: VERSION, made: rfc3339(time::now()), ..Manifest::default() };
    // What is signed first: it must not know of more than the journal that is copied after it.
    for notebook in [Notebook::messages(archive), Notebook::audit(archive)] {
        for file in [notebook.latest_file(), notebook.log_file()] {
            if let Some(member) = copy(&mut sink, file, &within(archive, file))? {
                manifest.files.push(member);
            }
        }
    }
    if let Some(note) = Notebook::messages(archive).latest()? {
        manifest.checkpoint = Checkpoint::parse(note.text())?.head.size;
    }
    let audit = archive.join("audit");
    if audit.is_dir() {
        manifest.audit_entries =
            journal(&mut sink, archive, &audit, &mut manifest.files)?.map_or(0, |last| last.last());
    }
    let last = journal(&mut sink, archive, &messages, &mut manifest.files)?;
    manifest.records = last.as_ref().map_or(0, Header::last);
    manifest.chain_head = last.map(|last| last.hash().hex());
    for (name, file) in given {
        manifest.files.extend(copy(&mut sink, file, name)?);
    }
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|_| Error::Corrupt("a manifest that cannot be written"))?;
    sink.put(MANIFEST, text.len() as u64, text.as_slice())?;
    sink.end()?;
    Ok(manifest)
}

/// The name of a file of the archive in a backup.
fn within(archive: &Path, file: &Path) -> String {
    let inner = file.strip_prefix(archive).unwrap_or(file);
    format!("archive/{}", inner.display())
}

/// A file as long as it is now, if it is there.
fn copy(sink: &mut Sink, file: &Path, name: &str) -> Result<Option<Member>, Error> {
    let at = |error| Error::at(file, error);
    let opened = match File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(at)?,
    };
    let bytes = opened.metadata().map_err(at)?.len();
    sink.put(name, bytes, opened).map(Some)
}

/// All whole frames of a journal, segment by segment; gives the last header.
fn journal(
    sink: &mut Sink,
    archive: &Path,
    at: &Path,
    files: &mut Vec<Member>,
) -> Result<Option<Header>, Error> {
    let walked = walk(at)?;
    if let Some(finding) = walked.finding.as_ref().filter(|_| !walked.torn) {
        let (file, offset, first) =
            (finding.file.clone(), finding.offset.unwrap_or_default(), finding.first_bad);
        return Err(Error::Damaged { file, offset, first });
    }
    for (segment, path) in walked.segments.iter().enumerate() {
        let from = walked.places.partition_point(|place| place.segment < segment);
        let to = walked.places.partition_point(|place| place.segment <= segment);
        let places = &walked.places[from..to];
        let bytes = places.iter().map(|place| HEADER as u64 + u64::from(place.header.len)).sum();
        if bytes > 0 {
            let frames = Frames { walked: &walked, places: places.iter(), frame: std::io::Cursor::default() };
            files.push(sink.put(&within(archive, path), bytes, frames)?);
        }
    }
    Ok(walked.places.last().map(|place| place.header))
}

/// Frames read one after the other, each looked at before it goes into the copy: a damaged disk must not become a backup.
struct Frames<'a> {
    walked: &'a Walk,
    places: std::slice::Iter<'a, Place>,
    frame: std::io::Cursor<Vec<u8>>,
}

impl Read for Frames<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.frame.read(to)?;
            if read > 0 || to.is_empty() {
                return Ok(read);
            }
            let Some(place) = self.places.next() else { return Ok(0) };
            let frame = whole_frame(self.walked, place);
            let first = place.header.first;
            let damaged = || {
                std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    format!("damaged from sequence {first} on"),
                )
            };
            self.frame = std::io::Cursor::new(frame.map_err(|_| damaged())?);
        }
    }
}

/// Counts and digests what goes through.
struct Hashed<R> {
    from: R,
    hash: Sha256,
    read: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(to)?;
        self.hash.update(&to[..read]);
        self.read += read as u64;
        Ok(read)
    }
}
