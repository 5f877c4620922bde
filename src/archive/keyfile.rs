//! Key files of signers: the secret half mode 0600, the public half beside it for whoever wants to verify.
//!
//! A secret that others may read is refused: it is no secret any more. What is there is never written over.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore as _;

use super::Error;
use super::note::{KeyName, Kind, Signer, Verifier};

/// The key in a file.
///
/// # Errors
/// [`Error::Io`]: it cannot be read, others may read it, or it holds no key.
pub fn read(file: &Path) -> Result<Signer, Error> {
    let meta = std::fs::metadata(file).map_err(|error| Error::at(file, error))?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(refused(
            file,
            "others may read it: set its mode to 0600, and change the key if it may be known",
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Error::at(file, error))?;
    Signer::parse(text.trim_end()).map_err(|error| refused(file, &error.to_string()))
}

/// The public key in a file, or in the argument itself if that is one.
///
/// # Errors
/// [`Error::Io`]: the file cannot be read or holds no verifier key.
pub fn read_verifier(file: &Path) -> Result<Verifier, Error> {
    if let Some(Ok(given)) = file.to_str().map(Verifier::parse) {
        return Ok(given);
    }
    let text = std::fs::read_to_string(file).map_err(|error| Error::at(file, error))?;
    Verifier::parse(text.trim_end()).map_err(|error| refused(file, &error.to_string()))
}

/// The key in a file, which is made if it is missing; the public half stands beside it, ending in `.pub`.
///
/// # Errors
/// [`Error::Io`]: as [`read`], of another kind, the public half beside it is another key's, or writing failed.
pub fn ensure(file: &Path, name: &KeyName, kind: Kind) -> Result<Signer, Error> {
    let public = file.with_extension("pub");
    if !file.try_exists().map_err(|error| Error::at(file, error))? {
        if public.exists() {
            let words = "is missing, but its public half is there: restore it. To begin with another key, move the public half \
                and archive/checkpoints away, and tell the witnesses";
            return Err(refused(file, words));
        }
        let mut seed = [0; 32];
        OsRng
            .try_fill_bytes(&mut seed)
            .map_err(|error| Error::at(file, std::io::Error::other(error.to_string())))?;
        let signer = Signer::new(name.clone(), kind, &seed);
        write(file, &signer.secret(), 0o600)?;
    }
    let signer = read(file)?;
    if signer.verifier().kind() != kind {
        return Err(refused(file, "the key is for another use"));
    }
    if !public.try_exists().map_err(|error| Error::at(&public, error))? {
        write(&public, &signer.verifier().to_string(), 0o644)?;
    }
    if read_verifier(&public)? != *signer.verifier() {
        return Err(refused(&public, "it is not the public half of the key beside it"));
    }
    Ok(signer)
}

/// A crash must not leave half a key under the final name.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let fault = |error| Error::at(file, error);
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        std::fs::create_dir_all(parent).map_err(fault)?;
        std::fs::set_permissions(parent, Permissions::from_mode(0o700)).map_err(fault)?;
    }
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let mut new = OpenOptions::new();
    let new = new.write(true).create(true).truncate(true).mode(mode).open(&fresh);
    new.and_then(|mut new| writeln!(new, "{text}").and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(fault)
}

fn refused(file: &Path, words: &str) -> Error {
    Error::at(file, std::io::Error::new(std::io::ErrorKind::InvalidData, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_never_written_over() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("broker/checkpoint.key");
        let name = KeyName::parse("liaison-1").unwrap();
        let made = ensure(&file, &name, Kind::Log).unwrap();
        let again = ensure(&file, &KeyName::parse("another").unwrap(), Kind::Log).unwrap();
        assert_eq!(made.verifier(), again.verifier());
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        let public = file.with_extension("pub");
        assert_eq!((mode(&file), mode(&public), mode(file.parent().unwrap())), (0o600, 0o644, 0o700));
        assert_eq!(read_verifier(&public).unwrap(), *made.verifier());
        let given = made.verifier().to_string();
        assert_eq!(read_verifier(Path::new(&given)).unwrap(), *made.verifier());
        assert!(ensure(&file, &name, Kind::Witness).is_err());

        std::fs::rename(&file, place.path().join("aside")).unwrap();
        assert!(ensure(&file, &name, Kind::Log).is_err(), "half a key is no reason to make another");
        std::fs::rename(place.path().join("aside"), &file).unwrap();

        let other = place.path().join("other.key");
        let stranger = ensure(&other, &name, Kind::Log).unwrap();
        assert_ne!(stranger.verifier(), made.verifier(), "each key is its own");
        std::fs::copy(other.with_extension("pub"), &public).unwrap();
        assert!(ensure(&file, &name, Kind::Log).is_err(), "two halves of different keys");
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let words = read(&file).unwrap_err().to_string();
        assert!(words.contains("others may read it"), "{words}");
    }
}
