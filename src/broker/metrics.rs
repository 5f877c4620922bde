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
use prometheus_client::registry::{Metric, Registry};

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
    /// When the last reload was taken; 0 before the first.
    pub reload_success_timestamp: Gauge<f64, AtomicU64>,
    /// Receipts published and acknowledged by the stream.
    pub receipts: Counter,
    /// Requests to the services by verb.
    pub requests: Family<Verb, Counter>,
    /// Messages and tombstones replayed, by authority.
    pub replayed: Family<Authority, Counter>,
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
    /// Records under the last signed checkpoint.
    pub checkpoint_size: Gauge<u64, AtomicU64>,
    /// Age of that checkpoint.
    pub checkpoint_age_seconds: Gauge,
    /// Bytes free where the archive has the least room.
    pub archive_free_bytes: Gauge<u64, AtomicU64>,
    /// 1 while no message is taken because the disk is nearly full.
    pub archive_short: Gauge,
    /// How far the clock is behind that of nats-server, while nothing is taken for that.
    pub clock_behind_seconds: Gauge,
}

/// A service verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verb {
    /// The verb.
    pub verb: &'static str,
}

/// Registers a counter under its name and hands it out.
fn put<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("liaison");
        let r = &mut registry;
        r.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        put(r, "up", "1 while the broker runs", Gauge::<i64>::default()).set(1);
        let reload_successful = Gauge::default();
        reload_successful.set(1);
        let stage = exponential_buckets(0.000_5, 2.0, 16);
        let batch = exponential_buckets(1.0, 2.0, 10);
        Self {
            messages: put(r, "messages", "Messages judged, by outcome and code", Family::default()),
            deliveries: put(r, "deliveries", "Deliveries to mailboxes", Family::default()),
            archive_seconds: put(
                r,
                "archive_seconds",
                "From intake stream to archive",
                Histogram::new(stage),
            ),
            commit_messages: put(r, "commit_messages", "Messages in one commit", Histogram::new(batch)),
            last_sequence: put(r, "archive_last_sequence", "Last archive sequence", Gauge::default()),
            nats_connected: put(r, "nats_connected", "1 while NATS is connected", Gauge::default()),
            reload_successful: put(
                r,
                "config_last_reload_successful",
                "1 if the last reload was taken",
                reload_successful,
            ),
            reload_success_timestamp: put(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When the last reload was taken",
                Gauge::default(),
            ),
            receipts: put(r, "receipts", "Receipts stored", Counter::default()),
            requests: put(r, "requests", "Service requests, by verb", Family::default()),
            replayed: put(r, "replayed_messages", "Messages replayed, by authority", Family::default()),
            mailboxes_stalled: put(r, "mailboxes_stalled", "Mailboxes that take nothing", Gauge::default()),
            intakes_interrupted: put(
                r,
                "intakes_interrupted",
                "Intakes that cannot be read",
                Gauge::default(),
            ),
            letters_to_withdraw: put(
                r,
                "letters_to_withdraw",
                "Copies of erased messages in streams",
                Gauge::default(),
            ),
            recalls_unconfirmed: put(
                r,
                "recalls_unconfirmed",
                "Recalls not confirmed, by holder",
                Gauge::default(),
            ),
            erasures_overdue: put(r, "erasures_overdue", "Erasures not confirmed in time", Gauge::default()),
            mailbox_waiting: put(r, "mailbox_waiting", "Letters not acknowledged", Family::default()),
            checkpoint_size: put(r, "checkpoint_size", "Records under the last checkpoint", Gauge::default()),
            checkpoint_age_seconds: put(
                r,
                "checkpoint_age_seconds",
                "Age of the last checkpoint",
                Gauge::default(),
            ),
            archive_free_bytes: put(r, "archive_free_bytes", "Room where there is least", Gauge::default()),
            archive_short: put(r, "archive_short", "1 while the reserve is touched", Gauge::default()),
            clock_behind_seconds: put(
                r,
                "clock_behind_seconds",
                "How far the clock is behind NATS",
                Gauge::default(),
            ),
            registry,
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
