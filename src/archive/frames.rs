//! Where the frames of the journal stand, as readers have it in memory: as little as finds them again.
//!
//! At low load each message is a frame of its own, so what is held a frame is what grows with an archive. The header is read
//! again with its frame; the checksum held here says that it is still the frame that was written.

use std::path::PathBuf;

use super::Error;
use super::frame::Header;
use super::journal::{self, Place};

/// Where one frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameAt {
    /// Sequence of its first record.
    pub(super) first: u64,
    offset: u64,
    segment: u32,
    crc: u32,
}

impl FrameAt {
    fn of(place: &Place) -> Self {
        // A journal of 2^32 segments of 64 MiB is larger than any disk.
        let segment = u32::try_from(place.segment).unwrap_or(u32::MAX);
        Self { first: place.header.first, offset: place.offset, segment, crc: place.header.crc() }
    }

    /// The frame that stands there.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] if it is not the one that was written.
    pub(super) fn place(&self, segments: &[PathBuf]) -> Result<Place, Error> {
        let same = |header: &Header| header.first == self.first && header.crc() == self.crc;
        journal::at(segments, self.segment as usize, self.offset, self.first, same)
    }
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: Vec<FrameAt>,
    /// Last sequence that stands in a frame.
    end: u64,
}

impl Frames {
    /// The next one.
    pub(super) fn push(&mut self, place: &Place) {
        self.end = place.header.last();
        self.frames.push(FrameAt::of(place));
    }

    /// Those that hold these sequences.
    pub(super) fn holding(&self, first: u64, last: u64) -> Vec<FrameAt> {
        if first > self.end {
            return Vec::new();
        }
        let from = self.frames.partition_point(|frame| frame.first <= first).saturating_sub(1);
        self.frames[from..].iter().take_while(|frame| frame.first <= last).copied().collect()
    }

    /// A frame was written anew where it stood.
    pub(super) fn replace(&mut self, fresh: &Place) {
        let at = self.frames.partition_point(|frame| frame.first < fresh.header.first);
        if let Some(frame) = self.frames.get_mut(at) {
            *frame = FrameAt::of(fresh);
        }
    }
}

impl FromIterator<Place> for Frames {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let mut frames = Self::default();
        places.into_iter().for_each(|place| frames.push(&place));
        frames
    }
}
