//! Key files: nkey seeds of users, one a file, mode 0600. The server's configuration holds public keys only.
//!
//! A seed is never printed and never leaves its file but to sign the server's challenge. A file that others may read
//! is refused: it is no secret any more. Which keys of parties are let in is not decided here but by the list of keys
//! ([`super::keyring`]).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Deref;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use zeroize::Zeroizing;

use super::Error;
use super::accounts::Member;
use super::connect::Role;
use super::keyring::{self, Keyring, PublicKey, User};
use crate::message::time;

/// Public keys of all users that the server's configuration lets in.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    broker: BTreeMap<&'static str, PublicKey>,
    parties: BTreeMap<User, Vec<PublicKey>>,
}

impl Keys {
    /// The public keys of a user of a party: none, one, or two while one takes the place of the other.
    #[must_use]
    pub fn of_party(&self, user: &User) -> &[PublicKey] {
        self.parties.get(user).map(Vec::as_slice).unwrap_or_default()
    }

    /// The public key of a user of the broker.
    #[must_use]
    pub fn of_broker(&self, role: Role) -> Option<&str> {
        self.broker.get(role.as_str()).map(PublicKey::as_str)
    }
}

/// The secret half of a key. Its memory is overwritten when it is dropped, and it is not printed.
#[derive(Clone)]
pub struct Seed(Zeroizing<String>);

impl Deref for Seed {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// What is wrong with a file of a key or a certificate.
pub(crate) fn fault(file: &Path, words: impl std::fmt::Display) -> Error {
    Error::Key { file: file.to_owned(), words: words.to_string() }
}

/// Refuses a secret that others may read: it is no secret any more.
///
/// # Errors
/// [`Error::Key`]: missing, or readable by others.
pub fn is_private(file: &Path) -> Result<(), Error> {
    let meta = std::fs::metadata(file).map_err(|error| fault(file, error))?;
    if meta.permissions().mode() & 0o077 != 0 {
        let words = "others may read it: set its mode to 0600, and make a new one if it may be known";
        return Err(fault(file, words));
    }
    Ok(())
}

/// The seed in a file.
///
/// # Errors
/// [`Error::Key`]: missing, readable by others, or no user seed.
pub fn read_seed(file: &Path) -> Result<Seed, Error> {
    read(file).map(|(seed, _)| seed)
}

fn read(file: &Path) -> Result<(Seed, PublicKey), Error> {
    is_private(file)?;
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| fault(file, error))?);
    let seed = Seed(Zeroizing::new(text.trim().to_owned()));
    let public = KeyPair::from_seed(&seed).ok().and_then(|pair| PublicKey::parse(&pair.public_key()).ok());
    public.map(|public| (seed, public)).ok_or_else(|| fault(file, "holds no nkey seed of a user"))
}

/// The public half of the seed in a file, none if there is no such file.
pub(super) fn public_half(file: &Path) -> Result<Option<PublicKey>, Error> {
    match file.try_exists() {
        Ok(true) => read(file).map(|(_, public)| Some(public)),
        Ok(false) => Ok(None),
        Err(error) => Err(fault(file, error)),
    }
}

/// True if the seed of this key is in the file.
#[must_use]
pub fn holds(file: &Path, public: &PublicKey) -> bool {
    public_half(file).ok().flatten().as_ref() == Some(public)
}

/// Makes the keys that are missing and says which public keys are let in: of the broker's users what is in their files, of
/// parties what the list of keys says. A user of a party that the list does not know yet is put on it, with the key in its
/// file or with a new one; one whose keys were all revoked gets none.
///
/// # Errors
/// [`Error::Key`].
pub fn ensure(directory: &Path, members: &[Member]) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    for role in Role::ALL {
        keys.broker.insert(role.as_str(), made(&of_broker(directory, role))?);
    }
    let lock = keyring::lock(directory)?;
    let mut ring = Keyring::read(directory)?;
    let mut is_changed = false;
    for user in members.iter().flat_map(User::of) {
        let file = user.file(directory);
        if !ring.knows(&user) {
            ring.add(&user, made(&file)?, time::now())?;
            is_changed = true;
        } else if let Some(there) = public_half(&file)?
            && !ring.has(&user, &there)
        {
            let words = format!("is no key of {user} that {} knows: take the file away, or ", keyring::FILE);
            return Err(fault(&file, words + "give its public half to `liaison keys rotate --public-key`"));
        }
        let let_in = ring.let_in(&user).map(|key| key.public_key.clone()).collect();
        keys.parties.insert(user, let_in);
    }
    if is_changed {
        ring.save(directory, &lock)?;
    }
    Ok(keys)
}

/// The seed file of a user of the broker.
pub(super) fn of_broker(directory: &Path, role: Role) -> PathBuf {
    directory.join("broker").join(format!("{}.nk", role.as_str()))
}

/// The public key of the seed in a file, which is made if it is missing.
fn made(file: &Path) -> Result<PublicKey, Error> {
    if let Some(public) = public_half(file)? {
        return Ok(public);
    }
    mint(file)?;
    // A crash must not leave half a seed under the final name.
    std::fs::rename(waiting(file), file).map_err(|error| fault(file, error))?;
    read(file).map(|(_, public)| public)
}

/// Where a new seed waits until it is the one to use.
#[must_use]
pub fn waiting(file: &Path) -> PathBuf {
    file.with_extension("new")
}

/// Makes a key. Its seed waits beside the file that it is for; [`settle`] puts it there.
///
/// # Errors
/// [`Error::Key`].
pub fn mint(file: &Path) -> Result<PublicKey, Error> {
    let parent = file.parent().map(Path::to_owned).unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&parent)
        .and_then(|()| std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o700)))
        .map_err(|error| fault(&parent, error))?;
    let pair = KeyPair::new_user();
    let seed = Zeroizing::new(pair.seed().map_err(|error| fault(file, error))?);
    write_private(&waiting(file), &[seed.as_bytes(), b"\n"]).map_err(|error| fault(file, error))?;
    PublicKey::parse(&pair.public_key()).map_err(|error| fault(file, error))
}

/// Makes a user's files follow the list: a seed that waits takes its place if its key is let in, and the seed of a key that is
/// refused goes away. What is not there needs nothing; it may be called again after a crash.
///
/// # Errors
/// [`Error::Key`].
pub fn settle(directory: &Path, ring: &Keyring, user: &User) -> Result<(), Error> {
    let file = user.file(directory);
    let fresh = waiting(&file);
    let is_let_in = |public: &PublicKey| ring.let_in(user).any(|key| key.public_key == *public);
    if public_half(&fresh).ok().flatten().is_some_and(|public| is_let_in(&public)) {
        std::fs::rename(&fresh, &file).map_err(|error| fault(&file, error))?;
    }
    if let Some(public) = public_half(&file)?
        && ring.has(user, &public)
        && !is_let_in(&public)
    {
        std::fs::remove_file(&file).map_err(|error| fault(&file, error))?;
    }
    Ok(())
}

/// Writes a file that nobody else can read at any moment. One that is there may have another mode and is replaced.
///
/// # Errors
/// What the file system said.
pub fn write_private(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for part in parts {
        new.write_all(part)?;
    }
    new.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::names::{PartyId, PostId};

    fn member() -> Member {
        Member {
            party: PartyId::parse("de-bpol").expect("well formed"),
            posts: vec![PostId::parse("tr-03").expect("well formed")],
        }
    }

    fn mode(file: &Path) -> u32 {
        std::fs::metadata(file).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_private_and_refused_when_others_can_read_them() {
        let directory = tempfile::tempdir().expect("temp dir");
        let first = ensure(directory.path(), &[member()]).expect("makes keys");
        let again = ensure(directory.path(), &[member()]).expect("reads keys");
        assert_eq!((&first.broker, &first.parties), (&again.broker, &again.parties));
        assert_eq!((first.broker.len(), first.parties.len()), (Role::ALL.len(), 2));
        assert!(first.parties.values().all(|keys| keys.len() == 1));
        let file = directory.path().join("de-bpol/tr-03.nk");
        assert_eq!((mode(&file), mode(&directory.path().join(keyring::FILE))), (0o600, 0o600));
        let seed = read_seed(&file).expect("a seed");
        assert!(seed.starts_with("SU") && format!("{seed:?}") == "Seed");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let words = read_seed(&file).expect_err("must be refused").to_string();
        assert!(words.contains("others may read it"), "{words}");
        std::fs::write(directory.path().join("broker/admin.nk"), "nonsense").expect("writes");
        assert!(read_seed(&directory.path().join("broker/admin.nk")).is_err());
    }

    /// A left-over that others may read does not lend its mode to a secret.
    #[test]
    fn a_seed_is_private_from_its_first_byte() {
        let directory = tempfile::tempdir().expect("temp dir");
        let file = directory.path().join("de-bpol/system.nk");
        std::fs::create_dir_all(directory.path().join("de-bpol")).expect("a directory");
        std::fs::write(waiting(&file), "SUA").expect("a left-over");
        std::fs::set_permissions(waiting(&file), std::fs::Permissions::from_mode(0o666)).expect("chmod");
        let public = mint(&file).expect("makes a key");
        assert_eq!(mode(&waiting(&file)), 0o600);
        assert_eq!(public_half(&waiting(&file)).expect("readable"), Some(public));
    }

    /// Between the list and the file a run may end: the next one goes on from there, and a refused seed goes away.
    #[test]
    fn files_follow_the_list_also_after_a_crash() {
        let directory = tempfile::tempdir().expect("temp dir");
        let place = directory.path();
        ensure(place, &[member()]).expect("makes keys");
        let user = User::of(&member()).next().expect("its system");
        let file = user.file(place);
        let old = public_half(&file).expect("readable").expect("there");
        let fresh = mint(&file).expect("makes a key");
        let mut ring = Keyring::read(place).expect("a list");
        settle(place, &ring, &user).expect("nothing to do");
        assert!(holds(&file, &old), "a key that is not on the list takes no place");
        ring.add(&user, fresh.clone(), time::now()).expect("on the list");
        settle(place, &ring, &user).expect("settles");
        assert!(holds(&file, &fresh) && !waiting(&file).exists());
        settle(place, &ring, &user).expect("nothing to do");
        ring.end(&user, &keyring::Ending::Replaced, time::now()).expect("ends the old one");
        settle(place, &ring, &user).expect("nothing to do");
        assert!(holds(&file, &fresh));
        ring.end(&user, &keyring::Ending::All, time::now()).expect("ends the new one");
        settle(place, &ring, &user).expect("settles");
        assert!(!file.exists());
    }

    #[test]
    fn a_seed_that_was_handed_over_and_taken_away_stays_known() {
        let directory = tempfile::tempdir().expect("temp dir");
        let first = ensure(directory.path(), &[member()]).expect("makes keys");
        let file = directory.path().join("de-bpol/system.nk");
        std::fs::remove_file(&file).expect("there");
        let again = ensure(directory.path(), &[member()]).expect("reads keys");
        assert_eq!(first.parties, again.parties);
        assert!(!file.exists(), "no other is made in its place");
        mint(&file).expect("makes a key");
        std::fs::rename(waiting(&file), &file).expect("renames");
        let words = ensure(directory.path(), &[member()]).expect_err("must be refused").to_string();
        assert!(words.contains("is no key of de-bpol system that keys.toml knows"), "{words}");
    }
}
