//! Checkpoints (C2SP tlog-checkpoint): a signed note that says how many leaves the tree has and what its root is.
//!
//! Two extension lines of ours may follow: `time`, when it was made, and `chain`, the hash of the last frame. Signing needs
//! a key and a tree; when it is done and where it is written is the broker's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use super::note::{KeyName, Note, Verifier};
use super::tree::Head;
use crate::message::digest::Digest;
use crate::message::time::{self, Timestamp, rfc3339};

/// What a log says of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: KeyName,
    /// Size and root.
    pub head: Head,
    /// Lines behind the root, in order.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint made at this time.
    #[must_use]
    pub fn new(origin: KeyName, head: Head, at: Timestamp) -> Self {
        Self { origin, head, extensions: vec![format!("time {}", rfc3339(at))] }
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let body = text.strip_suffix('\n').ok_or(Error::Corrupt("a checkpoint whose last line is cut"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Error::Corrupt("a checkpoint must have origin, size and root, a line each"));
        };
        let size =
            number(size).ok_or(Error::Corrupt("a checkpoint's size must be a plain decimal number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).map(Digest);
        let root = root.ok_or(Error::Corrupt("a checkpoint's root must be 32 bytes in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(Error::Corrupt("a checkpoint with an empty line"));
        }
        if size == 0 && root != Digest::of(&[]) {
            return Err(Error::Corrupt("a checkpoint of an empty tree with the root of another"));
        }
        Ok(Self { origin: KeyName::parse(origin)?, head: Head { size, root }, extensions })
    }

    /// Reads a note and verifies the log's signature.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: no note, not signed by this key, no checkpoint.
    pub fn open(note: &str, log: &Verifier) -> Result<(Self, Note), Error> {
        let note = Note::parse(note)?;
        note.verify(log)?;
        Ok((Self::parse(note.text())?, note))
    }

    /// When the log made it, if it says so.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.extensions.iter().find_map(|line| time::parse(line.strip_prefix("time ")?))
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text =
            format!("{}\n{}\n{}\n", self.origin, self.head.size, STANDARD.encode(self.head.root.0));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A decimal number without sign and leading zeroes.
pub(super) fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::note::{Kind, Signer};

    fn checkpoint() -> Checkpoint {
        let at = time::parse("2026-03-02T10:00:00Z").unwrap();
        Checkpoint::new(KeyName::parse("liaison-1").unwrap(), Head { size: 7, root: Digest([9; 32]) }, at)
    }

    #[test]
    fn a_checkpoint_reads_as_it_was_written_and_nothing_else_does() {
        let text = checkpoint().text();
        let read = Checkpoint::parse(&text).unwrap();
        assert_eq!(read, checkpoint());
        assert_eq!(read.time(), time::parse("2026-03-02T10:00:00Z"));
        assert_eq!(read.text(), text);
        let root = STANDARD.encode([9; 32]);
        for bad in [
            format!("liaison-1\n07\n{root}\n"),
            format!("liaison-1\n+7\n{root}\n"),
            format!("liaison-1\n\n{root}\n"),
            format!("liaison-1\n7\n{root}"),
            format!("liaison-1\n7\n{root}\n\n"),
            format!("liaison-1\n7\n{}\n", &root[4..]),
            format!("\n7\n{root}\n"),
            format!("liaison-1\n0\n{root}\n"),
            format!("liaison-1\n18446744073709551616\n{root}\n"),
            "liaison-1\n7\n".to_owned(),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }

    /// Note and checkpoint as another implementation of the formats reads them.
    #[test]
    fn another_implementation_reads_and_verifies_our_checkpoints() {
        let signer = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[3; 32]);
        let mut note = Note::new(checkpoint().text()).unwrap();
        note.add(signer.sign(note.text(), 0));
        let witness = Signer::new(KeyName::parse("de-bpol").unwrap(), Kind::Witness, &[4; 32]);
        note.add(witness.sign(note.text(), 1_772_445_600));

        let verifier = signed_note::StandardVerifier::new(&signer.verifier().to_string()).unwrap();
        let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
        let (verified, unverified) = theirs.verify(&known).unwrap();
        assert_eq!((verified.len(), unverified.len()), (1, 1));
        let body = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
        assert_eq!((body.origin(), body.size(), body.hash().0), ("liaison-1", 7, [9; 32]));

        let read = Checkpoint::open(&note.to_string(), signer.verifier()).unwrap();
        assert_eq!(read.0, checkpoint());
        assert_eq!(read.1.verify(witness.verifier()).unwrap(), Some(1_772_445_600));
    }
}
