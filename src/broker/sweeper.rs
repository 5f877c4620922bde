//! Asks the keeper, every now and then, to do what has fallen due, and counts recalls that are not confirmed.
//!
//! What is due is `retention`'s plan; the keeper carries it out. By a clock that has leapt ahead everything would be due, and what is
//! erased does not come back: nothing is done by it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::config::RetentionSection;
use super::handling::{Asker, unconfirmed};
use super::own::Own;
use crate::archive::{Error, Reader};
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp};

/// Recalls looked at for the counters: the latest.
const MOST_RECALLS: usize = 1_000;

/// Finds out whether the clock is to be believed in from now on. If the archive has seen a later time the clock is wrong, and being set
/// right is no leap. If its last record is of long ago, the broker stood still or the clock is ahead, and only the operator knows
/// which: until he says so it counts as a leap, for what a wrong clock erases does not come back. Either way it is the last record that is
/// believed.
///
/// # Errors
/// The archive cannot be read.
pub(super) fn believe_in_clock(reader: &Reader, is_right: bool) -> Result<(), Error> {
    let now = time::now();
    let last = reader.get(reader.head_seq())?;
    match last.and_then(|last| Timestamp::from_millisecond(last.archived_ms).ok()) {
        Some(last) if !is_right && (last > now || time::is_leap(last, now)) => time::believe(last),
        _ => time::believe(now),
    }
    Ok(())
}

/// Runs until stopped, or until the keeper has ended.
pub(super) async fn run(keeper: Asker, shared: Shared, every: RetentionSection, stop: CancellationToken) {
    let recipients = Arc::<Mutex<Recipients>>::default();
    let mut told = false;
    let mut tick = tokio::time::interval(Duration::from_secs(every.every_seconds.max(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        let leapt = time::leapt();
        if let Some(seconds) = leapt.filter(|_| !told) {
            let words = "the clock is far ahead of the last record, or has leapt ahead; nothing is judged, delivered or erased by it. If \
                it is right, start the broker again with --trust-clock";
            tracing::error!(seconds, "{words}");
        }
        told = leapt.is_some();
        if told {
            continue;
        }
        match keeper.ask(Own::Sweep(time::now().as_millisecond())).await {
            Some(0) => {}
            Some(records) => tracing::info!(records, "carried out what had fallen due"),
            None => break,
        }
        let (counting, known) = (shared.clone(), Arc::clone(&recipients));
        let counted = tokio::task::spawn_blocking(move || count(&counting, &mut known.lock())).await;
        if let Ok(Err(error)) = counted {
            tracing::warn!(%error, "open recalls cannot be counted");
        }
    }
    // A stage must not end before the house does.
    stop.cancelled().await;
}

/// Who got the recalled messages that were looked at last, by archive sequence. That never changes, and reading a record
/// takes unpacking its block: a thousand of them each minute made every delivery wait.
type Recipients = HashMap<u64, Vec<PartyId>>;

fn count(shared: &Shared, known: &mut Recipients) -> Result<(), Error> {
    let now_ms = time::now().as_millisecond();
    let (mut open, mut overdue) = (0, 0);
    let mut recent = Recipients::new();
    for (seq, fate) in shared.reader.recalled(MOST_RECALLS) {
        let recipients = match known.remove(&seq) {
            Some(recipients) => recipients,
            None => match shared.reader.get(seq)? {
                Some(record) => record.delivered_to().map(|entry| entry.party.clone()).collect(),
                None => continue,
            },
        };
        let released = fate.released_to.iter().map(|entry| entry.party.clone());
        let holders: Vec<PartyId> = recipients.iter().cloned().chain(released).collect();
        let left = unconfirmed(&holders, &fate).len();
        open += left;
        overdue += if fate.erased.is_some_and(|order| order.due_ms <= now_ms) { left } else { 0 };
        recent.insert(seq, recipients);
    }
    *known = recent;
    shared.metrics.recalls_unconfirmed.set(i64::try_from(open).unwrap_or(i64::MAX));
    shared.metrics.erasures_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
    Ok(())
}
