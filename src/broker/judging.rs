//! The judging thread: takes raw batches off the connection's thread and gives each message its stateless verdict.
//!
//! One batch keeps its order; the keeper behind relies on it.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::keeper::{Judged, Origin};
use crate::message::digest::Digest;
use crate::message::raw::Raw;
use crate::message::time;
use crate::rules::Rules;
use crate::rules::judge::judge;

/// Runs until intake hangs up or the keeper ends.
pub fn run(
    rules: &RwLock<Arc<Rules>>,
    mut inbox: mpsc::Receiver<Vec<Raw>>,
    outbox: &mpsc::Sender<Vec<Judged>>,
) {
    while let Some(batch) = inbox.blocking_recv() {
        let rules = Arc::clone(&rules.read());
        let now = time::now();
        let judged = batch.into_iter().map(|raw| one(&rules, raw, now)).collect();
        if outbox.blocking_send(judged).is_err() {
            return;
        }
    }
}

fn one(rules: &Rules, raw: Raw, now: time::Timestamp) -> Judged {
    let origin = Origin {
        party: raw.party.clone(),
        position: raw.position,
        subject: raw.subject.clone(),
        arrived: raw.arrived,
        digest: Digest::of(&raw.payload),
    };
    let payload = raw.payload.clone();
    Judged { origin, payload, verdict: judge(rules, raw, now) }
}
