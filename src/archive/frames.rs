//! Where the frames of the journal stand, as readers have it in memory: as little as finds them again.
//!
//! At low load each message is a frame of its own, so what is held a frame is what grows with an archive: seven bytes, found
//! through marks that stand before every 64th. The header is read again with its frame; the checksum held here says that it
//! is still the frame that was written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::frame::{HEADER, Header};
use super::journal::{self, Place};

/// Frames between two marks.
const STRIDE: u32 = 64;

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
    /// The frame that stands there.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Damaged`] if it is not the one that was written.
    pub(super) fn place(&self, segments: &[PathBuf]) -> Result<Place, Error> {
        let same = |header: &Header| header.first == self.first && header.crc() == self.crc;
        journal::at(segments, self.segment as usize, self.offset, self.first, same)
    }
}

/// A frame as it is packed. The checksum has as many bytes in any case: it changes when a body is taken away.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    count: u32,
    len: u32,
    crc: [u8; 4],
}

/// Where unpacking can begin; all frames up to the next mark stand in one segment, one behind the other.
#[derive(Debug)]
struct Mark {
    first: u64,
    offset: u64,
    segment: u32,
    /// Where its frames begin in the bytes, and how many there are.
    at: usize,
    count: u32,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Frames {
    marks: Vec<Mark>,
    bytes: Vec<u8>,
    /// Last sequence that stands in a frame.
    last: u64,
    /// Offset behind the last frame.
    end: u64,
}

impl Frames {
    /// The next one.
    pub(super) fn push(&mut self, place: &Place) {
        // A journal of 2^32 segments of 64 MiB is larger than any disk.
        let segment = u32::try_from(place.segment).unwrap_or(u32::MAX);
        let Place { offset, header, .. } = place;
        match self.marks.last_mut() {
            Some(mark) if mark.segment == segment && mark.count < STRIDE && self.end == *offset => {
                mark.count += 1;
            }
            _ => {
                let at = self.bytes.len();
                self.marks.push(Mark { first: header.first, offset: *offset, segment, at, count: 1 });
            }
        }
        let packed = Packed { count: header.count, len: header.len, crc: header.crc().to_le_bytes() };
        let mut room = [0; 16]; // two numbers take 10 at most
        self.bytes.extend_from_slice(postcard::to_slice(&packed, &mut room).unwrap_or_default());
        self.last = header.last();
        self.end = offset + (HEADER as u64) + u64::from(header.len);
    }

    /// Those that hold these sequences.
    pub(super) fn holding(&self, first: u64, last: u64) -> Vec<FrameAt> {
        if first > self.last {
            return Vec::new();
        }
        let all = (self.mark_of(first)..self.marks.len()).flat_map(|mark| self.unpacked(mark));
        let wanted = all.skip_while(|(_, to, _)| *to < first).take_while(|(frame, ..)| frame.first <= last);
        wanted.map(|(frame, ..)| frame).collect()
    }

    /// A frame was written anew where it stood.
    pub(super) fn replace(&mut self, fresh: &Place) {
        let found = self.unpacked(self.mark_of(fresh.header.first));
        let end =
            found.skip_while(|(frame, ..)| frame.first < fresh.header.first).map(|(_, _, end)| end).next();
        if let Some(crc) = end.and_then(|end| self.bytes.get_mut(end - 4..end)) {
            crc.copy_from_slice(&fresh.header.crc().to_le_bytes());
        }
    }

    fn mark_of(&self, seq: u64) -> usize {
        self.marks.partition_point(|mark| mark.first <= seq).saturating_sub(1)
    }

    /// The frames behind a mark, each with its last sequence and the end of its packed bytes.
    fn unpacked(&self, mark: usize) -> impl Iterator<Item = (FrameAt, u64, usize)> + '_ {
        let start = self.marks.get(mark);
        let mut bytes = start.and_then(|mark| self.bytes.get(mark.at..)).unwrap_or_default();
        let (mut first, mut offset) = start.map_or((0, 0), |mark| (mark.first, mark.offset));
        (0..start.map_or(0, |mark| mark.count)).map_while(move |_| {
            let (packed, rest) = postcard::take_from_bytes::<Packed>(bytes).ok()?;
            bytes = rest;
            let crc = u32::from_le_bytes(packed.crc);
            let frame = FrameAt { first, offset, segment: start?.segment, crc };
            first += u64::from(packed.count);
            offset += HEADER as u64 + u64::from(packed.len);
            Some((frame, first - 1, self.bytes.len() - bytes.len()))
        })
    }
}

impl FromIterator<Place> for Frames {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let mut frames = Self::default();
        places.into_iter().for_each(|place| frames.push(&place));
        frames
    }
}
