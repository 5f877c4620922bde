//! The reserve: the broker stops taking messages before the disk is full, and goes on when there is room.
//!
//! ```text
//! free space   reserve + a quarter   reserve            half of it        0
//!      going ──────────┤◄── goes on ───┤── intake stops ───┤── commits wait ─┤
//! ```
//! What is not taken waits in the intake streams, and nobody gets a receipt for it. Below the line the house still needs
//! room: for what was taken before, for checkpoints, for the audit log, without which nothing is read out, and for orders
//! to erase. Reading needs no more than that. An archive that is full to the last byte could do none of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::archive::space;
use crate::message::time;

/// How often is looked.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// For how long a commit believes the last look of a commit. Looking at all file systems costs as much as a small commit.
const BELIEVED: Duration = Duration::from_millis(50);

/// What is known of the room on the disk.
#[derive(Debug)]
pub struct Reserve {
    archive: PathBuf,
    /// Bytes that stay free; 0 switches the reserve off.
    bytes: AtomicU64,
    short: AtomicBool,
    /// The last look found nothing out.
    blind: AtomicBool,
    /// Why, in words.
    why: Mutex<String>,
    /// When a commit last looked and found room.
    seen: Mutex<Option<Instant>>,
}

impl Reserve {
    /// A reserve for an archive.
    pub(super) fn new(config: &super::config::ArchiveSection) -> Self {
        let (archive, bytes) = (config.directory.clone(), AtomicU64::new(config.reserve));
        let (short, blind, why, seen) = Default::default();
        Self { archive, bytes, short, blind, why, seen }
    }

    /// Another size, from a reload.
    pub(super) fn resize(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// True while no message is taken.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Whether there is room, in words if there is not.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_short() { Err(self.why.lock().clone()) } else { Ok(()) }
    }

    /// Looks at the disk and decides. What cannot be looked at is not full for that: a write will tell.
    pub(super) fn look(&self, metrics: &Metrics) {
        let reserve = self.bytes.load(Ordering::Relaxed);
        let found = match space::least(&self.archive) {
            Ok(found) => found,
            Err(error) => {
                if !self.blind.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the room on the disk is not known");
                }
                return;
            }
        };
        self.blind.store(false, Ordering::Relaxed);
        let was = self.is_short();
        let line = if was { reserve.saturating_add(reserve / 4) } else { reserve };
        let short = reserve > 0 && found.free < line;
        let words = words(&found.place, found.free, line);
        if short != was {
            if short {
                tracing::error!(why = %words, "no more messages are taken");
            } else {
                tracing::info!(free = found.free, "there is room on the disk again; messages are taken");
            }
        }
        *self.why.lock() = words;
        self.short.store(short, Ordering::Relaxed);
        metrics.archive_short.set(i64::from(short));
    }

    /// Waits in the keeper's thread until a commit may be written. Intake stopped long before; this is for what was on
    /// the way, and for a disk that somebody else fills.
    pub(super) fn wait_for_room(&self, metrics: &Metrics) {
        let mut seen = self.seen.lock();
        if seen.is_some_and(|seen| seen.elapsed() < BELIEVED) {
            return;
        }
        while self.is_exhausted() {
            self.look(metrics);
            std::thread::sleep(LOOK);
        }
        *seen = Some(time::stopwatch());
    }

    fn is_exhausted(&self) -> bool {
        let reserve = self.bytes.load(Ordering::Relaxed);
        reserve > 0 && space::least(&self.archive).is_ok_and(|found| found.free < reserve / 2)
    }
}

fn words(place: &Path, free: u64, line: u64) -> String {
    let mebibytes = |bytes: u64| bytes >> 20;
    format!(
        "{} MiB free in {}, {} MiB are needed: make room, or lower [archive] reserve and reload",
        mebibytes(free),
        place.display(),
        mebibytes(line)
    )
}

/// Looks until stopped.
pub(super) async fn watch(shared: super::Shared, stop: CancellationToken) {
    loop {
        shared.reserve.look(&shared.metrics);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::config::ArchiveSection;

    fn reserve(bytes: u64, place: &Path) -> Reserve {
        Reserve::new(&ArchiveSection {
            directory: place.to_owned(),
            reserve: bytes,
            ..ArchiveSection::default()
        })
    }

    #[test]
    fn a_reserve_larger_than_the_disk_stops_and_a_smaller_one_lets_go() {
        let place = tempfile::tempdir().expect("temp dir");
        let (reserve, metrics) = (reserve(u64::MAX, place.path()), Metrics::default());
        assert!(reserve.check().is_ok(), "nothing is said before the first look");
        reserve.look(&metrics);
        let words = reserve.check().expect_err("short");
        assert!(words.contains("MiB free in"), "{words}");
        assert!(reserve.is_exhausted());
        assert!(metrics.text().contains("liaison_archive_short 1\n"));
        reserve.resize(1);
        reserve.look(&metrics);
        assert!(reserve.check().is_ok() && !reserve.is_exhausted());
        assert!(metrics.text().contains("liaison_archive_short 0\n"));
    }

    #[test]
    fn without_a_reserve_nothing_is_stopped() {
        let place = tempfile::tempdir().expect("temp dir");
        let (reserve, metrics) = (reserve(0, place.path()), Metrics::default());
        reserve.look(&metrics);
        assert!(reserve.check().is_ok() && !reserve.is_exhausted());
    }

    #[test]
    fn a_place_that_cannot_be_looked_at_is_not_full() {
        let place = tempfile::tempdir().expect("temp dir");
        let (reserve, metrics) = (reserve(1 << 60, &place.path().join("nowhere")), Metrics::default());
        reserve.look(&metrics);
        assert!(reserve.check().is_ok());
    }
}
