//! Checkpoints over the audit log: the same key, the origin `<name>/audit`, every minute in which something was noted.
//!
//! The tree is built beside the work after the start, from the log itself, and then follows it. A log that does not agree with
//! what was signed of it before is never signed again, and the operator hears so.

use super::Signing;
use crate::archive;
use crate::archive::audit::Reader;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::notebook::Notebook;
use crate::archive::tree::{Frontier, Head};
use crate::message::time;

/// Entries that are read at once.
const PIECE: usize = 4_096;

/// The tree over the audit log as far as it was read, and what was signed of it.
#[derive(Debug)]
pub struct AuditTree {
    notebook: Notebook,
    tree: Frontier,
    /// What the latest checkpoint signs.
    signed: Option<Head>,
    /// True once the tree was as large as that and agreed.
    agreed: bool,
}

impl AuditTree {
    /// Reads what was signed before.
    pub fn open(notebook: Notebook, signing: &Signing) -> Result<Self, archive::Error> {
        let signed = match notebook.latest()? {
            Some(note) => {
                note.verify(signing.signer.verifier())?;
                Some(Checkpoint::parse(note.text())?.head)
            }
            None => None,
        };
        Ok(Self { notebook, tree: Frontier::default(), agreed: signed.is_none(), signed })
    }

    /// Reads on, and signs if there is more than was signed.
    pub fn sign(&mut self, log: &Reader, signing: &Signing) -> Result<(), archive::Error> {
        let head = log.head();
        while self.tree.size() < head {
            let leaves = log.leaves(self.tree.size(), PIECE)?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                self.tree.push(leaf);
                let size = self.tree.size();
                let due = self.signed.filter(|signed| !self.agreed && signed.size == size);
                self.agreed |= due.is_some_and(|signed| signed == self.tree.head());
            }
        }
        if !self.agreed {
            return Err(archive::Error::Corrupt("the audit log is not the one that this broker has signed"));
        }
        if self.signed.map_or(0, |signed| signed.size) == self.tree.size() {
            return Ok(());
        }
        let origin = self.notebook.origin(signing.signer.verifier().name())?;
        let checkpoint = Checkpoint::new(origin, self.tree.head(), time::now());
        self.notebook.keep(&signing.note(&checkpoint)?)?;
        self.signed = Some(self.tree.head());
        Ok(())
    }
}
