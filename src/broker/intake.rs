//! The intake of one party: pulls its stream and hands batches on. The bounded channel is the back-pressure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::checkpoints::Checkpoints;
use super::metrics::Metrics;
use crate::message::raw::{Position, Raw};
use crate::wire::intake::Puller;

/// First pause after an interruption.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs until stopped, or until nobody takes batches any more.
pub(super) async fn run<A: Fn() -> Option<Position>>(
    mut puller: Puller<A>,
    out: mpsc::Sender<Vec<Raw>>,
    metrics: Arc<Metrics>,
    checkpoints: Arc<Checkpoints>,
    stop: CancellationToken,
) {
    let mut pause = PAUSE;
    loop {
        // Fail closed: what cannot be proven any more is not receipted. It waits in the intake stream.
        while checkpoints.has_lapsed() {
            tokio::select! { () = tokio::time::sleep(PAUSE_MAX) => {}, () = stop.cancelled() => return }
        }
        let batch = tokio::select! { batch = puller.next() => batch, () = stop.cancelled() => return };
        match batch {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                pause = PAUSE;
                if out.send(batch).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(party = %puller.party(), %error,
                    "intake interrupted; reading again from the last acknowledged");
                metrics.intakes_interrupted.inc();
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                metrics.intakes_interrupted.dec();
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
