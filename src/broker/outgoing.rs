//! Receipts and acknowledgements: what leaves after a commit, in the order of the commits.
//!
//! Intake is acknowledged only when the receipts of a commit are stored in `RCPT`, and not after each commit; a crash in
//! between makes the messages come again, and the keeper answers them with the same receipts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::broom::REST;
use super::couriers::Couriers;
use super::floors::Floors;
use super::keeper::Done;
use super::metrics::Metrics;
use super::receipt::{Issuer, Receipt};
use crate::message::digest::Digest;
use crate::message::fault::{self, Spot};
use crate::message::names::PartyId;
use crate::message::raw::Position;
use crate::message::time;
use crate::wire::acker::Acker;
use crate::wire::egress::{Headers, Publisher};
use crate::wire::inspect::Inspector;
use crate::wire::intake_stream;

/// Commits whose receipts may be under way at once.
const COMMITS: usize = 8;

/// How long the end may wait for what is still to be overwritten.
const LAST: Duration = Duration::from_secs(2);
/// Publications that wait to be overwritten.
const TO_OVERWRITE: usize = 65_536;

/// Overwrites publications in the intake streams that carry personal data, or were refused for it: they are kept
/// sealed, or not at all, and would else stand there in the clear for a week. One at a time and with rests, for each makes
/// nats-server write a block anew: a party that sends much of it must not slow the others. What fails, and what waits
/// when the process ends, is left to the stream's age.
async fn overwrite(
    inspector: Inspector,
    mut personal: mpsc::Receiver<(PartyId, u64, Digest)>,
    metrics: Arc<Metrics>,
) {
    while let Some((party, sequence, payload)) = personal.recv().await {
        let began = time::stopwatch();
        let deleted = inspector.delete_publication(&intake_stream(&party), sequence, payload).await;
        metrics.overwrites_waiting.dec();
        if let Err(error) = deleted {
            metrics.overwrites_failed.inc();
            tracing::warn!(%party, sequence, %error, "a publication with personal data stays in its intake stream");
        }
        tokio::time::sleep(began.elapsed() * REST).await;
    }
}

/// Acknowledgements are sent after so many messages, when nothing more came for a while, or after some time in any case. Each
/// makes nats-server write the state of a consumer; one that a crash keeps from being sent costs some reading again. Far
/// below what a stream may have delivered and not yet acknowledged, or it would stop delivering.
const ACKNOWLEDGE_AFTER: usize = 4_096;
const ACKNOWLEDGE_WHEN_IDLE: Duration = Duration::from_millis(50);
const ACKNOWLEDGE_AT_LATEST: Duration = Duration::from_secs(1);

async fn until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Up to where intake may be acknowledged and is not yet.
#[derive(Default)]
struct Owed {
    upto: BTreeMap<PartyId, Position>,
    messages: usize,
    /// When the first and the last of them came.
    since: Option<(Instant, Instant)>,
}

impl Owed {
    /// One commit more, of so many messages; how many there are.
    fn add(&mut self, upto: BTreeMap<PartyId, Position>, messages: usize, now: Instant) -> usize {
        self.upto.extend(upto);
        self.since = Some((self.since.map_or(now, |(first, _)| first), now));
        self.messages += messages;
        self.messages
    }

    /// When they are to be sent.
    fn due(&self) -> Instant {
        self.since.map_or_else(Instant::now, |(first, last)| {
            (first + ACKNOWLEDGE_AT_LATEST).min(last + ACKNOWLEDGE_WHEN_IDLE)
        })
    }
}

/// The sender of receipts.
pub struct Outgoing {
    /// How it is sent.
    pub publisher: Publisher,
    /// Who signs.
    pub issuer: Issuer,
    /// How intake is acknowledged.
    pub acker: Acker,
    /// Where it is noted too.
    pub floors: Floors,
    /// How intake streams are reached.
    pub inspector: Inspector,
    /// Who carries the deliveries.
    pub couriers: Arc<RwLock<Couriers>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Outgoing {
    /// Runs until the keeper hangs up and everything is out.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Done>) {
        let (to_overwrite, personal) = mpsc::channel(TO_OVERWRITE);
        let overwriting =
            tokio::spawn(overwrite(self.inspector.clone(), personal, Arc::clone(&self.metrics)));
        let mut flying = FuturesOrdered::new();
        let mut owed = Owed::default();
        let mut open = true;
        while open || !flying.is_empty() {
            tokio::select! {
                done = inbox.recv(), if open && flying.len() < COMMITS => match done {
                    Some(done) => {
                        self.couriers.read().hand_over(&done.archived);
                        let mut answers = Vec::with_capacity(done.receipts.len());
                        let personal: Vec<(PartyId, u64, Digest)> = done
                            .receipts
                            .iter()
                            .filter(|receipt| receipt.is_personal)
                            .map(|receipt| (receipt.party.clone(), receipt.position.sequence, receipt.digest))
                            .collect();
                        for receipt in done.receipts {
                            answers.push(self.send(receipt).await);
                        }
                        let (acknowledge, messages) = (done.acknowledge, answers.len());
                        flying.push_back(async move {
                            join_all(answers).await;
                            (acknowledge, messages, personal)
                        });
                    }
                    None => open = false,
                },
                Some((acknowledge, messages, personal)) = flying.next(), if !flying.is_empty() => {
                    fault::point(Spot::Receipted);
                    for (party, upto) in &acknowledge {
                        self.acker.done(party, *upto);
                    }
                    if owed.add(acknowledge, messages, Instant::now()) >= ACKNOWLEDGE_AFTER {
                        self.acknowledge(&mut owed).await;
                    }
                    for (party, sequence, payload) in personal {
                        // Counted first: it may be taken and done at once.
                        self.metrics.overwrites_waiting.inc();
                        if to_overwrite.try_send((party.clone(), sequence, payload)).is_err() {
                            self.metrics.overwrites_waiting.dec();
                            self.metrics.overwrites_failed.inc();
                            tracing::warn!(%party, sequence, "too many wait to be overwritten in the intake streams");
                        }
                    }
                }
                () = tokio::time::sleep_until(owed.due()), if owed.since.is_some() => self.acknowledge(&mut owed).await,
                () = until(self.floors.due()) => self.floors.note(&self.acker),
            }
        }
        self.acknowledge(&mut owed).await;
        self.floors.end(&self.acker).await;
        drop(to_overwrite);
        let stop = overwriting.abort_handle();
        if tokio::time::timeout(LAST, overwriting).await.is_err() {
            stop.abort();
        }
    }

    async fn acknowledge(&mut self, owed: &mut Owed) {
        for (party, upto) in std::mem::take(owed).upto {
            self.acker.acknowledge(&party, upto).await;
            fault::point(Spot::Acknowledged);
        }
        self.floors.note(&self.acker);
    }

    /// Begins to send one receipt; the answer sends it again until the stream has it.
    async fn send(&self, receipt: Receipt) -> impl Future<Output = ()> + use<> {
        fault::point(Spot::Receipting);
        let subject = receipt.subject();
        // No `Nats-Msg-Id`: the stream keeps the last of a subject, so a receipt that is stored twice is there once, and ids are
        // a fifth of what a publication costs the server.
        let headers: Headers = vec![("Content-Type", "application/cloudevents+json".to_owned())];
        let body = Bytes::from(receipt.event(&self.issuer));
        let publisher = self.publisher.clone();
        let metrics = Arc::clone(&self.metrics);
        let first = publisher.publish(subject.clone(), headers.clone(), body.clone()).await;
        async move {
            let mut answer = first.await;
            let mut patience = Duration::from_millis(100);
            if let Err(error) = &answer {
                tracing::warn!(%error, "a receipt was not stored; sending it again until it is");
            }
            while answer.is_err() {
                tokio::time::sleep(patience).await;
                patience = (patience * 2).min(Duration::from_secs(5));
                answer = publisher.publish(subject.clone(), headers.clone(), body.clone()).await.await;
            }
            metrics.receipts.inc();
        }
    }
}
