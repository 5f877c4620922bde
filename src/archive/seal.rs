//! The sealing thread: puts full blocks into sled behind the writer's back.
//!
//! The writer waits for it only if several blocks queue up. If it fails, nothing receipted is lost, for the journal has
//! everything; the writer is told at the next block and the house stops.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::feeds::Feeds;
use super::filling::Pending;
use super::frame::Zstd;
use super::reader::Reader;
use super::store::{self, Sealed, Store};
use super::zone::{Zone, pack_ids};
use super::{Error, Fault};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};

/// Blocks that may wait.
const WAITING: usize = 8;

/// A full block on its way.
#[derive(Debug)]
pub(super) struct Full {
    /// Its records.
    pub(super) records: Vec<Pending>,
    /// Hash of the frame that holds the last of them.
    pub(super) tip: Digest,
}

/// What the thread is asked.
#[derive(Debug)]
enum Job {
    /// Seal this block.
    Seal(Full),
    /// Say when you are here.
    Tell(SyncSender<()>),
}

type Thread = JoinHandle<Result<(), Error>>;

/// The writer's side.
#[derive(Debug)]
pub(super) struct Sealer {
    /// `None` after it was closed or has failed.
    running: Option<(SyncSender<Job>, Thread)>,
}

impl Sealer {
    /// Starts the thread. `feeds` are the heads before the first unsealed record.
    pub(super) fn start(store: Store, reader: Reader, feeds: Feeds) -> Result<Self, Error> {
        let mut zstd = Zstd::new()?;
        let (queue, inbox) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || run(&inbox, &store, &reader, feeds, &mut zstd))
            .map_err(|error| Fault::new("starting the sealing thread", error))?;
        Ok(Self { running: Some((queue, thread)) })
    }

    /// Hands a full block over.
    ///
    /// # Errors
    /// What the thread failed with.
    pub(super) fn seal(&mut self, full: Full) -> Result<(), Error> {
        let sent = self.running.as_ref().is_some_and(|(queue, _)| queue.send(Job::Seal(full)).is_ok());
        if sent {
            return Ok(());
        }
        self.close().and(Err(Error::Store("the sealing thread has ended".to_owned())))
    }

    /// Waits until everything handed over is sealed, and goes on.
    ///
    /// # Errors
    /// What the thread failed with.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let (done, wait) = sync_channel(1);
        let sent = self.running.as_ref().is_some_and(|(queue, _)| queue.send(Job::Tell(done)).is_ok());
        if sent && wait.recv().is_ok() {
            return Ok(());
        }
        self.close().and(Err(Error::Store("the sealing thread has ended".to_owned())))
    }

    /// Waits until everything handed over is sealed.
    ///
    /// # Errors
    /// What the thread failed with.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        let Some((queue, thread)) = self.running.take() else { return Ok(()) };
        drop(queue);
        thread.join().unwrap_or_else(|_| Err(Error::Store("the sealing thread panicked".to_owned())))
    }
}

fn run(
    inbox: &Receiver<Job>,
    store: &Store,
    reader: &Reader,
    mut feeds: Feeds,
    zstd: &mut Zstd,
) -> Result<(), Error> {
    while let Ok(job) = inbox.recv() {
        match job {
            Job::Seal(full) => reader.sealed(&seal(&full, store, &mut feeds, zstd)?),
            Job::Tell(done) => done.send(()).unwrap_or_default(), // nobody waits: the writer has ended
        }
    }
    store.flush();
    Ok(())
}

/// Seals one block into the store.
pub(super) fn seal(full: &Full, store: &Store, feeds: &mut Feeds, zstd: &mut Zstd) -> Result<Zone, Error> {
    let zone = Zone::of(&full.records, feeds);
    let heads = store::pack(full.records.iter().map(|pending| pending.pack.head_with_len(pending.at)), zstd)?;
    let bodies =
        store::pack(full.records.iter().map(|pending| pending.pack.body_with_len(pending.at)), zstd)?;
    store.put(&Sealed { zone: &zone, ids: pack_ids(&full.records), heads, bodies, tip: full.tip })?;
    fault::point(Spot::Sealed);
    Ok(zone)
}
