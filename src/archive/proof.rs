//! A proof that a record is in the archive, in one file that needs no archive to be checked (C2SP tlog-proof).
//!
//! The file holds the record's head and the commitment to its body in the `extra` line, which is not signed: they count
//! because the leaf that they make leads to the root that the log signed. The body itself is left out unless asked for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Error;
use super::checkpoint::{Checkpoint, number};
use super::note::{Note, Verifier};
use super::tree::{hash_record, is_included};
use crate::message::digest::Digest;

const FIRST: &str = "c2sp.org/tlog-proof@v1";
/// No file is larger: a body of 256 KiB, a head with its ledger, in base64 twice.
const MOST: usize = 4 << 20;

/// What the leaf is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Head of the record as it is on disk.
    pub head: Vec<u8>,
    /// SHA-256 of the body as it is on disk.
    pub commitment: Digest,
    /// That body, if the proof is to show it.
    pub body: Option<Vec<u8>>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The leaf.
    pub leaf: Leaf,
    /// Which leaf of the tree, from 0.
    pub index: u64,
    /// From the leaf to the root.
    pub path: Vec<Digest>,
    /// The signed checkpoint.
    pub note: Note,
}

/// `extra`, as JSON: a reader in any language can take it apart.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    head: String,
    commitment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Proof {
    /// Reads a file. What it says counts only after [`Proof::verify`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what is wrong.
    pub fn parse(file: &str) -> Result<Self, Error> {
        let bad = || Error::Corrupt("not a proof: it must be as C2SP tlog-proof says, with our extra line");
        if file.len() > MOST {
            return Err(Error::Corrupt("a proof beyond 4 MiB"));
        }
        let (own, note) = file.split_once("\n\n").ok_or_else(bad)?;
        let mut lines = own.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(bad());
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or_else(bad)?;
        let extra: Extra = serde_json::from_slice(&decoded(extra)?).map_err(|_| bad())?;
        let index =
            lines.next().and_then(|line| line.strip_prefix("index ")).and_then(number).ok_or_else(bad)?;
        let path = lines.map(digest).collect::<Result<Vec<_>, _>>()?;
        let leaf = Leaf {
            head: decoded(&extra.head)?,
            commitment: digest(&extra.commitment)?,
            body: extra.body.map(|body| decoded(&body)).transpose()?,
        };
        Ok(Self { leaf, index, path, note: Note::parse(note)? })
    }

    /// Verifies everything: the log's signature, the path, and the commitment to the body if that is shown. Gives the
    /// checkpoint that vouches for the leaf.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what does not hold.
    pub fn verify(&self, log: &Verifier) -> Result<Checkpoint, Error> {
        self.note.verify(log)?;
        let checkpoint = Checkpoint::parse(self.note.text())?;
        let leaf = hash_record(&self.leaf.head, &self.leaf.commitment)?;
        if !is_included(leaf, self.index, checkpoint.head.size, &self.path, checkpoint.head.root) {
            return Err(Error::Corrupt("the record is not in the tree that the checkpoint signs"));
        }
        if self.leaf.body.as_ref().is_some_and(|body| Digest::of(body) != self.leaf.commitment) {
            return Err(Error::Corrupt("the content is not the one that the record commits to"));
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = Extra {
            head: STANDARD.encode(&self.leaf.head),
            commitment: STANDARD.encode(self.leaf.commitment.0),
            body: self.leaf.body.as_ref().map(|body| STANDARD.encode(body)),
        };
        let extra = serde_json::to_vec(&extra).map_err(|_| fmt::Error)?;
        writeln!(f, "{FIRST}\nextra {}\nindex {}", STANDARD.encode(extra), self.index)?;
        self.path.iter().try_for_each(|node| writeln!(f, "{}", STANDARD.encode(node.0)))?;
        write!(f, "\n{}", self.note)
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::Corrupt("a proof with bad base64"))
}

fn digest(text: &str) -> Result<Digest, Error> {
    let bytes =
        decoded(text)?.try_into().map_err(|_| Error::Corrupt("a proof with a hash that is not 32 bytes"))?;
    Ok(Digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::note::{KeyName, Kind, Signer};
    use crate::archive::tree::{Head, Tree};
    use crate::message::time;

    fn proof(with_body: bool) -> (Proof, Signer) {
        let body = b"salt and an invented report".to_vec();
        let commitment = Digest::of(&body);
        let mut tree = Tree::default();
        for number in 0..100_u8 {
            tree.push(hash_record(&[number], &commitment).unwrap());
        }
        let signer = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[1; 32]);
        let head = Head { size: 100, root: tree.root() };
        let at = time::parse("2026-03-02T10:00:00Z").unwrap();
        let checkpoint = Checkpoint::new(signer.verifier().name().clone(), head, at);
        let mut note = Note::new(checkpoint.text()).unwrap();
        note.add(signer.sign(note.text(), 0));
        let path = tree.inclusion(41, 100, |_| unreachable!("no full tile")).unwrap();
        let leaf = Leaf { head: vec![41], commitment, body: with_body.then_some(body) };
        (Proof { leaf, index: 41, path, note }, signer)
    }

    #[test]
    fn a_proof_holds_by_the_file_alone() {
        for with_body in [false, true] {
            let (proof, signer) = proof(with_body);
            let read = Proof::parse(&proof.to_string()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.verify(signer.verifier()).unwrap().head.size, 100);
            let stranger = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[2; 32]);
            assert!(read.verify(stranger.verifier()).is_err());
        }
    }

    /// Whatever is changed in the file, it proves nothing any more, or still the same.
    #[test]
    fn no_changed_byte_proves_anything_else() {
        let (proof, signer) = proof(true);
        let file = proof.to_string().into_bytes();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let read = std::str::from_utf8(&changed).ok().and_then(|text| Proof::parse(text).ok());
            let holds = read.filter(|read| read.verify(signer.verifier()).is_ok());
            assert!(holds.is_none(), "byte {at}");
        }
        for end in 0..file.len() {
            let text = String::from_utf8_lossy(&file[..end]).into_owned();
            assert!(
                Proof::parse(&text).and_then(|read| read.verify(signer.verifier())).is_err(),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn parts_of_other_proofs_do_not_fit() {
        let (proof, signer) = proof(true);
        let wrong = [
            Proof { index: 40, ..proof.clone() },
            Proof { path: proof.path[1..].to_vec(), ..proof.clone() },
            Proof { leaf: Leaf { head: vec![40], ..proof.leaf.clone() }, ..proof.clone() },
            Proof { leaf: Leaf { body: Some(b"another".to_vec()), ..proof.leaf.clone() }, ..proof.clone() },
        ];
        for wrong in wrong {
            assert!(wrong.verify(signer.verifier()).is_err());
        }
    }
}
