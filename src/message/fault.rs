//! Faults that tests make: named places where the process can be killed, a write can fail, or a measure can be bent.
//!
//! Only a debug build has them. In a release build every function here is empty and nothing can switch one on, so they
//! cost nothing and nobody can use them against a running exchange. They are switched on by files, so that a test can do
//! it at any moment of a running process: in the directory given by `--faults`, a file with the name of the place.
//!
//! | the file says | what happens there |
//! |---|---|
//! | `kill`, `kill 3` | SIGKILL of the process, at this passing or at the third |
//! | `EIO`, `ENOSPC`, `EMFILE`, with ` text` behind it | the operation fails so, if its path contains the text |
//! | a number | takes the place of what was measured, or is added to it |

use std::path::Path;

/// A place where something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// A batch was taken from an intake stream.
    Fetched,
    /// A batch was judged.
    Judged,
    /// A batch was settled and is about to be committed.
    Settled,
    /// A frame is about to be written to a journal.
    Write,
    /// Half of a frame is written.
    HalfWritten,
    /// A frame is written and not synced.
    Written,
    /// A frame is about to be synced.
    Sync,
    /// A frame is on the disk, and nobody knows.
    Synced,
    /// A block is about to be put into sled.
    SledPut,
    /// A block is in sled.
    Sealed,
    /// A commit is about to be handed to the senders.
    Kept,
    /// A receipt is about to be sent.
    Receipting,
    /// The receipts of a commit are stored.
    Receipted,
    /// Intake is acknowledged.
    Acknowledged,
    /// A letter is stored in a mailbox.
    Delivered,
    /// A checkpoint is about to be written.
    Checkpoint,
    /// A checkpoint is in the log and not yet the latest.
    Logged,
    /// Seconds that the clock goes wrong.
    Clock,
    /// Bytes that the disk has left.
    Free,
}

#[cfg(debug_assertions)]
mod armed {
    use std::io::Error;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};

    use super::Spot;

    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    /// How often each place was passed while a file for it was there.
    static PASSED: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

    pub(super) fn arm(directory: PathBuf) {
        // Once a process: a second wish changes nothing.
        DIRECTORY.set(directory).unwrap_or_default();
    }

    /// `HalfWritten` is `half-written`.
    fn name(fault: Spot) -> String {
        let mut name = String::new();
        for letter in format!("{fault:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    fn wish(fault: Spot) -> Option<String> {
        let directory = DIRECTORY.get()?;
        std::fs::read_to_string(directory.join(name(fault))).ok()
    }

    pub(super) fn point(fault: Spot) {
        let Some(wish) = wish(fault) else { return };
        let Some(rest) = wish.trim().strip_prefix("kill") else { return };
        let passing = PASSED[fault as usize].fetch_add(1, Ordering::SeqCst) + 1;
        if passing < rest.trim().parse().unwrap_or(1) {
            return;
        }
        // That nobody may kill himself is unheard of; then the test waits in vain. The kernel may let us go on for a moment.
        kill_process(getpid(), Signal::KILL).unwrap_or_default();
        loop {
            std::thread::park();
        }
    }

    pub(super) fn io(fault: Spot, path: &Path) -> std::io::Result<()> {
        let Some(wish) = wish(fault) else { return Ok(()) };
        let (word, text) = wish.trim().split_once(' ').unwrap_or((wish.trim(), ""));
        let errno = match word {
            "EIO" => Errno::IO,
            "ENOSPC" => Errno::NOSPC,
            "EMFILE" => Errno::MFILE,
            _ => return Ok(()),
        };
        if path.to_string_lossy().contains(text) { Err(Error::from(errno)) } else { Ok(()) }
    }

    pub(super) fn number(fault: Spot) -> Option<i64> {
        wish(fault)?.trim().parse().ok()
    }
}

/// Switches faults on for this process: the directory is looked into at every place from now on.
#[cfg(debug_assertions)]
pub fn arm(directory: std::path::PathBuf) {
    armed::arm(directory);
}

/// Ends the process here, if a test wishes so.
#[inline]
pub fn point(fault: Spot) {
    #[cfg(debug_assertions)]
    armed::point(fault);
    #[cfg(not(debug_assertions))]
    let _: Spot = fault;
}

/// Fails as the disk would, if a test wishes so.
///
/// # Errors
/// The one wished for.
#[inline]
pub fn io(fault: Spot, path: &Path) -> std::io::Result<()> {
    #[cfg(debug_assertions)]
    return armed::io(fault, path);
    #[cfg(not(debug_assertions))]
    {
        let _: (Spot, &Path) = (fault, path);
        Ok(())
    }
}

/// The number that a test wishes to be seen here.
#[inline]
#[must_use]
pub fn number(fault: Spot) -> Option<i64> {
    #[cfg(debug_assertions)]
    return armed::number(fault);
    #[cfg(not(debug_assertions))]
    {
        let _: Spot = fault;
        None
    }
}
