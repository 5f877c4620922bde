//! Key files: nkey seeds of users, one a file, mode 0600. The server's configuration holds public keys only.
//!
//! A seed is never printed and never leaves its file but to sign the server's challenge. A file that others may read
//! is refused: it is no secret any more.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nkeys::KeyPair;

use super::Error;
use super::accounts::Member;
use super::connect::Role;

/// Public keys of all users, by key file relative to the directory (`de-bpol/system`, `broker/intake`).
#[derive(Debug, Clone, Default)]
pub struct Keys {
    public: BTreeMap<String, String>,
}

impl Keys {
    /// The public key of a user of a party.
    #[must_use]
    pub fn of_party(&self, party: &str, user: &str) -> Option<&str> {
        self.public.get(&format!("{party}/{user}")).map(String::as_str)
    }

    /// The public key of a user of the broker.
    #[must_use]
    pub fn of_broker(&self, role: Role) -> Option<&str> {
        self.public.get(&format!("broker/{}", role.as_str())).map(String::as_str)
    }
}

/// The seed in a file.
///
/// # Errors
/// [`Error::Key`]: missing, readable by others, or no user seed.
pub fn read_seed(file: &Path) -> Result<String, Error> {
    let fault = |words: String| Error::Key { file: file.to_owned(), words };
    let meta = std::fs::metadata(file).map_err(|error| fault(error.to_string()))?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(fault(
            "others may read it: set its mode to 0600, and change the key if it may be known".into(),
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    let seed = text.trim().to_owned();
    match KeyPair::from_seed(&seed) {
        Ok(pair) if pair.public_key().starts_with('U') => Ok(seed),
        _ => Err(fault("holds no nkey seed of a user".into())),
    }
}

/// Makes the keys that are missing and reads the public half of all.
///
/// # Errors
/// [`Error::Key`].
pub fn ensure(directory: &Path, members: &[Member]) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    let mut add = |owner: &str, user: &str| {
        let public = public_key(&directory.join(owner).join(format!("{user}.nk")))?;
        keys.public.insert(format!("{owner}/{user}"), public);
        Ok::<(), Error>(())
    };
    for role in Role::ALL {
        add("broker", role.as_str())?;
    }
    for member in members {
        add(member.party.as_str(), "system")?;
        for post in &member.posts {
            add(member.party.as_str(), post.as_str())?;
        }
    }
    Ok(keys)
}

/// The public key of the seed in a file, which is made if it is missing.
fn public_key(file: &Path) -> Result<String, Error> {
    let fault = |path: &Path, words: String| Error::Key { file: path.to_owned(), words };
    let parent = file.parent().map(Path::to_owned).unwrap_or_else(|| PathBuf::from("."));
    let made = std::fs::create_dir_all(&parent)
        .and_then(|()| std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o700)));
    made.map_err(|error| fault(&parent, error.to_string()))?;
    if !file.try_exists().map_err(|error| fault(file, error.to_string()))? {
        let seed = KeyPair::new_user().seed().map_err(|error| fault(file, error.to_string()))?;
        // A crash must not leave half a seed under the final name.
        let fresh = file.with_extension("new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut new| new.write_all(format!("{seed}\n").as_bytes()).and_then(|()| new.sync_all()))
            .and_then(|()| std::fs::rename(&fresh, file));
        written.map_err(|error| fault(file, error.to_string()))?;
    }
    let seed = read_seed(file)?;
    let pair = KeyPair::from_seed(&seed).map_err(|error| fault(file, error.to_string()))?;
    Ok(pair.public_key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::names::{PartyId, PostId};

    #[test]
    fn keys_are_made_once_private_and_refused_when_others_can_read_them() {
        let directory = tempfile::tempdir().expect("temp dir");
        let member = Member {
            party: PartyId::parse("de-bpol").expect("well formed"),
            posts: vec![PostId::parse("tr-03").expect("well formed")],
        };
        let first = ensure(directory.path(), std::slice::from_ref(&member)).expect("makes keys");
        let again = ensure(directory.path(), &[member]).expect("reads keys");
        assert_eq!(first.public, again.public);
        assert_eq!(first.public.len(), Role::ALL.len() + 2);
        let file = directory.path().join("de-bpol/tr-03.nk");
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let words = read_seed(&file).expect_err("must be refused").to_string();
        assert!(words.contains("others may read it"), "{words}");
        std::fs::write(directory.path().join("broker/admin.nk"), "nonsense").expect("writes");
        assert!(read_seed(&directory.path().join("broker/admin.nk")).is_err());
    }
}
