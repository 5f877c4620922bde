//! A command of the foreign system: started in a shell, fed lines, listened to, and gone in the end.
//!
//! It has a process group of its own, so that what it started goes with it. It knows nothing of what the lines mean.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, watch};

/// Lines of output kept; a program in a loop must not fill memory.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<Value>>,
    /// Nothing more comes: it has ended, or closed its output.
    over: AtomicBool,
    news: Notify,
}

/// A running command.
#[derive(Debug)]
pub struct Driven {
    child: Child,
    group: Option<Pid>,
    input: Option<mpsc::Sender<String>>,
    said: Arc<Said>,
    held: watch::Sender<bool>,
}

impl Driven {
    /// Starts a command with these variables over the environment, and no other `LIAISON_POST`. Its stderr is ours, for whoever watches.
    ///
    /// # Errors
    /// No shell.
    pub fn start(command: &str, environment: &[(&str, String)]) -> std::io::Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .env_remove("LIAISON_POST");
        shell.envs(environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        let mut child = shell.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (input, mut lines) = mpsc::channel::<String>(MOST);
        if let Some(mut stdin) = child.stdin.take() {
            tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
        let said = Arc::new(Said::default());
        let (held, mut holding) = watch::channel(false);
        if let Some(stdout) = child.stdout.take() {
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                // Whoever would let it go on may be gone: then so is the command.
                while holding.wait_for(|held| !held).await.is_ok() {
                    let Ok(Some(line)) = lines.next_line().await else { break };
                    let Ok(value) = serde_json::from_str(&line) else { continue };
                    let mut kept = said.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() < MOST {
                        kept.push(value);
                    }
                    drop(kept);
                    said.news.notify_waiters();
                }
                said.over.store(true, Ordering::Release);
                said.news.notify_waiters();
            });
        }
        Ok(Self { child, group, input: Some(input), said, held })
    }

    /// Reads nothing of what it prints until told otherwise, so that its output comes to a stop.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Gives it a line. No scenario has as many as may wait; one that does not read any more loses nothing that we need.
    pub fn tell(&self, line: &Value) {
        if let Some(input) = &self.input {
            input.try_send(format!("{line}\n")).ok();
        }
    }

    /// The lines of JSON that it printed so far.
    #[must_use]
    pub fn said(&self) -> Vec<Value> {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something holds of its lines; false if it did not within the limit, or cannot any more.
    pub async fn until(&self, limit: Duration, holds: impl Fn(&[Value]) -> bool) -> bool {
        let wait = async {
            loop {
                let news = self.said.news.notified();
                let is_over = self.said.over.load(Ordering::Acquire);
                if holds(&self.said.lines.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return true;
                }
                if is_over {
                    return false;
                }
                news.await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_default()
    }

    /// Waits until it can say nothing more.
    pub async fn over(&self) {
        loop {
            let news = self.said.news.notified();
            if self.said.over.load(Ordering::Acquire) {
                return;
            }
            news.await;
        }
    }

    /// Ends its input, and it, if it does not end within this time by itself. True if it did.
    pub async fn end(mut self, grace: Duration) -> bool {
        self.input = None;
        matches!(tokio::time::timeout(grace, self.child.wait()).await, Ok(Ok(_)))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::time::stopwatch;

    #[tokio::test]
    async fn nobody_waits_for_what_a_command_that_has_ended_would_say() {
        let begun = stopwatch();
        let driven = Driven::start("echo 1; exit 3", &[]).expect("a shell");
        let hour = Duration::from_hours(1);
        assert!(driven.until(hour, |said| said.len() == 1).await, "what it said before counts");
        assert!(!driven.until(hour, |said| said.len() == 2).await);
        driven.over().await;
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
