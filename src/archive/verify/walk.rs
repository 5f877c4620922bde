//! The headers of a journal, in order: does each frame follow the one before?
//!
//! Every frame names the hash of the one before it, so where the order breaks it can be told which of the two is the
//! stranger: the one that its neighbours do not name. Contents are read by `content`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use crate::archive::Error;
use crate::archive::frame::{HEADER, Header};
use crate::archive::journal::{Place, noted_head, segments_in};
use crate::message::digest::Digest;

/// How often and how long a frame at the very end is waited for: a running broker may be writing it.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// A journal as far as its frames follow one another.
#[derive(Debug, Default)]
pub struct Walk {
    /// Segment files in order.
    pub segments: Vec<PathBuf>,
    /// The frames that follow one another from the first on.
    pub places: Vec<Place>,
    /// True if all that is wrong is that the very last frame is not whole: a crash leaves that, and the next start cuts it.
    pub torn: bool,
    /// Why there are no more of them, if that is not the end.
    pub finding: Option<Finding>,
}

impl Walk {
    /// Hash that the next frame must name, and its sequence.
    fn expected(&self) -> (Digest, u64) {
        self.places
            .last()
            .map_or((Digest::default(), 1), |place| (place.header.hash(), place.header.last() + 1))
    }
}

/// Walks through a journal until its end or the first frame that does not follow.
///
/// # Errors
/// [`Error::Io`].
pub fn walk(journal: &Path) -> Result<Walk, Error> {
    let mut walk = Walk { segments: segments_in(journal)?, ..Walk::default() };
    for segment in 0..walk.segments.len() {
        follow(&mut walk, segment)?;
        if walk.finding.is_some() {
            // What stood there at a close was whole: no crash left that.
            walk.torn &= compare_with_head(journal, &walk).is_none();
            return Ok(walk);
        }
    }
    walk.finding = compare_with_head(journal, &walk);
    Ok(walk)
}

fn follow(walk: &mut Walk, segment: usize) -> Result<(), Error> {
    let path = walk.segments[segment].clone();
    let segment_file = Segment::open(&path)?;
    let mut offset = 0;
    while offset < segment_file.size {
        let (prev, next) = walk.expected();
        let mut header = segment_file.header(offset)?;
        for _ in 0..LOOKS {
            if header.is_some() || segment + 1 < walk.segments.len() {
                break;
            }
            std::thread::sleep(PAUSE);
            header = Segment::open(&path)?.header(offset)?;
        }
        let at = |first_bad, through, what| Finding {
            first_bad,
            through,
            what,
            file: path.clone(),
            offset: Some(offset),
        };
        let Some(header) = header else {
            let words = if segment + 1 < walk.segments.len() {
                "a frame is damaged"
            } else {
                "the last frame is cut or damaged"
            };
            walk.torn = segment + 1 == walk.segments.len();
            walk.finding = Some(at(next, None, words));
            return Ok(());
        };
        if (header.prev, header.first) != (prev, next) {
            let (first_bad, through, what) = stranger(walk, &segment_file, &header, offset)?;
            walk.finding = Some(at(first_bad, through, what));
            return Ok(());
        }
        walk.places.push(Place { segment, offset, header });
        offset += HEADER as u64 + u64::from(header.len);
    }
    Ok(())
}

/// Which sequence is the first that is wrong when this frame does not follow the one before it.
fn stranger(
    walk: &Walk,
    segment: &Segment,
    header: &Header,
    offset: u64,
) -> Result<(u64, Option<u64>, &'static str), Error> {
    let (prev, next) = walk.expected();
    if !segment.covered(header, offset) {
        return Ok((next, None, "a frame is damaged"));
    }
    if header.first > next {
        return Ok((next, Some(header.first - 1), "records are missing"));
    }
    let before = walk.places.partition_point(|place| place.header.first < header.first);
    let same = walk.places.get(before).map(|place| place.header.hash());
    if same == Some(header.hash()) {
        return Ok((next, None, "a frame stands here that stood before: out of its place, or twice"));
    }
    if header.first < next {
        let named = before.checked_sub(1).map_or(Digest::default(), |at| walk.places[at].header.hash());
        let competes = walk.places.get(before).is_some_and(|place| place.header.first == header.first);
        return Ok(if named == header.prev && competes {
            (header.first, None, "two frames claim the same place: one was put in")
        } else {
            (next, None, "a frame stands here that does not belong here")
        });
    }
    let follower = segment.header(offset + HEADER as u64 + u64::from(header.len))?;
    if follower.is_some_and(|follower| follower.prev == prev) {
        return Ok((next, Some(header.last()), "a frame was put in"));
    }
    // The frames behind name this one, or nobody does: then the one before is not the one that this one followed.
    let first = walk.places.last().map_or(next, |place| place.header.first);
    Ok((first, None, "a frame was written anew: the one behind it names another"))
}

/// What stood in the journal when it was closed must stand there for ever. A note that cannot be read says nothing.
fn compare_with_head(journal: &Path, walk: &Walk) -> Option<Finding> {
    let (seq, hash) = noted_head(journal)?;
    let at = walk.places.partition_point(|place| place.header.last() < seq);
    let file = walk.segments.last().cloned().unwrap_or_else(|| journal.to_owned());
    let finding = |first_bad, through, what| Some(Finding { first_bad, through, what, file, offset: None });
    match walk.places.get(at) {
        None => finding(walk.expected().1, Some(seq), "records are missing at the end: HEAD knows of them"),
        Some(place) if place.header.hash().hex() != hash => finding(
            place.header.first,
            Some(place.header.last()),
            "a frame was written anew: HEAD knows another",
        ),
        Some(_) => None,
    }
}

/// A segment file and how long it was when we came.
struct Segment {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Segment {
    fn open(path: &Path) -> Result<Self, Error> {
        let at = |error| Error::at(path, error);
        let file = File::open(path).map_err(at)?;
        let size = file.metadata().map_err(at)?.len();
        Ok(Self { path: path.to_owned(), file, size })
    }

    /// The header at an offset, if a frame with it fits in.
    fn header(&self, offset: u64) -> Result<Option<Header>, Error> {
        if offset + HEADER as u64 > self.size {
            return Ok(None);
        }
        let mut bytes = [0; HEADER];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Error::at(&self.path, error))?;
        let fits = |header: &Header| offset + HEADER as u64 + u64::from(header.len) <= self.size;
        Ok(Header::read(&bytes).filter(fits))
    }

    fn covered(&self, header: &Header, offset: u64) -> bool {
        let mut payload = vec![0; header.len as usize];
        self.file.read_exact_at(&mut payload, offset + HEADER as u64).is_ok() && header.covers(&payload)
    }
}
