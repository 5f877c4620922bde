//! The intake of one party: pulls its stream and hands batches on. The bounded channel is the back-pressure.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::message::raw::Raw;
use crate::wire::intake::Puller;

/// First pause after an interruption.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs until stopped, or until nobody takes batches any more.
pub(super) async fn run(mut puller: Puller, out: mpsc::Sender<Vec<Raw>>, stop: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        let batch = tokio::select! { batch = puller.next() => batch, () = stop.cancelled() => return };
        match batch {
            Ok(batch) => {
                pause = PAUSE;
                if out.send(batch).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(party = %puller.party(), %error,
                    "intake interrupted; reading again from the last acknowledged");
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
