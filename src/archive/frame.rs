//! A frame: what one commit appends to the journal, and what verification and replication read.
//!
//! ```text
//! "LIAF" version:u16 shard:u16 first:u64 count:u32 raw:u32 len:u32 committed_ms:i64 prev:[32] root:[32] crc:u32 payload
//! ```
//! All numbers little endian. `payload` is zstd level 1 of the records, each as `len:u32 head len:u32 body`; zstd frames
//! to be skipped may fill it up. `root` is the Merkle root (RFC 6962) over the records' leaves, `prev` the hash of the
//! frame before: SHA-256 of its header without the lengths and the checksum. A leaf commits to the body by a hash, so
//! the chain holds whatever becomes of the content: a body can be taken away in place. `crc` covers header and payload.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

use super::pack::Pack;
use super::tree::root_of;
use super::{Error, Fault};
use crate::message::digest::Digest;

/// Version of frame and record bytes.
pub const VERSION: u16 = 2;
/// Bytes before the payload.
pub const HEADER: usize = 4 + 2 + 2 + 8 + 4 + 4 + 4 + 8 + 32 + 32 + 4;
/// The first bytes of every frame.
pub const MAGIC: &[u8; 4] = b"LIAF";
/// No commit is larger: 512 messages of 256 KiB and their ledgers.
const MOST: u32 = 256 << 20;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Shard of the broker; 0 as long as one instance owns all parties.
    pub shard: u16,
    /// Sequence of the first record.
    pub first: u64,
    /// Number of records.
    pub count: u32,
    /// Length of the payload unpacked.
    pub raw: u32,
    /// Length of the payload.
    pub len: u32,
    /// When it was committed, Unix milliseconds.
    pub committed_ms: i64,
    /// Hash of the frame before.
    pub prev: Digest,
    /// Merkle root of the records.
    pub root: Digest,
    crc: u32,
}

impl Header {
    /// Reads a header; `None` if these are not the bytes of one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let u16_at = |at: usize| bytes[at..at + 2].try_into().ok().map(u16::from_le_bytes);
        let u32_at = |at: usize| bytes[at..at + 4].try_into().ok().map(u32::from_le_bytes);
        if &bytes[..4] != MAGIC || u16_at(4)? != VERSION {
            return None;
        }
        let header = Self {
            shard: u16_at(6)?,
            first: bytes[8..16].try_into().ok().map(u64::from_le_bytes)?,
            count: u32_at(16)?,
            raw: u32_at(20)?,
            len: u32_at(24)?,
            committed_ms: bytes[28..36].try_into().ok().map(i64::from_le_bytes)?,
            prev: Digest(bytes[36..68].try_into().ok()?),
            root: Digest(bytes[68..100].try_into().ok()?),
            crc: u32_at(100)?,
        };
        (header.len <= MOST && header.raw <= MOST && header.count > 0).then_some(header)
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.shard.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.raw.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.committed_ms.to_le_bytes());
        bytes.extend_from_slice(&self.prev.0);
        bytes.extend_from_slice(&self.root.0);
        bytes
    }

    /// The header as it stands before the payload, with its checksum.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.write();
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// The hash that the next frame names: everything but what changes when a body is taken away.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let bytes = self.write();
        Digest::of_two(&bytes[..20], &bytes[28..])
    }

    /// Sequence of the last record.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// The checksum over header and payload.
    #[must_use]
    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// True if the payload is the one that was written.
    #[must_use]
    pub fn covers(&self, payload: &[u8]) -> bool {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.write());
        crc.update(payload);
        payload.len() == self.len as usize && crc.finalize() == self.crc
    }
}

/// Makes a frame: header with checksum, then payload. Also gives the header for the chain.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Io`] from packing; a frame that no reader would accept is refused here, before it is
/// written: once receipted it would be taken for a torn tail at the next start.
pub fn encode(
    zstd: &mut Zstd,
    prev: Digest,
    committed_ms: i64,
    pack: &Pack,
    leaves: &[Digest],
    first: u64,
) -> Result<(Header, Vec<u8>), Error> {
    let mut payload = zstd.compress(pack.raw())?;
    let plain = pack.plain();
    if plain > 0 {
        let length = payload.len() + SKIPPED + (plain + 2) * ROOM;
        fill_up(&mut payload, length);
    }
    let size = |len: usize| {
        u32::try_from(len)
            .ok()
            .filter(|len| (1..=MOST).contains(len))
            .ok_or_else(|| corrupt("a frame too large"))
    };
    let mut header = Header {
        shard: 0,
        first,
        count: size(pack.len())?,
        raw: size(pack.raw().len())?,
        len: size(payload.len())?,
        committed_ms,
        prev,
        root: root_of(leaves),
        crc: 0,
    };
    Ok(finish(&mut header, &payload))
}

/// Magic number and length of a zstd frame that is skipped, RFC 8878 section 3.1.2.
const SKIPPED: usize = 8;
/// Room that is kept for each plain body: when it is taken away, a hash stands in its place, which may take more than the
/// body did, for messages that are much alike are packed by reference to each other.
const ROOM: usize = 24;

/// Fills a payload up to a length with what every reader skips. Does nothing if it has that length.
fn fill_up(payload: &mut Vec<u8>, length: usize) {
    if let Some(left) = length.checked_sub(payload.len() + SKIPPED) {
        payload.extend_from_slice(&0x184D_2A50_u32.to_le_bytes());
        payload.extend_from_slice(&u32::try_from(left).unwrap_or_default().to_le_bytes());
        payload.resize(length, 0);
    }
}

/// The frame again after bodies were taken away, in exactly as many bytes: what the payload lacks is filled with a zstd
/// frame that every reader skips.
///
/// # Errors
/// [`Error::Corrupt`] if it does not fit into the room of the old one.
pub(super) fn refill(zstd: &mut Zstd, old: &Header, pack: &Pack) -> Result<(Header, Vec<u8>), Error> {
    let room = old.len as usize;
    let mut payload = zstd.compress(pack.raw())?;
    let fits = payload.len() == room || payload.len() + SKIPPED <= room;
    if !fits {
        return Err(corrupt("a frame that does not fit into its old place"));
    }
    fill_up(&mut payload, room);
    let mut header = *old;
    Ok(finish(&mut header, &payload))
}

/// Computes the checksum and writes header and payload.
fn finish(header: &mut Header, payload: &[u8]) -> (Header, Vec<u8>) {
    let mut bytes = header.write();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes);
    crc.update(payload);
    header.crc = crc.finalize();
    bytes.reserve_exact(4 + payload.len());
    bytes.extend_from_slice(&header.crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    (*header, bytes)
}

/// Unpacks a payload that [`Header::covers`] and checks the Merkle root.
///
/// # Errors
/// [`Error::Corrupt`] if the content is not what the header says.
pub fn decode(header: &Header, payload: &[u8]) -> Result<Pack, Error> {
    let pack = unpack(header, payload)?;
    if root_of(&pack.leaves()?) != header.root {
        return Err(corrupt("the records are not those that the header commits to"));
    }
    Ok(pack)
}

/// Unpacks a payload that [`Header::covers`] without looking at the root.
///
/// # Errors
/// [`Error::Corrupt`] if it does not hold as many records as the header says.
pub fn unpack(header: &Header, payload: &[u8]) -> Result<Pack, Error> {
    let pack = Pack::parse(decompress(payload, header.raw as usize)?.into())?;
    let whole = pack.len() == header.count as usize;
    if whole { Ok(pack) } else { Err(corrupt("not as many records as the header says")) }
}

/// zstd level 1, with the working memory kept: making it anew costs a small commit more than the packing.
pub(super) struct Zstd(zstd::bulk::Compressor<'static>);

impl Zstd {
    pub(super) fn new() -> Result<Self, Error> {
        let made = zstd::bulk::Compressor::new(1);
        Ok(Self(made.map_err(|error| Fault::new("preparing zstd", error))?))
    }

    /// As small as it gets, for the rare frame that must fit into a given room.
    pub(super) fn smallest() -> Result<Self, Error> {
        let made = zstd::bulk::Compressor::new(19);
        Ok(Self(made.map_err(|error| Fault::new("preparing zstd", error))?))
    }

    pub(super) fn compress(&mut self, raw: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.compress(raw).map_err(|error| Error::Io(Fault::new("compressing", error)))
    }
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zstd")
    }
}

thread_local! {
    /// Kept by each thread that unpacks: making it anew costs more than unpacking a frame of one message.
    static UNPACKING: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The other way round; `most` bounds what it may grow to.
pub(super) fn decompress(payload: &[u8], most: usize) -> Result<Vec<u8>, Error> {
    UNPACKING.with_borrow_mut(|kept| {
        let unpacking = match kept {
            Some(unpacking) => unpacking,
            None => kept.insert(Decompressor::new().map_err(|error| Fault::new("preparing zstd", error))?),
        };
        unpacking.decompress(payload, most).map_err(|_| corrupt("a payload that cannot be unpacked"))
    })
}

fn corrupt(words: &'static str) -> Error {
    Error::Corrupt(words)
}
