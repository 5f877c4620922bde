//! Reading a journal ahead: frames are read and decoded on all cores while whoever asked uses the last ones.
//!
//! The order is that of the journal. Each worker has every n-th stride of frames and a queue of its own with room for one, so
//! only a few are in memory, however slow the reader of them is; when it stops reading, the workers end.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::Error;
use super::journal::{Found, Reading};
use super::record::Record;
use super::vault::Mask;

/// Workers at most.
const CORES: usize = 8;
/// Frames that a worker reads at once, so that it is not woken for every small one.
const STRIDE: usize = 16;

type Decoded = Vec<Result<Vec<Record>, Error>>;

/// The records of these frames, in order. Ends at the first frame that cannot be read, with its error.
pub(super) fn read(
    found: &Arc<Found>,
    frames: Vec<usize>,
    mask: Option<&Mask>,
) -> impl Iterator<Item = Result<Record, Error>> + use<> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(CORES);
    let cores = cores.min(frames.len().div_ceil(STRIDE));
    let frames = Arc::new(frames);
    let queues: Vec<_> = (0..cores)
        .map(|worker| {
            let (found, frames, mask) = (Arc::clone(found), Arc::clone(&frames), mask.cloned());
            let (tell, told) = sync_channel(1);
            std::thread::spawn(move || {
                let strides = frames.chunks(STRIDE).skip(worker).step_by(cores);
                work(&found, strides, mask.as_ref(), &tell);
            });
            told
        })
        .collect();
    let mut due = 0;
    // A worker that has no more hangs up, and then nobody behind it has more either.
    let strides = std::iter::from_fn(move || {
        let decoded = queues.get(due)?.recv().ok()?;
        due = (due + 1) % queues.len();
        Some(decoded)
    });
    let mut failed = false;
    strides.flatten().flat_map(frame).take_while(move |record| {
        let goes_on = !failed;
        failed |= record.is_err();
        goes_on
    })
}

fn frame(decoded: Result<Vec<Record>, Error>) -> impl Iterator<Item = Result<Record, Error>> {
    let (records, error) = match decoded {
        Ok(records) => (records, None),
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    records.into_iter().map(Ok).chain(error)
}

fn work<'a>(
    found: &Found,
    strides: impl Iterator<Item = &'a [usize]>,
    mask: Option<&Mask>,
    tell: &SyncSender<Decoded>,
) {
    let mut reading = Reading::of(&found.segments);
    for stride in strides {
        let decoded = stride.iter().map(|frame| {
            let place = &found.places[*frame];
            reading.unpacked(place).and_then(|pack| pack.records(mask))
        });
        // Nobody may want to know any more.
        if tell.send(decoded.collect()).is_err() {
            return;
        }
    }
}
