//! The auditor: one plain thread that writes the audit log, and the desk where others have things noted.
//!
//! What is given out is noted first: whoever reads content waits for [`Audit::record`] and gives out nothing if it
//! fails. What came in is counted here and noted once in a while, because each message has a record of its own in the
//! archive. Who may read the log is not decided here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::receipt::Receipt;
use super::{Error, threads};
use crate::archive::audit::{self, Actor, Entry, Identity, Object, Outcomes, Reader, Span, What, Word};
use crate::archive::{self, Act, Archived, Record};
use crate::message::names::PartyId;
use crate::message::outcome::Outcome;
use crate::message::time;
use crate::wire::services::Failure;

/// Entries that may wait to be written.
const QUEUE: usize = 1_024;
/// Most entries in one frame.
const FRAME: usize = 512;
/// Pause between two notes of what came in.
const PUBLISHED: Duration = Duration::from_secs(60);
/// Pause between two notes of a party that is refused.
const REFUSED: Duration = Duration::from_secs(60);

/// The log cannot be written.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unavailable;

impl From<Unavailable> for Failure {
    fn from(_: Unavailable) -> Self {
        Self::new(503, "E-AUDIT", "", "the audit log cannot be written, so nothing is given out")
    }
}

enum Job {
    /// Write these, and tell if somebody waits.
    Write(Vec<Entry>, Option<oneshot::Sender<()>>),
    /// End.
    Close(oneshot::Sender<()>),
}

/// What came in since it was noted last.
#[derive(Debug, Default)]
struct Tally {
    archive: Option<Span>,
    parties: BTreeMap<PartyId, Outcomes>,
    /// Entries that found no room.
    done: Vec<Entry>,
}

/// The desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: mpsc::Sender<Job>,
    broken: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    refused: Arc<Mutex<BTreeMap<(PartyId, What), Instant>>>,
    reader: Reader,
    /// Where commands at the machine leave notes.
    archive: PathBuf,
}

impl Audit {
    /// Starts the thread; `fail` hears of it if it breaks.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub(super) fn start(
        log: audit::Audit,
        archive: PathBuf,
        fail: watch::Sender<Option<&'static str>>,
    ) -> Result<Self, Error> {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let broken = Arc::<AtomicBool>::default();
        let (reader, tally, refused) = (log.reader(), Arc::default(), Arc::default());
        let desk = Self { queue, broken: Arc::clone(&broken), tally, refused, reader, archive };
        threads::spawn("audit", fail, move || run(log, inbox, &broken))?;
        Ok(desk)
    }

    /// Writes an entry; returns when it is on stable storage.
    ///
    /// # Errors
    /// [`Unavailable`]: then what the entry speaks of must not happen, or not be given out.
    pub async fn record(&self, entry: Entry) -> Result<(), Unavailable> {
        self.record_all(vec![entry]).await
    }

    async fn record_all(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        let (written, told) = oneshot::channel();
        self.queue.send(Job::Write(entries, Some(written))).await.map_err(|_| Unavailable)?;
        told.await.map_err(|_| Unavailable)
    }

    /// Has an entry written soon. False if there is no room: the caller says it again later.
    #[must_use]
    pub fn note(&self, entry: Entry) -> bool {
        self.try_note(vec![entry]).is_ok()
    }

    /// Gives the entries back if there is no room.
    fn try_note(&self, entries: Vec<Entry>) -> Result<(), Vec<Entry>> {
        self.queue.try_send(Job::Write(entries, None)).map_err(|error| match error.into_inner() {
            Job::Write(entries, _) => entries,
            Job::Close(_) => Vec::new(),
        })
    }

    /// Notes that a party asked for what it has no right to; once a minute, or who is refused could fill the disk.
    pub fn refused(&self, party: &PartyId, what: What) {
        let now = time::stopwatch();
        let fresh = {
            let mut refused = self.refused.lock();
            let known = refused.insert((party.clone(), what), now);
            let fresh = known.is_none_or(|known| now.duration_since(known) >= REFUSED);
            if let Some(known) = known.filter(|_| !fresh) {
                refused.insert((party.clone(), what), known);
            }
            fresh
        };
        let entry = Entry::of_party(time::now().as_millisecond(), party, what, Object::default());
        if fresh && !self.note(entry.ending(Word::Refused)) {
            self.refused.lock().remove(&(party.clone(), what));
        }
    }

    /// False once a write has failed.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }

    /// Nothing is begun that could not be noted.
    ///
    /// # Errors
    /// [`Unavailable`] once a write has failed.
    pub fn ensure_writing(&self) -> Result<(), Unavailable> {
        if self.is_writing() { Ok(()) } else { Err(Unavailable) }
    }

    /// What is written.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Takes what one commit kept: how far the archive is counted, and what was done to earlier messages.
    pub fn took(&self, archived: &[Archived]) {
        let done: Vec<Entry> = archived.iter().flat_map(|kept| done_by(kept.record())).collect();
        let mut tally = self.tally.lock();
        if let (Some(first), Some(last)) = (archived.first(), archived.last()) {
            let first = tally.archive.map_or(first.record().seq, |span| span.first);
            tally.archive = Some(Span { first, last: last.record().seq });
        }
        if let Err(left) = if done.is_empty() { Ok(()) } else { self.try_note(done) } {
            // No room in the queue: they are written with what was counted.
            tally.done.extend(left);
        }
    }

    /// Counts how publications ended.
    pub fn count(&self, receipts: &[Receipt]) {
        let mut tally = self.tally.lock();
        for receipt in receipts {
            let counts = match tally.parties.get_mut(&receipt.party) {
                Some(counts) => counts,
                None => tally.parties.entry(receipt.party.clone()).or_default(),
            };
            *match receipt.outcome {
                Outcome::Accepted => &mut counts.accepted,
                Outcome::Duplicate => &mut counts.duplicate,
                Outcome::Quarantined => &mut counts.quarantined,
                Outcome::Rejected => &mut counts.rejected,
            } += 1;
        }
    }

    /// Notes what was counted, now and then, until stopped.
    pub(super) async fn keep_counting(self, stop: CancellationToken) {
        let mut pause = tokio::time::interval_at(tokio::time::Instant::now() + PUBLISHED, PUBLISHED);
        loop {
            tokio::select! { _ = pause.tick() => {}, () = stop.cancelled() => return }
            if self.flush().await.and(self.collect().await).is_err() {
                tracing::error!("what came in cannot be noted in the audit log");
            }
        }
    }

    /// Takes in what commands at the machine have left, and removes it there.
    async fn collect(&self) -> Result<(), Unavailable> {
        let directory = self.archive.clone();
        let found = tokio::task::spawn_blocking(move || audit::left::found(&directory)).await;
        let Ok(Ok(notes)) = found else { return Err(Unavailable) };
        if notes.is_empty() {
            return Ok(());
        }
        let (files, entries): (Vec<_>, Vec<_>) = notes.into_iter().unzip();
        self.record_all(entries).await?;
        for file in files {
            if let Err(error) = audit::left::remove(&file) {
                tracing::warn!(%error, "a note for the audit log stays where it was left; it will be taken in again");
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        let entries = published(std::mem::take(&mut *self.tally.lock()));
        if entries.is_empty() { Ok(()) } else { self.record_all(entries).await }
    }

    /// Notes that the broker serves from now on, and what came in before without being counted: the last process ended
    /// before it could.
    ///
    /// # Errors
    /// [`Unavailable`], or the log cannot be read.
    pub(super) async fn begin(&self, head: u64) -> Result<(), Error> {
        let now = time::now().as_millisecond();
        let mut entries = vec![Entry::of_broker(now, What::Started, Object::default())];
        let noted = |entry: &Entry| entry.what == What::Published && entry.object.archive.is_some();
        let last = self.reader.last(noted)?.and_then(|noted| noted.entry.object.archive);
        let first = last.map_or(1, |span| span.last + 1);
        if first <= head {
            let object = Object { archive: Some(Span { first, last: head }), ..Object::default() };
            entries.push(Entry::of_broker(now, What::Published, object));
        }
        self.record_all(entries).await.map_err(|_| archive::Error::Poisoned)?;
        self.collect().await.map_err(|_| archive::Error::Poisoned.into())
    }

    /// Notes what was counted last and that the broker ends in order, and closes the log.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(super) async fn close(self) -> Result<(), Unavailable> {
        let mut entries = published(std::mem::take(&mut *self.tally.lock()));
        entries.push(Entry::of_broker(time::now().as_millisecond(), What::Stopped, Object::default()));
        self.record_all(entries).await?;
        let (closed, told) = oneshot::channel();
        self.queue.send(Job::Close(closed)).await.map_err(|_| Unavailable)?;
        told.await.map_err(|_| Unavailable)
    }
}

/// What a record does to earlier ones, as the log says it. What falls due is done by the broker itself.
fn done_by(record: &Record) -> impl Iterator<Item = Entry> + '_ {
    record.effects.iter().map(move |effect| {
        let (what, who, count) = match &effect.act {
            Act::Correct { .. } => (What::Corrected, &record.party, None),
            Act::Retract => (What::Retracted, &record.party, None),
            Act::Erase { .. } => (What::Erased, &record.party, None),
            Act::Ask { party } => (What::ReleaseAsked, party, None),
            Act::Release { to, .. } => (What::Released, &record.party, Some(to.len() as u64)),
            Act::Deny => (What::ReleaseDenied, &record.party, None),
            Act::Confirm { party, .. } => (What::Confirmed, party, None),
            Act::Review { .. } => (What::Reviewed, &record.party, None),
            Act::Remind => (What::Reminded, &record.party, None),
            Act::Hold { .. } => (What::HoldChanged, &record.party, None),
        };
        let archive = Some(Span { first: effect.target, last: effect.target });
        let object = Object { archive, count, ..Object::default() };
        let by_date = record.is_own() && matches!(effect.act, Act::Erase { .. } | Act::Remind);
        if by_date {
            Entry::of_broker(record.archived_ms, what, object)
        } else {
            Entry::of_party(record.archived_ms, who, what, object)
        }
    })
}

/// One entry a party. Where nobody published, the span is noted all the same, or it would count as forgotten.
fn published(tally: Tally) -> Vec<Entry> {
    let at_ms = time::now().as_millisecond();
    let Tally { archive, parties, mut done } = tally;
    if parties.is_empty() && archive.is_some() {
        let object = Object { archive, ..Object::default() };
        done.push(Entry::of_broker(at_ms, What::Published, object));
    }
    let entry = |(party, outcomes): (PartyId, Outcomes)| Entry {
        at_ms,
        who: Actor::Party(party.clone()),
        identity: Identity::Account(party),
        what: What::Published,
        object: Object { archive, outcomes: Some(outcomes), ..Object::default() },
        result: Word::Done,
    };
    done.extend(parties.into_iter().map(entry));
    done
}

/// Writes until closed. After a failure nothing is written any more, and everybody who waits is told: their senders are
/// dropped.
fn run(mut log: audit::Audit, mut inbox: mpsc::Receiver<Job>, broken: &AtomicBool) {
    while let Some(job) = inbox.blocking_recv() {
        let (mut entries, mut waiting, mut closing) = (Vec::new(), Vec::new(), None);
        let mut next = Some(job);
        while let Some(job) = next {
            match job {
                Job::Write(more, written) => {
                    entries.extend(more);
                    waiting.extend(written);
                }
                Job::Close(closed) => closing = Some(closed),
            }
            let room = entries.len() < FRAME && closing.is_none();
            next = if room { inbox.try_recv().ok() } else { None };
        }
        if !entries.is_empty() {
            match log.append(&entries) {
                // Who asked may have gone away meanwhile.
                Ok(_) => waiting.into_iter().for_each(|written| written.send(()).unwrap_or_default()),
                Err(error) => {
                    if !broken.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "the audit log cannot be written; no content is given out");
                    }
                }
            }
        }
        if let Some(closed) = closing {
            match log.close() {
                Ok(()) => closed.send(()).unwrap_or_default(),
                Err(error) => tracing::error!(%error, "closing the audit log"),
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::of_broker(1, What::Started, Object::default())
    }

    fn desk(folder: &std::path::Path, prepare: impl FnOnce(&mut audit::Audit)) -> Audit {
        let mut log = audit::Audit::open(folder).expect("opens");
        prepare(&mut log);
        Audit::start(log, PathBuf::new(), watch::channel(None).0).expect("starts")
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_for_a_reader_and_after_the_close() {
        let folder = tempfile::tempdir().expect("temp dir");
        let desk = desk(folder.path(), |_| {});
        let all = futures_util::future::join_all((0..100).map(|_| desk.record(entry()))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(desk.reader().head(), 100);
        assert!(desk.note(entry()));
        desk.clone().close().await.expect("closes");
        let verified = audit::verify(folder.path()).expect("whole");
        assert_eq!(verified.entries, 102);
        assert!(verified.frames < 60, "entries that wait together are written together: {}", verified.frames);
        assert!(desk.record(entry()).await.is_err(), "nothing is taken after the end");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_says_so_to_everybody_ever_after() {
        let folder = tempfile::tempdir().expect("temp dir");
        let desk = desk(folder.path(), |log| log.write_to(std::path::Path::new("/dev/full")));
        assert!(desk.is_writing());
        assert!(desk.record(entry()).await.is_err());
        assert!(!desk.is_writing() && desk.ensure_writing().is_err());
        assert!(desk.record(entry()).await.is_err());
        assert_eq!(desk.reader().head(), 0);
    }
}
