//! Opening: the journal first, then sled beside it, and whatever the one has and the other lacks is made good.
//!
//! sled may do anything when it opens a damaged store: fail, panic, lose records, and perhaps end the process or never
//! return, which nothing here could catch. So a mark stands on disk while it opens: a start that finds one does not try
//! again, but moves the store aside and builds a new one. Nothing that only sled knows is lost by that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::feeds::Feeds;
use super::filling::{Filling, Pending};
use super::frame::Zstd;
use super::frames::Frames;
use super::index::Index;
use super::journal::{self, Journal};
use super::reader::Reader;
use super::root::RootKey;
use super::seal::{self, Full, Sealer};
use super::store::{self, Store, Unfit};
use super::vault::Vault;
use super::zone::{print_of, unpack_ids};
use super::{Archive, BLOCK, Error, owe, redact, torn};
use crate::message::digest::Digest;
use crate::message::time;

/// The journal as it was found, its frames packed: what is behind sled is read again from them.
type Found = journal::Found<Frames>;

/// Records that are read at once while sled catches up.
const CATCH_UP: u64 = 4_096;

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
pub(super) fn open(directory: &Path, root: &RootKey) -> Result<(Archive, Recovery), Error> {
    journal::make_directory(directory)?;
    let lock = lock(directory)?;
    open_locked(directory, root, lock, None)
}

/// See [`Archive::rebuild`].
pub(super) fn rebuild(directory: &Path, root: &RootKey) -> Result<(Archive, Recovery), Error> {
    let lock = lock(directory)?;
    open_locked(directory, root, lock, Some("it was asked for"))
}

/// Opens; `rebuild` says why sled is built anew though it may be good. One that has what the journal lacks is left alone even then.
fn open_locked(
    directory: &Path,
    root: &RootKey,
    lock: std::fs::File,
    rebuild: Option<&str>,
) -> Result<(Archive, Recovery), Error> {
    let started = time::stopwatch();
    let mut recovery = Recovery::default();
    let vault = Arc::new(Vault::open(&directory.join("keys"), root)?);
    redact::finish(&directory.join("journal"))?;
    let (journal, found) = Journal::open(&directory.join("journal"))?;
    recovery.cut_bytes = found.cut;
    if found.cut > 0 {
        recovery.why.push(format!("cut {} bytes of a torn frame that was never receipted", found.cut));
    }
    recovery.records = journal.next() - 1;
    let torn = found.cut > 0 || torn::any(&directory.join("journal"))?;
    let loaded = store(directory, &found, &vault, rebuild, &mut recovery)?;
    let (reader, sealer, filling, feeds) = join(loaded, found, &vault)?;
    look_at_keys(&reader, &vault, &mut recovery)?;
    if torn {
        // The torn frame holds what is sealed with them, and its messages come again under others: no erasure would find these. Seeds
        // that a standby was given before their frame are emptied too; it reads the stream again from its last frame on.
        vault.empty_from(reader.slots())?;
    }
    let directory = directory.to_owned();
    let mut archive = Archive { journal, reader, feeds, sealer, filling, vault, directory, lock };
    // Orders to erase that a crash came before.
    let erased = archive.erase_interrupted()?;
    if erased > 0 {
        recovery.why.push(format!("{erased} messages that were ordered to be erased are now erased"));
    }
    recovery.took = started.elapsed();
    Ok((archive, recovery))
}

/// A key file that was cut, or put there anew, would take every message sealed with the missing keys for lost only when it is
/// read. So that is said now; single damaged keys are told, for the rest can be read.
fn look_at_keys(reader: &Reader, vault: &Vault, recovery: &mut Recovery) -> Result<(), Error> {
    let wanted = reader.slots();
    if vault.slots() < wanted {
        let words = "the key file messages.liak has fewer keys than there are sealed messages: restore it";
        return Err(Error::Keys(format!("{words} ({} of {wanted})", vault.slots())));
    }
    let damaged = vault.damaged()?;
    if damaged > 0 {
        recovery
            .why
            .push(format!("{damaged} message keys are damaged: the content sealed with them is lost"));
    }
    Ok(())
}

/// One writer for a directory; the lock goes with the process, however it ends.
pub(super) fn lock(directory: &Path) -> Result<std::fs::File, Error> {
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

struct Loaded {
    store: Store,
    index: Index,
    /// Nodes of the Merkle tree over the sealed blocks.
    tiles: Vec<Digest>,
}

impl Loaded {
    fn empty(store: Store) -> Self {
        Self { store, index: Index::default(), tiles: Vec::new() }
    }
}

/// The store as it stands, or a new one if that is not to be used.
fn store(
    directory: &Path,
    found: &Found,
    vault: &Arc<Vault>,
    rebuild: Option<&str>,
    recovery: &mut Recovery,
) -> Result<Loaded, Error> {
    let sled = directory.join("sled");
    let mark = directory.join("sled.opening");
    let healed = store::heal(&sled)?;
    recovery.why.extend(healed);
    let died = mark.exists();
    std::fs::write(&mark, []).map_err(|error| Error::at(&mark, error))?;
    let loaded = if died {
        Err(Unfit::Rebuild("the last start ended while sled was opening".to_owned()))
    } else {
        // Agreement is looked at under the same guard: a store that opened may still panic when it is read or dropped.
        let load = || match (load(&sled, found, vault), rebuild) {
            (Ok(_), Some(why)) => Err(why.to_owned().into()),
            (loaded, _) => loaded,
        };
        let load = std::panic::AssertUnwindSafe(load);
        let panicked = |_| Err(Unfit::Rebuild("sled panicked while reading".to_owned()));
        std::panic::catch_unwind(load).unwrap_or_else(panicked)
    };
    let loaded = match loaded {
        Ok(loaded) => Ok(loaded),
        Err(Unfit::Disk(error)) => Err(Error::at(&sled, error)),
        Err(Unfit::Ahead(sled)) => {
            Err(Error::Behind { journal: recovery.records, sled, directory: directory.to_owned() })
        }
        Err(Unfit::Rebuild(why)) => {
            recovery.why.push(format!("sled is built anew: {why}"));
            recovery.rebuilt = true;
            // First, for the old store stays as evidence: what is erased from now on would stay readable in it. After a crash in
            // between the store is found with no keys, and the mark of this opening.
            vault.forget_blocks_but(&BTreeSet::new(), time::now().as_millisecond())?;
            store::set_aside(&sled)?;
            match Store::open(&sled, vault) {
                Ok(store) => Ok(Loaded::empty(store)),
                Err(Unfit::Disk(error)) => Err(Error::at(&sled, error)),
                Err(why) => Err(Error::Store(format!("a new store does not open: {why:?}"))),
            }
        }
    };
    std::fs::remove_file(&mark).map_err(|error| Error::at(&mark, error))?;
    loaded
}

/// Opens sled and compares it with the journal.
fn load(path: &Path, found: &Found, vault: &Arc<Vault>) -> Result<Loaded, Unfit> {
    let records = found.last.map_or(0, |place| place.header.last());
    let store = Store::open(path, vault)?;
    let Some(meta) = store.meta()? else {
        let whole = records < BLOCK as u64;
        return if whole { Ok(Loaded::empty(store)) } else { Err("it is missing".to_owned().into()) };
    };
    if meta.sealed > records {
        return Err(Unfit::Ahead(meta.sealed));
    }
    let tip = found.places.holding(meta.sealed, meta.sealed).pop();
    let tip = tip.and_then(|frame| frame.place(&found.segments).ok());
    if tip.is_none_or(|place| place.header.hash() != meta.tip) {
        return Err("it belongs to another journal".to_owned().into());
    }
    let mut loaded = Loaded::empty(store);
    let Loaded { store, index, tiles } = &mut loaded;
    index.known.reserve(usize::try_from(meta.sealed).unwrap_or_default());
    for zone in store.zones(&meta) {
        let zone = zone?;
        let ids = store.ids(zone.first)?;
        unpack_ids(zone.first, &ids).for_each(|(print, seq)| index.known.insert(print, seq));
        tiles.extend_from_slice(&zone.tiles);
        index.found(&zone);
    }
    Ok(loaded)
}

type Joined = (Reader, Sealer, Filling, Feeds);

/// Seals whole blocks that sled lacks, holds the rest as tail, and computes the heads of the feeds.
fn join(loaded: Loaded, found: Found, vault: &Arc<Vault>) -> Result<Joined, Error> {
    let Loaded { store, mut index, tiles } = loaded;
    let sealed = index.head;
    index.frames = found.places;
    index.segments = found.segments.clone().into();
    let reader = Reader::new(store.clone(), index, Arc::clone(vault));
    reader.grow_tree(sealed, tiles)?;
    let mut feeds = reader.sealed_heads()?;
    let mut before = feeds.clone();
    let mut filling = Filling::default();
    let mut zstd = Zstd::new()?;
    let last = found.last.map_or(0, |place| place.header.last());
    let mut done = sealed;
    while done < last {
        // A frame begins right behind the one before, so none is read twice.
        let (frames, _) = reader.index.read().frames(done + 1, done + CATCH_UP);
        for frame in frames {
            let place = frame.place(&found.segments)?;
            let pack = Arc::new(journal::read(&found.segments, &place)?);
            let leaves = pack.leaves()?;
            let records = pack.records(Some(vault.mask()))?;
            for (at, record) in records.into_iter().enumerate().filter(|(_, record)| record.seq > sealed) {
                let print = print_of(&record);
                let kept = owe(Arc::new(record), &mut feeds);
                let tile = reader.hold(kept.clone(), print, leaves[at]);
                let pending = Pending { kept, print, pack: Arc::clone(&pack), at, tile };
                if let Some(records) = filling.push(pending) {
                    let full = Full { records, tip: place.header.hash() };
                    reader.sealed(&seal::seal(&full, &store, &mut before, &mut zstd)?);
                }
            }
            done = place.header.last();
        }
    }
    let sealer = Sealer::start(store, reader.clone(), before)?;
    Ok((reader, sealer, filling, feeds))
}
