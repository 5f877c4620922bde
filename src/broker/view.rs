//! What can be seen of a running broker: counters and checks, never content.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::Shared;
use super::audit::Audit;
use super::checkpoints::Checkpoints;
use super::connections::Connections;
use super::couriers::Couriers;
use super::gauges::Gauges;
use super::metrics::Metrics;
use super::space::Reserve;
use super::standbys::Standbys;
use crate::archive::Reader;
use crate::message::time;
use crate::wire::connect::Watch;

/// One line of `/readyz`.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// False if the broker is not ready because of it.
    pub ok: bool,
    /// True if the broker is ready and somebody is served worse all the same.
    pub degraded: bool,
    /// In words.
    pub words: String,
}

impl Check {
    fn of(name: &'static str, ok: bool, words: String) -> Self {
        Self { name, ok, degraded: false, words }
    }
}

/// The window's side of a broker. Cheap to clone.
#[derive(Clone)]
pub struct View {
    metrics: Arc<Metrics>,
    reader: Reader,
    checkpoints: Arc<Checkpoints>,
    audit: Audit,
    reserve: Arc<Reserve>,
    standbys: Arc<Standbys>,
    couriers: Arc<RwLock<Couriers>>,
    ready: Arc<AtomicBool>,
    gauges: Arc<Gauges>,
    connections: [(&'static str, Watch); 2],
}

impl View {
    pub(super) fn new(
        shared: &Shared,
        ready: Arc<AtomicBool>,
        gauges: Arc<Gauges>,
        connections: &Connections,
    ) -> Self {
        Self {
            metrics: Arc::clone(&shared.metrics),
            reader: shared.reader.clone(),
            checkpoints: Arc::clone(&shared.checkpoints),
            audit: shared.audit.clone(),
            reserve: Arc::clone(&shared.reserve),
            standbys: Arc::clone(&shared.standbys),
            couriers: Arc::clone(&shared.couriers),
            ready,
            gauges,
            connections: [
                ("egress", Watch::new(connections.egress.clone())),
                ("control", Watch::new(connections.control.clone())),
            ],
        }
    }

    /// The checks of `/readyz`. A full mailbox, or an intake that cannot be read, does not make the broker unready: it stalls
    /// nobody else. It is degraded then, and when nobody stands by in a cluster.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let away: Vec<&str> = self
            .connections
            .iter()
            .filter(|(_, watch)| !watch.is_connected())
            .map(|(name, _)| *name)
            .collect();
        self.metrics.nats_connected.set(i64::from(away.is_empty()));
        let nats = if away.is_empty() {
            "connected".to_owned()
        } else {
            format!("not connected: {}", away.join(", "))
        };
        let taking = self.ready.load(Ordering::Relaxed);
        let interrupted = self.metrics.intakes_interrupted.get();
        let intake = if taking { "taking messages" } else { "not taking messages" };
        let audited = self.audit.is_writing();
        let audit = if audited { "written" } else { "cannot be written; no content is given out" };
        let stalled: Vec<String> = self.couriers.read().stalled().iter().map(ToString::to_string).collect();
        let mailboxes = match stalled.as_slice() {
            [] => "all take deliveries".to_owned(),
            some => format!("{} take no deliveries: {}", some.len(), some.join(", ")),
        };
        let (signed, checkpoint) = self.checkpoints.check();
        let standby = self.standbys.check();
        let standby =
            standby.map(|(degraded, words)| Check { degraded, ..Check::of("standby", true, words) });
        let mut checks = vec![
            Check::of("nats", away.is_empty(), nats),
            self.archive(),
            Check {
                degraded: taking && interrupted > 0,
                ..Check::of("intake", taking, format!("{intake}; {interrupted} parties' intake interrupted"))
            },
            Check::of("checkpoint", signed, checkpoint),
            self.clock(),
            Check::of("audit", audited, audit.to_owned()),
            Check { degraded: !stalled.is_empty(), ..Check::of("mailboxes", true, mailboxes) },
        ];
        checks.extend(standby);
        checks
    }

    /// Short of room is not ready: messages wait, and whoever can should send elsewhere or wait too.
    fn archive(&self) -> Check {
        let room = self.reserve.check();
        let last = format!("last sequence {}", self.reader.head_seq());
        let words = match &room {
            Ok(()) => last,
            Err(why) => format!("{last}; no message is taken: {why}"),
        };
        Check::of("archive", room.is_ok(), words)
    }

    fn clock(&self) -> Check {
        if let Some(seconds) = time::leapt() {
            let words = format!(
                "is {seconds} s ahead of what was known; no message is judged by it, nothing is erased"
            );
            return Check::of("clock", false, words);
        }
        let behind = self.metrics.clock_behind_seconds.get();
        let words = match behind {
            0 => "not behind that of NATS".to_owned(),
            _ => format!("{behind} s behind that of NATS; no message is judged by it"),
        };
        Check::of("clock", behind == 0, words)
    }

    /// The counters as OpenMetrics text. Looks at files: not for a thread that must not wait for a disk.
    #[must_use]
    pub fn metrics(&self) -> String {
        let ready = self.checks().iter().all(|check| check.ok);
        self.metrics.ready.set(i64::from(ready));
        self.metrics.audit_writing.set(i64::from(self.audit.is_writing()));
        self.metrics.checkpoint_age_seconds.set(self.checkpoints.age_seconds());
        self.metrics.checkpoint_lapse_seconds.set(self.checkpoints.lapse_seconds());
        self.gauges.read(&self.metrics.measured);
        self.metrics.text()
    }
}
