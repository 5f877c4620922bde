//! One commit, in two steps: the frame is made, and it is kept. Between them nothing has happened that would have to be
//! undone, so whoever must first ask elsewhere whether this journal may be carried on here does it there.
//!
//! A frame of another instance is kept by the same second step.

use std::sync::Arc;

use super::filling::Pending;
use super::frame::{self, HEADER, Header};
use super::pack::Pack;
use super::record::{Draft, Record};
use super::seal::Full;
use super::vault::Fresh;
use super::{Act, Archive, Archived, Body, Error, owe, zone};
use crate::message::digest::Digest;
use crate::message::time;

/// A frame that is not kept yet.
#[derive(Debug)]
pub struct Prepared {
    pack: Arc<Pack>,
    leaves: Vec<Digest>,
    pub(super) records: Vec<Arc<Record>>,
    header: Header,
    bytes: Vec<u8>,
}

impl Prepared {
    /// The frame byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Archive {
    /// Keeps these in one frame, in this order. When it returns they are on stable storage.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Store`] the first time, [`Error::Poisoned`] ever after: the caller must stop giving
    /// receipts. What was on stable storage by then is found at the next start, and receipted when it comes again.
    pub fn commit(&mut self, drafts: Vec<Draft>) -> Result<Vec<Archived>, Error> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let prepared = self.prepare(drafts)?;
        self.keep(prepared)
    }

    /// Makes the frame that would hold these, which are not none. The seeds of sealed bodies are on stable storage; if
    /// the frame is never kept, they have sealed nothing.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn prepare(&mut self, drafts: Vec<Draft>) -> Result<Prepared, Error> {
        let now = time::now().as_millisecond();
        let first = self.journal.next();
        let fresh = (first..).zip(&drafts).map(|(seq, draft)| {
            let Draft { digest, payload, signature, seal, .. } = draft;
            Fresh { seq, digest: *digest, payload, signature: signature.as_deref(), seal: *seal }
        });
        let bodies = self.vault.bodies(&fresh.collect::<Vec<_>>())?;
        let records: Vec<Arc<Record>> = (first..)
            .zip(drafts.into_iter().zip(bodies))
            .map(|(seq, (draft, body))| Arc::new(Record::from_draft(draft, seq, now, body)))
            .collect();
        let pack = Arc::new(Pack::of(&records, self.vault.mask())?);
        let leaves = pack.leaves()?;
        let (header, bytes) = self.journal.encode(&pack, &leaves, now)?;
        Ok(Prepared { pack, leaves, records, header, bytes })
    }

    /// Keeps a frame. When it returns it is on stable storage.
    ///
    /// # Errors
    /// As [`Archive::commit`].
    pub fn keep(&mut self, prepared: Prepared) -> Result<Vec<Archived>, Error> {
        let Prepared { pack, leaves, records, header, bytes } = prepared;
        let place = self.journal.put(header, &bytes)?;
        let kept: Vec<(Archived, Option<u64>)> = records
            .into_iter()
            .map(|record| {
                let print = zone::print_of(&record);
                (owe(record, &mut self.feeds), print)
            })
            .collect();
        let tiles = self.reader.append(place, self.journal.segments(), &kept, &leaves);
        for (at, ((kept, print), tile)) in kept.iter().zip(tiles).enumerate() {
            let pending = Pending { kept: kept.clone(), print: *print, pack: Arc::clone(&pack), at, tile };
            if let Some(records) = self.filling.push(pending) {
                let sealed = self.sealer.seal(Full { records, tip: place.header.hash() });
                sealed.inspect_err(|_| self.journal.poison())?;
            }
        }
        Ok(kept.into_iter().map(|(kept, _)| kept).collect())
    }

    /// Keeps a frame that another instance committed, after it was checked as a start would check it: checksum, chain,
    /// sequence and Merkle root. Orders to erase that it holds are carried out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Diverged`]: nothing was written then. Else as [`Archive::commit`].
    pub fn follow(&mut self, bytes: Vec<u8>) -> Result<usize, Error> {
        let header = Header::read(&bytes).ok_or(Error::Corrupt("a replicated frame without a header"))?;
        let payload = bytes.get(HEADER..).unwrap_or_default();
        if !header.covers(payload) {
            return Err(Error::Corrupt("a replicated frame whose checksum does not hold"));
        }
        if header.first != self.journal.next() || header.prev != self.journal.head() {
            return Err(Error::Diverged(header.first));
        }
        let pack = Arc::new(frame::decode(&header, payload)?);
        let leaves = pack.leaves()?;
        let records: Vec<Arc<Record>> =
            pack.records(Some(self.vault.mask()))?.into_iter().map(Arc::new).collect();
        let now_ms = time::now().as_millisecond();
        for record in &records {
            // Seeds travel before their frame. One that did not come was erased in the meantime.
            if let Body::Sealed { slot, .. } = &record.body {
                self.vault.never_came(*slot, now_ms)?;
            }
        }
        let erases = records
            .iter()
            .any(|record| record.effects.iter().any(|effect| matches!(effect.act, Act::Erase { .. })));
        let count = records.len();
        self.keep(Prepared { pack, leaves, records, header, bytes })?;
        if erases {
            self.erase_ordered()?;
        }
        Ok(count)
    }
}
