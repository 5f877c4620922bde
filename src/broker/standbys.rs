//! Whether anybody stands by: each standby says how far it has followed, and the instance that serves counts who goes on saying so.
//!
//! Clocks of different machines are never compared: a standby is there if its word changed lately by the clock of whoever
//! looks. It decides nothing; who serves is the lease's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::message::time;
use crate::wire::lease::{LeaseKey, Sign};

/// How often a standby says that it is there, and how often the serving instance looks.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// A standby whose word did not change for so long is gone. Longer than servers take to find a new leader: nobody can say
/// anything meanwhile.
const GONE_AFTER: Duration = Duration::from_secs(15);
/// The broker is degraded if nobody has stood by for so long: one that is started again need not alarm anybody.
const MISSED_AFTER: Duration = Duration::from_secs(30);

/// A standby's way of saying that it is there; silent when dropped.
pub(super) struct Presence {
    seq: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Presence {
    /// Begins to say it, beside the following: a standby that has much to read is there too.
    pub(super) fn begin(key: LeaseKey, instance: String) -> Self {
        let seq = Arc::<AtomicU64>::default();
        let kept = Arc::clone(&seq);
        let task = tokio::spawn(async move {
            loop {
                let sign = Sign { instance: instance.clone(), kept: kept.load(Ordering::Relaxed) };
                // What is wrong with the servers is told by whoever follows; the next word comes in a second.
                if let Err(error) = key.sign(&sign).await {
                    tracing::debug!(%error, "the others do not hear that this instance stands by");
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seq, task }
    }

    /// The archive has everything up to here.
    pub(super) fn kept(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The last word of one standby.
#[derive(Debug)]
struct Heard {
    revision: u64,
    kept: u64,
    /// When it changed; never, if it only stood there at the first look.
    changed: Option<Instant>,
}

/// What was seen of the standbys so far. Pure: words and time come in.
#[derive(Debug)]
struct Sightings {
    heard: BTreeMap<String, Heard>,
    /// Since when nobody was heard: from the beginning, or from the last word.
    quiet_since: Instant,
    /// The last look that succeeded: judged is by it, for a look that failed says nothing about standbys.
    looked: Instant,
}

impl Sightings {
    fn new(now: Instant) -> Self {
        Self { heard: BTreeMap::new(), quiet_since: now, looked: now }
    }

    /// One look.
    fn look(&mut self, found: Vec<(u64, Sign)>, now: Instant) {
        self.looked = now;
        for (revision, Sign { instance, kept }) in found {
            let changed = match self.heard.get(&instance) {
                // The word of one that died long ago may stand there too.
                None => None,
                Some(before) if before.revision == revision => before.changed,
                Some(_) => Some(now),
            };
            if changed == Some(now) {
                self.quiet_since = now;
            }
            self.heard.insert(instance, Heard { revision, kept, changed });
        }
    }

    /// Names of those that are there, and how far they have followed.
    fn there(&self) -> Vec<(&str, u64)> {
        let fresh = |heard: &Heard| {
            heard.changed.is_some_and(|at| self.looked.saturating_duration_since(at) < GONE_AFTER)
        };
        self.heard
            .iter()
            .filter(|(_, heard)| fresh(heard))
            .map(|(name, heard)| (name.as_str(), heard.kept))
            .collect()
    }

    /// For how long nobody was heard.
    fn quiet(&self) -> Duration {
        self.looked.saturating_duration_since(self.quiet_since)
    }
}

/// The standbys of the instance that serves; of one that is alone there are none, and nobody misses them.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    key: Option<LeaseKey>,
    own: String,
    seen: RwLock<Option<Sightings>>,
}

impl Standbys {
    /// Those of the instance with this name, which begins to serve.
    pub(super) fn of(key: LeaseKey, own: String) -> Self {
        let seen = RwLock::new(Some(Sightings::new(time::stopwatch())));
        Self { key: Some(key), own, seen }
    }

    /// Looks until stopped, and counts.
    pub(super) async fn watch(shared: Shared, stop: CancellationToken) {
        let standbys = Arc::clone(&shared.standbys);
        let Some(key) = &standbys.key else { return stop.cancelled().await };
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            // A look that fails is told by others: the lease cannot be renewed then.
            let Ok(mut found) = key.signs().await else { continue };
            found.retain(|(_, sign)| sign.instance != standbys.own);
            let mut seen = standbys.seen.write();
            let Some(seen) = seen.as_mut() else { return };
            seen.look(found, time::stopwatch());
            let there = seen.there();
            let nearest = there.iter().map(|(_, kept)| *kept).max();
            let behind = nearest.map_or(0, |kept| shared.reader.head_seq().saturating_sub(kept));
            shared.metrics.cluster_standbys.set(i64::try_from(there.len()).unwrap_or(i64::MAX));
            shared.metrics.cluster_behind_records.set(behind);
        }
    }

    /// In words, and whether somebody must see to it; nothing for an instance alone.
    pub(super) fn check(&self) -> Option<(bool, String)> {
        let seen = self.seen.read();
        let seen = seen.as_ref()?;
        let there = seen.there();
        let names: Vec<&str> = there.iter().map(|(name, _)| *name).collect();
        let quiet = seen.quiet();
        Some(match there.len() {
            0 => (quiet >= MISSED_AFTER, format!("nobody stands by, for {} s", quiet.as_secs())),
            count => (false, format!("{count} stand by: {}", names.join(", "))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(revision: u64, instance: &str, kept: u64) -> (u64, Sign) {
        (revision, Sign { instance: instance.to_owned(), kept })
    }

    #[test]
    fn a_standby_is_there_while_its_word_changes() {
        let start = time::stopwatch();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut seen = Sightings::new(start);
        seen.look(vec![said(3, "b", 7), said(4, "old", 1)], at(1));
        assert!(seen.there().is_empty(), "a word that only stands there may be of one that died");
        seen.look(vec![said(5, "b", 9), said(4, "old", 1)], at(2));
        assert_eq!((seen.there(), seen.quiet()), (vec![("b", 9)], Duration::ZERO));
        seen.look(vec![said(5, "b", 9)], at(1 + GONE_AFTER.as_secs()));
        assert_eq!(seen.there(), [("b", 9)], "one second is left");
        seen.look(vec![said(5, "b", 9)], at(2 + GONE_AFTER.as_secs()));
        assert_eq!((seen.there(), seen.quiet()), (vec![], GONE_AFTER));
        seen.look(vec![said(6, "b", 9)], at(100));
        assert_eq!((seen.there().len(), seen.quiet()), (1, Duration::ZERO), "it is back");
    }
}
