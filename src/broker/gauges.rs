//! What is measured when somebody asks for the metrics: memory and descriptors of the process, room on the disk, how full the
//! queues between the stages are. Between two questions it costs nothing; it logs nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::keeper::{Done, Work};
use super::metrics::{Metrics, Queue};
use crate::archive::space;
use crate::message::raw::Raw;

/// Where is measured. Holds no queue open.
#[derive(Debug, Clone)]
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

    /// Measures. What cannot be measured keeps its last value: an operator sees by the other checks that something is wrong.
    pub(super) fn read(&self, metrics: &Metrics) {
        fill(metrics, "judge", &self.raw);
        fill(metrics, "keeper", &self.judged);
        fill(metrics, "outgoing", &self.done);
        if let Some(bytes) = resident() {
            metrics.process_memory.set(bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            metrics.process_open_fds.set(open.count() as u64);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        metrics.process_max_fds.set(limit.current.unwrap_or(u64::MAX));
        if let Ok(space) = space::space(&self.archive) {
            metrics.journal_bytes.set(space.journal);
            metrics.sled_bytes.set(space.sled);
            metrics.free_bytes.set(space.free);
            metrics.filesystem_bytes.set(space.total);
        }
    }
}

/// Batches that wait before a stage, and how many may.
fn fill<T>(metrics: &Metrics, stage: &'static str, queue: &mpsc::WeakSender<T>) {
    let (waiting, limit) = match queue.upgrade() {
        Some(queue) => (queue.max_capacity() - queue.capacity(), queue.max_capacity()),
        None => (0, super::BATCHES), // the house is ending
    };
    let label = Queue { stage };
    metrics.queue_waiting.get_or_create(&label).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    metrics.queue_limit.get_or_create(&label).set(i64::try_from(limit).unwrap_or(i64::MAX));
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}
