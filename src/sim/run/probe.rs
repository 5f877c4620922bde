//! Looks at the broker from outside once a second: what the system knows of its process and of its nats-server, and its
//! own metrics.
//!
//! A plain socket and HTTP/1.0: one small text of one known server; no client library is in the house for more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::live::Live;
use super::scribe::{Note, Notes};
use crate::sim::log::Sample;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const LONGEST: u64 = 4 << 20;
/// Milliseconds of a clock tick in `/proc`; the kernel shows it so to all programs, whatever it uses itself.
const TICK_MS: u64 = 10;

/// Where the broker is.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// Address of NATS.
    pub nats: String,
    /// Host and port of the window for operators.
    pub http: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
}

impl Endpoints {
    /// What a running `liaison up` wrote into its data directory.
    #[must_use]
    pub fn read(file: &Path) -> Option<Self> {
        let told: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        Some(Self {
            nats: told["nats"].as_str()?.to_owned(),
            http: told["http"].as_str().map(|url| url.trim_start_matches("http://").to_owned()),
            pid: told["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        })
    }

    /// True if the process is there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
    }

    /// One of its metrics.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let http = self.http.as_ref()?;
        let text = tokio::time::timeout(PATIENCE, get(http, "/metrics")).await.ok()?.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

async fn get(http: &str, path: &str) -> std::io::Result<String> {
    let mut socket = tokio::net::TcpStream::connect(http).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {http}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.take(LONGEST).read_to_string(&mut answer).await?;
    Ok(answer)
}

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
