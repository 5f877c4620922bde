//! The intake of one party: pulls its stream and hands batches on. The bounded channel is the back-pressure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::checkpoints::Checkpoints;
use super::metrics::Metrics;
use super::space::{LOOK, Reserve};
use crate::archive::{Reader, Record};
use crate::message::fault::{self, Spot};
use crate::message::names::PartyId;
use crate::message::raw::{Position, Raw};
use crate::message::time;
use crate::wire::Error;
use crate::wire::intake::{Kept, Memory, Puller};

/// First pause after an interruption.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// An interrupted intake that has waited so long for its next message is well again. What breaks it does so at once.
const CALM: Duration = Duration::from_secs(1);

/// Whether the intake is interrupted, as the gauge counts it: from the first interruption until a message has come or none
/// is there, so that whoever looks once in a while can see it.
struct Health<'a> {
    metrics: &'a Metrics,
    interrupted: bool,
}

impl Health<'_> {
    fn set(&mut self, interrupted: bool) {
        if std::mem::replace(&mut self.interrupted, interrupted) != interrupted {
            self.metrics.intakes_interrupted.inc_by(if interrupted { 1 } else { -1 });
        }
    }
}

impl Drop for Health<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// The next batch. Waiting for one in peace is being well.
async fn next(puller: &mut Puller, health: &mut Health<'_>) -> Result<Vec<Raw>, Error> {
    puller.prepare().await?;
    let reads_on = puller.reads_on();
    // Not dropped before it is done: with it the reader would be gone.
    let mut batch = std::pin::pin!(puller.next());
    tokio::select! {
        batch = &mut batch => return batch,
        () = tokio::time::sleep(CALM), if health.interrupted && reads_on => health.set(false),
    }
    batch.await
}

/// How far a message may have arrived in our future: S-6 gives senders as much, so that beyond it a message would be refused for
/// our own wrong clock.
const AHEAD_SECONDS: i64 = 300;

/// What keeps everybody's intake closed. What is not taken waits in the intake streams.
pub(super) struct Gate {
    /// What cannot be proven any more is not receipted.
    pub(super) checkpoints: Arc<Checkpoints>,
    /// What would fill the disk is not taken.
    pub(super) reserve: Arc<Reserve>,
}

impl Gate {
    /// How long to wait until the next look; none if it is open.
    fn closed(&self) -> Option<Duration> {
        if self.checkpoints.has_lapsed() {
            return Some(PAUSE_MAX);
        }
        self.reserve.is_short().then_some(LOOK)
    }
}

/// By how many seconds our clock must be wrong: so far behind the server's, which stamped these; less than 0 if it has leapt ahead.
pub(super) fn wrong_by(batch: &[Raw], now: time::Timestamp) -> Option<i64> {
    if let Some(seconds) = time::leapt() {
        return Some(-seconds);
    }
    let newest = batch.iter().map(|raw| raw.arrived).max()?;
    let seconds = newest.duration_since(now).as_secs();
    (seconds > AHEAD_SECONDS).then_some(seconds)
}

/// Waits while our clock must be wrong. False if stopped.
async fn wait_for_clock(batch: &[Raw], metrics: &Metrics, stop: &CancellationToken) -> bool {
    let mut told = false;
    while let Some(seconds) = wrong_by(batch, time::now()) {
        metrics.clock_behind_seconds.set(seconds);
        if !std::mem::replace(&mut told, true) {
            let words =
                if seconds < 0 { "is far ahead of what was known" } else { "is behind that of nats-server" };
            tracing::error!(seconds, "the clock {words}; nothing is judged until it is right");
        }
        tokio::select! { () = tokio::time::sleep(LOOK) => {}, () = stop.cancelled() => return false }
    }
    if told {
        metrics.clock_behind_seconds.set(0);
        tracing::info!("the clock is right again");
    }
    true
}

/// What the archive knows of the intake stream of a party.
pub(super) fn memory(reader: &Reader, party: &PartyId) -> Memory {
    let (last, whose) = (reader.clone(), party.clone());
    let (reader, party) = (reader.clone(), party.clone());
    let nearest = move |upto: Position| match reader.at_or_before(&party, upto) {
        Ok(record) => {
            let kept =
                |of: Arc<Record>| Kept { at: of.position, digest: of.digest, arrived_ms: of.arrived_ms };
            record.map(kept)
        }
        Err(error) => {
            tracing::warn!(%party, %error, "the archive does not tell what it has of an intake; reading more of it again");
            None
        }
    };
    Memory { last: Box::new(move || last.last_position(&whose)), nearest: Box::new(nearest) }
}

/// Runs until stopped, or until nobody takes batches any more.
pub(super) async fn run(
    mut puller: Puller,
    out: mpsc::Sender<Vec<Raw>>,
    metrics: Arc<Metrics>,
    gate: Gate,
    stop: CancellationToken,
) {
    let mut pause = PAUSE;
    let mut health = Health { metrics: &metrics, interrupted: false };
    loop {
        while let Some(pause) = gate.closed() {
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
        }
        let batch = tokio::select! {
            batch = next(&mut puller, &mut health) => batch,
            () = stop.cancelled() => return,
        };
        match batch {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                fault::point(Spot::Fetched);
                pause = PAUSE;
                if !wait_for_clock(&batch, &metrics, &stop).await {
                    return;
                }
                // Read one by one, it is not well yet.
                health.set(!puller.reads_on());
                if out.send(batch).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(party = %puller.party(), %error,
                    "intake interrupted; reading again from the last acknowledged");
                health.set(true);
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
