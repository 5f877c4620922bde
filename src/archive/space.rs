//! How much room the file systems of an archive have. What follows from it is the broker's business.

use std::path::{Path, PathBuf};

use super::Error;
use crate::message::fault::{self, Spot};

/// What may stand on file systems of their own.
const PARTS: [&str; 5] = ["journal", "sled", "keys", "audit", "checkpoints"];

/// Where there is least room, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The directory.
    pub place: PathBuf,
    /// Bytes that we may still write there.
    pub free: u64,
}

/// Looks at the file systems of the archive and of its parts; gives the one with the least room.
///
/// # Errors
/// [`Error::Io`]: the archive itself cannot be looked at.
pub fn least(archive: &Path) -> Result<Space, Error> {
    let mut least = look(archive)?;
    for name in PARTS {
        // A part that is not there yet is made on the file system of the archive.
        least = match look(&archive.join(name)) {
            Ok(part) if part.free < least.free => part,
            _ => least,
        };
    }
    if let Some(free) = fault::number(Spot::Free) {
        least.free = least.free.min(u64::try_from(free).unwrap_or_default());
    }
    Ok(least)
}

fn look(place: &Path) -> Result<Space, Error> {
    let found = rustix::fs::statvfs(place).map_err(|error| Error::at(place, error.into()))?;
    // Not `f_bfree`: what is kept for the superuser is not ours.
    Ok(Space { place: place.to_owned(), free: found.f_bavail.saturating_mul(found.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_not_there_does_not_count() {
        let place = tempfile::tempdir().expect("temp dir");
        let found = least(place.path()).expect("looks");
        assert_eq!(found.place, place.path());
        assert!(found.free > 0);
        assert!(least(&place.path().join("nowhere")).is_err());
    }
}
