//! The body of a record: the received bytes, in the form in which they may lie on disk.
//!
//! Head and body are apart because a body can go and the head must stay. The leaf of a record commits to its body by a
//! hash over salted or encrypted bytes, so that the hash tells nothing that could be guessed, and goes on holding when
//! the body is gone. This file opens no seal; see `vault`.

use bytes::Bytes;

use super::Error;
use crate::message::digest::Digest;

/// Bytes of salt before a plain body.
pub const SALT: usize = 16;

const PLAIN: u8 = 1;
const SEALED: u8 = 2;
const REDACTED: u8 = 3;

/// A body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// Nothing was kept: the message was rejected, or it is a note of the broker's own.
    #[default]
    None,
    /// The received bytes, behind a random salt.
    Plain(Bytes),
    /// Encrypted under a key of its own: nonce, then XChaCha20-Poly1305.
    Sealed {
        /// Where the key is.
        slot: u64,
        /// Nonce and ciphertext.
        cipher: Bytes,
    },
    /// It was plain and is gone; this is what it was committed by.
    Redacted(Digest),
}

impl Body {
    /// A plain body.
    #[must_use]
    pub fn plain(salt: [u8; SALT], payload: &[u8]) -> Self {
        Self::Plain(Bytes::from([salt.as_slice(), payload].concat()))
    }

    /// Length of what was received, as far as it can be known; of a sealed body with nonce and tag.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::None | Self::Redacted(_) => 0,
            Self::Plain(bytes) => bytes.len() - SALT,
            Self::Sealed { cipher, .. } => cipher.len(),
        }
    }

    /// True if there is nothing to open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot of the key, if it is sealed.
    #[must_use]
    pub fn slot(&self) -> Option<u64> {
        match self {
            Self::Sealed { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// Appends the bytes on disk.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Plain(bytes) => {
                to.push(PLAIN);
                to.extend_from_slice(bytes);
            }
            Self::Sealed { slot, cipher } => {
                to.push(SEALED);
                to.extend_from_slice(&slot.to_le_bytes());
                to.extend_from_slice(cipher);
            }
            Self::Redacted(commitment) => {
                to.push(REDACTED);
                to.extend_from_slice(&commitment.0);
            }
        }
    }

    /// Reads the bytes on disk; they are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if no body looks like this.
    pub(super) fn read(bytes: &Bytes) -> Result<Self, Error> {
        let bad = Error::Corrupt("a body that cannot be read");
        let Some(kind) = bytes.first() else { return Ok(Self::None) };
        let rest = bytes.slice(1..);
        match *kind {
            PLAIN if rest.len() >= SALT => Ok(Self::Plain(rest)),
            SEALED => {
                let slot = rest.first_chunk::<8>().ok_or(bad)?;
                Ok(Self::Sealed { slot: u64::from_le_bytes(*slot), cipher: rest.slice(8..) })
            }
            REDACTED => rest.as_ref().try_into().map(|hash| Self::Redacted(Digest(hash))).map_err(|_| bad),
            _ => Err(bad),
        }
    }

    /// The body that is left when this one is taken away.
    #[must_use]
    pub(super) fn redacted(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.len() + 1 + SALT);
        self.write(&mut bytes);
        Self::Redacted(commitment(&bytes))
    }
}

/// What the leaf of a record holds of its body: SHA-256 of the bytes on disk, or what is left of it.
#[must_use]
pub fn commitment(body: &[u8]) -> Digest {
    match body.split_first() {
        Some((&REDACTED, hash)) if hash.len() == 32 => {
            let mut kept = [0; 32];
            kept.copy_from_slice(hash);
            Digest(kept)
        }
        _ => Digest::of(body),
    }
}

/// True if these bytes on disk are those of a plain body.
#[must_use]
pub(super) fn is_plain(body: &[u8]) -> bool {
    body.first() == Some(&PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_and_keep_their_commitment_when_they_go() {
        let bodies = [
            Body::None,
            Body::plain([7; SALT], b"an invented report"),
            Body::Sealed { slot: 9, cipher: Bytes::from_static(b"noncenoncenoncenoncenonceciphertext") },
            Body::Redacted(Digest::of(b"x")),
        ];
        for body in bodies {
            let mut bytes = Vec::new();
            body.write(&mut bytes);
            assert_eq!(Body::read(&Bytes::from(bytes.clone())).expect("reads"), body);
        }
        let plain = Body::plain([7; SALT], b"an invented report");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        plain.write(&mut before);
        plain.redacted().write(&mut after);
        assert_eq!(commitment(&before), commitment(&after));
        assert!(Body::read(&Bytes::from_static(&[9, 1])).is_err());
    }
}
