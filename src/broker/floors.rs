//! How far the receipts of each intake are stored, noted in a file of the archive's directory.
//!
//! A nats-server that is alone forgets with its own end how far its streams were read (`wire/intake.rs`). What the file lacks, or has
//! too low, is read and answered again; it is never too high, for it is written after the receipts are stored. So it
//! needs no sync, and a disk that takes nothing is no reason to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::message::names::PartyId;
use crate::message::raw::Position;
use crate::message::time;
use crate::wire::acker::Acker;

/// In the archive directory: a line with party, epoch and sequence for each intake stream.
const FILE: &str = "receipted-upto";
/// Shortest pause between two writings.
const PAUSE: Duration = Duration::from_secs(1);

/// The file.
#[derive(Debug)]
pub struct Floors {
    file: PathBuf,
    noted: BTreeMap<PartyId, Position>,
    writing: Option<JoinHandle<()>>,
    /// When the next writing may be, and whether one is waited for.
    rested: Instant,
    owed: bool,
}

impl Floors {
    /// Those of an archive in this directory, and an acker that knows them.
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Acker) {
        let file = directory.join(FILE);
        let noted = read(&std::fs::read_to_string(&file).unwrap_or_default());
        let acker = Acker::behind(noted.clone());
        (Self { file, noted, writing: None, rested: time::stopwatch(), owed: false }, acker)
    }

    /// Notes what is new, or puts it off.
    pub fn note(&mut self, acker: &Acker) {
        let now = time::stopwatch();
        self.owed = now < self.rested;
        if self.owed {
            return;
        }
        self.rested = now + PAUSE;
        self.owed = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        let floors = acker.floors();
        if self.owed || floors == self.noted {
            return;
        }
        let (file, text) = (self.file.clone(), written(&floors));
        // A disk that is slow must not keep receipts waiting.
        self.writing = Some(tokio::task::spawn_blocking(move || write(&file, &text)));
        self.noted = floors;
    }

    /// When what was put off is to be noted.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.owed.then_some(self.rested)
    }

    /// Notes the last of them.
    pub async fn end(mut self, acker: &Acker) {
        for _ in 0..2 {
            if let Some(writing) = self.writing.take() {
                writing.await.unwrap_or_default();
            }
            self.rested = time::stopwatch();
            self.note(acker);
        }
    }
}

fn write(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    if let Err(error) = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, file)) {
        tracing::debug!(%error, "how far intake was receipted is not noted");
    }
}

fn written(floors: &BTreeMap<PartyId, Position>) -> String {
    floors.iter().map(|(party, at)| format!("{party} {} {}\n", at.epoch, at.sequence)).collect()
}

/// A line that cannot be read says nothing: one that was cut short in its number would be too low, which does no harm.
fn read(text: &str) -> BTreeMap<PartyId, Position> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let party = PartyId::parse(words.next()?).ok()?;
        Some((party, Position { epoch: words.next()?.parse().ok()?, sequence: words.next()?.parse().ok()? }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_was_cut_is_never_too_high() {
        let party = |id: &str| PartyId::parse(id).expect("well formed");
        let floors = BTreeMap::from([
            (party("de-bpol"), Position { epoch: 1_790_000_000_123, sequence: 98_765 }),
            (party("it-moi"), Position { epoch: 7, sequence: 0 }),
        ]);
        let text = written(&floors);
        assert_eq!(read(&text), floors);
        for cut in 0..text.len() {
            for (party, at) in read(&text[..cut]) {
                let full = floors[&party];
                assert!(at.epoch != full.epoch || at.sequence <= full.sequence, "{cut}: {party} {at:?}");
            }
        }
        assert!(read("it-moi 7\n\0\0\0\nIT MOI 1 2\nit-moi seven 1").is_empty());
    }
}
