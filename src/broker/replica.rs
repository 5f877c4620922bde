//! The writing side of a replicated journal: a frame stands in the stream before it stands in the archive of the holder.
//!
//! So the archive of every instance, of the holder too, is at all times a beginning of what the stream holds, and nothing
//! ever has to be taken back: a holder that was replaced is refused by the stream before it has written anything. Who
//! holds the lease, and how another instance follows, is in `cluster.rs`.

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use super::Error;
use crate::archive::{self, Archive, Draft, Prepared, Seen};
use crate::wire;
use crate::wire::journal::{Entry, Journal};
use crate::wire::lease::{LeaseKey, Term};

/// Payload bytes in one frame, if there is more than one message. With what stands around them, packed into JSON by the
/// server that is asked for the frame, it stays below the largest payload.
const FRAME_BYTES: usize = 384 << 10;
/// More than a record takes beside its payload and its ledger.
const HEAD_BYTES: usize = 1_024;
/// The same for each party in the ledger.
const ENTRY_BYTES: usize = 48;

/// The way of the holder's frames into the stream.
pub struct Replica {
    stream: Journal,
    key: LeaseKey,
    term: Term,
    /// The last stream sequence.
    last: u64,
    /// The last order to erase that was carried out in the stream.
    erased: u64,
    /// Of the thread that carries, from its first carrying on: its timers must work until the thread ends, also while the daemon
    /// stops because the lease is lost.
    runtime: Option<Runtime>,
}

/// What is to be committed, in parts of which each fits into one message of the stream.
pub fn parts(drafts: Vec<Draft>) -> Vec<Vec<Draft>> {
    let mut parts: Vec<Vec<Draft>> = Vec::new();
    let mut bytes = FRAME_BYTES;
    for draft in drafts {
        let ledger = draft.recipients.len() + draft.withheld.len();
        let signature = draft.signature.as_ref().map_or(0, String::len);
        let size = draft.payload.len() + signature + HEAD_BYTES + ledger * ENTRY_BYTES;
        bytes += size;
        match parts.last_mut().filter(|_| bytes <= FRAME_BYTES) {
            Some(part) => part.push(draft),
            None => {
                bytes = size;
                parts.push(vec![draft]);
            }
        }
    }
    parts
}

/// The last frame in the stream that begins at or before an archive sequence: where it stands, and what it is.
pub(super) async fn frame_upto(stream: &Journal, seq: u64) -> Result<Option<(u64, Seen)>, Error> {
    let (mut low, mut high) = (1, stream.last().await?);
    let mut best = None;
    while low <= high {
        let middle = low + (high - low) / 2;
        let found = stream.frame_behind(middle).await?;
        let seen = found.map(|(at, bytes)| Seen::at(&bytes).map(|seen| (at, seen))).transpose()?;
        match seen.filter(|(_, seen)| seen.first <= seq) {
            Some((at, seen)) => {
                best = Some((at, seen));
                low = at + 1;
            }
            None => high = middle - 1,
        }
    }
    Ok(best)
}

impl Replica {
    /// For the holder, who knows everything up to this stream sequence.
    pub(super) async fn new(stream: Journal, key: LeaseKey, term: Term, last: u64) -> Result<Self, Error> {
        let erased = key.erased_upto().await?;
        Ok(Self { stream, key, term, last, erased, runtime: None })
    }

    /// Puts a frame and the seeds of its sealed bodies into the stream. Blocks; must not be called from a task.
    ///
    /// # Errors
    /// [`archive::Error::Fenced`]: the frame must not be kept.
    pub fn carry(&mut self, archive: &Archive, prepared: &Prepared) -> Result<(), archive::Error> {
        let mut entries = Vec::new();
        for seed in archive.seeds_of(prepared)? {
            entries.push(Entry::Seed(seed.slot, Bytes::copy_from_slice(&seed.bytes)));
        }
        entries.push(Entry::Frame(Bytes::copy_from_slice(prepared.bytes())));
        let runtime = self.runtime()?;
        let appended = runtime.block_on(self.append(entries));
        self.runtime = Some(runtime);
        appended.map_err(|error| fenced(&error))
    }

    fn runtime(&mut self) -> Result<Runtime, archive::Error> {
        let made =
            self.runtime.take().map_or_else(|| Builder::new_current_thread().enable_time().build(), Ok);
        made.map_err(|error| archive::Error::Fenced(format!("no runtime: {error}")))
    }

    /// Puts into the stream what it lacks and this archive has: the stream is new, or its servers lost what was last in it.
    pub(super) async fn catch_up(&mut self, archive: &Archive, carried: u64) -> Result<(), Error> {
        let mut next = carried + 1;
        while let Some(seen) = archive.frame_at(next)? {
            let seeds = archive.seeds_at(next)?;
            let seeds = seeds.iter().map(|seed| Entry::Seed(seed.slot, Bytes::copy_from_slice(&seed.bytes)));
            let frame = Entry::Frame(archive.frame_bytes(next)?.into());
            self.append(seeds.chain([frame]).collect()).await?;
            next = seen.last + 1;
        }
        Ok(())
    }

    async fn append(&mut self, entries: Vec<Entry>) -> Result<(), wire::Error> {
        for entry in &entries {
            self.last = self.stream.append(self.last, entry, &self.term).await?;
        }
        Ok(())
    }

    /// Takes away from the stream what orders to erase have taken away here. Blocks; must not be called from a task. What
    /// cannot be done now is done at the next sweep, with the next order, or by the next holder.
    ///
    /// # Errors
    /// [`archive::Error::Fenced`], or the archive cannot be read.
    pub fn erase(&mut self, archive: &Archive) -> Result<(), archive::Error> {
        let runtime = self.runtime()?;
        let erased = runtime.block_on(self.erase_in_stream(archive));
        self.runtime = Some(runtime);
        match erased {
            Err(Error::Wire(wire::Error::Fenced(words))) => Err(archive::Error::Fenced(words)),
            Err(Error::Archive(error)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "erased content stays in the replicated journal for now");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// See [`Replica::erase`].
    pub(super) async fn erase_in_stream(&mut self, archive: &Archive) -> Result<(), Error> {
        let traces = archive.traces_behind(self.erased)?;
        if traces.upto == 0 {
            return Ok(());
        }
        for slot in traces.slots {
            self.stream.erase_seeds(slot).await?;
        }
        for first in traces.frames {
            let fresh = Bytes::from(archive.frame_bytes(first)?);
            let before = self.stream.anew(first).await?;
            if before.as_ref().is_none_or(|(_, bytes)| *bytes != fresh) {
                // First the new one: a reader in between must find one of them.
                self.append(vec![Entry::Anew(first, fresh)]).await?;
                if let Some((at, _)) = before {
                    self.stream.erase(at).await?;
                }
            }
            let found = frame_upto(&self.stream, first).await?;
            if let Some((at, _)) = found.filter(|(_, seen)| seen.first == first) {
                self.stream.erase(at).await?;
            }
        }
        self.key.note_erased(traces.upto).await?;
        self.erased = traces.upto;
        Ok(())
    }
}

fn fenced(error: &wire::Error) -> archive::Error {
    archive::Error::Fenced(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::digest::Digest;
    use crate::message::names::PartyId;
    use crate::message::outcome::Outcome;
    use crate::message::raw::Position;

    fn draft(bytes: usize) -> Draft {
        Draft {
            outcome: Outcome::Accepted,
            party: PartyId::parse("de-bpol").expect("well formed"),
            position: Position::default(),
            subject: String::new(),
            arrived_ms: 0,
            digest: Digest::default(),
            payload: vec![0; bytes],
            signature: None,
            seal: false,
            summary: None,
            code: None,
            detail: Vec::new(),
            recipients: Vec::new(),
            withheld: Vec::new(),
            target: None,
            late: false,
            effects: Vec::new(),
        }
    }

    #[test]
    fn a_commit_is_parted_so_that_each_frame_fits_into_a_message() {
        let sizes = |bytes: &[usize]| -> Vec<Vec<usize>> {
            let parts = parts(bytes.iter().map(|bytes| draft(*bytes)).collect());
            parts.iter().map(|part| part.iter().map(|draft| draft.payload.len()).collect()).collect()
        };
        assert_eq!(sizes(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(&[1_000; 100]).len(), 1);
        assert_eq!(sizes(&[256 << 10, 1, 200 << 10]), [vec![256 << 10, 1], vec![200 << 10]]);
        assert_eq!(sizes(&[256 << 10; 3]).len(), 3);
        assert_eq!(sizes(&[2_000; 512]).iter().map(Vec::len).sum::<usize>(), 512);
    }
}
