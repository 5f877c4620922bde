//! The root key: 32 random bytes in a file or the environment, outside the data directory.
//!
//! Who has the data directory, or a backup of it, has not the root key, and without it no sealed message can be opened.
//! It is made once, when an archive begins. It is never made anew for an archive that has keys: nothing could be opened
//! with it.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore as _;
use zeroize::Zeroizing;

use super::Error;
use super::journal::sync_directory;
use crate::message::digest::Digest;

/// The root key. It never reaches journal, sled or key file, and is wiped when it is dropped.
#[derive(Clone)]
pub struct RootKey(pub(super) Zeroizing<[u8; 32]>);

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey")
    }
}

impl RootKey {
    /// A new random one.
    #[must_use]
    pub fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Keys`]; it does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bad = || Error::Keys("the root key must be 64 hexadecimal digits".to_owned());
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut key = Zeroizing::new([0; 32]);
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(key))
    }

    /// Reads the file of an archive's root key; makes it if neither it nor the archive's keys are there yet.
    ///
    /// # Errors
    /// [`Error::Keys`] if it is missing for an archive that has keys, lies in the archive, is no key, or others may read
    /// it; [`Error::Io`].
    pub fn of(archive: &Path, file: &Path) -> Result<Self, Error> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let mode = file.metadata().map_err(|error| Error::at(file, error))?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(Error::Keys(format!(
                        "{}: others may read it; set mode 0600",
                        file.display()
                    )));
                }
                Self::parse(&text).map_err(|error| Error::Keys(format!("{}: {error}", file.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if archive.join("keys").join("messages.liak").exists() {
                    let words = "is missing, and what is sealed in the archive cannot be opened without it; \
                                 restore it";
                    return Err(Error::Keys(format!("the root key {} {words}", file.display())));
                }
                Self::random().write(file)
            }
            Err(error) => Err(Error::at(file, error)),
        }
    }

    fn write(self, file: &Path) -> Result<Self, Error> {
        let text = Zeroizing::new(Digest(*self.0).hex());
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        made.and_then(|mut out| writeln!(out, "{}", text.as_str()).and_then(|()| out.sync_all()))
            .map_err(|error| Error::at(file, error))?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(directory.unwrap_or(Path::new(".")))?;
        Ok(self)
    }
}
