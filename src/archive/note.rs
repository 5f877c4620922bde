//! Signed notes (C2SP signed-note): text, a blank line, signatures a line. Any tool that knows the format can check them.
//!
//! Two kinds of signature are known: that of a log (Ed25519, 0x01) and that of a witness (cosignature/v1, 0x04), which also
//! says when. Nothing in a note counts before a known key has verified. What the text means is not known here.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use super::Error;
use crate::message::digest::Digest;

/// No note of ours is larger; 64 signatures of witnesses are 8 KiB.
pub const MOST_BYTES: usize = 64 << 10;
/// More signatures are refused; the format asks for 16 at least.
const MOST_SIGNATURES: usize = 128;
/// What a signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";
/// What a signing key's text begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Name of a key: not empty, without spaces, plus signs and control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// Takes the text if it is a name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] otherwise.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > 255 || text.contains(bad) {
            return Err(Error::Corrupt("a key name that is empty, too long or has a space or a plus sign"));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs, and by which byte the format knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A log signs its own checkpoints.
    Log = 0x01,
    /// A witness signs that it saw a checkpoint, and when (C2SP tlog-cosignature).
    Witness = 0x04,
}

impl Kind {
    fn of(byte: u8) -> Result<Self, Error> {
        match byte {
            0x01 => Ok(Self::Log),
            0x04 => Ok(Self::Witness),
            _ => Err(Error::Corrupt("a key that is neither Ed25519 (0x01) nor cosignature/v1 (0x04)")),
        }
    }
}

/// The public half of a key, `<name>+<id>+<base64 of kind and key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: KeyName,
    id: [u8; 4],
    kind: Kind,
    key: VerifyingKey,
}

impl Verifier {
    fn new(name: KeyName, kind: Kind, key: VerifyingKey) -> Self {
        let id = key_id(&name, kind, &key);
        Self { name, id, kind, key }
    }

    /// Reads a verifier key.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: not one, of another kind, with an id that is not its own, or a key that proves nothing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = Error::Corrupt("not a verifier key: <name>+<8 hex digits>+<base64>");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad);
        };
        let bytes = STANDARD.decode(key).map_err(|_| bad)?;
        let (kind, key) = bytes.split_first().ok_or(Error::Corrupt("a verifier key without a key"))?;
        let kind = Kind::of(*kind)?;
        let key =
            <&[u8; 32]>::try_from(key).map_err(|_| Error::Corrupt("an Ed25519 key that is not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| Error::Corrupt("not an Ed25519 key"))?;
        if key.is_weak() {
            return Err(Error::Corrupt("a weak Ed25519 key: everybody can sign for it"));
        }
        let verifier = Self::new(KeyName::parse(name)?, kind, key);
        if hex(&verifier.id) != id {
            return Err(Error::Corrupt("a verifier key whose id is not that of its name and key"));
        }
        Ok(verifier)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this signature says that it is by this key.
    #[must_use]
    pub fn claims(&self, signature: &Signature) -> bool {
        (&signature.name, signature.id) == (&self.name, self.id)
    }

    /// Verifies one signature over a text. Gives the time that a witness says, in Unix seconds.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not this key's or does not hold.
    pub fn verify(&self, text: &str, signature: &Signature) -> Result<Option<u64>, Error> {
        let bad = || Error::Corrupt("a signature that does not hold");
        if !self.claims(signature) {
            return Err(Error::Corrupt("a signature by another key"));
        }
        let (time, bytes) = match self.kind {
            Kind::Log => (None, signature.bytes.as_slice()),
            Kind::Witness => {
                let (time, bytes) = signature.bytes.split_first_chunk::<8>().ok_or_else(bad)?;
                (Some(u64::from_be_bytes(*time)), bytes)
            }
        };
        if time.is_some_and(|time| i64::try_from(time).is_err()) {
            return Err(bad());
        }
        let bytes = <&[u8; 64]>::try_from(bytes).map_err(|_| bad())?;
        let signed = ed25519_dalek::Signature::from_bytes(bytes);
        self.key.verify_strict(message(text, time).as_bytes(), &signed).map_err(|_| bad())?;
        Ok(time)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex(&self.id), encoded(self.kind, self.key.as_bytes()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A whole key. The secret half is wiped when it is dropped, and never shown.
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl Signer {
    /// A key from its seed.
    #[must_use]
    pub fn new(name: KeyName, kind: Kind, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        Self { verifier: Verifier::new(name, kind, key.verifying_key()), key }
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<base64 of kind and seed>`, which other tools for notes write too.
    ///
    /// # Errors
    /// [`Error::Corrupt`], without a word of what was read.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::Corrupt("not a signing key: PRIVATE+KEY+<name>+<8 hex digits>+<base64>");
        let mut parts = text.strip_prefix(PRIVATE).ok_or_else(bad)?.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let bytes = STANDARD.decode(key).map_err(|_| bad())?;
        let (kind, seed) = bytes.split_first().ok_or_else(bad)?;
        let signer = Self::new(KeyName::parse(name)?, Kind::of(*kind)?, seed.try_into().map_err(|_| bad())?);
        if hex(&signer.verifier.id) == id { Ok(signer) } else { Err(bad()) }
    }

    /// The secret text that [`Signer::parse`] reads: for its key file and nothing else.
    pub(super) fn secret(&self) -> String {
        let Verifier { name, id, kind, .. } = &self.verifier;
        format!("{PRIVATE}{name}+{}+{}", hex(id), encoded(*kind, self.key.as_bytes()))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a text; a witness also says that it is `seconds` since 1970.
    #[must_use]
    pub fn sign(&self, text: &str, seconds: u64) -> Signature {
        let time = (self.verifier.kind == Kind::Witness).then_some(seconds);
        let signed = self.key.sign(message(text, time).as_bytes()).to_bytes();
        let time = time.map(u64::to_be_bytes);
        let bytes = time.iter().flatten().chain(&signed).copied().collect();
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// A signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not one.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let bad = || Error::Corrupt("not a signature line: em dash, name, base64");
        let rest = line.strip_suffix('\n').unwrap_or(line).strip_prefix(DASH).ok_or_else(bad)?;
        let (name, base64) = rest.split_once(' ').ok_or_else(bad)?;
        let bytes = STANDARD.decode(base64).map_err(|_| bad())?;
        let (id, bytes) =
            bytes.split_first_chunk::<4>().filter(|(_, bytes)| !bytes.is_empty()).ok_or_else(bad)?;
        Ok(Self { name: KeyName::parse(name)?, id: *id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode([&self.id, self.bytes.as_slice()].concat()))
    }
}

/// A text and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A text that nobody has signed yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: it does not end in a newline or has another control character.
    pub fn new(text: String) -> Result<Self, Error> {
        if !text.ends_with('\n') || text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(Error::Corrupt("the text of a note must be lines without control characters"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note. What it says counts only after [`Note::verify`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what is wrong.
    pub fn parse(note: &str) -> Result<Self, Error> {
        if note.len() > MOST_BYTES {
            return Err(Error::Corrupt("a note beyond 64 KiB"));
        }
        let end =
            note.rfind("\n\n").ok_or(Error::Corrupt("a note without a blank line before its signatures"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        if !lines.ends_with('\n') {
            return Err(Error::Corrupt("a note whose last line is cut, or that nobody signed"));
        }
        let mut read = Self::new(text.to_owned())?;
        for line in lines.split_terminator('\n') {
            if read.signatures.len() == MOST_SIGNATURES {
                return Err(Error::Corrupt("a note with more signatures than are read"));
            }
            read.signatures.push(Signature::parse(line)?);
        }
        Ok(read)
    }

    /// The text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, whoever made them.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature; an earlier one by the same key goes.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.retain(|kept| (&kept.name, kept.id) != (&signature.name, signature.id));
        self.signatures.push(signature);
    }

    /// Verifies every signature that says it is by this key, of which there must be one. Gives the latest time that a witness
    /// says, in Unix seconds.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: there is none, or one does not hold.
    pub fn verify(&self, by: &Verifier) -> Result<Option<u64>, Error> {
        let mut times = Vec::new();
        for signature in self.signatures.iter().filter(|signature| by.claims(signature)) {
            times.push(by.verify(&self.text, signature)?);
        }
        times.into_iter().max().ok_or(Error::Corrupt("the note is not signed by this key"))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| write!(f, "{signature}"))
    }
}

/// What is signed: the text, or with a time what C2SP tlog-cosignature puts before it.
fn message(text: &str, time: Option<u64>) -> String {
    time.map_or_else(|| text.to_owned(), |time| format!("cosignature/v1\ntime {time}\n{text}"))
}

/// The first four bytes of SHA-256 of name, newline, kind and key.
fn key_id(name: &KeyName, kind: Kind, key: &VerifyingKey) -> [u8; 4] {
    let Digest([a, b, c, d, ..]) =
        Digest::of(&[name.as_str().as_bytes(), &[b'\n', kind as u8], key.as_bytes()].concat());
    [a, b, c, d]
}

fn encoded(kind: Kind, key: &[u8; 32]) -> String {
    STANDARD.encode([&[kind as u8], key.as_slice()].concat())
}

fn hex(id: &[u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(*id))
}

#[cfg(test)]
mod tests;
