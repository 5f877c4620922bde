//! The couriers' office: hands what was archived to the courier of each recipient, and knows how far each has come.
//!
//! It never waits: a courier whose queue is full reads the rest from the archive when it gets there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::broom::Broom;
use super::courier::{Courier, QUEUE};
use super::metrics::{Authority, Delivered};
use super::receipt::Issuer;
use crate::archive::{Archived, FeedItem};
use crate::message::names::PartyId;
use crate::wire::egress::Publisher;
use crate::wire::inspect::Inspector;

/// How far the deliveries to one party have come.
#[derive(Debug, Default)]
pub struct Progress {
    stored: AtomicU64,
    ahead: AtomicI64,
    stalled: AtomicBool,
}

impl Progress {
    /// A delivery stands in the mailbox at this stream sequence.
    pub fn stored(&self, feed_seq: u64, stream_sequence: u64) {
        self.ahead.store(feed_seq.cast_signed() - stream_sequence.cast_signed(), Ordering::Relaxed);
        self.stored.fetch_max(feed_seq, Ordering::Relaxed);
    }

    /// Notes whether the mailbox takes nothing at the moment; gives what was known before.
    pub fn stall(&self, stalled: bool) -> bool {
        self.stalled.swap(stalled, Ordering::Relaxed)
    }

    /// True while the mailbox takes nothing.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// The last feed sequence that the mailbox has taken.
    #[must_use]
    pub fn last_stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// The feed sequence that stands at a stream sequence of the mailbox. Deliveries are its only messages, one each.
    #[must_use]
    pub fn feed_seq_at(&self, stream_sequence: u64) -> u64 {
        let feed_seq = stream_sequence.cast_signed() + self.ahead.load(Ordering::Relaxed);
        u64::try_from(feed_seq).unwrap_or_default()
    }
}

impl Progress {
    /// Where a delivery stands in the mailbox stream; `None` if it came before all that the stream ever held.
    #[must_use]
    pub fn stream_sequence_of(&self, feed_seq: u64) -> Option<u64> {
        let at = feed_seq.cast_signed() - self.ahead.load(Ordering::Relaxed);
        u64::try_from(at).ok().filter(|at| *at > 0)
    }
}

/// The counter side of one courier.
#[derive(Debug)]
pub struct Desk {
    fresh: mpsc::Sender<FeedItem>,
    /// Highest feed sequence skipped: it wakes a courier that must read from the archive.
    skipped: watch::Sender<u64>,
    progress: Arc<Progress>,
}

/// All couriers by party.
#[derive(Debug, Default)]
pub struct Couriers {
    desks: HashMap<PartyId, Desk>,
}

impl Couriers {
    /// Adds a courier.
    pub fn add(&mut self, party: PartyId, desk: Desk) {
        self.desks.insert(party, desk);
    }

    /// How far the deliveries to a party have come.
    #[must_use]
    pub fn progress(&self, party: &PartyId) -> Option<Arc<Progress>> {
        self.desks.get(party).map(|desk| Arc::clone(&desk.progress))
    }

    /// The parties whose mailboxes take nothing at the moment, in order.
    #[must_use]
    pub fn stalled(&self) -> Vec<PartyId> {
        let stalled = self.desks.iter().filter(|(_, desk)| desk.progress.is_stalled());
        let mut parties: Vec<PartyId> = stalled.map(|(party, _)| party.clone()).collect();
        parties.sort();
        parties
    }

    /// Hands over what was archived. Takes only [`Archived`]: nothing that was not kept can be delivered.
    pub fn hand_over(&self, archived: &[Archived]) {
        for kept in archived {
            for delivery in kept.deliveries() {
                let Some(desk) = self.desks.get(&delivery.party) else { continue };
                if delivery.of != kept.record().seq {
                    // A message that is released lies further back: the courier reads it there.
                    desk.skipped.send_replace(delivery.feed_seq);
                    continue;
                }
                let item = FeedItem {
                    feed_seq: delivery.feed_seq,
                    feed_digest: delivery.feed_digest,
                    record: Arc::clone(kept.record_arc()),
                };
                if desk.fresh.try_send(item).is_err() {
                    desk.skipped.send_replace(delivery.feed_seq);
                }
            }
        }
    }
}

/// A courier for a party, and the desk that it takes its deliveries from.
#[must_use]
pub(super) fn hire(
    party: &PartyId,
    shared: &Shared,
    publisher: Publisher,
    inspector: Inspector,
    issuer: Issuer,
    stop: &CancellationToken,
) -> (Desk, Courier) {
    let (fresh_in, fresh) = mpsc::channel(QUEUE);
    let (skipped_in, skipped) = watch::channel(0);
    let progress = Arc::<Progress>::default();
    let desk = Desk { fresh: fresh_in, skipped: skipped_in, progress: Arc::clone(&progress) };
    let label = Delivered { authority: party.to_string(), outcome: "stored" };
    let delivered = shared.metrics.deliveries.get_or_create(&label).clone();
    let label = Authority { authority: party.to_string() };
    let waiting = shared.metrics.mailbox_waiting.get_or_create(&label).clone();
    let broom = Broom::new(party.clone(), inspector.clone());
    let courier = Courier {
        party: party.clone(),
        reader: shared.reader.clone(),
        rules: Arc::clone(&shared.rules),
        publisher,
        inspector,
        metrics: Arc::clone(&shared.metrics),
        delivered,
        waiting,
        broom,
        audit: shared.audit.clone(),
        read: 0,
        is_damaged: false,
        issuer,
        progress,
        fresh,
        skipped,
        stop: stop.clone(),
    };
    (desk, courier)
}
