//! The vault: seals bodies that must be erasable, opens them for those who may read, destroys their keys.
//!
//! A message key is HMAC-SHA-256 under the root key over the seed of its slot and its archive sequence. The root key is a file or
//! an environment variable outside the data directory: who has the disk alone, or a backup, has neither. The seeds are
//! in key files of their own, never in journal or sled. So either half gone, the message is gone.
//!
//! It decides nothing about who may read. It never logs and never prints a key.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use chacha20poly1305::aead::rand_core::RngCore as _;
use chacha20poly1305::aead::{Aead as _, OsRng, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Error;
use super::body::{Body, Content, SALT};
use super::keys::{KeyFile, Seed, Slot};
use super::root::RootKey;
use crate::message::digest::Digest;

const NONCE: usize = 24;

impl RootKey {
    fn derive(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        mac(&self.0, &[b"liaison v1 ", purpose])
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Hides digests of sealed messages on disk: with the digest alone one could try out what was guessed.
#[derive(Clone)]
pub struct Mask(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// The mask of a root key.
    #[must_use]
    pub fn of(root: &RootKey) -> Self {
        Self(root.derive(b"digest mask"))
    }

    /// Puts the mask of an archive sequence on a digest, or takes it off.
    #[must_use]
    pub fn apply(&self, seq: u64, digest: Digest) -> Digest {
        let mask = mac(&self.0, &[&seq.to_le_bytes()]);
        let mut bytes = digest.0;
        for (byte, mask) in bytes.iter_mut().zip(mask.iter()) {
            *byte ^= mask;
        }
        Digest(bytes)
    }
}

/// What opening a body gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// What was received.
    Content(Content),
    /// Nothing was kept, or it was taken away.
    Gone,
    /// Its key is damaged or does not fit: the content is lost. One damaged key is no reason to stop; whoever asks goes on without
    /// this content and says so.
    Lost,
}

/// The vault of an archive.
#[derive(Debug)]
pub struct Vault {
    mask: Mask,
    word: String,
    message_key: Zeroizing<[u8; 32]>,
    block_key: Zeroizing<[u8; 32]>,
    messages: Mutex<KeyFile>,
    blocks: Mutex<KeyFile>,
}

/// A plain body that is about to be kept.
#[derive(Debug)]
pub(super) struct Fresh<'a> {
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) payload: &'a [u8],
    pub(super) signature: Option<&'a str>,
    pub(super) seal: bool,
}

impl Vault {
    /// Opens the key files in a directory, or begins them.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Keys`] if they belong to another root key or are damaged.
    pub fn open(directory: &Path, root: &RootKey) -> Result<Self, Error> {
        Self::with(directory, root, KeyFile::open)
    }

    /// The same for reading alone, beside the process that writes.
    ///
    /// # Errors
    /// As [`Vault::open`]; also if there are no key files.
    pub fn look(directory: &Path, root: &RootKey) -> Result<Self, Error> {
        Self::with(directory, root, KeyFile::look)
    }

    fn with(
        directory: &Path,
        root: &RootKey,
        open: impl Fn(&Path, [u8; 16]) -> Result<KeyFile, Error>,
    ) -> Result<Self, Error> {
        let mut check = [0; 16];
        check.copy_from_slice(&root.derive(b"check")[..16]);
        Ok(Self {
            mask: Mask::of(root),
            word: Digest(*root.derive(b"shared word")).hex(),
            message_key: root.derive(b"message key"),
            block_key: root.derive(b"block key"),
            messages: Mutex::new(open(&directory.join("messages.liak"), check)?),
            blocks: Mutex::new(open(&directory.join("blocks.liak"), check).map_err(disposable)?),
        })
    }

    /// What tells whether two archives are under the same root key, and nothing about the key.
    #[must_use]
    pub(super) fn word(&self) -> String {
        self.word.clone()
    }

    /// The seed in a slot, if there is one.
    pub(super) fn seed(&self, slot: u64) -> Result<Option<Seed>, Error> {
        Ok(match self.messages.lock().read(slot)? {
            Slot::Live(seed) => Some(seed),
            Slot::Destroyed | Slot::Empty | Slot::Damaged => None,
        })
    }

    /// Puts a seed of another instance into its slot.
    pub(super) fn take_seed(&self, slot: u64, seq: u64, seed: &Seed) -> Result<(), Error> {
        self.messages.lock().put(slot, seq, seed)
    }

    /// Notes that the seed of a slot was destroyed before it came here.
    pub(super) fn never_came(&self, slot: u64, now_ms: i64) -> Result<(), Error> {
        self.messages.lock().never_came(slot, now_ms)
    }

    /// The mask of this archive.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Slots of message keys.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.messages.lock().slots()
    }

    /// The bodies to be kept, in order. The keys of sealed ones are on stable storage when it returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn bodies(&self, fresh: &[Fresh<'_>]) -> Result<Vec<Body>, Error> {
        let sealed: Vec<u64> = fresh.iter().filter(|one| one.seal).map(|one| one.seq).collect();
        let (mut slot, seeds) = match sealed.as_slice() {
            [] => (0, Vec::new()),
            seqs => self.messages.lock().append(seqs, true)?,
        };
        let mut seeds = seeds.into_iter();
        let mut salts = vec![0; SALT * fresh.len()];
        OsRng.fill_bytes(&mut salts);
        let mut bodies = Vec::with_capacity(fresh.len());
        for (one, salt) in fresh.iter().zip(salts.chunks_exact(SALT)) {
            let signed = one.signature.is_some();
            let content = Content::pack(one.payload, one.signature)?;
            bodies.push(if one.payload.is_empty() {
                Body::None
            } else if one.seal {
                let seed = seeds.next().ok_or(Error::Corrupt("a seed too few"))?;
                let key = mac(&self.message_key, &[seed.as_ref(), &one.seq.to_le_bytes()]);
                let cipher = encrypt(&key, &content, &bound(one.seq, one.digest, signed))?;
                slot += 1;
                Body::Sealed { slot: slot - 1, cipher, signed }
            } else {
                let mut fixed = [0; SALT];
                fixed.copy_from_slice(salt);
                Body::plain(fixed, &content, signed)
            });
        }
        Ok(bodies)
    }

    /// Opens a body.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub(super) fn open_body(&self, seq: u64, digest: Digest, body: &Body) -> Result<Opened, Error> {
        let (slot, cipher, signed) = match body {
            Body::None | Body::Redacted(_) => return Ok(Opened::Gone),
            Body::Plain { .. } => {
                let unreadable = Error::Corrupt("a signed body that cannot be read");
                return body.content().map(Opened::Content).ok_or(unreadable);
            }
            Body::Sealed { slot, cipher, signed } => (*slot, cipher, *signed),
        };
        let found = self.messages.lock().read(slot)?;
        Ok(match found {
            Slot::Destroyed => Opened::Gone,
            Slot::Damaged | Slot::Empty => Opened::Lost,
            Slot::Live(seed) => {
                let key = mac(&self.message_key, &[seed.as_ref(), &seq.to_le_bytes()]);
                decrypt(&key, cipher, &bound(seq, digest, signed))
                    .and_then(|content| Content::unpack(content.into(), signed))
                    .map_or(Opened::Lost, Opened::Content)
            }
        })
    }

    /// True if the key of a sealed body is destroyed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_destroyed(&self, slot: u64) -> Result<bool, Error> {
        Ok(matches!(self.messages.lock().read(slot)?, Slot::Destroyed))
    }

    /// Destroys message keys; when it returns they are gone from the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn destroy(&self, slots: &[u64], now_ms: i64) -> Result<(), Error> {
        self.messages.lock().destroy(slots, now_ms)
    }

    /// Message keys whose bytes are not what was written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn damaged(&self) -> Result<u64, Error> {
        let keys = self.messages.lock();
        let mut damaged = 0;
        for slot in 0..keys.slots() {
            damaged += u64::from(matches!(keys.read(slot)?, Slot::Damaged));
        }
        Ok(damaged)
    }

    /// Encrypts the bodies of a block for sled, under a key that can be destroyed: sled never forgets a value by itself.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn seal_block(&self, first: u64, packed: &[u8]) -> Result<Vec<u8>, Error> {
        // Not synced: a block that cannot be opened after a crash is read from the journal.
        let (slot, seeds) = self.blocks.lock().append(&[first], false)?;
        let seed = seeds.first().ok_or(Error::Corrupt("a seed too few"))?;
        let key = self.key_of_block(seed, first);
        Ok([slot.to_le_bytes().as_slice(), &encrypt(&key, packed, &first.to_le_bytes())?].concat())
    }

    /// Opens what [`Vault::seal_block`] made; `None` if that cannot be done: the journal has it.
    pub(super) fn open_block(&self, first: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (slot, cipher) = sealed.split_first_chunk::<8>()?;
        let Slot::Live(seed) = self.blocks.lock().read(u64::from_le_bytes(*slot)).ok()? else { return None };
        decrypt(&self.key_of_block(&seed, first), cipher, &first.to_le_bytes())
    }

    /// The slot with the key of what [`Vault::seal_block`] made.
    pub(super) fn slot_of_block(sealed: &[u8]) -> Option<u64> {
        sealed.split_first_chunk::<8>().map(|(slot, _)| u64::from_le_bytes(*slot))
    }

    /// Destroys the key of a block as it was sealed before.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn forget_block(&self, slot: u64, now_ms: i64) -> Result<(), Error> {
        self.blocks.lock().destroy(&[slot], now_ms)
    }

    /// Destroys the keys of all blocks but of these: what an older sled has under them cannot be read any more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn forget_blocks_but(&self, kept: &BTreeSet<u64>, now_ms: i64) -> Result<(), Error> {
        self.blocks.lock().destroy_but(kept, now_ms)
    }

    /// Overwrites message keys from a slot on, with which nothing is sealed that was kept; gives how many.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn empty_from(&self, slot: u64) -> Result<u64, Error> {
        self.messages.lock().empty_from(slot)
    }

    fn key_of_block(&self, seed: &Seed, first: u64) -> Zeroizing<[u8; 32]> {
        mac(&self.block_key, &[seed.as_ref(), &first.to_le_bytes()])
    }
}

/// The keys of blocks can be spared: what sled has under them stands in the journal too.
fn disposable(error: Error) -> Error {
    match error {
        Error::Keys(words) => {
            Error::Keys(format!("{words}; it may be deleted together with the directory sled"))
        }
        other => other,
    }
}

/// What a ciphertext is bound to: it cannot be moved to another place of the archive, nor its signature be taken for content.
fn bound(seq: u64, digest: Digest, signed: bool) -> Vec<u8> {
    let what: &[u8] = if signed { b"liaison signed body" } else { b"liaison body" };
    [what, &seq.to_le_bytes(), &digest.0].concat()
}

fn encrypt(key: &[u8; 32], content: &[u8], bound_to: &[u8]) -> Result<Bytes, Error> {
    let mut nonce = [0; NONCE];
    OsRng.fill_bytes(&mut nonce);
    let cipher = XChaCha20Poly1305::new(key.into());
    let payload = Payload { msg: content, aad: bound_to };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
    let sealed = sealed.map_err(|_| Error::Corrupt("a body that cannot be encrypted"))?;
    Ok(Bytes::from([nonce.as_slice(), &sealed].concat()))
}

fn decrypt(key: &[u8; 32], sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: bound_to }).ok()
}
