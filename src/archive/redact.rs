//! Taking plain bodies away from the journal, in place.
//!
//! Journal frames are never changed but for this. The frame is written anew in exactly as many bytes, so nothing moves, and the leaves
//! keep what commits to the body, so chain, roots and proofs go on holding. A crash in the middle would leave damage; so
//! the new bytes stand in a file of their own first, and the next start finishes from it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use super::frame::{self, HEADER, Zstd};
use super::journal::{self, Place, sync_directory};

/// Ending of a file that holds a frame which is being written anew: `<segment>.<offset>.anew`.
const ANEW: &str = "anew";

/// Takes the bodies of these records of one frame away; gives its new place.
///
/// # Errors
/// [`Error::Io`], [`Error::Damaged`], or [`Error::Corrupt`] if the frame does not get smaller.
pub(super) fn redact(segments: &[PathBuf], place: &Place, gone: &[usize]) -> Result<Place, Error> {
    let segment = segments.get(place.segment).ok_or(Error::Corrupt("a frame of an unknown segment"))?;
    let pack = journal::read(segments, place)?.without_bodies(gone)?;
    // A frame of one short message may not shrink at the fastest level.
    let (header, bytes) = frame::refill(&mut Zstd::new()?, &place.header, &pack)
        .or_else(|_| frame::refill(&mut Zstd::smallest()?, &place.header, &pack))?;
    let aside = segment.with_extension(format!("{}.{ANEW}", place.offset));
    let at = |error| Error::at(&aside, error);
    let mut sum = crc32fast::hash(&bytes).to_le_bytes().to_vec();
    sum.extend_from_slice(&bytes);
    std::fs::write(&aside, sum).and_then(|()| File::open(&aside)?.sync_all()).map_err(at)?;
    sync_directory(segment.parent().unwrap_or(Path::new(".")))?;
    put(segment, place.offset, &bytes)?;
    std::fs::remove_file(&aside).map_err(at)?;
    Ok(Place { header, ..*place })
}

fn put(segment: &Path, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(segment);
    let put = file.and_then(|file| file.write_all_at(bytes, offset).and_then(|()| file.sync_data()));
    put.map_err(|error| Error::at(segment, error))
}

/// The frame at this place as it will stand once [`finish`] has run, if a crash interrupted its writing.
pub(super) fn pending(segment: &Path, offset: u64) -> Option<Vec<u8>> {
    let bytes = std::fs::read(segment.with_extension(format!("{offset}.{ANEW}"))).ok()?;
    let (sum, frame) = bytes.split_first_chunk::<4>()?;
    (crc32fast::hash(frame) == u32::from_le_bytes(*sum)).then(|| frame.to_vec())
}

/// Finishes what a crash interrupted. A file of which not all was written is thrown away: then the frame is untouched.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn finish(directory: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Error::at(directory, error))?,
    };
    for entry in entries {
        let aside = entry.map_err(|error| Error::at(directory, error))?.path();
        if aside.extension().is_none_or(|ending| ending != ANEW) {
            continue;
        }
        let bytes = std::fs::read(&aside).map_err(|error| Error::at(&aside, error))?;
        let inner = aside.with_extension("");
        let offset = inner.extension().and_then(|offset| offset.to_string_lossy().parse::<u64>().ok());
        let whole = bytes.split_first_chunk::<4>().filter(|(sum, frame)| {
            crc32fast::hash(frame) == u32::from_le_bytes(**sum) && frame.len() > HEADER
        });
        if let (Some(offset), Some((_, frame))) = (offset, whole) {
            put(&inner.with_extension("liaj"), offset, frame)?;
        }
        std::fs::remove_file(&aside).map_err(|error| Error::at(&aside, error))?;
    }
    Ok(())
}
