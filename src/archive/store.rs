//! The sled side: sealed blocks with their zones and fingerprints.
//!
//! sled is never the truth here. Its `flush` is no fsync, a flipped bit in its log may lose records silently, opening a
//! damaged one destroys the evidence, and a snapshot cut short (`snap.*.generating`) keeps it from opening at all. So:
//! left-over snapshots are removed, a store that does not open or does not agree with the journal is moved aside and
//! built anew, and every block read is checked and taken from the journal if it is bad.
//!
//! Keys: `b` + first sequence (big endian) -> block, `z` + same -> zone, `i` + same -> fingerprints, `m` -> meta.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::frame;
use super::record::Record;
use super::zone::Zone;
use super::{Error, Fault};
use crate::message::digest::Digest;

/// Version of the layout in sled.
const VERSION: u16 = 1;

/// What the store says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    version: u16,
    /// Last sealed archive sequence.
    pub sealed: u64,
    /// Hash of the journal's first frame: which journal this belongs to.
    pub genesis: Digest,
}

/// An opened store.
#[derive(Debug, Clone)]
pub struct Store {
    db: sled::Db,
}

/// One sealed block on its way into the store.
#[derive(Debug)]
pub struct Sealed {
    /// Its zone.
    pub zone: Zone,
    /// Fingerprints as [`super::zone::pack_ids`] writes them.
    pub ids: Vec<u8>,
    /// The block's bytes.
    pub block: Vec<u8>,
}

fn key(kind: u8, first: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&first.to_be_bytes());
    key
}

impl Store {
    /// Opens the store, which must have been looked after by [`heal`] before.
    ///
    /// # Errors
    /// What sled said, also if it panicked.
    pub fn open(path: &Path) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(64 << 20)
            .segment_size(2 << 20)
            .flush_every_ms(Some(500));
        // A damaged log makes sled panic rather than fail.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => Ok(Self { db }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("sled panicked while opening".to_owned()),
        }
    }

    /// Meta and all zones in order; `None` if the store is new.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn read(&self) -> Result<Option<(Meta, Vec<Zone>)>, String> {
        let read = std::panic::AssertUnwindSafe(|| self.read_inner());
        std::panic::catch_unwind(read).unwrap_or_else(|_| Err("sled panicked while reading".to_owned()))
    }

    fn read_inner(&self) -> Result<Option<(Meta, Vec<Zone>)>, String> {
        let Some(meta) = self.db.get(b"m").map_err(|error| error.to_string())? else {
            return if self.db.is_empty() { Ok(None) } else { Err("no meta record".to_owned()) };
        };
        let meta: Meta = postcard::from_bytes(&meta).map_err(|_| "unreadable meta record")?;
        if meta.version != VERSION {
            return Err(format!("layout version {}", meta.version));
        }
        let mut zones: Vec<Zone> = Vec::new();
        for item in self.db.scan_prefix(b"z") {
            let (_, value) = item.map_err(|error| error.to_string())?;
            let zone: Zone = postcard::from_bytes(&value).map_err(|_| "unreadable zone")?;
            if zone.first != zones.last().map_or(1, |zone| zone.last + 1) {
                return Err(format!("a block is missing before sequence {}", zone.first));
            }
            zones.push(zone);
        }
        if zones.last().map_or(0, |zone| zone.last) != meta.sealed {
            return Err("the last blocks are missing".to_owned());
        }
        Ok(Some((meta, zones)))
    }

    /// The fingerprints of a block.
    ///
    /// # Errors
    /// They are missing or sled failed.
    pub fn ids(&self, first: u64) -> Result<sled::IVec, String> {
        self.db
            .get(key(b'i', first))
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("no fingerprints for the block at {first}"))
    }

    /// Puts one block with all that belongs to it, at once or not at all.
    ///
    /// # Errors
    /// What sled said.
    pub fn put(&self, sealed: Sealed, genesis: Digest) -> Result<(), Error> {
        let meta = Meta { version: VERSION, sealed: sealed.zone.last, genesis };
        let bytes = |value: Result<Vec<u8>, postcard::Error>| {
            value.map_err(|_| Error::Corrupt("a zone that cannot be written"))
        };
        let mut batch = sled::Batch::default();
        batch.insert(&key(b'b', sealed.zone.first), sealed.block);
        batch.insert(&key(b'z', sealed.zone.first), bytes(postcard::to_stdvec(&sealed.zone))?);
        batch.insert(&key(b'i', sealed.zone.first), sealed.ids);
        batch.insert(b"m", bytes(postcard::to_stdvec(&meta))?);
        self.db.apply_batch(batch).map_err(|error| Error::Store(error.to_string()))
    }

    /// A block's records, or `None` if sled's copy is missing or bad: the journal has them.
    #[must_use]
    pub fn block(&self, first: u64) -> Option<Vec<Record>> {
        let read = std::panic::AssertUnwindSafe(|| self.db.get(key(b'b', first)).ok().flatten());
        let value = std::panic::catch_unwind(read).ok().flatten()?;
        unpack(&value)
    }

    /// Gives what is buffered to the operating system.
    pub fn flush(&self) {
        // The journal holds everything; a failure here only means a rebuild at the next start.
        drop(self.db.flush());
    }

    /// Bytes on disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or_default()
    }
}

/// The bytes of a block: checksum, unpacked length, zstd.
///
/// # Errors
/// From packing.
pub fn pack(records: &[std::sync::Arc<Record>]) -> Result<Vec<u8>, Error> {
    let raw = frame::pack(records)?;
    let packed = frame::compress(&raw)?;
    let mut bytes = Vec::with_capacity(packed.len() + 8);
    bytes.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
    let len = u32::try_from(raw.len()).map_err(|_| Error::Corrupt("a block beyond 4 GiB"))?;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

fn unpack(bytes: &[u8]) -> Option<Vec<Record>> {
    let (crc, rest) = bytes.split_first_chunk::<4>()?;
    let (len, packed) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(packed) != u32::from_le_bytes(*crc) {
        return None;
    }
    let raw = frame::decompress(packed, u32::from_le_bytes(*len) as usize).ok()?;
    frame::unpack(&raw).ok()
}

/// Removes snapshots that were cut short; each of them would keep sled from opening.
///
/// # Errors
/// The directory cannot be read or changed.
pub fn heal(path: &Path) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(removed),
        entries => entries.map_err(|error| Error::at(path, error))?,
    };
    for entry in entries {
        let file = entry.map_err(|error| Error::at(path, error))?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&file).map_err(|error| Error::at(&file, error))?;
            removed.push(format!("removed the unfinished snapshot {name}"));
        }
    }
    Ok(removed)
}

/// Moves a store aside as evidence; an older one that was moved aside before goes.
///
/// # Errors
/// The directory cannot be moved.
pub fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let aside = path.with_extension("damaged");
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io(Fault::new(&aside.display().to_string(), error)))
        }
        _ => Ok(()),
    };
    gone(std::fs::remove_dir_all(&aside))?;
    gone(std::fs::rename(path, &aside))?;
    Ok(aside)
}
