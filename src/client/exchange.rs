//! An exchange of `liaison up` as tools on the same machine see it: where it says it is, and its window for operators.
//!
//! A plain socket and HTTP/1.0: small texts of one known server; no client library is in the house for more. What is asked
//! there, and what the answers mean, is the tools' business.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::message::time::stopwatch;

/// The file in the data directory that says where everything is.
pub const ENDPOINTS: &str = "endpoints.json";

/// The file in the data directory that `liaison up` holds locked from before it reads anything until it is gone.
pub const LOCK: &str = "LOCK";

/// How long an answer of the window may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at whether a reload is done.
const LOOK: Duration = Duration::from_millis(100);
/// Metrics that tell when a reload was last taken, and whether the last one was.
const RELOADED: &str = "liaison_config_last_reload_success_timestamp_seconds";
const TAKEN: &str = "liaison_config_last_reload_successful";
/// The longest answer that is read, bytes.
const LONGEST: u64 = 16 << 20;

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
    /// What a running `liaison up` wrote into this file.
    #[must_use]
    pub fn read(file: &Path) -> Option<Self> {
        let told: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        Some(Self {
            nats: told["nats"].as_str()?.to_owned(),
            http: told["http"].as_str().map(|url| url.trim_start_matches("http://").to_owned()),
            pid: told["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        })
    }

    /// The same from beside a configuration file.
    #[must_use]
    pub fn beside(configuration: &Path) -> Option<Self> {
        Self::read(&configuration.with_file_name(ENDPOINTS))
    }

    /// Those of whatever runs on a data directory. One that is starting is waited for: it may have read its files before they
    /// were changed, and nobody but who changed them knows that.
    ///
    /// # Errors
    /// It was not ready in time, or it cannot be seen whether anything runs.
    pub async fn running(data: &Path, patience: Duration) -> std::io::Result<Option<Self>> {
        let begun = stopwatch();
        loop {
            if let Some(running) = Self::read(&data.join(ENDPOINTS)).filter(Self::is_alive) {
                return Ok(Some(running));
            }
            if !is_locked(&data.join(LOCK))? {
                return Ok(None);
            }
            if begun.elapsed() >= patience {
                return Err(std::io::Error::other(format!("it was not ready within {patience:?}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// True if the process is there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
    }

    /// One of its metrics.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = get(self.http.as_ref()?, "/metrics").await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Lets it read its files anew and waits until that is done.
    ///
    /// # Errors
    /// It is not there, did not take what it read, or was not done in time.
    pub async fn reload(&self, patience: Duration) -> std::io::Result<()> {
        let other = |words: String| std::io::Error::other(words);
        // Asked first: an old file may name a process that is somebody else's by now.
        let answers = (self.metric(RELOADED).await, self.metric(TAKEN).await);
        let (Some(before), Some(was_taken)) = answers else {
            return Err(other("its window for operators does not answer".to_owned()));
        };
        let pid = self.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| other("nobody can be told: its process is not known".to_owned()))?;
        rustix::process::kill_process(pid, Signal::HUP)?;
        let begun = stopwatch();
        while begun.elapsed() < patience {
            tokio::time::sleep(LOOK).await;
            if self.metric(RELOADED).await.is_some_and(|at| at > before) {
                return Ok(());
            }
            // One that failed before looks the same as one that fails now: then only patience tells.
            if (was_taken != 0.0 && self.metric(TAKEN).await == Some(0.0)) || !self.is_alive() {
                return Err(other("it did not take its files; its log says why".to_owned()));
            }
        }
        Err(other(format!("it did not take its files within {patience:?}; its log says why")))
    }
}

fn is_locked(file: &Path) -> std::io::Result<bool> {
    match File::open(file) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The body of what a window at this host and port answers, whatever the status.
///
/// # Errors
/// Nobody is there, or there was no answer in time.
pub async fn get(http: &str, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {http}\r\n\r\n");
    let asked = async {
        let mut socket = TcpStream::connect(http).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.take(LONGEST).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await??;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::Error::other("no answer in HTTP"))
}
