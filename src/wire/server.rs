//! A nats-server of our own, for `liaison up`: found, configured, started as a child, started again if it dies.
//!
//! The child must never outlive us: two servers over one store would ruin it. So it is started through a guard that asks
//! the kernel to kill it when the thread that started it is gone, which holds for SIGKILL too; and it inherits the lock
//! of the data directory as its standard input, so that the lock is free only when both are gone.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::Error;
use super::keys::write_private;
use crate::message::time;

/// How long the first start may take; JetStream reads its store before it listens.
const START: Duration = Duration::from_secs(60);
/// Pause between two looks at whether the server is ready.
const LOOK: Duration = Duration::from_millis(10);
/// How long the server may take to end when asked to.
const STOP: Duration = Duration::from_secs(10);
/// After adding an account its service imports are dead until a second reload (nats-server 2.15.1).
const BETWEEN_RELOADS: Duration = Duration::from_millis(600);
/// The server collects its garbage when the heap is five times what is in use, and not when it is twice that. Most of what is
/// in use are the last 4 to 8 MiB of each stream, so it looks for garbage far more often than there is much: each time it
/// takes a core for a quarter of a second, which a busy small machine does not have, and everybody waits (decision 0014).
const GARBAGE: u64 = 400;
/// Only where the machine has this memory; beyond half of it the server collects as often as it must.
const GARBAGE_MEMORY: u64 = 8 << 30;
/// The hidden subcommand of our own binary that becomes the server.
pub const GUARD: &str = "child-guard";

/// What the supervising thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    pid: AtomicU32,
    port: AtomicU16,
    stop: AtomicBool,
}

/// A running nats-server.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    directory: PathBuf,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    url: String,
}

/// The first program that is new enough: the given one, the one on `PATH`, or the one that `scripts/setup` fetched.
///
/// # Errors
/// [`Error::Server`] with what was looked at.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Error> {
    let mut looked = Vec::new();
    for candidate in candidates(given) {
        match version(&candidate) {
            Some(version) if is_new_enough(&version) => return Ok(candidate),
            Some(version) => looked.push(format!("{} is {version}", candidate.display())),
            None if given.is_some() => looked.push(format!("{} does not run", candidate.display())),
            None => {}
        }
    }
    let found = if looked.is_empty() { "none found".to_owned() } else { looked.join(", ") };
    Err(Error::Server(format!(
        "{found}; 2.12.7 or 2.14 and later is needed: scripts/setup fetches one, or give --nats-server"
    )))
}

fn candidates(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.to_owned()];
    }
    let beside =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("tools/nats-server")));
    [Some(PathBuf::from("nats-server")), beside, Some(PathBuf::from("target/tools/nats-server"))]
        .into_iter()
        .flatten()
        .collect()
}

fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().rsplit(['v', ' ']).next().map(str::to_owned)
}

/// True for the versions that do what we rely on.
#[must_use]
pub fn is_new_enough(version: &str) -> bool {
    let (major, minor, patch) = numbers(version);
    takes_parcels(version) || ((major, minor) == (2, 12) && patch >= 7)
}

/// True for the versions whose streams take letters in parcels (`egress.rs`).
#[must_use]
pub fn takes_parcels(version: &str) -> bool {
    let (major, minor, _) = numbers(version);
    (major, minor) >= (2, 14)
}

fn numbers(version: &str) -> (u64, u64, u64) {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Becomes the program, killed by the kernel when `parent` is gone. Returns only if that fails.
#[must_use]
pub fn guard(parent: u32, program: &Path, args: &[std::ffi::OsString]) -> std::io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the kernel was asked.
    let ours = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if ours.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
        return std::io::Error::other("the parent is gone");
    }
    // Our allocator has switched huge pages off for this process, and the program would inherit that. It runs without us too.
    rustix::thread::disable_transparent_huge_pages(false).ok();
    Command::new(program).args(args).exec()
}

impl Server {
    /// Writes the configuration, checks it and starts the server; returns when it listens. `lock` is the locked file
    /// of the data directory.
    ///
    /// # Errors
    /// [`Error::Server`] with the end of the server's log.
    pub async fn start(program: &Path, directory: &Path, text: &str, lock: &File) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(|error| Error::Server(error.to_string()))?;
        write_checked(program, directory, text)?;
        remove_port_files(directory);
        let shared = Arc::new(Shared::default());
        let lock = lock.try_clone().map_err(|error| Error::Server(error.to_string()))?;
        let thread = {
            let (program, directory, shared) =
                (program.to_owned(), directory.to_owned(), Arc::clone(&shared));
            std::thread::Builder::new()
                .name("nats-server".to_owned())
                .spawn(move || supervise(&program, &directory, &shared, &lock))
                .map_err(|error| Error::Server(error.to_string()))?
        };
        let url = ready(directory, &shared, &thread).await?;
        Ok(Self { program: program.to_owned(), directory: directory.to_owned(), shared, thread, url })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes a new configuration without cutting anybody off; an invalid one is not taken.
    ///
    /// # Errors
    /// [`Error::Server`].
    pub async fn reload(&self, text: &str) -> Result<(), Error> {
        write_checked(&self.program, &self.directory, text)?;
        self.signal(Signal::HUP)?;
        tokio::time::sleep(BETWEEN_RELOADS).await;
        self.signal(Signal::HUP)?;
        tokio::time::sleep(BETWEEN_RELOADS).await;
        Ok(())
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Already gone is as good.
        drop(self.signal(Signal::TERM));
        if !self.ended_within(STOP).await {
            drop(self.signal(Signal::KILL));
            // Nothing can keep it now but the kernel's own work.
            self.ended_within(STOP).await;
        }
    }

    async fn ended_within(&self, patience: Duration) -> bool {
        let until = time::stopwatch() + patience;
        while !self.thread.is_finished() && time::stopwatch() < until {
            tokio::time::sleep(LOOK).await;
        }
        self.thread.is_finished()
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let pid = i32::try_from(self.shared.pid.load(Ordering::SeqCst)).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Server("is not running".to_owned()))?;
        rustix::process::kill_process(pid, signal).map_err(|error| Error::Server(error.to_string()))
    }
}

/// Writes the configuration beside the one in force and lets the server check it before it takes its place.
fn write_checked(program: &Path, directory: &Path, text: &str) -> Result<(), Error> {
    let fault = |error: std::io::Error| Error::Server(error.to_string());
    let fresh = directory.join("nats-server.conf.new");
    write_private(&fresh, &[text.as_bytes()]).map_err(fault)?;
    let checked =
        Command::new(program).arg("-t").arg("-c").arg(&fresh).stdin(Stdio::null()).output().map_err(fault)?;
    if !checked.status.success() {
        let words = String::from_utf8_lossy(&checked.stderr).trim().to_owned();
        return Err(Error::Server(format!("the generated configuration is refused: {words}")));
    }
    std::fs::rename(&fresh, directory.join("nats-server.conf")).map_err(fault)
}

fn remove_port_files(directory: &Path) {
    for path in port_files(directory) {
        drop(std::fs::remove_file(path)); // a left-over one names a dead process and is not read
    }
}

fn port_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "ports"))
        .collect()
}

/// Runs in a thread of its own, which lives as long as the server is wanted: the kernel's promise hangs on it.
fn supervise(program: &Path, directory: &Path, shared: &Shared, lock: &File) {
    let mut pause = Duration::from_millis(50);
    while !shared.stop.load(Ordering::SeqCst) {
        let started = time::stopwatch();
        let port = shared.port.load(Ordering::SeqCst);
        match spawn(program, directory, port, lock) {
            Ok(mut child) => {
                shared.pid.store(child.id(), Ordering::SeqCst);
                let ended = child.wait();
                shared.pid.store(0, Ordering::SeqCst);
                // Read anew: the port became known after this child had been started.
                if shared.port.load(Ordering::SeqCst) == 0 || shared.stop.load(Ordering::SeqCst) {
                    return; // it never listened, or it was asked to end
                }
                tracing::error!(?ended, "nats-server ended; it is started again on the same port");
            }
            Err(error) => {
                tracing::error!(%error, "nats-server cannot be started");
                if port == 0 {
                    return;
                }
            }
        }
        if started.elapsed() > Duration::from_secs(10) {
            pause = Duration::from_millis(50);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn spawn(program: &Path, directory: &Path, port: u16, lock: &File) -> std::io::Result<std::process::Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(GUARD)
        .arg(std::process::id().to_string())
        .arg(program)
        .arg("-c")
        .arg(directory.join("nats-server.conf"));
    command.arg("--ports_file_dir").arg(directory).arg("-l").arg(directory.join("nats-server.log"));
    if port != 0 {
        command.arg("-p").arg(port.to_string());
    }
    if !is_collection_chosen()
        && let Some(memory) = memory().filter(|memory| *memory >= GARBAGE_MEMORY)
    {
        command.env("GOGC", GARBAGE.to_string()).env("GOMEMLIMIT", format!("{}B", memory / 2));
    }
    command
        .stdin(Stdio::from(lock.try_clone()?))
        .stdout(Stdio::null())
        .stderr(last_words(directory))
        .process_group(0)
        .spawn()
}

/// Where the server's runtime writes why it had to end: what it says before that goes into its log. A disk that does not take
/// the file keeps no server from starting.
fn last_words(directory: &Path) -> Stdio {
    let file =
        File::options().create(true).append(true).mode(0o600).open(directory.join("nats-server.stderr"));
    file.map_or_else(|_| Stdio::null(), Stdio::from)
}

/// True if whoever started us has said how the server is to collect its garbage.
#[expect(clippy::disallowed_methods, reason = "the server's own settings, which it inherits; not ours")]
fn is_collection_chosen() -> bool {
    ["GOGC", "GOMEMLIMIT"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Bytes that this process and its children may use: the machine's, or what its control group is given.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let places = Path::new(group).ancestors().map(|group| Path::new("/sys/fs/cgroup").join(group));
    let limits = places.filter_map(|place| std::fs::read_to_string(place.join("memory.max")).ok());
    let least = limits.filter_map(|limit| limit.trim().parse().ok()).min();
    Some(least.unwrap_or(u64::MAX).min(total * 1_024))
}

/// Waits until the server has written its ports and answers on the first.
async fn ready(directory: &Path, shared: &Shared, thread: &JoinHandle<()>) -> Result<String, Error> {
    let until = time::stopwatch() + START;
    while time::stopwatch() < until {
        if thread.is_finished() {
            break;
        }
        if let Some(address) = listening(directory, shared.pid.load(Ordering::SeqCst))
            && tokio::net::TcpStream::connect(address).await.is_ok()
        {
            shared.port.store(address.port(), Ordering::SeqCst);
            return Ok(format!("nats://{address}"));
        }
        tokio::time::sleep(LOOK).await;
    }
    shared.stop.store(true, Ordering::SeqCst);
    let log = std::fs::read_to_string(directory.join("nats-server.log")).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().take(5).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(Error::Server(format!("did not start:\n{}", tail.join("\n"))))
}

fn listening(directory: &Path, pid: u32) -> Option<SocketAddr> {
    let ending = format!("_{pid}.ports");
    let file = port_files(directory).into_iter().find(|path| path.to_string_lossy().ends_with(&ending))?;
    let ports: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.trim_start_matches("nats://").trim_start_matches("tls://").parse().ok()
}
