//! The memory: what was receipted is here, byte for byte, whatever happens to the process.
//!
//! ```text
//! commit -> frame -> journal (fdatasync: the promise) -> tail in memory -> block of 256 -> sled, with its zone
//! ```
//! The journal is the truth and can be read without sled; sled is what queries and starts are fast with, and is built
//! anew from the journal whenever it is missing, behind or damaged. One thread writes; readers never wait for a sync.
//! Nothing here knows NATS, rules or time of day; facts are returned, the broker logs them.

mod ahead;
pub mod audit;
pub mod backup;
mod blocks;
mod body;
mod cache;
pub mod checkpoint;
mod commit;
mod effect;
mod erase;
mod fates;
mod feeds;
mod filling;
mod frame;
mod frames;
mod gist;
mod index;
mod journal;
pub mod keyfile;
mod keys;
mod known;
pub mod loose;
pub mod note;
pub mod notebook;
mod open;
mod pack;
mod packed;
pub mod proof;
pub mod prove;
mod read_only;
mod reader;
mod record;
mod redact;
mod replica;
pub mod restore;
mod root;
mod seal;
pub mod size;
pub mod space;

mod standing;
mod store;
mod stretch;
mod torn;
mod trail;
pub mod tree;
mod vault;
pub mod verify;
pub mod witness;
mod words;
mod zone;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::body::{Body, Content};
pub use self::commit::Prepared;
pub use self::effect::{Act, Effect};
pub use self::fates::{Confirmation, Erasure, Fate, Withdrawn};
pub use self::feeds::Feeds;
pub use self::open::Recovery;
pub use self::read_only::{ReadOnly, Stats};
pub use self::reader::{FeedItem, Reader};
pub use self::record::{Draft, Entry, Record, RefusedTarget, Summary};
pub use self::replica::{SeedCopy, Seen, Traces};
pub use self::root::RootKey;
pub use self::stretch::{Sketch, Stretch};
pub use self::vault::{Opened, Vault};
pub use self::words::{Category, Ground, Handled, Plane, Why};
pub use self::zone::Due;

use self::filling::Filling;
use self::journal::Journal;
use self::seal::Sealer;
use crate::message::digest::Digest;
use crate::message::names::PartyId;

/// Records in a block; fewer if they are large.
pub(crate) const BLOCK: usize = 256;

/// What the file system said, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {source}")]
pub struct Fault {
    place: String,
    source: std::io::Error,
}

impl Fault {
    fn new(place: &str, source: std::io::Error) -> Self {
        Self { place: place.to_owned(), source }
    }
}

/// Why the memory cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system.
    #[error("{0}")]
    Io(#[from] Fault),
    /// Another process has this archive.
    #[error("{0} is in use by another liaison; only one may write")]
    Locked(PathBuf),
    /// The journal is damaged in the middle: nothing is cut, nothing is guessed.
    #[error("{} is damaged at byte {offset}, from archive sequence {first} on; restore it from a backup", file.display())]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Byte offset of the bad frame.
        offset: u64,
        /// First sequence that cannot be read.
        first: u64,
    },
    /// The journal lacks records that sled has. sled gets them only after the journal was synced, so they were receipted
    /// and are gone; going on would give their sequences to others, and every feed would take another course.
    #[error(
        "the journal in {} ends at archive sequence {journal}, but sled holds records up to {sled}: receipted records are \
         missing; restore the journal, or move the directory sled away to go on without them", directory.display()
    )]
    Behind {
        /// Last sequence in the journal.
        journal: u64,
        /// Last sequence in sled.
        sled: u64,
        /// The archive.
        directory: PathBuf,
    },
    /// Keys are missing, damaged, or of another archive. Nothing is made anew in their place: what they open would be lost.
    #[error("{0}")]
    Keys(String),
    /// Bytes that are not what they must be.
    #[error("{0}")]
    Corrupt(&'static str),
    /// sled failed while writing.
    #[error("sled: {0}")]
    Store(String),
    /// Another instance carries this journal on. Nothing was written.
    #[error("{0}; nothing was written here, and nothing is receipted")]
    Fenced(String),
    /// What stands here and what stands in the replicated journal are not the same.
    #[error(
        "the journal here and the replicated one differ from archive sequence {0} on: move the archive away, and it is \
         made anew from the replicated one"
    )]
    Diverged(u64),
    /// A write or sync failed before; nothing is written any more.
    #[error("a write failed before; restart after the disk is mended")]
    Poisoned,
}

/// A delivery that a kept message owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub party: PartyId,
    /// Dense per party, from 1.
    pub feed_seq: u64,
    /// Running digest of the party's feed after this message.
    pub feed_digest: Digest,
    /// Archive sequence of the message: that of the record itself, or of the one that it releases.
    pub of: u64,
}

/// A message that is kept. Only this room makes one, so nothing that was not kept can be delivered.
#[derive(Debug, Clone)]
pub struct Archived {
    record: Arc<Record>,
    deliveries: Arc<[Delivery]>,
}

impl Archived {
    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record, shared.
    #[must_use]
    pub fn record_arc(&self) -> &Arc<Record> {
        &self.record
    }

    /// What is owed to whom, in the order of the recipients.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }
}

/// The archive opened for writing. There is one in a process, and one process for a directory.
#[derive(Debug)]
pub struct Archive {
    journal: Journal,
    reader: Reader,
    feeds: Feeds,
    sealer: Sealer,
    filling: Filling,
    vault: Arc<Vault>,
    directory: PathBuf,
    lock: std::fs::File,
}

impl Archive {
    /// Opens or begins an archive: compares journal and sled, cuts a torn tail, rebuilds what is missing.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::Behind`], [`Error::Keys`], [`Error::Io`].
    pub fn open(directory: &Path, root: &RootKey) -> Result<(Self, Recovery), Error> {
        open::open(directory, root)
    }

    /// Builds sled anew from the journal.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn rebuild(directory: &Path, root: &RootKey) -> Result<Recovery, Error> {
        let (archive, recovery) = open::rebuild(directory, root)?;
        archive.close()?;
        Ok(recovery)
    }

    /// A look at the journal without sled, lock or change.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn read_only(directory: &Path) -> Result<ReadOnly, Error> {
        ReadOnly::open(directory)
    }

    /// A reader; cheap to clone.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The sequence that the next record gets.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.journal.next()
    }

    /// Ends the writing: sealed blocks reach sled, the rest stays in the journal.
    ///
    /// # Errors
    /// What the sealing thread or the file system failed with.
    pub fn close(mut self) -> Result<(), Error> {
        self.journal.close()?;
        self.sealer.close()
    }
}

/// A record with what it owes; `feeds` moves on. Its own message goes before what it releases.
fn owe(record: Arc<Record>, feeds: &mut Feeds) -> Archived {
    let own = if record.is_delivered() { record.recipients.as_slice() } else { &[] };
    let own = own.iter().map(|entry| (entry, record.seq, record.digest));
    let released = record.effects.iter().filter_map(|effect| match &effect.act {
        Act::Release { digest, to, .. } => Some((to, effect.target, *digest)),
        _ => None,
    });
    let released = released.flat_map(|(to, of, digest)| to.iter().map(move |entry| (entry, of, digest)));
    let deliveries = own
        .chain(released)
        .map(|(entry, of, digest)| {
            let (feed_seq, feed_digest) = feeds.push(&entry.party, digest);
            Delivery { party: entry.party.clone(), feed_seq, feed_digest, of }
        })
        .collect();
    Archived { record, deliveries }
}
