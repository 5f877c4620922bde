//! The broker signs what its archive is: every minute if it grew, when a witness asks, and at the end.
//!
//! A checkpoint is written down before anybody gets it, and none is signed that does not begin with the one before: who
//! finds two that do not fit has proof. What a record is and how the tree is built is the archive's business.

mod audit;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::audit::AuditTree;
use super::config::Config;
use super::metrics::Metrics;
use super::{Error, Shared};
use crate::archive::audit::Reader as LogReader;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::note::{KeyName, Kind, Note, Signature, Signer, Verifier};
use crate::archive::notebook::Notebook;
use crate::archive::tree::{Head, TILE, Tree};
use crate::archive::{self, Reader, keyfile};
use crate::message::digest::Digest;
use crate::message::time::{self, Timestamp};
use crate::wire::services::{Answer, Failure};

/// How often the tree is looked at.
const EVERY: Duration = Duration::from_secs(60);
/// How often while there is none yet.
const FIRST: Duration = Duration::from_secs(2);
/// A witness that asks gets one that is at most this old, if there is more to sign.
const FRESH_MS: i64 = 1_000;
/// Beyond this without a checkpoint over all records the broker is not ready (`reliability.md`, T29).
const LAPSE: Duration = Duration::from_secs(4 * 60 * 60);
/// Checkpoints that witnesses may still sign: so many were made since.
const REMEMBERED: usize = 64;
/// How far a witness's clock may be ahead.
const AHEAD_SECONDS: u64 = 300;

/// The signer and what it has signed.
#[derive(Debug)]
pub struct Checkpoints {
    signing: Signing,
    audit: Mutex<AuditTree>,
    notebook: Notebook,
    state: Mutex<State>,
}

/// The key.
#[derive(Debug)]
struct Signing {
    signer: Signer,
}

impl Signing {
    /// A checkpoint as a signed note.
    fn note(&self, checkpoint: &Checkpoint) -> Result<Note, archive::Error> {
        let mut note = Note::new(checkpoint.text())?;
        note.add(self.signer.sign(note.text(), 0));
        Ok(note)
    }
}

#[derive(Debug)]
struct State {
    /// The latest at the end.
    notes: VecDeque<(Head, Note)>,
    /// When the latest was made, Unix milliseconds.
    made_ms: i64,
    /// When a checkpoint last held all records there were. By the stopwatch: a clock that was wrong for a moment, and one was
    /// signed in it, must not close the intake.
    covered: Instant,
    /// Why the last attempt failed.
    fault: Option<String>,
}

impl State {
    /// Nothing is signed yet.
    fn new(covered: Instant) -> Self {
        Self { notes: VecDeque::new(), made_ms: 0, covered, fault: None }
    }
}

impl Checkpoints {
    /// Reads key and latest checkpoint; the key is made if it is missing. Refuses an archive that is not the one that was
    /// signed.
    ///
    /// # Errors
    /// [`Error::Configuration`]: the broker's name cannot be the name of a key. [`Error::Archive`]: key or checkpoint cannot
    /// be read, or the archive is another than the one that was signed.
    pub(super) fn open(config: &Config, reader: &Reader) -> Result<Self, Error> {
        let name = KeyName::parse(&config.broker.name)
            .map_err(|error| Error::Configuration(vec![format!("broker.name: {error}")]))?;
        let signer = keyfile::ensure(&config.nats.keys.join("broker/checkpoint.key"), &name, Kind::Log)?;
        let notebook = Notebook::messages(&config.archive.directory);
        let mut state = State::new(time::stopwatch());
        if let Some(note) = notebook.latest()? {
            let words = "archive/checkpoints/latest is not signed by keys/broker/checkpoint.key: put the right key there; to begin \
                with another key, move archive/checkpoints away and tell the witnesses";
            note.verify(signer.verifier()).map_err(|_| archive::Error::Corrupt(words))?;
            let checkpoint = Checkpoint::parse(note.text())?;
            let tree = reader.tree();
            let agrees = checkpoint.head.size <= tree.size()
                && tree.root_at(checkpoint.head.size, leaves_of(reader))? == checkpoint.head.root;
            if !agrees {
                let words = "the archive is not the one that this broker has signed: records are missing or changed; \
                    `liaison archive verify` names the first";
                return Err(Error::Archive(archive::Error::Corrupt(words)));
            }
            state.made_ms = checkpoint.time().map_or(0, Timestamp::as_millisecond);
            state.notes.push_back((checkpoint.head, note));
        }
        let signing = Signing { signer };
        let audit = AuditTree::open(Notebook::audit(&config.archive.directory), &signing)?;
        Ok(Self { signing, audit: Mutex::new(audit), notebook, state: Mutex::new(state) })
    }

    /// Signs what the archive is now, and logs if that cannot be done.
    pub(super) fn sign_last(&self, reader: &Reader, metrics: &Metrics) {
        if let Err(error) = self.sign(reader, metrics, 0) {
            tracing::error!(%error, "no checkpoint could be signed");
        }
    }

    /// Signs what the audit log is now, and logs if that cannot be done.
    pub(super) fn sign_audit(&self, log: &LogReader) {
        if let Err(error) = self.audit.lock().sign(log, &self.signing) {
            tracing::error!(%error, "no checkpoint over the audit log could be signed");
        }
    }

    /// Signs what the tree is now, if there is more in it than was signed and the last one is older than `age_ms`. Gives the
    /// latest.
    pub(super) fn sign(
        &self,
        reader: &Reader,
        metrics: &Metrics,
        age_ms: i64,
    ) -> Result<Option<(Head, Note)>, archive::Error> {
        let mut state = self.state.lock();
        let now = time::now();
        let signed = self.try_sign(&mut state, reader, now, age_ms);
        state.fault = signed.as_ref().err().map(ToString::to_string);
        signed?;
        metrics.checkpoint_size.set(state.notes.back().map_or(0, |(head, _)| head.size));
        Ok(state.notes.back().cloned())
    }

    fn try_sign(
        &self,
        state: &mut State,
        reader: &Reader,
        now: Timestamp,
        age_ms: i64,
    ) -> Result<(), archive::Error> {
        let signed = state.notes.back().map_or(0, |(head, _)| head.size);
        if reader.head_seq() == signed {
            state.covered = time::stopwatch();
            return Ok(());
        }
        // One of the future was made by a wrong clock, and is of no age.
        if (0..age_ms).contains(&(now.as_millisecond() - state.made_ms)) {
            return Ok(());
        }
        let tree = reader.tree();
        let head = Head { size: tree.size(), root: tree.root() };
        let checkpoint = Checkpoint::new(self.signing.signer.verifier().name().clone(), head, now);
        let note = self.signing.note(&checkpoint)?;
        self.notebook.keep(&note)?;
        state.made_ms = now.as_millisecond();
        state.covered = time::stopwatch();
        state.notes.push_back((head, note));
        if state.notes.len() > REMEMBERED {
            state.notes.pop_front();
        }
        Ok(())
    }

    /// Whether records have been waiting for a checkpoint for too long, in words.
    pub(super) fn check(&self) -> (bool, String) {
        let state = self.state.lock();
        let lapse = state.covered.elapsed();
        let size = state.notes.back().map_or(0, |(head, _)| head.size);
        let words = match &state.fault {
            Some(fault) => format!(
                "the last covers {size} records; since {} s none could be written: {fault}",
                lapse.as_secs()
            ),
            None => format!("the last covers {size} records"),
        };
        (lapse <= LAPSE, words)
    }

    /// True if for too long no checkpoint held all records. While one is being signed, it is not.
    pub(super) fn has_lapsed(&self) -> bool {
        self.state.try_lock().is_some_and(|state| state.covered.elapsed() > LAPSE)
    }

    /// Until the next look: short as long as nothing was ever signed, so that the first records can be proven soon.
    fn pause(&self) -> Duration {
        if self.state.lock().notes.is_empty() { FIRST } else { EVERY }
    }

    /// Age of the latest in seconds; 0 if there is none.
    pub(super) fn age_seconds(&self) -> i64 {
        let made = self.state.lock().made_ms;
        if made == 0 { 0 } else { (now_ms() - made).max(0) / 1_000 }
    }

    /// Since when no checkpoint holds all records, in seconds.
    pub(super) fn lapse_seconds(&self) -> i64 {
        i64::try_from(self.state.lock().covered.elapsed().as_secs()).unwrap_or(i64::MAX)
    }

    /// The service `witness`: gives the latest checkpoint with the proof that it begins with what the witness saw, or takes
    /// the signature of a witness. `key` is the party's, from the registry.
    pub(super) fn answer(
        &self,
        reader: &Reader,
        metrics: &Metrics,
        key: Option<&str>,
        asked: &Value,
    ) -> Answer {
        match (asked["old"].as_u64(), asked["cosignature"].as_str(), asked["size"].as_u64()) {
            (Some(old), None, None) => self.show(reader, metrics, old),
            (None, Some(line), Some(size)) => self.take(key, line, size),
            _ => Err(Failure::new(400, "E-REQUEST", "", "must be {old} or {cosignature, size}")),
        }
    }

    fn show(&self, reader: &Reader, metrics: &Metrics, old: u64) -> Answer {
        let unfit =
            |_| Failure::new(503, "E-ARCHIVE", "", "no checkpoint can be signed at the moment: try again");
        let latest = self.sign(reader, metrics, FRESH_MS).map_err(unfit)?;
        let Some((head, note)) = latest else {
            return Err(Failure::new(404, "E-UNKNOWN", "", "nothing is archived yet"));
        };
        // A witness that saw more than there is must hear so from the checkpoint itself, and there is no proof to give.
        let path = if old > head.size {
            Vec::new()
        } else {
            proof(&reader.tree(), reader, old, head).map_err(unfit)?
        };
        let path: Vec<String> = path.iter().map(|node| STANDARD.encode(node.0)).collect();
        Ok(json!({ "checkpoint": note.to_string(), "size": head.size, "consistency": path }))
    }

    fn take(&self, key: Option<&str>, line: &str, size: u64) -> Answer {
        let refused = |status, code, path, words| Err(Failure::new(status, code, path, words));
        let Some(key) =
            key.and_then(|key| Verifier::parse(key).ok()).filter(|key| key.kind() == Kind::Witness)
        else {
            return refused(403, "E-WITNESS", "", "the registry names no witness key of this party");
        };
        let Ok(signature) = Signature::parse(line) else {
            return refused(400, "E-REQUEST", "/cosignature", "must be one signature line of a note");
        };
        let mut state = self.state.lock();
        let latest = state.notes.back().map(|(head, _)| head.size);
        let Some((_, note)) = state.notes.iter_mut().find(|(head, _)| head.size == size) else {
            return refused(404, "E-UNKNOWN", "/size", "no checkpoint of this size that may still be signed");
        };
        let seconds = key.verify(note.text(), &signature).ok().flatten();
        let latest_allowed = u64::try_from(now_ms() / 1_000).unwrap_or_default() + AHEAD_SECONDS;
        if seconds.is_none_or(|seconds| seconds > latest_allowed) {
            return refused(
                400,
                "E-SIGNATURE",
                "/cosignature",
                "does not hold for this checkpoint and key, or is of the future",
            );
        }
        let mut signed = note.clone();
        signed.add(signature);
        let kept =
            if latest == Some(size) { self.notebook.keep(&signed) } else { self.notebook.log(&signed) };
        if kept.is_err() {
            return refused(503, "E-STORE", "", "the signature could not be stored: try again");
        }
        let witnesses = signed.signatures().len() - 1;
        *note = signed;
        Ok(json!({ "size": size, "witnesses": witnesses }))
    }

    /// The key that verifies the checkpoints.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        self.signing.signer.verifier()
    }
}

/// Signs archive and audit log every minute until stopped.
pub(super) async fn run(shared: Shared, stop: CancellationToken) {
    loop {
        let signing = shared.clone();
        let signed = tokio::task::spawn_blocking(move || {
            signing.checkpoints.sign_last(&signing.reader, &signing.metrics);
            signing.checkpoints.sign_audit(signing.audit.reader());
        });
        // It ends early only when the process does.
        drop(signed.await);
        tokio::select! {
            () = tokio::time::sleep(shared.checkpoints.pause()) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn proof(tree: &Tree, reader: &Reader, old: u64, head: Head) -> Result<Vec<Digest>, archive::Error> {
    tree.consistency(old, head.size, leaves_of(reader))
}

/// Leaf hashes of a tile, from the records.
fn leaves_of(reader: &Reader) -> impl FnMut(u64) -> Result<Vec<Digest>, archive::Error> + '_ {
    move |tile| reader.leaves(tile * TILE + 1, (tile + 1) * TILE)
}

fn now_ms() -> i64 {
    time::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(place: &tempfile::TempDir, lapse: Duration) -> Checkpoints {
        let name = KeyName::parse("liaison-1").expect("a name");
        let signing = || Signing { signer: Signer::new(name.clone(), Kind::Log, &[1; 32]) };
        Checkpoints {
            audit: Mutex::new(AuditTree::open(Notebook::audit(place.path()), &signing()).expect("opens")),
            signing: signing(),
            notebook: Notebook::messages(place.path()),
            state: Mutex::new(State::new(time::stopwatch().checked_sub(lapse).expect("a moment before"))),
        }
    }

    /// What was found by a clock that was thirty years behind for two seconds: everybody's intake was closed for a minute.
    #[test]
    fn a_look_by_a_wrong_clock_closes_nothing() {
        let place = tempfile::tempdir().expect("temp dir");
        let root = archive::RootKey::parse(&"0".repeat(64)).expect("a key");
        let (archive, _) = archive::Archive::open(&place.path().join("archive"), &root).expect("opens");
        let checkpoints = checkpoints(&place, Duration::ZERO);
        let wrong = "1996-03-02T10:00:00Z".parse().expect("a time");
        let mut state = checkpoints.state.lock();
        checkpoints.try_sign(&mut state, &archive.reader(), wrong, 0).expect("nothing to sign");
        drop(state);
        assert!(!checkpoints.has_lapsed() && checkpoints.lapse_seconds() < 60);
    }

    #[test]
    fn four_hours_without_a_checkpoint_are_too_long() {
        let place = tempfile::tempdir().expect("temp dir");
        let checkpoints = |lapse| checkpoints(&place, lapse);
        let minute = Duration::from_secs(60);
        assert!(checkpoints(LAPSE - minute).check().0 && !checkpoints(LAPSE - minute).has_lapsed());
        assert!(!checkpoints(LAPSE + minute).check().0 && checkpoints(LAPSE + minute).has_lapsed());
    }
}
