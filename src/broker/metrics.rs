//! What the broker counts: one family a question, never a label by officer or message.
//!
//! Counting and logging happen here in the broker and nowhere below: the rooms underneath return facts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Outcome and code of one judged message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Judged {
    /// `accepted`, `duplicate`, `quarantined`, `rejected`.
    pub outcome: &'static str,
    /// The code, empty if none.
    pub code: &'static str,
}

/// An authority and what became of a delivery to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Delivered {
    /// Whose mailbox.
    pub authority: String,
    /// `stored` or `refused`.
    pub outcome: &'static str,
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Authority {
    /// Its id.
    pub authority: String,
}

/// The counters of one broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages by outcome and code.
    pub messages: Family<Judged, Counter>,
    /// Deliveries by authority and outcome.
    pub deliveries: Family<Delivered, Counter>,
    /// Time from the intake stream to the archive.
    pub archive_seconds: Histogram,
    /// Messages in one commit.
    pub commit_messages: Histogram,
    /// Last archive sequence.
    pub last_sequence: Gauge<u64, AtomicU64>,
    /// 1 while all NATS connections are up.
    pub nats_connected: Gauge,
    /// 1 if the last reload was taken.
    pub reload_successful: Gauge,
    /// Receipts published and acknowledged by the stream.
    pub receipts: Counter,
    /// Requests to the services by verb.
    pub requests: Family<Verb, Counter>,
    /// Mailboxes that do not take deliveries at the moment.
    pub mailboxes_stalled: Gauge,
    /// Parties whose intake cannot be read at the moment.
    pub intakes_interrupted: Gauge,
    /// Letters of erased messages that are still to be taken out of mailboxes.
    pub letters_to_withdraw: Gauge,
    /// Holders that have not confirmed a recall.
    pub recalls_unconfirmed: Gauge,
    /// Holders that have not confirmed an erasure by its date.
    pub erasures_overdue: Gauge,
    /// Letters that a party has not acknowledged, as of the last sweeping.
    pub mailbox_waiting: Family<Authority, Gauge>,
}

/// A service verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verb {
    /// The verb.
    pub verb: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("liaison");
        let messages = Family::<Judged, Counter>::default();
        let deliveries = Family::<Delivered, Counter>::default();
        let archive_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let commit_messages = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        let last_sequence = Gauge::<u64, AtomicU64>::default();
        let nats_connected = Gauge::<i64>::default();
        let reload_successful = Gauge::<i64>::default();
        let receipts = Counter::default();
        let requests = Family::<Verb, Counter>::default();
        let mailboxes_stalled = Gauge::<i64>::default();
        let intakes_interrupted = Gauge::<i64>::default();
        let letters_to_withdraw = Gauge::<i64>::default();
        let recalls_unconfirmed = Gauge::<i64>::default();
        let erasures_overdue = Gauge::<i64>::default();
        let mailbox_waiting = Family::<Authority, Gauge>::default();
        registry.register("messages", "Messages judged, by outcome and code", messages.clone());
        registry.register("deliveries", "Deliveries to mailboxes", deliveries.clone());
        registry.register("archive_seconds", "From intake stream to archive", archive_seconds.clone());
        registry.register("commit_messages", "Messages in one commit", commit_messages.clone());
        registry.register("archive_last_sequence", "Last archive sequence", last_sequence.clone());
        registry.register("nats_connected", "1 while NATS is connected", nats_connected.clone());
        registry.register(
            "config_last_reload_successful",
            "1 if the last reload was taken",
            reload_successful.clone(),
        );
        registry.register("receipts", "Receipts stored", receipts.clone());
        registry.register("requests", "Service requests, by verb", requests.clone());
        registry.register("mailboxes_stalled", "Mailboxes that take nothing", mailboxes_stalled.clone());
        registry.register("intakes_interrupted", "Intakes that cannot be read", intakes_interrupted.clone());
        registry.register(
            "letters_to_withdraw",
            "Letters of erased messages still in mailboxes",
            letters_to_withdraw.clone(),
        );
        registry.register(
            "recalls_unconfirmed",
            "Holders that have not confirmed a recall",
            recalls_unconfirmed.clone(),
        );
        registry.register(
            "erasures_overdue",
            "Holders that have not confirmed an erasure by its date",
            erasures_overdue.clone(),
        );
        registry.register("mailbox_waiting", "Letters not acknowledged", mailbox_waiting.clone());
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running version", info);
        let up = Gauge::<i64>::default();
        up.set(1);
        registry.register("up", "1 while the broker runs", up);
        reload_successful.set(1);
        Self {
            registry,
            messages,
            deliveries,
            archive_seconds,
            commit_messages,
            last_sequence,
            nats_connected,
            reload_successful,
            receipts,
            requests,
            mailboxes_stalled,
            intakes_interrupted,
            letters_to_withdraw,
            recalls_unconfirmed,
            erasures_overdue,
            mailbox_waiting,
        }
    }
}

impl Metrics {
    /// OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => "# EOF\n".to_owned(), // a String cannot fail to take text
        }
    }
}
