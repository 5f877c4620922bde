//! The sealing thread: puts full blocks into sled behind the writer's back.
//!
//! The writer waits for it only if several blocks queue up. If it fails, nothing receipted is lost, for the journal has
//! everything; the writer is told at the next block and the house stops.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::feeds::Feeds;
use super::reader::Reader;
use super::record::Record;
use super::store::{self, Sealed, Store};
use super::zone::{Zone, pack_ids};
use super::{Error, Fault};
use crate::message::digest::Digest;

/// Blocks that may wait.
const WAITING: usize = 8;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Sealer {
    queue: SyncSender<Vec<Arc<Record>>>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Sealer {
    /// Starts the thread. `feeds` are the heads before the first unsealed record.
    pub(super) fn start(store: Store, reader: Reader, feeds: Feeds) -> Result<Self, Error> {
        let (queue, inbox) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || run(&inbox, &store, &reader, feeds))
            .map_err(|error| Fault::new("starting the sealing thread", error))?;
        Ok(Self { queue, thread })
    }

    /// Hands a full block over.
    pub(super) fn seal(&self, block: Vec<Arc<Record>>) -> Result<(), Error> {
        self.queue.send(block).map_err(|_| Error::Store("the sealing thread has ended".to_owned()))
    }

    /// Waits until everything handed over is sealed.
    pub(super) fn close(self) -> Result<(), Error> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|_| Err(Error::Store("the sealing thread panicked".to_owned())))
    }
}

fn run(
    inbox: &Receiver<Vec<Arc<Record>>>,
    store: &Store,
    reader: &Reader,
    mut feeds: Feeds,
) -> Result<(), Error> {
    while let Ok(block) = inbox.recv() {
        let genesis = reader.genesis();
        let zone = seal(&block, store, genesis, &mut feeds)?;
        reader.sealed(zone);
    }
    store.flush();
    Ok(())
}

/// Seals one block into the store.
pub(super) fn seal(
    block: &[Arc<Record>],
    store: &Store,
    genesis: Digest,
    feeds: &mut Feeds,
) -> Result<Zone, Error> {
    let zone = Zone::of(block, feeds);
    store.put(Sealed { zone: zone.clone(), ids: pack_ids(block), block: store::pack(block)? }, genesis)?;
    Ok(zone)
}
