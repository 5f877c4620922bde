//! Looks at the broker from outside once a second: what the system knows of its process and of its nats-server, and its
//! own metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::live::Live;
use super::scribe::{Note, Notes};
use crate::client::exchange::Endpoints;
use crate::sim::log::Sample;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// Milliseconds of a clock tick in `/proc`; the kernel shows it so to all programs, whatever it uses itself.
const TICK_MS: u64 = 10;

/// Samples until it is stopped. The broker may be started again meanwhile: it is found by its file.
pub async fn probe(
    mut endpoints: Endpoints,
    file: Option<PathBuf>,
    clock: Clock,
    live: Arc<Live>,
    notes: Notes,
    over: CancellationToken,
) {
    let mut tick = tokio::time::interval_at(clock.moment(0), EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Some(found) = file.as_deref().and_then(Endpoints::read) {
            endpoints = found;
        }
        let archived = endpoints.metric("liaison_archive_last_sequence").await;
        let nats = endpoints.pid.and_then(server_of);
        let nats = nats.map(of_process).unwrap_or_default();
        let broker = endpoints.pid.map(of_process).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sequence, from text")]
        let archived = archived.unwrap_or_default() as u64;
        let sample = Sample {
            at: clock.now(),
            rss: broker.rss,
            descriptors: broker.descriptors,
            threads: broker.threads,
            cpu_ms: broker.cpu_ms,
            nats_rss: nats.rss,
            nats_cpu_ms: nats.cpu_ms,
            open: live.open.load(Relaxed),
            unread: live.promised.load(Relaxed).saturating_sub(live.letters.load(Relaxed)),
            archived,
        };
        if notes.send(Note::Sample(sample)).await.is_err() {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct Process {
    rss: u64,
    descriptors: u64,
    threads: u64,
    cpu_ms: u64,
}

/// What the system knows of a process; zeros for what it does not tell.
fn of_process(pid: u32) -> Process {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name));
        rest.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let fields = stat(pid);
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Process {
        rss: line("VmRSS:") * 1024,
        threads: line("Threads:"),
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64),
        cpu_ms: (ticks(11) + ticks(12)) * TICK_MS,
    }
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything.
fn stat(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(str::to_owned).collect()
}

/// The nats-server that is a child of this process.
fn server_of(parent: u32) -> Option<u32> {
    let parent = parent.to_string();
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nats-server")
            && stat(*pid).get(1) == Some(&parent)
    })
}
