//! What a witness does before it signs: the log must still begin with everything that the witness saw before.
//!
//! A log that shows two parties two histories, or goes back to an older one, is found out here, because both cannot begin
//! with the same. Keeps its memory in one file; speaks to nobody.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::Error;
use super::checkpoint::Checkpoint;
use super::note::{Kind, Note, Signature, Signer, Verifier};
use super::tree::{self, Head, is_consistent};
use crate::message::digest::Digest;

/// Why a witness does not sign.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The log has fewer records than before.
    #[error(
        "SPLIT VIEW: the log shows {now} records, but this witness has signed {before}: it was rolled back, or shows others \
         something else. Nothing was signed; keep the state file, it is the evidence"
    )]
    Rolled {
        /// Records when the witness last signed.
        before: u64,
        /// Records that the log shows.
        now: u64,
    },
    /// The log does not begin with what was signed before.
    #[error(
        "SPLIT VIEW: the log with {now} records does not begin with the {before} records that this witness has signed. \
         Nothing was signed; keep the state file, it is the evidence"
    )]
    Split {
        /// Records when the witness last signed.
        before: u64,
        /// Records that the log shows.
        now: u64,
    },
    /// The checkpoint is not the log's, or a file is not what it must be.
    #[error("{0}")]
    Unfit(#[from] Error),
}

/// A witness with its key and what it saw last.
#[derive(Debug)]
pub struct Witness {
    signer: Signer,
    log: Verifier,
    last: Option<Checkpoint>,
}

impl Witness {
    /// A witness of a log that last signed what is in the state file, if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the keys are for another use, or the state is of another log. [`Error::Io`].
    pub fn open(signer: Signer, log: Verifier, state: &Path) -> Result<Self, Error> {
        if signer.verifier().kind() != Kind::Witness || log.kind() != Kind::Log {
            return Err(Error::Corrupt(
                "a witness needs a key of its own for cosignatures, and the log's key",
            ));
        }
        let last = match std::fs::read_to_string(state) {
            Ok(text) => Some(Checkpoint::open(&text, &log)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::at(state, error)),
        };
        if last.as_ref().is_some_and(|(_, note)| note.verify(signer.verifier()).is_err()) {
            return Err(Error::Corrupt("a state file that this witness has not signed"));
        }
        Ok(Self { signer, log, last: last.map(|(checkpoint, _)| checkpoint) })
    }

    /// Records when it last signed: from there the log must prove that it only grew.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.head.size)
    }

    /// Signs a checkpoint that the log gave, if it only grew since the last one, and writes that down first. Gives what it
    /// signed and the signature.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was signed then.
    pub fn sign(
        &mut self,
        note: &str,
        path: &[Digest],
        seconds: u64,
        state: &Path,
    ) -> Result<(Checkpoint, Signature), Refusal> {
        let (checkpoint, mut note) = Checkpoint::open(note, &self.log)?;
        if checkpoint.origin != *self.log.name() {
            return Err(Refusal::Unfit(Error::Corrupt("a checkpoint of another log")));
        }
        let empty = Head { size: 0, root: tree::root_of(&[]) };
        let old = self.last.as_ref().map_or(empty, |last| last.head);
        let (before, now) = (old.size, checkpoint.head.size);
        if now < before {
            return Err(Refusal::Rolled { before, now });
        }
        if !is_consistent(old, checkpoint.head, path) {
            return Err(Refusal::Split { before, now });
        }
        let signature = self.signer.sign(note.text(), seconds);
        note.add(signature.clone());
        write(state, &note)?;
        self.last = Some(checkpoint.clone());
        Ok((checkpoint, signature))
    }
}

/// Remembered for good before anybody hears of it.
fn write(state: &Path, note: &Note) -> Result<(), Error> {
    let mut fresh = state.as_os_str().to_owned();
    fresh.push(".new");
    let write = || {
        let mut new = File::create(&fresh)?;
        write!(new, "{note}")?;
        new.sync_all()?;
        std::fs::rename(&fresh, state)?;
        let parent = state.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    write().map_err(|error| Error::at(state, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::note::KeyName;
    use crate::archive::tree::{Tree, hash_leaf};
    use crate::message::time;

    struct Log {
        signer: Signer,
        tree: Tree,
    }

    impl Log {
        fn new(records: u8) -> Self {
            let signer = Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[1; 32]);
            let mut tree = Tree::default();
            for number in 0..records {
                tree.push(hash_leaf(&[&[number]]));
            }
            Self { signer, tree }
        }

        fn push(&mut self, leaf: &[u8]) {
            self.tree.push(hash_leaf(&[leaf]));
        }

        fn checkpoint(&self) -> String {
            let head = Head { size: self.tree.size(), root: self.tree.root() };
            let at = time::parse("2026-03-02T10:00:00Z").unwrap();
            let checkpoint = Checkpoint::new(self.signer.verifier().name().clone(), head, at);
            let mut note = Note::new(checkpoint.text()).unwrap();
            note.add(self.signer.sign(note.text(), 0));
            note.to_string()
        }

        fn path(&self, old: u64) -> Vec<Digest> {
            self.tree.consistency(old, self.tree.size(), |_| unreachable!("no full tile")).unwrap()
        }
    }

    fn witness(state: &Path) -> Witness {
        let signer = Signer::new(KeyName::parse("de-bpol").unwrap(), Kind::Witness, &[2; 32]);
        Witness::open(signer, Log::new(0).signer.verifier().clone(), state).unwrap()
    }

    #[test]
    fn a_log_that_only_grows_is_signed_again_and_again_across_restarts() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        let mut log = Log::new(5);
        let (checkpoint, signature) = witness(&state).sign(&log.checkpoint(), &[], 100, &state).unwrap();
        let key = witness(&state).signer.verifier().clone();
        assert_eq!(key.verify(&checkpoint.text(), &signature).unwrap(), Some(100));
        (0..3).for_each(|_| log.push(b"more"));
        let mut again = witness(&state);
        assert_eq!(again.seen(), 5);
        assert_eq!(again.sign(&log.checkpoint(), &log.path(5), 101, &state).unwrap().0.head.size, 8);
        assert_eq!(
            witness(&state).sign(&log.checkpoint(), &[], 102, &state).unwrap().0.head.size,
            8,
            "the same"
        );
    }

    #[test]
    fn another_history_is_refused_and_the_evidence_stays() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        let log = Log::new(5);
        witness(&state).sign(&log.checkpoint(), &[], 100, &state).unwrap();
        let evidence = std::fs::read(&state).unwrap();
        let (mut other, older) = (Log::new(4), Log::new(4));
        other.push(b"another");
        let refused = |log: &Log, path: &[Digest]| witness(&state).sign(&log.checkpoint(), path, 101, &state);
        assert!(matches!(refused(&other, &[]), Err(Refusal::Split { before: 5, now: 5 })));
        assert!(matches!(refused(&older, &[]), Err(Refusal::Rolled { before: 5, now: 4 })));
        other.push(b"and more");
        assert!(matches!(refused(&other, &other.path(5)), Err(Refusal::Split { before: 5, now: 6 })));
        let words = refused(&older, &[]).unwrap_err().to_string();
        assert!(words.starts_with("SPLIT VIEW"), "{words}");
        assert_eq!(std::fs::read(&state).unwrap(), evidence);
    }

    #[test]
    fn what_the_log_did_not_sign_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        let log = Log::new(5);
        let stranger =
            Log { signer: Signer::new(KeyName::parse("liaison-1").unwrap(), Kind::Log, &[9; 32]), ..log };
        let signed = witness(&state).sign(&stranger.checkpoint(), &[], 100, &state);
        assert!(matches!(signed, Err(Refusal::Unfit(_))));
        assert!(!state.exists());
        std::fs::write(&state, stranger.checkpoint()).unwrap();
        let signer = Signer::new(KeyName::parse("de-bpol").unwrap(), Kind::Witness, &[2; 32]);
        assert!(Witness::open(signer, Log::new(0).signer.verifier().clone(), &state).is_err());
    }
}
