//! A frame: what one commit appends to the journal, and what verification and replication read.
//!
//! ```text
//! "LIAF" version:u16 shard:u16 first:u64 count:u32 raw:u32 len:u32 committed_ms:i64 prev:[32] root:[32] crc:u32 payload
//! ```
//! All numbers little endian. `payload` is zstd level 1 of the records, each with its length before it (u32). `root` is
//! the Merkle root (RFC 6962) over the records' bytes, `prev` the hash of the frame before: SHA-256 of its header
//! without the checksum. So the chain holds whatever becomes of the content. `crc` covers header and payload.

use super::record::Record;
use super::{Error, Fault};
use crate::message::digest::Digest;

/// Version of frame and record bytes.
pub const VERSION: u16 = 1;
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

    /// The hash that the next frame names.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(&self.write())
    }

    /// Sequence of the last record.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
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

/// Records put together, each with its length before it: what a payload holds when it is unpacked.
#[derive(Debug, Default)]
pub struct Pack {
    raw: Vec<u8>,
    /// Where each record ends in `raw`.
    ends: Vec<usize>,
}

impl Pack {
    /// Writes records out, one after the other.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a record cannot be written, which postcard's rules exclude for this type.
    pub fn of(records: &[impl AsRef<Record>]) -> Result<Self, Error> {
        let mut raw = Vec::with_capacity(records.len() * 2_048);
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            let at = raw.len();
            raw.extend_from_slice(&[0; 4]);
            raw = postcard::to_extend(record.as_ref(), raw)
                .map_err(|_| corrupt("a record that cannot be written"))?;
            let len = u32::try_from(raw.len() - at - 4).map_err(|_| corrupt("a record beyond 4 GiB"))?;
            raw[at..at + 4].copy_from_slice(&len.to_le_bytes());
            ends.push(raw.len());
        }
        Ok(Self { raw, ends })
    }

    /// Puts leaves together that are no records: the entries of another log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if one is larger than a length can say.
    pub fn of_bytes(leaves: &[Vec<u8>]) -> Result<Self, Error> {
        let mut pack = Self::default();
        for leaf in leaves {
            let len = u32::try_from(leaf.len()).map_err(|_| corrupt("a leaf beyond 4 GiB"))?;
            pack.raw.extend_from_slice(&len.to_le_bytes());
            pack.raw.extend_from_slice(leaf);
            pack.ends.push(pack.raw.len());
        }
        Ok(pack)
    }

    /// Finds the records in bytes that were written by [`Pack::of`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] if lengths do not fit.
    pub fn parse(raw: Vec<u8>) -> Result<Self, Error> {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            let (len, behind) =
                rest.split_first_chunk::<4>().ok_or_else(|| corrupt("a record's length is cut"))?;
            let len = u32::from_le_bytes(*len) as usize;
            if behind.len() < len {
                return Err(corrupt("a record is cut"));
            }
            at += 4 + len;
            ends.push(at);
        }
        Ok(Self { raw, ends })
    }

    /// One record with its length before it, ready to be copied into another pack.
    #[must_use]
    pub fn record(&self, at: usize) -> &[u8] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.raw[from..self.ends[at]]
    }

    /// The bytes of each record: the leaves of the Merkle tree.
    #[must_use]
    pub fn leaves(&self) -> Vec<&[u8]> {
        (0..self.ends.len()).map(|at| &self.record(at)[4..]).collect()
    }

    /// Reads the records.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if one cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let read = |bytes| postcard::from_bytes(bytes).map_err(|_| corrupt("a record that cannot be read"));
        self.leaves().into_iter().map(read).collect()
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
    first: u64,
) -> Result<(Header, Vec<u8>), Error> {
    let leaves = pack.leaves();
    let payload = zstd.compress(&pack.raw)?;
    let size = |len: usize| {
        u32::try_from(len)
            .ok()
            .filter(|len| (1..=MOST).contains(len))
            .ok_or_else(|| corrupt("a frame too large"))
    };
    let mut header = Header {
        shard: 0,
        first,
        count: size(leaves.len())?,
        raw: size(pack.raw.len())?,
        len: size(payload.len())?,
        committed_ms,
        prev,
        root: merkle_root(&leaves),
        crc: 0,
    };
    let mut bytes = header.write();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes);
    crc.update(&payload);
    header.crc = crc.finalize();
    bytes.reserve_exact(4 + payload.len());
    bytes.extend_from_slice(&header.crc.to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok((header, bytes))
}

/// Unpacks a payload that [`Header::covers`] and checks the Merkle root.
///
/// # Errors
/// [`Error::Corrupt`] if the content is not what the header says.
pub fn decode(header: &Header, payload: &[u8]) -> Result<Pack, Error> {
    let pack = Pack::parse(decompress(payload, header.raw as usize)?)?;
    let leaves = pack.leaves();
    if leaves.len() != header.count as usize || merkle_root(&leaves) != header.root {
        return Err(corrupt("the records are not those that the header commits to"));
    }
    Ok(pack)
}

/// zstd level 1, with the working memory kept: making it anew costs a small commit more than the packing.
pub(super) struct Zstd(zstd::bulk::Compressor<'static>);

impl Zstd {
    pub(super) fn new() -> Result<Self, Error> {
        let made = zstd::bulk::Compressor::new(1);
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

/// The other way round; `most` bounds what it may grow to.
pub(super) fn decompress(payload: &[u8], most: usize) -> Result<Vec<u8>, Error> {
    zstd::bulk::decompress(payload, most).map_err(|_| corrupt("a payload that cannot be unpacked"))
}

fn corrupt(words: &'static str) -> Error {
    Error::Corrupt(words)
}

/// RFC 6962 section 2.1: leaves are hashed behind 0x00, nodes behind 0x01.
#[must_use]
pub fn merkle_root(leaves: &[&[u8]]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => Digest::of_two(&[0], leaf),
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = (merkle_root(&leaves[..half]), merkle_root(&leaves[half..]));
            let mut node = [0_u8; 65];
            node[0] = 1;
            node[1..33].copy_from_slice(&left.0);
            node[33..].copy_from_slice(&right.0);
            Digest::of(&node)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first three roots of the public RFC 6962 test vectors.
    #[test]
    fn merkle_roots_agree_with_rfc_6962_vectors() {
        let leaves: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let expected = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ];
        for (count, hex) in (1..).zip(expected) {
            assert_eq!(merkle_root(&leaves[..count]).hex(), hex);
        }
    }
}
