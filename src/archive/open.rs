//! Opening: the journal first, then sled beside it, and whatever the one has and the other lacks is made good.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::feeds::Feeds;
use super::journal::{self, Found, Journal, Place};
use super::reader::{Index, Reader, Tail};
use super::record::Record;
use super::seal::{self, Sealer};
use super::store::{self, Store};
use super::zone::{Zone, unpack_ids};
use super::{Archive, Archived, BLOCK, Error, owed};
use crate::message::digest::Digest;

/// How an archive is opened. There is nothing to choose yet but the place of a rebuild's evidence.
#[derive(Debug, Clone, Default)]
pub struct Options {}

/// What opening found and did.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Records in the archive.
    pub records: u64,
    /// Bytes cut from a torn journal tail; they were never receipted.
    pub cut_bytes: u64,
    /// True if sled was built anew from the journal.
    pub rebuilt: bool,
    /// What was found, in words.
    pub why: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// See [`Archive::open`].
pub(super) fn open(directory: &Path, _options: &Options) -> Result<(Archive, Recovery), Error> {
    let started = crate::message::time::stopwatch();
    std::fs::create_dir_all(directory).map_err(|error| Error::at(directory, error))?;
    let lock = lock(directory)?;
    let mut recovery = Recovery::default();
    let (journal, found) = Journal::open(&directory.join("journal"))?;
    recovery.cut_bytes = found.cut;
    if found.cut > 0 {
        recovery.why.push(format!("cut {} bytes of a torn frame that was never receipted", found.cut));
    }
    let sled = directory.join("sled");
    recovery.why.extend(store::heal(&sled)?);
    let genesis = found.places.first().map_or(Digest::default(), |place| place.header.hash());
    let records = journal.next() - 1;
    let (store, zones, ids) = match load(&sled, genesis, records) {
        Ok(loaded) => loaded,
        Err(why) => {
            recovery.why.push(format!("sled is built anew: {why}"));
            recovery.rebuilt = true;
            store::set_aside(&sled)?;
            let store = Store::open(&sled).map_err(Error::Store)?;
            (store, Vec::new(), Vec::new())
        }
    };
    let (reader, sealer, unsealed, feeds) = join(store, zones, ids, found, genesis)?;
    recovery.records = records;
    recovery.took = started.elapsed();
    Ok((Archive { journal, reader, feeds, sealer, unsealed, _lock: lock }, recovery))
}

/// One writer for a directory; the lock goes with the process, however it ends.
fn lock(directory: &Path) -> Result<std::fs::File, Error> {
    let path = directory.join("LOCK");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Error::at(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(directory.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::at(&path, error)),
    }
}

type Loaded = (Store, Vec<Zone>, Vec<(u64, u64)>);

/// Opens sled and compares it with the journal; the words say why it is not to be used.
fn load(path: &Path, genesis: Digest, records: u64) -> Result<Loaded, String> {
    let store = Store::open(path)?;
    let Some((meta, zones)) = store.read()? else {
        let whole = records < BLOCK as u64;
        return if whole { Ok((store, Vec::new(), Vec::new())) } else { Err("it is missing".to_owned()) };
    };
    if meta.genesis != genesis {
        return Err("it belongs to another journal".to_owned());
    }
    if meta.sealed > records {
        return Err("it is ahead of the journal".to_owned());
    }
    let mut ids = Vec::new();
    for zone in &zones {
        ids.extend(unpack_ids(zone.first, &store.ids(zone.first)?));
    }
    Ok((store, zones, ids))
}

type Joined = (Reader, Sealer, Vec<Arc<Record>>, Feeds);

/// Seals whole blocks that sled lacks, holds the rest as tail, and computes the heads of the feeds.
fn join(
    store: Store,
    zones: Vec<Zone>,
    ids: Vec<(u64, u64)>,
    found: Found,
    genesis: Digest,
) -> Result<Joined, Error> {
    let sealed = zones.last().map_or(0, |zone| zone.last);
    let behind: Vec<Place> =
        found.places.iter().copied().filter(|place| place.header.last() > sealed).collect();
    let segments = found.segments.clone();
    let reader = Reader::new(store.clone(), Index::new(zones, ids, found.places, segments.clone(), genesis));
    let mut feeds = reader.sealed_heads()?;
    let mut pending: Vec<Arc<Record>> = Vec::with_capacity(BLOCK);
    for place in &behind {
        for record in journal::read(&segments, place)?.into_iter().filter(|record| record.seq > sealed) {
            pending.push(Arc::new(record));
            if pending.len() == BLOCK {
                let zone = seal::seal(&pending, &store, genesis, &mut feeds)?;
                reader.add_block(zone, &pending);
                pending.clear();
            }
        }
    }
    let before = feeds.clone();
    let tails: Vec<Tail> = pending
        .iter()
        .map(|record| {
            let deliveries = owed(record, &mut feeds);
            Tail { kept: Archived { record: Arc::clone(record), deliveries } }
        })
        .collect();
    reader.hold(tails, &feeds);
    let sealer = Sealer::start(store, reader.clone(), before)?;
    Ok((reader, sealer, pending, feeds))
}
