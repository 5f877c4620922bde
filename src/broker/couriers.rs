//! The couriers' office: hands what was archived to the courier of each recipient.
//!
//! It never waits: a courier whose queue is full reads the rest from the archive when it gets there.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::archive::{Archived, FeedItem};
use crate::message::names::PartyId;

/// The counter side of one courier.
#[derive(Debug)]
pub struct Desk {
    /// Fresh deliveries.
    pub fresh: mpsc::Sender<FeedItem>,
    /// Highest feed sequence handed over or skipped.
    pub head: watch::Sender<u64>,
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

    /// Hands over what was archived. Takes only [`Archived`]: nothing that was not kept can be delivered.
    pub fn hand_over(&self, archived: &[Archived]) {
        for kept in archived {
            for delivery in kept.deliveries() {
                let Some(desk) = self.desks.get(&delivery.party) else { continue };
                let item = FeedItem {
                    feed_seq: delivery.feed_seq,
                    feed_digest: delivery.feed_digest,
                    record: Arc::clone(kept.record_arc()),
                };
                if desk.fresh.try_send(item).is_err() {
                    desk.head.send_replace(delivery.feed_seq);
                }
            }
        }
    }
}
