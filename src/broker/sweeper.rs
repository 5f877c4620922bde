//! Asks the keeper, every now and then, to do what has fallen due, and counts recalls that are not confirmed.
//!
//! What is due is `retention`'s plan; the keeper carries it out.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::config::RetentionSection;
use super::handling::{Asker, unconfirmed};
use super::own::Own;
use crate::archive::Error;
use crate::message::time;

/// Recalls looked at for the counters: the latest.
const MOST_RECALLS: usize = 1_000;

/// Runs until stopped, or until the keeper has ended.
pub(super) async fn run(keeper: Asker, shared: Shared, every: RetentionSection, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(every.every_seconds.max(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => break,
        }
        match keeper.ask(Own::Sweep(time::now().as_millisecond())).await {
            Some(0) => {}
            Some(records) => tracing::info!(records, "carried out what had fallen due"),
            None => break,
        }
        let counting = shared.clone();
        let counted = tokio::task::spawn_blocking(move || count(&counting)).await;
        if let Ok(Err(error)) = counted {
            tracing::warn!(%error, "open recalls cannot be counted");
        }
    }
    // A stage must not end before the house does.
    stop.cancelled().await;
}

fn count(shared: &Shared) -> Result<(), Error> {
    let now_ms = time::now().as_millisecond();
    let (mut open, mut overdue) = (0, 0);
    let mut recalled = shared.reader.recalled();
    recalled.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    for (seq, fate) in recalled.into_iter().take(MOST_RECALLS) {
        let Some(record) = shared.reader.get(seq)? else { continue };
        let left = unconfirmed(&shared.reader.holders(&record), &fate).len();
        open += left;
        overdue += if fate.erased.is_some_and(|order| order.due_ms <= now_ms) { left } else { 0 };
    }
    shared.metrics.recalls_unconfirmed.set(i64::try_from(open).unwrap_or(i64::MAX));
    shared.metrics.erasures_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
    Ok(())
}
