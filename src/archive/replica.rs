//! What instances of one archive tell each other beside frames: the seeds of sealed bodies, a word that says whether their
//! root keys are the same, and what an erasure must take away elsewhere.
//!
//! A seed opens nothing without the root key, which does not travel. How things travel is not known here.

use zeroize::Zeroizing;

use super::commit::Prepared;
use super::frame::Header;
use super::{Archive, Body, Error, journal};
use crate::message::digest::Digest;

/// Bytes of a seed as it travels: archive sequence, seed.
const COPY: usize = 8 + 32;

/// A seed as it travels.
pub struct SeedCopy {
    /// Its slot.
    pub slot: u64,
    /// Archive sequence and seed.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What the header of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Sequence of its first record.
    pub first: u64,
    /// Sequence of its last record.
    pub last: u64,
    /// Its place in the chain. It stays when a body is taken away.
    pub hash: Digest,
}

impl Seen {
    /// Looks at the header of a frame, and believes it.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn at(frame: &[u8]) -> Result<Self, Error> {
        let header = Header::read(frame).ok_or(Error::Corrupt("a replicated frame without a header"))?;
        Ok(Self { first: header.first, last: header.last(), hash: header.hash() })
    }
}

/// What orders to erase leave elsewhere.
#[derive(Debug, Default)]
pub struct Traces {
    /// Archive sequence of the last of these orders; 0 if there are none.
    pub upto: u64,
    /// Seeds that are destroyed here.
    pub slots: Vec<u64>,
    /// First sequences of frames from which a plain body was taken.
    pub frames: Vec<u64>,
}

impl Archive {
    /// The same for all archives under one root key.
    #[must_use]
    pub fn shared_word(&self) -> String {
        self.vault.word()
    }

    /// The seeds of the sealed bodies in a frame.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn seeds_of(&self, prepared: &Prepared) -> Result<Vec<SeedCopy>, Error> {
        let sealed = prepared.records.iter().filter_map(|record| Some((record.body.slot()?, record.seq)));
        self.copies(sealed)
    }

    /// The seeds of the sealed bodies in the frame that holds this sequence, as far as they are not destroyed.
    ///
    /// # Errors
    /// [`Error::Io`], or the journal cannot be read.
    pub fn seeds_at(&self, seq: u64) -> Result<Vec<SeedCopy>, Error> {
        let Some(seen) = self.frame_at(seq)? else { return Ok(Vec::new()) };
        let mut sealed = Vec::new();
        for seq in seen.first..=seen.last {
            let slot = self.reader.get(seq)?.and_then(|record| record.body.slot());
            sealed.extend(slot.map(|slot| (slot, seq)));
        }
        self.copies(sealed.into_iter())
    }

    fn copies(&self, sealed: impl Iterator<Item = (u64, u64)>) -> Result<Vec<SeedCopy>, Error> {
        let mut copies = Vec::new();
        for (slot, seq) in sealed {
            if let Some(seed) = self.vault.seed(slot)? {
                let bytes = Zeroizing::new([seq.to_le_bytes().as_slice(), seed.as_ref()].concat());
                copies.push(SeedCopy { slot, bytes });
            }
        }
        Ok(copies)
    }

    /// Takes a seed that another instance made. It is on stable storage when this returns.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn take_seed(&mut self, slot: u64, bytes: &[u8]) -> Result<(), Error> {
        let bad = Error::Corrupt("a replicated seed that cannot be read");
        let (Some((seq, seed)), COPY) = (bytes.split_first_chunk::<8>(), bytes.len()) else {
            return Err(bad);
        };
        let mut whole = Zeroizing::new([0; 32]);
        whole.copy_from_slice(seed);
        self.vault.take_seed(slot, u64::from_le_bytes(*seq), &whole)
    }

    /// The frame that holds this sequence, by its header; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`].
    pub fn frame_at(&self, seq: u64) -> Result<Option<Seen>, Error> {
        // What is rewritten has another checksum: place and header must be those of one moment.
        let _still = self.reader.rewriting.read();
        let (frames, segments) = self.reader.index.read().frames(seq, seq);
        let header =
            frames.first().map(|frame| frame.place(&segments)).transpose()?.map(|place| place.header);
        let header = header.filter(|header| (header.first..=header.last()).contains(&seq));
        Ok(header.map(|header| Seen { first: header.first, last: header.last(), hash: header.hash() }))
    }

    /// The frame that holds this sequence, byte for byte.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`].
    pub fn frame_bytes(&self, seq: u64) -> Result<Vec<u8>, Error> {
        let _still = self.reader.rewriting.read();
        let (frames, segments) = self.reader.index.read().frames(seq, seq);
        let frame = frames.first().ok_or(Error::Corrupt("a record without a frame"))?;
        journal::whole(&segments, &frame.place(&segments)?)
    }

    /// What orders to erase behind an archive sequence leave elsewhere.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn traces_behind(&self, by: u64) -> Result<Traces, Error> {
        let orders = self.reader.index.read().fates.erasures_behind(by).to_vec();
        let mut traces = Traces { upto: orders.last().map_or(0, |(by, _)| *by), ..Traces::default() };
        for (_, target) in orders {
            match self.reader.get(target)?.map(|record| record.body.clone()) {
                Some(Body::Sealed { slot, .. }) => traces.slots.push(slot),
                Some(Body::Plain { .. } | Body::Redacted(_)) => {
                    traces.frames.extend(self.frame_at(target)?.map(|seen| seen.first));
                }
                Some(Body::None) | None => {}
            }
        }
        traces.frames.dedup();
        Ok(traces)
    }
}
