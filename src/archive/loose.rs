//! Frames, packs and blocks as loose bytes, with no journal and no sled around them: for whoever must try how far bytes are
//! believed. The readers are those of journal and store; nothing here opens a file, and sealed content stays closed.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::Error;
use super::frame::{self, HEADER, Header, Zstd};
use super::pack::Pack;
use super::record::Record;
use super::root::RootKey;
use super::store;
use super::vault::Mask;
use crate::message::digest::Digest;

/// Loose bytes belong to no archive, so any mask will do: it is put on when they are written and taken off when they are read.
static MASK: LazyLock<Mask> = LazyLock::new(|| Mask::of(&RootKey(Zeroizing::new([7; 32]))));

/// The records of one whole frame: checksum, count and Merkle root are checked, the chain is not.
///
/// # Errors
/// [`Error::Corrupt`] if it is not a frame, or not the one that was written.
pub fn frame(bytes: &[u8]) -> Result<Vec<Record>, Error> {
    unframed(bytes)?.1.records(Some(&MASK))
}

/// The same frame written anew.
///
/// # Errors
/// As [`frame`].
pub fn reframed(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let (Header { first, prev, committed_ms, .. }, pack) = unframed(bytes)?;
    let leaves: Vec<Digest> = pack.leaves()?;
    frame::encode(&mut Zstd::new()?, prev, committed_ms, &pack, &leaves, first).map(|(_, bytes)| bytes)
}

fn unframed(bytes: &[u8]) -> Result<(Header, Pack), Error> {
    let header = Header::read(bytes).ok_or(Error::Corrupt("no header of a frame"))?;
    let payload = bytes.get(HEADER..).filter(|payload| header.covers(payload));
    let payload = payload.ok_or(Error::Corrupt("a frame whose checksum does not hold"))?;
    Ok((header, frame::decode(&header, payload)?))
}

/// The records of a frame's payload, unpacked and without anything that vouches for it.
///
/// # Errors
/// [`Error::Corrupt`] if lengths do not fit or a record cannot be read.
pub fn records(raw: &[u8]) -> Result<Vec<Record>, Error> {
    Pack::parse(Bytes::copy_from_slice(raw))?.records(Some(&MASK))
}

/// The other way round.
///
/// # Errors
/// [`Error::Corrupt`] if one cannot be written.
pub fn written(records: &[Record]) -> Result<Vec<u8>, Error> {
    let records: Vec<Arc<Record>> = records.iter().cloned().map(Arc::new).collect();
    Pack::of(&records, &MASK).map(|pack| pack.raw().to_vec())
}

/// The records of a block in sled, its heads and bodies unpacked; `None` if they do not fit together.
#[must_use]
pub fn block(heads: &[u8], bodies: &[u8]) -> Option<Vec<Record>> {
    let heads = store::read_heads(&Bytes::copy_from_slice(heads))?;
    store::put_together(heads, &Bytes::copy_from_slice(bodies), &MASK)
}
