//! The contents of a journal's frames: checksum, Merkle root and sequences, on all cores, told in order.
//!
//! A frame that is read while its bodies are being taken away looks damaged for a moment, so it is looked at twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::Finding;
use super::walk::Walk;
use crate::archive::Error;
use crate::archive::frame::{self, HEADER, Header};
use crate::archive::journal::Place;
use crate::archive::pack::Pack;
use crate::archive::record::Record;
use crate::archive::redact;
use crate::archive::tree::root_of;
use crate::message::digest::Digest;

/// Bytes on disk that a worker takes at once.
const BATCH: u64 = 2 << 20;

/// Pause before a frame that looks damaged is looked at again.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// Whether these are records with dense sequences from `first` on; else the first that is not.
pub fn records(pack: &Pack, first: u64) -> Result<(), u64> {
    each_record(pack, first, |_, _| ())
}

/// The same; lets somebody see each.
pub fn each_record(pack: &Pack, first: u64, mut see: impl FnMut(usize, &Record)) -> Result<(), u64> {
    (0..pack.len()).zip(first..).try_for_each(|(at, seq)| {
        let record = pack.entry::<Record>(at).ok().filter(|record| record.seq == seq).ok_or(seq)?;
        see(at, &record);
        Ok(())
    })
}

/// Entries of the audit log: their bytes alone count.
pub fn entries(_: &Pack, _: u64) -> Result<(), u64> {
    Ok(())
}

/// What a worker found out about frames in a row: the leaves of each with what was looked for, and the first that is bad.
struct Looked<T> {
    frames: Vec<(Vec<Digest>, T)>,
    finding: Option<Finding>,
}

/// Reads every frame of a walk, on all cores, and gives its leaves in order with what `look` saw in it, until one is bad or
/// `each` fails. `look` gets the first sequence; what it fails with is the first that is bad.
///
/// # Errors
/// [`Error::Io`]; what `each` fails with.
pub fn each_frame<T: Send>(
    walk: &Walk,
    look: impl Fn(&Pack, u64) -> Result<T, u64> + Sync,
    mut each: impl FnMut(&Place, Vec<Digest>, T) -> Result<(), Error>,
) -> Result<Option<Finding>, Error> {
    let batches = batches(&walk.places);
    let cores = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let claimed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // A worker that is ahead waits here; so no more than a few batches are in memory.
        let (tell, told) = mpsc::sync_channel(cores);
        for _ in 0..cores {
            let (tell, batches, claimed, look) = (tell.clone(), &batches, &claimed, &look);
            scope.spawn(move || {
                while let Some((at, batch)) = next(claimed, batches) {
                    if tell.send((at, look_at(walk, batch.clone(), look))).is_err() {
                        return; // nobody wants to know any more
                    }
                }
            });
        }
        drop(tell);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (at, looked) in told {
            early.insert(at, looked);
            while let Some(looked) = early.remove(&due) {
                let looked: Looked<T> = looked?;
                let places = &walk.places[batches[due].clone()];
                for (place, (leaves, seen)) in places.iter().zip(looked.frames) {
                    each(place, leaves, seen)?;
                }
                if looked.finding.is_some() {
                    return Ok(looked.finding);
                }
                due += 1;
            }
        }
        Ok(None)
    })
}

fn next<'a>(claimed: &AtomicUsize, batches: &'a [Range<usize>]) -> Option<(usize, &'a Range<usize>)> {
    let at = claimed.fetch_add(1, Ordering::Relaxed);
    batches.get(at).map(|batch| (at, batch))
}

/// Frames in a row, by size.
fn batches(places: &[Place]) -> Vec<Range<usize>> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, place) in places.iter().enumerate() {
        bytes += HEADER as u64 + u64::from(place.header.len);
        if bytes >= BATCH || at + 1 == places.len() {
            batches.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    batches
}

fn look_at<T>(
    walk: &Walk,
    batch: Range<usize>,
    look: &impl Fn(&Pack, u64) -> Result<T, u64>,
) -> Result<Looked<T>, Error> {
    let mut looked = Looked { frames: Vec::new(), finding: None };
    let mut open: Option<(usize, File)> = None;
    for place in &walk.places[batch] {
        let path = &walk.segments[place.segment];
        if open.as_ref().is_none_or(|(segment, _)| *segment != place.segment) {
            open = Some((place.segment, File::open(path).map_err(|error| Error::at(path, error))?));
        }
        let Some((_, file)) = &open else { continue };
        match frame_at(path, file, place, look) {
            Ok(frame) => looked.frames.push(frame),
            Err((first_bad, through, what)) => {
                let (file, offset) = (path.clone(), Some(place.offset));
                looked.finding = Some(Finding { first_bad, through: Some(through), what, file, offset });
                break;
            }
        }
    }
    Ok(looked)
}

/// The bytes of a frame.
///
/// # Errors
/// First and last sequence, and what is wrong.
pub fn whole_frame(walk: &Walk, place: &Place) -> Result<Vec<u8>, (u64, u64, &'static str)> {
    let bad = |_| (place.header.first, place.header.last(), "a frame cannot be read");
    let path = &walk.segments[place.segment];
    sound(path, &File::open(path).map_err(bad)?, place)
}

/// The bytes of a frame: as they stand; or a little later; or as they will stand once a crash in the middle of writing them anew
/// is made good, which the next start does.
fn sound(path: &Path, file: &File, place: &Place) -> Result<Vec<u8>, (u64, u64, &'static str)> {
    let again = || {
        std::thread::sleep(PAUSE);
        bytes_at(file, place)
    };
    let pending = || redact::pending(path, place.offset).filter(|bytes| is_whole(bytes, place));
    bytes_at(file, place).or_else(|_| again()).or_else(|bad| pending().ok_or(bad))
}

/// Whether this is the frame. Its header is read again: it is written anew, with the same hash, when bodies are taken away.
fn is_whole(bytes: &[u8], place: &Place) -> bool {
    let header = Header::read(bytes).filter(|header| header.hash() == place.header.hash());
    header.is_some_and(|header| header.covers(&bytes[HEADER..]))
}

fn bytes_at(file: &File, place: &Place) -> Result<Vec<u8>, (u64, u64, &'static str)> {
    let bad = |what| (place.header.first, place.header.last(), what);
    let mut bytes = vec![0; HEADER + place.header.len as usize];
    file.read_exact_at(&mut bytes, place.offset).map_err(|_| bad("a frame cannot be read"))?;
    if is_whole(&bytes, place) { Ok(bytes) } else { Err(bad("a frame is damaged")) }
}

/// The leaves of a frame, or what is wrong with it: first and last sequence, words.
fn frame_at<T>(
    path: &Path,
    file: &File,
    place: &Place,
    look: &impl Fn(&Pack, u64) -> Result<T, u64>,
) -> Result<(Vec<Digest>, T), (u64, u64, &'static str)> {
    let (first, last) = (place.header.first, place.header.last());
    let bad = |what| (first, last, what);
    let bytes = sound(path, file, place)?;
    let header = Header::read(&bytes).ok_or_else(|| bad("a frame is damaged"))?;
    let pack = frame::unpack(&header, &bytes[HEADER..]).map_err(|_| bad("a frame cannot be unpacked"))?;
    let leaves = pack.leaves().map_err(|_| bad("a frame cannot be taken apart"))?;
    if root_of(&leaves) != header.root {
        return Err(bad("a frame's records are not those that its header commits to"));
    }
    let seen = look(&pack, first);
    let seen = seen.map_err(|seq| (seq, last, "a record cannot be read or has the sequence of another"))?;
    Ok((leaves, seen))
}
