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

use super::gauges::Measured;

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
    /// Mailboxes that have lost letters in their middle.
    pub mailboxes_damaged: Gauge,
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
    /// 1 while no message is taken because the disk is nearly full.
    pub archive_short: Gauge,
    /// How far the clock is behind that of nats-server, while nothing is taken for that; less than 0: it has leapt ahead.
    pub clock_behind_seconds: Gauge,
    /// Since when no checkpoint holds all records; small while nothing is wrong, also when nothing comes in.
    pub checkpoint_lapse_seconds: Gauge,
    /// Grows whenever an instance of a cluster begins to serve; 0 without a cluster.
    pub lease_epoch: Gauge<u64, AtomicU64>,
    /// Instances of the cluster that stand by.
    pub cluster_standbys: Gauge,
    /// Records that the nearest of them had not said to have; 0 if there is none.
    pub cluster_behind_records: Gauge<u64, AtomicU64>,
    /// 1 while every check of `/readyz` holds.
    pub ready: Gauge,
    /// 1 while the audit log can be written.
    pub audit_writing: Gauge,
    /// How far the clock of nats-server is ahead of ours.
    pub clock_skew_seconds: Gauge<f64, AtomicU64>,
    /// Publications with personal data that are still to be overwritten in intake streams.
    pub overwrites_waiting: Gauge,
    /// Those that were not overwritten and stay until the stream's age takes them.
    pub overwrites_failed: Counter,
    /// What is measured when somebody asks.
    pub(super) measured: Measured,
}

/// A service verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verb {
    /// The verb.
    pub verb: &'static str,
}

/// Registers a counter under its name and hands it out.
pub(super) fn put<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// The same for a gauge that begins at 0.
pub(super) fn gauge<N, A>(registry: &mut Registry, name: &str, help: &str) -> Gauge<N, A>
where
    Gauge<N, A>: Metric + Clone + Default,
{
    put(registry, name, help, Gauge::default())
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("liaison");
        let r = &mut registry;
        r.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        put(r, "up", "1 while the broker runs", Gauge::<i64>::default()).set(1);
        let reload_successful = Gauge::default();
        reload_successful.set(1);
        let stage = Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let batch = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        Self {
            messages: put(r, "messages", "Messages judged, by outcome and code", Family::default()),
            deliveries: put(r, "deliveries", "Deliveries to mailboxes", Family::default()),
            archive_seconds: put(r, "archive_seconds", "From intake stream to archive", stage),
            commit_messages: put(r, "commit_messages", "Messages in one commit", batch),
            last_sequence: gauge(r, "archive_last_sequence", "Last archive sequence"),
            nats_connected: gauge(r, "nats_connected", "1 while NATS is connected"),
            reload_successful: put(
                r,
                "config_last_reload_successful",
                "1 if the last reload was taken",
                reload_successful,
            ),
            reload_success_timestamp: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When the last reload was taken",
            ),
            receipts: put(r, "receipts", "Receipts stored", Counter::default()),
            requests: put(r, "requests", "Service requests, by verb", Family::default()),
            replayed: put(r, "replayed_messages", "Messages replayed, by authority", Family::default()),
            mailboxes_stalled: gauge(r, "mailboxes_stalled", "Mailboxes that take nothing"),
            mailboxes_damaged: gauge(r, "mailboxes_damaged", "Mailboxes that have lost letters"),
            intakes_interrupted: gauge(r, "intakes_interrupted", "Intakes that cannot be read"),
            letters_to_withdraw: gauge(r, "letters_to_withdraw", "Copies of erased messages in streams"),
            recalls_unconfirmed: gauge(r, "recalls_unconfirmed", "Recalls not confirmed, by holder"),
            erasures_overdue: gauge(r, "erasures_overdue", "Erasures not confirmed in time"),
            mailbox_waiting: put(r, "mailbox_waiting", "Letters not acknowledged", Family::default()),
            checkpoint_size: gauge(r, "checkpoint_size", "Records under the last checkpoint"),
            checkpoint_age_seconds: gauge(r, "checkpoint_age_seconds", "Age of the last checkpoint"),
            checkpoint_lapse_seconds: gauge(
                r,
                "checkpoint_lapse_seconds",
                "Since when no checkpoint holds all records",
            ),
            archive_short: gauge(r, "archive_short", "1 while the reserve is touched"),
            clock_behind_seconds: gauge(r, "clock_behind_seconds", "How far the clock is behind NATS"),
            lease_epoch: gauge(r, "lease_epoch", "Grows when another instance begins to serve"),
            cluster_standbys: gauge(r, "cluster_standbys", "Instances that stand by"),
            cluster_behind_records: gauge(r, "cluster_behind_records", "Records the nearest standby lacks"),
            ready: gauge(r, "ready", "1 while every check of /readyz holds"),
            audit_writing: gauge(r, "audit_writing", "1 while the audit log can be written"),
            clock_skew_seconds: gauge(r, "clock_skew_seconds", "Clock of nats-server ahead of ours"),
            overwrites_waiting: gauge(
                r,
                "overwrites_waiting",
                "Personal data still to be overwritten in intake",
            ),
            overwrites_failed: put(
                r,
                "overwrites_failed",
                "Personal data left in intake",
                Counter::default(),
            ),
            measured: Measured::register(r),
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
