//! What is measured when somebody asks for the metrics: memory and descriptors of the process, room on the disk, how full the
//! queues between the stages are. Between two questions it costs nothing; it logs nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::keeper::{Done, Work};
use super::metrics::{gauge, put};
use crate::archive::size;
use crate::message::raw::Raw;

/// A queue between two stages, by the stage that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    /// `judge`, `keeper` or `outgoing`.
    stage: &'static str,
}

type Amount = Gauge<u64, AtomicU64>;

/// Where the last measurement is shown.
#[derive(Debug)]
pub(super) struct Measured {
    queue_waiting: Family<Queue, Gauge>,
    queue_limit: Family<Queue, Gauge>,
    process_memory: Amount,
    process_open_fds: Amount,
    process_max_fds: Amount,
    journal_bytes: Amount,
    sled_bytes: Amount,
    free_bytes: Amount,
    filesystem_bytes: Amount,
}

impl Measured {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            queue_waiting: put(r, "queue_waiting", "Batches before a stage", Family::default()),
            queue_limit: put(r, "queue_limit", "Batches that may wait there", Family::default()),
            process_memory: gauge(r, "process_resident_memory_bytes", "Bytes of the process in memory"),
            process_open_fds: gauge(r, "process_open_fds", "Open descriptors"),
            process_max_fds: gauge(r, "process_max_fds", "Descriptors that may be open"),
            journal_bytes: gauge(r, "archive_journal_bytes", "Bytes of the journal"),
            sled_bytes: gauge(r, "archive_sled_bytes", "Bytes of sled"),
            free_bytes: gauge(r, "archive_free_bytes", "Bytes left on the archive's file system"),
            filesystem_bytes: gauge(r, "archive_filesystem_bytes", "Bytes of that file system"),
        }
    }

    /// Batches that wait before a stage, and how many may.
    fn fill<T>(&self, stage: &'static str, queue: &mpsc::WeakSender<T>) {
        let (waiting, limit) = match queue.upgrade() {
            Some(queue) => (queue.max_capacity() - queue.capacity(), queue.max_capacity()),
            None => (0, super::BATCHES), // the house is ending
        };
        let label = Queue { stage };
        self.queue_waiting.get_or_create(&label).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.queue_limit.get_or_create(&label).set(i64::try_from(limit).unwrap_or(i64::MAX));
    }
}

/// Where is measured. Holds no queue open.
#[derive(Debug)]
pub(super) struct Gauges {
    archive: PathBuf,
    raw: mpsc::WeakSender<Vec<Raw>>,
    judged: mpsc::WeakSender<Work>,
    done: mpsc::WeakSender<Done>,
}

impl Gauges {
    pub(super) fn new(
        archive: PathBuf,
        raw: &mpsc::Sender<Vec<Raw>>,
        judged: &mpsc::Sender<Work>,
        done: &mpsc::Sender<Done>,
    ) -> Arc<Self> {
        Arc::new(Self { archive, raw: raw.downgrade(), judged: judged.downgrade(), done: done.downgrade() })
    }

    /// Measures. What cannot be measured keeps its last value: that something is wrong is seen by other checks.
    pub(super) fn read(&self, shown: &Measured) {
        shown.fill("judge", &self.raw);
        shown.fill("keeper", &self.judged);
        shown.fill("outgoing", &self.done);
        if let Some(bytes) = resident() {
            shown.process_memory.set(bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            shown.process_open_fds.set(open.count() as u64);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        shown.process_max_fds.set(limit.current.unwrap_or(u64::MAX));
        if let Ok(size) = size::size(&self.archive) {
            shown.journal_bytes.set(size.journal);
            shown.sled_bytes.set(size.sled);
            shown.free_bytes.set(size.free);
            shown.filesystem_bytes.set(size.total);
        }
    }
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}
