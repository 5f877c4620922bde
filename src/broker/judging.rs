//! The judging thread: takes raw batches off the connection's thread and gives each message its stateless verdict.
//!
//! One batch keeps its order; the keeper behind relies on it.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::keeper::{Judged, Origin, Work};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};
use crate::message::outcome::{Code, Refused};
use crate::message::raw::Raw;
use crate::message::time;
use crate::rules::Rules;
use crate::rules::judge::{Refusal, Target, judge};

/// Runs until intake hangs up or the keeper ends.
pub fn run(rules: &RwLock<Arc<Rules>>, mut inbox: mpsc::Receiver<Vec<Raw>>, outbox: &mpsc::Sender<Work>) {
    while let Some(batch) = inbox.blocking_recv() {
        let Some(now) = now_for(&batch, &inbox) else { return };
        // Behind the waiting: a key may have been revoked meanwhile, or a party suspended.
        let rules = Arc::clone(&rules.read());
        let judged = batch.into_iter().map(|raw| one(&rules, raw, now)).collect();
        fault::point(Spot::Judged);
        if outbox.blocking_send(Work::Judged(judged)).is_err() {
            return;
        }
    }
}

/// The time to judge a batch at. Intake waits for a clock that is right; one that was set since must not refuse anybody
/// either. `None` if the house ends meanwhile: what was taken and not judged comes again.
fn now_for(batch: &[Raw], inbox: &mpsc::Receiver<Vec<Raw>>) -> Option<time::Timestamp> {
    loop {
        let now = time::now();
        if super::intake::wrong_by(batch, now).is_none() {
            return Some(now);
        }
        if inbox.is_closed() {
            return None;
        }
        std::thread::sleep(super::space::LOOK);
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
    let payload = raw.evidence();
    let (party, position) = (raw.party.clone(), raw.position);
    // One message that breaks a rule's code must not take the house down, and again at every start.
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(rules, raw, now)));
    let verdict = judged.unwrap_or_else(|_| {
        tracing::error!(%party, sequence = position.sequence, "the judgement of a message broke; it is refused");
        let refused = Refused::new(Code::Schema, "", "could not be judged; the operators have been told");
        let target = Target { source: String::new(), id: None, post: "system".to_owned() };
        Err(Box::new(Refusal { refused, target }))
    });
    Judged { origin, payload, verdict }
}
