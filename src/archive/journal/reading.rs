//! Frames read from their places in the segments. What cannot be read is named, never mended.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Place;
use crate::archive::Error;
use crate::archive::frame::{self, HEADER, Header};
use crate::archive::pack::Pack;

/// Reads a frame and checks that its records are those that the chain commits to.
///
/// # Errors
/// [`Error::Io`] or [`Error::Damaged`].
pub fn read(segments: &[PathBuf], place: &Place) -> Result<Pack, Error> {
    frame::decode(&place.header, &payload(segments, place)?)
}

/// A whole frame byte for byte, header and payload.
///
/// # Errors
/// [`Error::Io`] or [`Error::Damaged`].
pub fn whole(segments: &[PathBuf], place: &Place) -> Result<Vec<u8>, Error> {
    let payload = payload(segments, place)?;
    let mut bytes = place.header.bytes();
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Reads many frames by their checksums alone; the segment of the last one stays open for the next.
#[derive(Debug)]
pub struct Reading<'a> {
    segments: &'a [PathBuf],
    open: Option<(usize, File)>,
}

impl<'a> Reading<'a> {
    /// Of these segments.
    #[must_use]
    pub fn of(segments: &'a [PathBuf]) -> Self {
        Self { segments, open: None }
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`].
    pub fn unpacked(&mut self, place: &Place) -> Result<Pack, Error> {
        frame::unpack(&place.header, &self.payload(place)?)
    }

    fn payload(&mut self, place: &Place) -> Result<Vec<u8>, Error> {
        let path = self.segments.get(place.segment).ok_or(Error::Corrupt("a frame of an unknown segment"))?;
        let at = |error| Error::at(path, error);
        let file = match &mut self.open {
            Some((segment, file)) if *segment == place.segment => file,
            open => &mut open.insert((place.segment, File::open(path).map_err(at)?)).1,
        };
        let mut payload = vec![0; place.header.len as usize];
        file.read_exact_at(&mut payload, place.offset + HEADER as u64).map_err(at)?;
        if !place.header.covers(&payload) {
            return Err(damaged(path, place.offset, place.header.first));
        }
        Ok(payload)
    }
}

fn payload(segments: &[PathBuf], place: &Place) -> Result<Vec<u8>, Error> {
    Reading::of(segments).payload(place)
}

/// The frame whose header stands here, if that is the one that is meant.
///
/// # Errors
/// [`Error::Io`], or [`Error::Damaged`], which names `first`, if there is another or none.
pub(in crate::archive) fn at(
    segments: &[PathBuf],
    segment: usize,
    offset: u64,
    first: u64,
    is_meant: impl Fn(&Header) -> bool,
) -> Result<Place, Error> {
    let path = segments.get(segment).ok_or(Error::Corrupt("a frame of an unknown segment"))?;
    let mut header = [0; HEADER];
    let file = File::open(path).and_then(|file| file.read_exact_at(&mut header, offset));
    file.map_err(|error| Error::at(path, error))?;
    let header = Header::read(&header).filter(is_meant).ok_or_else(|| damaged(path, offset, first))?;
    Ok(Place { segment, offset, header })
}

pub(super) fn damaged(path: &Path, offset: u64, first: u64) -> Error {
    Error::Damaged { file: path.to_owned(), offset, first }
}
