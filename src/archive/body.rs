//! The body of a record: the received bytes, in the form in which they may lie on disk.
//!
//! Head and body are apart because a body can go and the head must stay. The leaf of a record commits to its body by a
//! hash over salted or encrypted bytes, so that the hash tells nothing that could be guessed, and goes on holding when
//! the body is gone. This file opens no seal; see `vault`.

use std::borrow::Cow;

use bytes::Bytes;

use super::Error;
use crate::message::digest::Digest;

/// Bytes of salt before a plain body.
pub const SALT: usize = 16;

const PLAIN: u8 = 1;
const SEALED: u8 = 2;
const REDACTED: u8 = 3;
const SIGNED_PLAIN: u8 = 4;
const SIGNED_SEALED: u8 = 5;

/// What was received of a message. Its signature is kept with it and goes with it: over erased content it would prove a
/// guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The received bytes.
    pub payload: Bytes,
    /// The signature over them, verified when they were received.
    pub signature: Option<String>,
}

impl Content {
    /// The bytes of a body: the payload, behind the signature with its length as `u16` if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the signature is longer than any.
    pub(super) fn pack<'a>(payload: &'a [u8], signature: Option<&str>) -> Result<Cow<'a, [u8]>, Error> {
        let Some(signature) = signature else { return Ok(Cow::Borrowed(payload)) };
        let len = u16::try_from(signature.len()).map_err(|_| Error::Corrupt("a signature too long"))?;
        Ok(Cow::Owned([&len.to_le_bytes(), signature.as_bytes(), payload].concat()))
    }

    /// The other way round; they are shared, not copied.
    pub(super) fn unpack(bytes: Bytes, signed: bool) -> Option<Self> {
        if !signed {
            return Some(Self { payload: bytes, signature: None });
        }
        let start = 2 + usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
        let signature = std::str::from_utf8(bytes.get(2..start)?).ok()?.to_owned();
        Some(Self { payload: bytes.slice(start..), signature: Some(signature) })
    }
}

/// A body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// Nothing was kept: the message was rejected, or it is a note of the broker's own.
    #[default]
    None,
    /// What was received, behind a random salt.
    Plain {
        /// Salt and content.
        bytes: Bytes,
        /// Whether a signature stands before the payload.
        signed: bool,
    },
    /// Encrypted under a key of its own: nonce, then XChaCha20-Poly1305.
    Sealed {
        /// Where the key is.
        slot: u64,
        /// Nonce and ciphertext.
        cipher: Bytes,
        /// Whether a signature stands before the payload.
        signed: bool,
    },
    /// It was plain and is gone; this is what it was committed by.
    Redacted(Digest),
}

impl Body {
    /// A plain body of packed content.
    #[must_use]
    pub fn plain(salt: [u8; SALT], content: &[u8], signed: bool) -> Self {
        Self::Plain { bytes: Bytes::from([salt.as_slice(), content].concat()), signed }
    }

    /// What a plain body holds.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Plain { bytes, signed } if bytes.len() >= SALT => {
                Content::unpack(bytes.slice(SALT..), *signed)
            }
            _ => None,
        }
    }

    /// Length of what was received, its signature included; of a sealed body with nonce and tag.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::None | Self::Redacted(_) => 0,
            Self::Plain { bytes, .. } => bytes.len() - SALT,
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
            Self::Plain { bytes, signed } => {
                to.push(if *signed { SIGNED_PLAIN } else { PLAIN });
                to.extend_from_slice(bytes);
            }
            Self::Sealed { slot, cipher, signed } => {
                to.push(if *signed { SIGNED_SEALED } else { SEALED });
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
            PLAIN | SIGNED_PLAIN if rest.len() >= SALT => {
                Ok(Self::Plain { bytes: rest, signed: *kind == SIGNED_PLAIN })
            }
            SEALED | SIGNED_SEALED => {
                let slot = u64::from_le_bytes(*rest.first_chunk().ok_or(bad)?);
                Ok(Self::Sealed { slot, cipher: rest.slice(8..), signed: *kind == SIGNED_SEALED })
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
    matches!(body.first(), Some(&(PLAIN | SIGNED_PLAIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_and_keep_their_commitment_when_they_go() {
        let bodies = [
            Body::None,
            Body::plain([7; SALT], b"an invented report", false),
            Body::plain([7; SALT], b"\x01\x00san invented report", true),
            Body::Sealed {
                slot: 9,
                cipher: Bytes::from_static(b"noncenoncenoncenoncenonceciphertext"),
                signed: false,
            },
            Body::Sealed {
                slot: 9,
                cipher: Bytes::from_static(b"noncenoncenoncenoncenonceciphertext"),
                signed: true,
            },
            Body::Redacted(Digest::of(b"x")),
        ];
        for body in bodies {
            let mut bytes = Vec::new();
            body.write(&mut bytes);
            assert_eq!(Body::read(&Bytes::from(bytes.clone())).expect("reads"), body);
        }
        let plain = Body::plain([7; SALT], b"an invented report", false);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        plain.write(&mut before);
        plain.redacted().write(&mut after);
        assert_eq!(commitment(&before), commitment(&after));
        assert!(Body::read(&Bytes::from_static(&[9, 1])).is_err());
    }

    #[test]
    fn a_signature_stands_before_its_payload_and_comes_back() {
        for signature in [None, Some("a..b")] {
            let packed = Content::pack(b"{}", signature).expect("packs");
            let content = Body::plain([7; SALT], &packed, signature.is_some()).content().expect("plain");
            assert_eq!((&content.payload[..], content.signature.as_deref()), (&b"{}"[..], signature));
        }
        for cut in [&b""[..], b"\x05", b"\x05\x00ab", b"\x01\x00\xff"] {
            assert!(Content::unpack(Bytes::from_static(cut), true).is_none(), "{cut:?}");
        }
    }
}
