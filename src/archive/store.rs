//! The sled side: sealed blocks with their zones and fingerprints.
//!
//! sled is never the truth here. Its `flush` is no fsync, a flipped bit in its log may lose records silently, opening a
//! damaged one destroys the evidence, and a snapshot cut short (`snap.*.generating`) keeps it from opening at all. So:
//! left-over snapshots are removed, a store that does not open or does not agree with the journal is moved aside and
//! built anew, and every block read is checked and taken from the journal if it is bad.
//!
//! Keys: `h` + first sequence + number of the piece (both big endian) -> heads of the block's records, `b` + same -> their
//! bodies, `z` + same -> zone, `i` + same -> fingerprints, `m` -> meta. Every value but meta has its CRC-32 before it. Heads
//! and bodies are apart so that a search reads heads alone. Bodies are encrypted under a key that can be destroyed, for sled
//! forgets nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::frame;
use super::record::Record;
use super::vault::{Mask, Vault};
use super::zone::Zone;
use super::{Error, Fault};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};

/// Version of the layout in sled.
const VERSION: u16 = 4;

/// Most bytes in one value of sled; longer ones lie in pieces, and every piece is got by its key. For sled's cache has 256
/// parts, and none lets anything go before it was touched 64 times: what it holds is bounded by the bytes that a touch brings,
/// not by its capacity. A node of 16 values beyond a quarter of a segment even becomes a file that is not counted at all. With
/// values of 70 KiB, or pieces read by a scan, which touches a node once, memory grew by hundreds of MiB.
const PIECE: usize = 2 << 10;

/// How often, and after which pause, sled's lock is tried again.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// What the store says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    version: u16,
    /// Last sealed archive sequence.
    pub sealed: u64,
    /// Hash of the journal's frame that holds it: which journal this belongs to, up to there.
    pub tip: Digest,
}

/// An opened store.
#[derive(Debug, Clone)]
pub struct Store {
    db: sled::Db,
    vault: Arc<Vault>,
}

/// One sealed block on its way into the store.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// Its zone.
    pub zone: &'a Zone,
    /// Fingerprints as [`super::zone::pack_ids`] writes them.
    pub ids: Vec<u8>,
    /// The heads, packed.
    pub heads: Vec<u8>,
    /// The bodies, packed.
    pub bodies: Vec<u8>,
    /// See [`Meta::tip`].
    pub tip: Digest,
}

/// Why the store that stands there cannot be used.
#[derive(Debug)]
pub enum Unfit {
    /// It is damaged or does not agree with the journal: it can be built anew.
    Rebuild(String),
    /// It knows of records that the journal lacks: these were receipted, and building anew would forget that.
    Ahead(u64),
    /// The disk refuses. That says nothing against the store, so it stays where it is.
    Disk(std::io::Error),
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self::Rebuild(why)
    }
}

fn key(kind: u8, first: u64, piece: usize) -> [u8; 11] {
    let mut key = [kind; 11];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    // A value of 128 MiB would have more; blocks are bounded at half a MiB.
    key[9..].copy_from_slice(&u16::try_from(piece).unwrap_or(u16::MAX).to_be_bytes());
    key
}

/// Puts a value in pieces, with its checksum before it.
fn put_pieces(batch: &mut sled::Batch, kind: u8, first: u64, value: &[u8]) -> usize {
    let value = seal(value);
    let pieces = value.chunks(PIECE);
    let count = pieces.len();
    for (at, piece) in pieces.enumerate() {
        batch.insert(&key(kind, first, at), piece);
    }
    count
}

impl Store {
    /// Opens the store, which must have been looked after by [`heal`] before.
    ///
    /// # Errors
    /// What sled said, also if it panicked; the message of a panic goes to standard error, as every panic's does.
    pub fn open(path: &Path, vault: &Arc<Vault>) -> Result<Self, Unfit> {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(8 << 20)
            .segment_size(2 << 20)
            .flush_every_ms(Some(500));
        // A damaged log makes sled panic rather than fail.
        #[expect(clippy::disallowed_methods, reason = "the one place that opens sled")]
        let open = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
        let mut opened = open();
        // Our own lock keeps every other process out, so whoever holds sled's is a thread of its own that is just ending.
        for _ in 0..LOCK_TRIES {
            let Ok(Err(error)) = &opened else { break };
            if !error.to_string().contains("could not acquire lock") {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            opened = open();
        }
        match opened {
            Ok(Ok(db)) => Ok(Self { db, vault: Arc::clone(vault) }),
            Ok(Err(sled::Error::Io(error)))
                if matches!(
                    error.kind(),
                    StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem
                ) =>
            {
                Err(Unfit::Disk(error))
            }
            Ok(Err(error)) => Err(Unfit::Rebuild(error.to_string())),
            Err(_) => Err(Unfit::Rebuild("sled panicked while opening".to_owned())),
        }
    }

    /// What it says of itself; `None` if it is new.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn meta(&self) -> Result<Option<Meta>, String> {
        let Some(meta) = self.db.get(b"m").map_err(|error| error.to_string())? else {
            return if self.db.is_empty() { Ok(None) } else { Err("no meta record".to_owned()) };
        };
        let meta: Meta = postcard::from_bytes(&meta).map_err(|_| "unreadable meta record")?;
        if meta.version == VERSION { Ok(Some(meta)) } else { Err(format!("layout version {}", meta.version)) }
    }

    /// All zones in order, one at a time; ends at the first that does not fit, with words.
    pub fn zones(&self, meta: &Meta) -> impl Iterator<Item = Result<Zone, String>> {
        let sealed = meta.sealed;
        let mut next = 1;
        std::iter::from_fn(move || {
            let first = next;
            if first > sealed {
                return None;
            }
            let zone =
                self.zone(first).filter(|zone| zone.first == first && (first..=sealed).contains(&zone.last));
            next = zone.as_ref().map_or(u64::MAX, |zone| zone.last + 1);
            Some(zone.ok_or_else(|| format!("no zone that fits at sequence {first}")))
        })
    }

    /// The zone of a block, or `None` if it is missing or bad.
    #[must_use]
    pub fn zone(&self, first: u64) -> Option<Zone> {
        postcard::from_bytes(&self.value(b'z', first)?).ok()
    }

    /// Makes the zone of a block unreadable.
    #[cfg(test)]
    pub(super) fn spoil_zone(&self, first: u64) {
        self.db.insert(key(b'z', first, 0), b"no zone").expect("inserts");
    }

    /// The fingerprints of a block, as [`super::zone::unpack_ids`] reads them.
    ///
    /// # Errors
    /// They are missing or bad, or sled failed.
    pub fn ids(&self, first: u64) -> Result<Vec<u8>, String> {
        self.value(b'i', first).ok_or_else(|| format!("no fingerprints for the block at {first}"))
    }

    /// Puts one block with all that belongs to it, at once or not at all.
    ///
    /// # Errors
    /// What sled said.
    pub fn put(&self, sealed: &Sealed<'_>) -> Result<(), Error> {
        fault::point(Spot::SledPut);
        fault::io(Spot::SledPut, Path::new("sled")).map_err(|error| Error::Store(error.to_string()))?;
        let meta = Meta { version: VERSION, sealed: sealed.zone.last, tip: sealed.tip };
        let corrupt = |_| Error::Corrupt("a zone that cannot be written");
        let zone = postcard::to_stdvec(sealed.zone).map_err(corrupt)?;
        let mut batch = sled::Batch::default();
        let bodies = self.vault.seal_block(sealed.zone.first, &sealed.bodies)?;
        for (kind, value) in [(b'h', &sealed.heads), (b'b', &bodies), (b'z', &zone), (b'i', &sealed.ids)] {
            put_pieces(&mut batch, kind, sealed.zone.first, value);
        }
        batch.insert(b"m", postcard::to_stdvec(&meta).map_err(corrupt)?);
        self.db.apply_batch(batch).map_err(|error| Error::Store(error.to_string()))
    }

    /// A block's records without their bodies, or `None` if sled's copy is missing or bad: the journal has them. Digests of
    /// sealed messages stay masked.
    #[must_use]
    pub fn heads(&self, first: u64) -> Option<Vec<Record>> {
        read_heads(&unpack(&self.value(b'h', first)?)?)
    }

    /// A block's records, or `None` if sled's copy is missing or bad: the journal has them.
    #[must_use]
    pub fn block(&self, first: u64) -> Option<Vec<Record>> {
        let heads = self.heads(first)?;
        let bodies = unpack(&self.vault.open_block(first, &self.value(b'b', first)?)?)?;
        put_together(heads, &bodies, self.vault.mask())
    }

    /// Puts other bodies in the place of a block's, and destroys the key of the old ones; false if which key that was cannot be
    /// read. Then all keys must go that no block has ([`Store::slot_of`]), for sled's log holds the old bodies.
    ///
    /// # Errors
    /// What sled or the key file said.
    pub fn replace_bodies(&self, first: u64, bodies: &[u8], now_ms: i64) -> Result<bool, Error> {
        let stored = self.pieces(b'b', first);
        let mut batch = sled::Batch::default();
        let count = put_pieces(&mut batch, b'b', first, &self.vault.seal_block(first, bodies)?);
        // Before the key goes: an old piece behind a shorter new value would make both unreadable.
        for at in count..stored.as_ref().map_or(0, Vec::len) {
            batch.remove(&key(b'b', first, at));
        }
        self.db.apply_batch(batch).map_err(|error| Error::Store(error.to_string()))?;
        let old = stored.and_then(|pieces| Vault::slot_of_block(unseal(&pieces.concat())?));
        old.map_or(Ok(false), |slot| self.vault.forget_block(slot, now_ms).map(|()| true))
    }

    /// The slot of the key that the bodies of a block are under, as the first piece says it.
    #[must_use]
    pub fn slot_of(&self, first: u64) -> Option<u64> {
        let get = || self.db.get(key(b'b', first, 0)).ok().flatten();
        let piece = std::panic::catch_unwind(std::panic::AssertUnwindSafe(get)).ok().flatten()?;
        Vault::slot_of_block(piece.get(4..)?)
    }

    /// Makes the bodies of a block unreadable.
    #[cfg(test)]
    pub(super) fn spoil_bodies(&self, first: u64) {
        let get = self.db.get(key(b'b', first, 0)).expect("reads").expect("there");
        let mut piece = get.to_vec();
        piece[0] ^= 1;
        self.db.insert(key(b'b', first, 0), piece).expect("inserts");
    }

    /// A value whose checksum holds.
    fn value(&self, kind: u8, first: u64) -> Option<Vec<u8>> {
        unseal(&self.pieces(kind, first)?.concat()).map(<[u8]>::to_vec)
    }

    /// The pieces of a value, none if there are none; `None` if sled does not give them.
    fn pieces(&self, kind: u8, first: u64) -> Option<Vec<sled::IVec>> {
        let get = |at| self.db.get(key(kind, first, at)).transpose();
        let all = || (0..).map_while(get).collect::<Result<_, _>>().ok();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(all)).ok().flatten()
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

/// A value with its checksum before it: sled's own does not cover what it kept of an older state.
fn seal(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len());
    bytes.extend_from_slice(&crc32fast::hash(value).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (crc, value) = bytes.split_first_chunk::<4>()?;
    (crc32fast::hash(value) == u32::from_le_bytes(*crc)).then_some(value)
}

/// Heads or bodies of a block: unpacked length, then zstd of the parts, each with its length before it.
///
/// # Errors
/// From packing.
pub(super) fn pack<'a>(
    records: impl Iterator<Item = &'a [u8]>,
    zstd: &mut frame::Zstd,
) -> Result<Vec<u8>, Error> {
    let raw: Vec<u8> = records.collect::<Vec<_>>().concat();
    let len = u32::try_from(raw.len()).map_err(|_| Error::Corrupt("a block beyond 4 GiB"))?;
    Ok([len.to_le_bytes().as_slice(), &zstd.compress(&raw)?].concat())
}

fn unpack(bytes: &[u8]) -> Option<Bytes> {
    let (len, packed) = bytes.split_first_chunk::<4>()?;
    frame::decompress(packed, u32::from_le_bytes(*len) as usize).ok().map(Bytes::from)
}

/// The parts of what [`pack`] put together; `None` if the lengths do not fit.
fn split(raw: &Bytes) -> Option<impl Iterator<Item = Bytes> + use<>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let len = u32::from_le_bytes(raw.get(at..at + 4)?.try_into().ok()?) as usize;
        raw.get(at + 4..at + 4 + len)?;
        parts.push(raw.slice(at + 4..at + 4 + len));
        at += 4 + len;
    }
    Some(parts.into_iter())
}

/// The records of unpacked heads, still without bodies.
pub(super) fn read_heads(raw: &Bytes) -> Option<Vec<Record>> {
    split(raw)?.map(|head| postcard::from_bytes(&head).ok()).collect()
}

/// Heads with their unpacked bodies; `None` if there is not one for each.
pub(super) fn put_together(mut heads: Vec<Record>, bodies: &Bytes, mask: &Mask) -> Option<Vec<Record>> {
    let mut bodies = split(bodies)?;
    for record in &mut heads {
        record.body = Body::read(&bodies.next()?).ok()?;
        if record.has_masked() {
            record.mask(mask);
        }
    }
    bodies.next().is_none().then_some(heads)
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
