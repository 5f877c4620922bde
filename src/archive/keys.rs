//! A key file: slots of random seeds, one a sealed message or block, that can be destroyed in place.
//!
//! A slot is written and synced before anything is sealed with it is believed, and is never used twice. To destroy it
//! the seed is overwritten where it stands and synced: whatever was sealed with it is gone from every copy, backups
//! included, because the seed is in this file alone. A seed is no key by itself; see `vault`.
//!
//! ```text
//! "LIAK" version:u16 0:u16 check:[16] 0:[8] crc:u32, padded to 64; then slots of 64 bytes:
//! state:u8 0:[3] crc:u32 seq:u64 destroyed_ms:i64 seed:[32] 0:[8]
//! ```

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore as _;
use zeroize::Zeroizing;

use super::Error;
use super::journal::{make_directory, sync_directory};

const MAGIC: &[u8; 4] = b"LIAK";
const VERSION: u16 = 1;
/// Bytes of the header and of a slot.
const SLOT: u64 = 64;

const LIVE: u8 = 1;
const DESTROYED: u8 = 2;

/// A seed; wiped when it is dropped.
pub type Seed = Zeroizing<[u8; 32]>;

/// What a slot holds.
#[derive(Debug)]
pub enum Slot {
    /// A seed that can be used.
    Live(Seed),
    /// It was destroyed.
    Destroyed,
    /// Never written: a crash came between making room and writing. Nothing was sealed with it.
    Empty,
    /// Its bytes are not what was written.
    Damaged,
}

/// A key file opened for reading, and for writing by one process alone.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    file: File,
    /// Slots in it.
    slots: u64,
}

impl KeyFile {
    /// Opens a key file, or begins one. `check` tells which root key it belongs to.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Keys`] if it belongs to another root key, is no key file, or others may read it.
    pub fn open(path: &Path, check: [u8; 16]) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        let at = |error| Error::at(path, error);
        let fresh = !path.exists();
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(at)?;
        let meta = file.metadata().map_err(at)?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(Error::Keys(format!("{}: others may read it; set mode 0600", path.display())));
        }
        if fresh || meta.len() == 0 {
            file.write_all_at(&header(check), 0).and_then(|()| file.sync_all()).map_err(at)?;
            if let Some(directory) = path.parent() {
                sync_directory(directory)?;
            }
        }
        Self::checked(path, file, check)
    }

    /// Opens a key file that is there, for reading alone: another process may be writing it.
    ///
    /// # Errors
    /// As [`KeyFile::open`]; also if it is not there.
    pub fn look(path: &Path, check: [u8; 16]) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::at(path, error))?;
        Self::checked(path, file, check)
    }

    fn checked(path: &Path, file: File, check: [u8; 16]) -> Result<Self, Error> {
        let mut found = [0; SLOT as usize];
        let read = file.read_exact_at(&mut found, 0);
        if read.is_err() || found[..8] != header(check)[..8] || crc(&found[..32]) != found[32..36] {
            return Err(Error::Keys(format!("{}: is damaged, or no key file", path.display())));
        }
        if found[8..24] != check {
            return Err(Error::Keys(format!("{}: belongs to another root key", path.display())));
        }
        // A slot cut short by a crash was not synced, so nothing was sealed with it.
        let len = file.metadata().map_err(|error| Error::at(path, error))?.len();
        Ok(Self { path: path.to_owned(), file, slots: (len / SLOT).saturating_sub(1) })
    }

    /// Slots in the file.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Appends fresh random seeds, the first for `seqs[0]`; gives the first slot and the seeds. They are on stable
    /// storage if `sync`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, seqs: &[u64], sync: bool) -> Result<(u64, Vec<Seed>), Error> {
        let first = self.slots;
        let mut bytes = Zeroizing::new(Vec::with_capacity(seqs.len() * 64));
        let mut seeds = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let mut seed = Zeroizing::new([0; 32]);
            OsRng.fill_bytes(seed.as_mut());
            bytes.extend_from_slice(slot(LIVE, *seq, 0, &seed).as_ref());
            seeds.push(seed);
        }
        let at = |error| Error::at(&self.path, error);
        self.file.write_all_at(&bytes, (first + 1) * SLOT).map_err(at)?;
        if sync {
            self.file.sync_data().map_err(at)?;
        }
        self.slots += seqs.len() as u64;
        Ok((first, seeds))
    }

    /// Puts a seed that another instance made into its slot and syncs. What was destroyed stays destroyed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&mut self, number: u64, seq: u64, seed: &Seed) -> Result<(), Error> {
        if number < self.slots && matches!(self.read(number)?, Slot::Destroyed) {
            return Ok(());
        }
        self.write_slot(number, slot(LIVE, seq, 0, seed).as_ref())
    }

    /// Marks a slot as destroyed whose seed was gone before it came here. One that holds a seed is left alone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn never_came(&mut self, number: u64, now_ms: i64) -> Result<(), Error> {
        if number < self.slots && !matches!(self.read(number)?, Slot::Empty) {
            return Ok(());
        }
        self.write_slot(number, slot(DESTROYED, 0, now_ms, &Zeroizing::new([0; 32])).as_ref())
    }

    fn write_slot(&mut self, number: u64, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all_at(bytes, (number + 1) * SLOT).and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::at(&self.path, error))?;
        self.slots = self.slots.max(number + 1);
        Ok(())
    }

    /// Reads a slot.
    ///
    /// # Errors
    /// [`Error::Io`]; a slot that is not there is [`Slot::Damaged`].
    pub fn read(&self, slot: u64) -> Result<Slot, Error> {
        if slot >= self.slots {
            return Ok(Slot::Damaged);
        }
        let bytes = self.bytes(slot)?;
        let mut summed = Zeroizing::new(*bytes);
        summed[4..8].fill(0);
        let is_whole = crc(summed.as_ref()) == bytes[4..8];
        Ok(match bytes[0] {
            LIVE if is_whole => {
                let mut seed = Zeroizing::new([0; 32]);
                seed.copy_from_slice(&bytes[24..56]);
                Slot::Live(seed)
            }
            DESTROYED if is_whole => Slot::Destroyed,
            _ if bytes.iter().all(|byte| *byte == 0) => Slot::Empty,
            _ => Slot::Damaged,
        })
    }

    fn bytes(&self, slot: u64) -> Result<Zeroizing<[u8; SLOT as usize]>, Error> {
        let mut bytes = Zeroizing::new([0; SLOT as usize]);
        let read = self.file.read_exact_at(bytes.as_mut(), (slot + 1) * SLOT);
        read.map_err(|error| Error::at(&self.path, error))?;
        Ok(bytes)
    }

    /// Overwrites seeds in place and syncs. Destroying twice keeps the first time, and writes it once more: what reads as
    /// destroyed may be so in the kernel's memory alone, after a sync that failed, and the sync here would not touch it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn destroy(&mut self, slots: &[u64], now_ms: i64) -> Result<(), Error> {
        let at = |error| Error::at(&self.path, error);
        for number in slots.iter().filter(|number| **number < self.slots) {
            let bytes = match self.read(*number)? {
                Slot::Destroyed => self.bytes(*number)?,
                _ => slot(DESTROYED, 0, now_ms, &Zeroizing::new([0; 32])),
            };
            self.file.write_all_at(bytes.as_ref(), (number + 1) * SLOT).map_err(at)?;
        }
        self.file.sync_data().map_err(at)
    }

    /// Destroys all seeds but these, and syncs once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn destroy_but(&mut self, kept: &BTreeSet<u64>, now_ms: i64) -> Result<(), Error> {
        let mut gone = Vec::new();
        for number in (0..self.slots).filter(|number| !kept.contains(number)) {
            if !matches!(self.read(number)?, Slot::Empty) {
                gone.push(number);
            }
        }
        self.destroy(&gone, now_ms)
    }

    /// Overwrites the seeds from a slot on, which nothing that is kept was sealed with, and syncs once. Their slots are empty, not
    /// destroyed: another instance may have made its own in them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn empty_from(&mut self, first: u64) -> Result<u64, Error> {
        let at = |error| Error::at(&self.path, error);
        let mut emptied = 0;
        for number in first..self.slots {
            if matches!(self.read(number)?, Slot::Live(_) | Slot::Damaged) {
                self.file.write_all_at(&[0; SLOT as usize], (number + 1) * SLOT).map_err(at)?;
                emptied += 1;
            }
        }
        self.file.sync_data().map_err(at)?;
        Ok(emptied)
    }
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}

fn header(check: [u8; 16]) -> [u8; SLOT as usize] {
    let mut bytes = [0; SLOT as usize];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes[8..24].copy_from_slice(&check);
    let sum = crc(&bytes[..32]);
    bytes[32..36].copy_from_slice(&sum);
    bytes
}

fn slot(state: u8, seq: u64, destroyed_ms: i64, seed: &Seed) -> Zeroizing<[u8; SLOT as usize]> {
    let mut bytes = Zeroizing::new([0; SLOT as usize]);
    bytes[0] = state;
    bytes[8..16].copy_from_slice(&seq.to_le_bytes());
    bytes[16..24].copy_from_slice(&destroyed_ms.to_le_bytes());
    bytes[24..56].copy_from_slice(seed.as_ref());
    let sum = crc(bytes.as_ref());
    bytes[4..8].copy_from_slice(&sum);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(keys: &KeyFile) -> Vec<u64> {
        (0..keys.slots()).filter(|slot| matches!(keys.read(*slot), Ok(Slot::Live(_)))).collect()
    }

    /// After a sync that failed the kernel's memory has what the disk has not; only a write brings it there.
    #[test]
    fn what_reads_as_destroyed_is_written_once_more() {
        let place = tempfile::tempdir().expect("temp dir");
        let path = place.path().join("keys.liak");
        let mut keys = KeyFile::open(&path, [7; 16]).expect("begins");
        keys.append(&[1, 2], true).expect("appends");
        keys.destroy(&[0], 5).expect("destroys");
        let before = std::fs::read(&path).expect("reads");
        keys.destroy(&[0], 9).expect("again");
        assert_eq!(std::fs::read(&path).expect("reads"), before, "the first time stays");
        // One that cannot write tells whether it tries.
        let mut looking = KeyFile::look(&path, [7; 16]).expect("opens");
        assert!(matches!(looking.destroy(&[0], 9), Err(Error::Io(_))), "believed, and not written");
        assert_eq!(live(&keys), [1]);
    }

    #[test]
    fn all_but_some_are_destroyed_and_what_sealed_nothing_is_emptied() {
        let place = tempfile::tempdir().expect("temp dir");
        let path = place.path().join("keys.liak");
        let mut keys = KeyFile::open(&path, [7; 16]).expect("begins");
        keys.append(&[1, 2, 3, 4, 5, 6], true).expect("appends");
        keys.destroy_but(&BTreeSet::from([1, 3, 4, 5, 99]), 5).expect("destroys");
        assert_eq!(live(&keys), [1, 3, 4, 5]);
        keys.destroy(&[4], 5).expect("destroys");
        assert_eq!(keys.empty_from(3).expect("empties"), 2);
        assert_eq!(live(&keys), [1]);
        assert!(matches!(keys.read(3), Ok(Slot::Empty)) && matches!(keys.read(4), Ok(Slot::Destroyed)));
        // Slots are not used twice, and one that is empty takes what another instance made.
        assert_eq!(keys.append(&[7], true).expect("appends").0, 6);
        keys.put(3, 4, &Zeroizing::new([1; 32])).expect("puts");
        keys.put(4, 5, &Zeroizing::new([1; 32])).expect("is destroyed");
        assert_eq!(live(&keys), [1, 3, 6]);
        assert_eq!(keys.empty_from(99).expect("nothing there"), 0);
    }
}
