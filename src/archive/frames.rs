//! Where the frames of the journal stand, as readers have it in memory: as little as finds them again.
//!
//! At low load each message is a frame of its own, so what is held a frame is what grows with an archive: seven bytes. The
//! header is read again with its frame; the checksum held here says that it is still the frame that was written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::frame::{HEADER, Header};
use super::journal::{self, Place};
use super::packed::Packed;

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

/// A frame as it is packed. The checksum stands last and has as many bytes in any case: it changes when a body is taken away.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    count: u32,
    len: u32,
    crc: [u8; 4],
}

/// Where the first frame behind it stands; all up to the next mark are in one segment, one behind the other.
#[derive(Debug)]
struct Mark {
    first: u64,
    offset: u64,
    segment: u32,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: Packed<Mark>,
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
        let end = self.end;
        if self.frames.open().is_none_or(|mark| mark.segment != segment || end != *offset) {
            self.frames.mark(Mark { first: header.first, offset: *offset, segment });
        }
        self.frames.push(&Step { count: header.count, len: header.len, crc: header.crc().to_le_bytes() });
        self.last = header.last();
        self.end = offset + (HEADER as u64) + u64::from(header.len);
    }

    /// Those that hold these sequences.
    pub(super) fn holding(&self, first: u64, last: u64) -> Vec<FrameAt> {
        if first > self.last {
            return Vec::new();
        }
        let all = (self.mark_of(first)..self.frames.len()).flat_map(|mark| self.behind(mark));
        let wanted = all.skip_while(|(_, to, _)| *to < first).take_while(|(frame, ..)| frame.first <= last);
        wanted.map(|(frame, ..)| frame).collect()
    }

    /// A frame was written anew where it stood.
    pub(super) fn replace(&mut self, fresh: &Place) {
        let first = fresh.header.first;
        let mut found = self.behind(self.mark_of(first)).skip_while(|(frame, ..)| frame.first < first);
        let end = found.next().map(|(_, _, end)| end);
        drop(found);
        if let Some(end) = end {
            self.frames.overwrite(end, &fresh.header.crc().to_le_bytes());
        }
    }

    fn mark_of(&self, seq: u64) -> usize {
        self.frames.partition_point(|mark| mark.first <= seq).saturating_sub(1)
    }

    /// The frames behind a mark, each with its last sequence and the end of its packed bytes.
    fn behind(&self, mark: usize) -> impl Iterator<Item = (FrameAt, u64, usize)> + '_ {
        let start = self.frames.get(mark).map(|mark| (mark.first, mark.offset, mark.segment));
        let (mut first, mut offset, segment) = start.unwrap_or_default();
        self.frames.behind::<Step>(mark).map(move |(step, end)| {
            let frame = FrameAt { first, offset, segment, crc: u32::from_le_bytes(step.crc) };
            first += u64::from(step.count);
            offset += HEADER as u64 + u64::from(step.len);
            (frame, first - 1, end)
        })
    }
}

impl Extend<Place> for Frames {
    fn extend<I: IntoIterator<Item = Place>>(&mut self, places: I) {
        places.into_iter().for_each(|place| self.push(&place));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{MAGIC, VERSION};
    use super::*;

    fn header(first: u64, count: u32, len: u32, crc: u32) -> Header {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&first.to_le_bytes());
        bytes[16..20].copy_from_slice(&count.to_le_bytes());
        bytes[24..28].copy_from_slice(&len.to_le_bytes());
        bytes[100..104].copy_from_slice(&crc.to_le_bytes());
        Header::read(&bytes).expect("a header")
    }

    proptest! {
        /// What is packed answers as the plain list does, over segments and after frames were written anew.
        #[test]
        fn packed_as_plain(
            list in prop::collection::vec((1..600_u32, 1..300_000_u32, any::<u32>(), 0..60_u8), 1..300),
            anew in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..5),
            (one, other) in (0..90_000_u64, 0..90_000_u64),
        ) {
            let (mut first, mut offset, mut segment) = (1, 0, 0);
            let mut places = Vec::new();
            for (count, len, crc, next) in list {
                if next == 0 {
                    (segment, offset) = (segment + 1, 0);
                }
                places.push(Place { segment, offset, header: header(first, count, len, crc) });
                first += u64::from(count);
                offset += HEADER as u64 + u64::from(len);
            }
            let mut frames = Frames::default();
            frames.extend(places.iter().copied());
            for (which, crc) in anew {
                let place = which.get(&places);
                let fresh = Place { header: header(place.header.first, place.header.count, place.header.len, crc), ..*place };
                frames.replace(&fresh);
                let at = places.iter().position(|place| place.header.first == fresh.header.first).expect("it is there");
                places[at] = fresh;
            }
            let (from, to) = (one.min(other), one.max(other));
            let plain = places.iter().filter(|place| place.header.last() >= from && place.header.first <= to);
            let plain: Vec<FrameAt> = plain
                .map(|Place { segment, offset, header }| {
                    let segment = u32::try_from(*segment).expect("small");
                    FrameAt { first: header.first, offset: *offset, segment, crc: header.crc() }
                })
                .collect();
            prop_assert_eq!(frames.holding(from, to), plain);
        }
    }
}
