//! Where a file goes that is written beside its place and then put there whole: in the place of a file alone.
//!
//! To rename over a device, a pipe or a link would put a file where others expect those. What is written is not this file's business.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing yet, or a file, which may be replaced: by this name, for a link stays and what it leads to is replaced.
    File(PathBuf),
    /// A device or a pipe: it takes bytes and is never replaced.
    Stream,
}

/// Looks what stands there.
///
/// # Errors
/// A directory, a link that leads nowhere, or it cannot be seen.
pub fn place(at: &Path) -> Result<Place> {
    match std::fs::metadata(at) {
        Ok(found) if found.is_file() => std::fs::canonicalize(at).map(Place::File),
        Ok(found) if found.is_dir() => Err(Error::new(ErrorKind::IsADirectory, "is a directory")),
        Ok(_) => Ok(Place::Stream),
        Err(error) if error.kind() == ErrorKind::NotFound && at.symlink_metadata().is_ok() => {
            Err(Error::new(ErrorKind::NotFound, "is a link that leads nowhere"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::File(at.to_owned())),
        Err(error) => Err(error),
    }
}

/// The file that may be replaced there.
///
/// # Errors
/// As [`place`], or it is no file: what must be read again later is not kept in a pipe.
pub fn file(at: &Path) -> Result<PathBuf> {
    match place(at)? {
        Place::File(file) => Ok(file),
        Place::Stream => Err(Error::new(ErrorKind::InvalidInput, "is no file, and is not replaced by one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().expect("temp dir");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "x").expect("writes");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("links");
        std::os::unix::fs::symlink("/dev/null", at("nothing")).expect("links");
        std::os::unix::fs::symlink(at("gone"), at("lost")).expect("links");
        let whole = at("file").canonicalize().expect("is there");
        assert_eq!(file(&at("file")).expect("a file"), whole);
        assert_eq!(file(&at("link")).expect("a file"), whole, "the link stays");
        assert_eq!(file(&at("new")).expect("nothing yet"), at("new"));
        for name in [Path::new("/dev/null"), &at("nothing")] {
            assert_eq!(place(name).expect("a device"), Place::Stream);
            assert!(file(name).is_err());
        }
        assert!(place(folder.path()).is_err() && place(&at("lost")).is_err());
    }
}
