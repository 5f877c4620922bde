//! The list of keys, `keys.toml`: which public keys of parties and posts are let in, since when, and which are not any more.
//!
//! It is the one truth about them. The configuration of nats-server is made from it: a key that was revoked does not come back
//! with the next one, and a secret half need not lie on this machine. It holds no secret, and not the keys of the broker's own
//! users, which are files alone. Nothing in it ends by itself: nats-server knows no dates for keys, so an end is written down when it
//! is carried out.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::accounts::Member;
use super::connect::Role;
use super::keys::{holds, of_broker, write_private};
use crate::message::names::{PartyId, PostId};

/// Its name in the directory of keys.
pub const FILE: &str = "keys.toml";
const HEAD: &str = "# Public keys of parties and posts. Written by `liaison keys` and `liaison nats-config`; no secrets.\n\n";
/// Keys of one user that are let in at once: one, and another while it takes the place of the first. More would be forgotten ones.
const MOST: usize = 2;

/// Who has a key: the system of a party, or one of its posts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The party.
    pub party: PartyId,
    /// The post; the party's system if there is none.
    pub post: Option<PostId>,
}

impl User {
    /// All users of a party.
    pub fn of(member: &Member) -> impl Iterator<Item = Self> + '_ {
        let posts = member.posts.iter().cloned().map(Some);
        std::iter::once(None).chain(posts).map(|post| Self { party: member.party.clone(), post })
    }

    /// The name of its key file and inbox.
    #[must_use]
    pub fn name(&self) -> &str {
        self.post.as_ref().map_or("system", PostId::as_str)
    }

    /// The file of its seed, if the seed is on this machine.
    #[must_use]
    pub fn file(&self, directory: &Path) -> PathBuf {
        directory.join(self.party.as_str()).join(format!("{}.nk", self.name()))
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.party, self.name())
    }
}

/// The public half of a user's nkey.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

/// The text is no public nkey of a user. It is not repeated: it may be the secret half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the public nkey of a user, which has 56 characters and begins with U")]
pub struct InvalidPublicKey;

impl PublicKey {
    /// Takes the text if it is one.
    ///
    /// # Errors
    /// [`InvalidPublicKey`] otherwise.
    pub fn parse(text: &str) -> Result<Self, InvalidPublicKey> {
        let pair = nkeys::KeyPair::from_public_key(text).map_err(|_| InvalidPublicKey)?;
        let is_whole = text.starts_with('U') && pair.public_key() == text;
        is_whole.then(|| Self(text.to_owned())).ok_or(InvalidPublicKey)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidPublicKey;
    fn try_from(text: String) -> Result<Self, InvalidPublicKey> {
        Self::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

/// A key that is or was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Of which party.
    pub party: PartyId,
    /// Of which post of it; of its system if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<PostId>,
    /// The key.
    pub public_key: PublicKey,
    /// When it was put on the list.
    pub since: Timestamp,
    /// When it was refused because another had taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it was refused because it was lost, stolen, or not wanted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl Key {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> User {
        User { party: self.party.clone(), post: self.post.clone() }
    }

    /// True while the server's configuration has it.
    #[must_use]
    pub fn is_let_in(&self) -> bool {
        self.until.is_none() && self.revoked.is_none()
    }

    fn is_of(&self, user: &User) -> bool {
        self.party == user.party && self.post == user.post
    }
}

/// Which keys of a user end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All that another has taken the place of.
    Replaced,
    /// All there are.
    All,
    /// This one.
    One(PublicKey),
}

/// That nobody else changes the list at the moment.
#[derive(Debug)]
pub struct Lock(File);

/// Waits until nobody else changes the list. Held for moments only: never while the server or the broker is told.
///
/// # Errors
/// [`Error::Key`].
pub fn lock(directory: &Path) -> Result<Lock, Error> {
    let fault = |error: std::io::Error| Error::Key { file: directory.to_owned(), words: error.to_string() };
    std::fs::create_dir_all(directory).map_err(fault)?;
    let handle = File::open(directory).map_err(fault)?;
    handle.lock().map_err(fault)?;
    Ok(Lock(handle))
}

/// The list, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    #[serde(rename = "key", default)]
    keys: Vec<Key>,
}

impl Keyring {
    /// Reads it; an empty one if there is none yet.
    ///
    /// # Errors
    /// [`Error::Key`]: it cannot be read, is damaged, others may write it, or a key is in it twice.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let file = directory.join(FILE);
        let fault = |words: String| Error::Key { file: file.clone(), words };
        let meta = match std::fs::metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            meta => meta.map_err(|error| fault(error.to_string()))?,
        };
        if meta.permissions().mode() & 0o022 != 0 {
            let words =
                "others may write it, and so let anybody in: look at what is in it, and set its mode to 0600";
            return Err(fault(words.to_owned()));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
        // Not the error's own words: they repeat the line, and somebody may have put a seed there.
        let ring: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            fault(format!("near line {line}: {}", error.message()))
        })?;
        let mut all: Vec<&PublicKey> = ring.keys.iter().map(|key| &key.public_key).collect();
        all.sort();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(fault(format!("{} is in it twice", twice[0].as_str()))),
            None => Ok(ring),
        }
    }

    /// Puts it in the place of the one that is there; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn save(&self, directory: &Path, lock: &Lock) -> Result<(), Error> {
        let file = directory.join(FILE);
        let fault = |words: String| Error::Key { file: file.clone(), words };
        let text = toml::to_string(self).map_err(|error| fault(error.to_string()))?;
        let fresh = file.with_extension("toml.new");
        write_private(&fresh, &[HEAD.as_bytes(), text.as_bytes()])
            .and_then(|()| std::fs::rename(&fresh, &file))
            .and_then(|()| lock.0.sync_all())
            .map_err(|error| fault(error.to_string()))
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// True if the user has or had a key.
    #[must_use]
    pub fn knows(&self, user: &User) -> bool {
        self.keys.iter().any(|key| key.is_of(user))
    }

    /// True if this is or was a key of the user.
    #[must_use]
    pub fn has(&self, user: &User, public: &PublicKey) -> bool {
        self.keys.iter().any(|key| key.is_of(user) && key.public_key == *public)
    }

    /// The keys of a user that are let in, the newest last.
    pub fn let_in<'a>(&'a self, user: &'a User) -> impl DoubleEndedIterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| key.is_let_in() && key.is_of(user))
    }

    /// Whether a user may get its only key.
    ///
    /// # Errors
    /// [`Error::NotDone`]: it has one.
    pub fn lacks_key(&self, user: &User) -> Result<(), Error> {
        let has = self.let_in(user).next_back();
        let words = |key: &Key| format!("{user} has a key since {}: `rotate` gives it another", key.since);
        has.map_or(Ok(()), |key| Err(Error::NotDone(words(key))))
    }

    /// Whether a user may get another key beside the one that it has.
    ///
    /// # Errors
    /// [`Error::NotDone`]: it has none, or two.
    pub fn may_have_another(&self, user: &User) -> Result<(), Error> {
        match self.let_in(user).count() {
            0 => Err(Error::NotDone(format!("{user} has no key: `new` gives it one"))),
            MOST.. => Err(Error::NotDone(format!(
                "{user} has two keys that are let in: first end the older one with `revoke --old`"
            ))),
            _ => Ok(()),
        }
    }

    /// Puts a key on the list.
    ///
    /// # Errors
    /// [`Error::NotDone`]: it is on it, also as one that was revoked.
    pub fn add(&mut self, user: &User, public_key: PublicKey, now: Timestamp) -> Result<(), Error> {
        if let Some(key) = self.keys.iter().find(|key| key.public_key == public_key) {
            let words = format!("this key is that of {} since {}", key.user(), key.since);
            let ended = if key.is_let_in() { "" } else { ", and refused; it does not come back" };
            return Err(Error::NotDone(words + ended));
        }
        let User { party, post } = user.clone();
        self.keys.push(Key { party, post, public_key, since: whole_second(now), until: None, revoked: None });
        Ok(())
    }

    /// Ends keys of a user; those that ended.
    ///
    /// # Errors
    /// [`Error::NotDone`]: there is none to end.
    pub fn end(&mut self, user: &User, ending: &Ending, now: Timestamp) -> Result<Vec<Key>, Error> {
        let newest = self.let_in(user).next_back().map(|key| key.public_key.clone());
        let now = Some(whole_second(now));
        let mut ended = Vec::new();
        for key in self.keys.iter_mut().filter(|key| key.is_let_in() && key.is_of(user)) {
            match ending {
                Ending::Replaced if newest.as_ref() != Some(&key.public_key) => key.until = now,
                Ending::All => key.revoked = now,
                Ending::One(public) if *public == key.public_key => key.revoked = now,
                Ending::Replaced | Ending::One(_) => continue,
            }
            ended.push(key.clone());
        }
        if ended.is_empty() {
            let words = match ending {
                Ending::Replaced => "has no older key beside its newest",
                Ending::All => "has no key",
                Ending::One(_) => "has no such key",
            };
            return Err(Error::NotDone(format!("{user} {words} that is let in")));
        }
        Ok(ended)
    }
}

/// A key of the broker's own must not be let in as a party: the server would refuse its whole configuration.
///
/// # Errors
/// [`Error::NotDone`]: it is one.
pub fn is_not_the_brokers(directory: &Path, public: &PublicKey) -> Result<(), Error> {
    for role in Role::ALL {
        if holds(&of_broker(directory, role), public) {
            return Err(Error::NotDone("this key is one of the broker's own".to_owned()));
        }
    }
    Ok(())
}

/// People read these times and compare them with a log.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(post: Option<&str>) -> User {
        let post = post.map(|post| PostId::parse(post).expect("well formed"));
        User { party: PartyId::parse("de-bpol").expect("well formed"), post }
    }

    fn public() -> PublicKey {
        PublicKey::parse(&nkeys::KeyPair::new_user().public_key()).expect("a public key")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("in range")
    }

    /// The public keys of a user that are let in.
    fn let_in(ring: &Keyring, user: &User) -> Vec<PublicKey> {
        ring.let_in(user).map(|key| key.public_key.clone()).collect()
    }

    #[test]
    fn two_keys_overlap_and_the_older_one_ends() {
        let (mut ring, user, [first, second, third]) =
            (Keyring::default(), user(Some("tr-03")), [(); 3].map(|()| public()));
        assert!(ring.may_have_another(&user).is_err() && ring.lacks_key(&user).is_ok());
        ring.add(&user, first.clone(), at(0)).expect("the first");
        assert!(ring.lacks_key(&user).is_err() && ring.end(&user, &Ending::Replaced, at(1)).is_err());
        ring.may_have_another(&user).expect("one more");
        ring.add(&user, second.clone(), at(2)).expect("the second");
        assert_eq!(let_in(&ring, &user), [first.clone(), second.clone()]);
        assert!(ring.may_have_another(&user).is_err(), "a third");
        let ended = ring.end(&user, &Ending::Replaced, at(3)).expect("ends the first");
        assert_eq!((ended.len(), &ended[0].public_key, ended[0].until), (1, &first, Some(at(3))));
        assert_eq!(let_in(&ring, &user), std::slice::from_ref(&second));
        ring.add(&user, third.clone(), at(4)).expect("another");
        ring.end(&user, &Ending::One(third.clone()), at(5)).expect("the newer one was stolen");
        assert_eq!(let_in(&ring, &user), [second]);
        assert_eq!(ring.end(&user, &Ending::All, at(6)).expect("all").len(), 1);
        assert!(let_in(&ring, &user).is_empty() && ring.knows(&user));
        assert!(ring.end(&user, &Ending::All, at(7)).is_err());
        for dead in [first, third] {
            let words = ring.add(&user, dead, at(8)).expect_err("must not come back").to_string();
            assert!(words.contains("does not come back"), "{words}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let place = tempfile::tempdir().expect("temp dir");
        let (mut ring, key) = (Keyring::default(), public());
        ring.add(&user(None), key.clone(), at(0)).expect("a key");
        ring.add(&user(Some("tr-03")), public(), at(1)).expect("a key");
        ring.end(&user(None), &Ending::All, at(2)).expect("ends");
        let held = lock(place.path()).expect("locked");
        ring.save(place.path(), &held).expect("written");
        let again = Keyring::read(place.path()).expect("read");
        assert_eq!(again.keys(), ring.keys());
        let words = ring.add(&user(Some("tr-03")), key, at(3)).expect_err("another's").to_string();
        assert!(words.contains("de-bpol system"), "{words}");
    }

    #[test]
    fn a_list_that_others_could_have_written_is_not_believed() {
        let place = tempfile::tempdir().expect("temp dir");
        let mut ring = Keyring::default();
        ring.add(&user(None), public(), at(0)).expect("a key");
        let held = lock(place.path()).expect("locked");
        ring.save(place.path(), &held).expect("written");
        let file = place.path().join(FILE);
        let refused = |words: &str| {
            let said = Keyring::read(place.path()).expect_err("must be refused").to_string();
            assert!(said.contains("keys.toml") && said.contains(words), "{said}");
            said
        };
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).expect("chmod");
        refused("others may write it");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        let text = std::fs::read_to_string(&file).expect("readable");
        std::fs::write(&file, text.replace("[[key]]", "[[keys]]")).expect("written");
        refused("keys");
        let block = text.split("[[key]]").nth(1).expect("a key");
        std::fs::write(&file, format!("[[key]]{block}\n[[key]]{block}")).expect("written");
        refused("twice");
        let seed = nkeys::KeyPair::new_user().seed().expect("a seed");
        let public = ring.keys()[0].public_key.as_str();
        std::fs::write(&file, text.replace(public, &seed)).expect("written");
        assert!(!refused("not the public nkey").contains(&seed), "a secret is not repeated");
    }

    #[test]
    fn only_whole_public_keys_of_users_are_taken() {
        let good = public();
        let pair = nkeys::KeyPair::new_user();
        let account = nkeys::KeyPair::new_account().public_key();
        let cut = good.as_str()[..55].to_owned();
        for bad in [pair.seed().expect("a seed"), account, cut, String::new(), good.as_str().to_lowercase()] {
            assert_eq!(PublicKey::parse(&bad), Err(InvalidPublicKey));
        }
    }
}
