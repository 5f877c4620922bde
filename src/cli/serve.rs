//! `liaison serve` and `liaison check`: the daemon against an existing NATS, and everything that could keep it from
//! starting, told at once.

use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::words;
use super::tls::ClientTls;
use super::{Exit, Failure};
use crate::archive;
use crate::archive::notebook::Notebook;
use crate::broker::config::{self, Config, Reading};
use crate::broker::{Broker, Error, rulebook};
use crate::client::exchange::Endpoints;
use crate::console;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file.
    #[arg(long, env = "LIAISON_CONFIG")]
    config: PathBuf,
    /// Take case-plane messages (personal data, Art. 10), or with `=false` take none; default: `[planes] case` of the configuration.
    #[arg(
        long,
        env = "LIAISON_ENABLE_CASE_PLANE",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    enable_case_plane: Option<bool>,
    /// The clock is right, though the last record of the archive is more than 30 days old; for the first start after a long stop.
    #[arg(long, env = "LIAISON_TRUST_CLOCK")]
    trust_clock: bool,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    tls: ClientTls,
}

/// Where the root key of the archive is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Root {
    /// File with the root key of the archive, outside the data directory; made when the archive begins.
    #[arg(long, env = "LIAISON_ROOT_KEY_FILE")]
    root_key_file: Option<PathBuf>,
    /// The root key itself, 64 hexadecimal digits; only by the environment, for arguments are seen by others.
    #[arg(long, env = "LIAISON_ROOT_KEY", hide = true, hide_env_values = true)]
    root_key: Option<String>,
}

impl Root {
    /// The key of an archive that is only looked into: given, or beside its data directory.
    pub fn of_archive(&self, data: &Path, archive: &Path) -> Result<archive::RootKey, Failure> {
        let configuration = |fault: String| Failure::new(Exit::Configuration, fault);
        if let Some(key) = &self.root_key {
            return archive::RootKey::parse(key).map_err(|error| configuration(error.to_string()));
        }
        let file =
            self.root_key_file.clone().map_or_else(|| config::beside(data), Ok).map_err(configuration)?;
        if !file.exists() {
            return Err(configuration(format!("the root key {} is missing", file.display())));
        }
        archive::RootKey::of(archive, &file).map_err(|error| configuration(error.to_string()))
    }

    /// Puts it over what the configuration says.
    pub fn over(&self, config: &mut Config) -> Result<(), Failure> {
        if let Some(file) = &self.root_key_file {
            file.clone_into(&mut config.archive.root_key);
        }
        let key = self.root_key.as_deref().map(archive::RootKey::parse).transpose();
        config.archive.root = key.map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
        Ok(())
    }
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration file.
    #[arg(long, env = "LIAISON_CONFIG", default_value = "./liaison-data/liaison.toml")]
    config: PathBuf,
    /// Do not ask NATS.
    #[arg(long, env = "LIAISON_NO_ENVIRONMENT")]
    no_environment: bool,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    tls: ClientTls,
}

/// How an error of the broker ends a command.
#[must_use]
pub fn failure(error: &Error) -> Failure {
    let exit = match error {
        Error::Configuration(_) => Exit::Configuration,
        Error::Wire(error) => wire_exit(error),
        Error::Nats(_) => Exit::Unreachable,
        Error::Archive(
            archive::Error::Locked(_) | archive::Error::Fenced(_) | archive::Error::Diverged(_),
        ) => Exit::Failure,
        Error::Archive(archive::Error::Keys(_)) => Exit::Configuration,
        Error::Archive(_) | Error::Thread(..) => Exit::Io,
        Error::Stage(_) | Error::Drain(_) => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}

/// How an error of the road ends a command.
#[must_use]
pub fn wire_exit(error: &crate::wire::Error) -> Exit {
    use crate::wire::Error as Wire;
    match error {
        Wire::Denied(_) | Wire::Key { .. } => Exit::NotPermitted,
        Wire::NotDone(_) => Exit::DataInvalid,
        Wire::Drift(_) | Wire::TooOld(_) => Exit::Configuration,
        Wire::Fenced(_) => Exit::Failure,
        Wire::Unreachable(_) | Wire::Server(_) | Wire::Api { .. } => Exit::Unreachable,
    }
}

/// Reads the configuration file with the flags over it.
pub fn configuration(file: &Path, enable_case_plane: Option<bool>, root: &Root) -> Result<Config, Failure> {
    let mut config = Config::read(file).map_err(|fault| Failure::new(Exit::Configuration, fault))?;
    if let Some(on) = enable_case_plane {
        config.planes.case = on;
    }
    root.over(&mut config)?;
    Ok(config)
}

/// Runs the daemon.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    super::limits::forbid_core_files();
    let mut config = configuration(&args.config, args.enable_case_plane, &args.root)?;
    args.tls.over(&mut config);
    config.trust_clock = args.trust_clock;
    let Some((broker, signals)) = Box::pin(started(&config)).await? else { return Ok(Exit::Ok) };
    let (listener, address) = console::bind(config.http.listen)
        .await
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", config.http.listen)))?;
    tracing::info!(%address, "ready");
    let file = args.config;
    watch(broker, listener, signals, async |broker: &mut Broker| {
        let config = configuration(&file, args.enable_case_plane, &args.root);
        let mut config = config.map_err(|fault| vec![fault.to_string()])?;
        args.tls.over(&mut config);
        broker.reload(config).await
    })
    .await
}

/// The broker when it serves; `None` if it was told to stop while it stood by, which may take weeks. Without a cluster a
/// signal just ends the start.
async fn started(config: &Config) -> Result<Option<(Broker, Signals)>, Failure> {
    let start = Box::pin(Broker::start(config.clone(), || tell(&[sd_notify::NotifyState::Ready])));
    if config.cluster.is_none() {
        let broker = start.await.map_err(|error| failure(&error))?;
        return Ok(Some((broker, Signals::new()?)));
    }
    let mut signals = Signals::new()?;
    let broker = tokio::select! {
        broker = start => broker.map_err(|error| failure(&error))?,
        () = signals.stop_again() => return Ok(None),
    };
    Ok(Some((broker, signals)))
}

/// Serves until a signal or a failure; SIGHUP calls `reload`.
pub async fn watch(
    mut broker: Broker,
    listener: tokio::net::TcpListener,
    mut signals: Signals,
    mut reload: impl AsyncFnMut(&mut Broker) -> Result<(), Vec<String>>,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let window = tokio::spawn(console::serve(listener, broker.view(), stop.clone()));
    tell(&[sd_notify::NotifyState::Ready]);
    let failed = loop {
        tokio::select! {
            error = broker.failed() => break Some(error),
            signal = signals.next() => match signal {
                Signal::Stop => break None,
                Signal::Reload => {
                    tell(&reloading());
                    let reloaded = reload(&mut broker).await;
                    broker.note_reload(reloaded.is_ok());
                    told(reloaded);
                    tell(&[sd_notify::NotifyState::Ready]);
                }
            },
        }
    };
    tell(&[sd_notify::NotifyState::Stopping]);
    if let Some(error) = failed {
        // Nothing more is promised: what was not receipted stays in the intake streams.
        return Err(failure(&error));
    }
    tracing::info!("draining");
    let stopped = tokio::select! {
        stopped = broker.stop() => stopped,
        () = signals.stop_again() => Err(Error::Drain(0)),
    };
    stop.cancel();
    if let Ok(Err(error)) = window.await {
        tracing::warn!(%error, "the window for operators");
    }
    stopped.map_err(|error| failure(&error))?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// What systemd wants to hear before a reload; without the time it does not believe it.
fn reloading() -> Vec<sd_notify::NotifyState<'static>> {
    let now = sd_notify::NotifyState::monotonic_usec_now();
    std::iter::once(sd_notify::NotifyState::Reloading).chain(now.ok()).collect()
}

fn told(reloaded: Result<(), Vec<String>>) {
    match reloaded {
        Ok(()) => tracing::info!("reloaded"),
        Err(faults) => {
            tracing::error!(faults = %faults.join("; "), "not reloaded; the old configuration stays in force")
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Stop,
    Reload,
}

/// The signals that we listen to. Made before anybody is told that we are ready: until then a signal just ends us, and
/// who has read that we are ready may send one at once.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::new(Exit::Io, format!("signals: {error}")));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// A second signal to stop: the drain is not waited for.
    async fn stop_again(&mut self) {
        while self.next().await == Signal::Reload {}
    }
}

/// Checks everything and tells all faults.
pub async fn check(args: CheckArgs) -> Result<Exit, Failure> {
    let reading = Config::read_all(&args.config);
    let reading = reading.map_err(|fault| Failure::new(Exit::Configuration, fault))?;
    let Reading { mut config, mut faults, mut knows_nats } = reading;
    if let Some(running) = Endpoints::beside(&args.config) {
        config.nats.url = running.nats;
        knows_nats = true;
    }
    if let Err(found) = rulebook::load(&config) {
        faults.extend(found);
    }
    if let Err(fault) = args.root.over(&mut config) {
        faults.push(fault.to_string());
    }
    args.tls.over(&mut config);
    if config.archive.directory.join("journal").is_dir()
        && let Err(error) = archive_is_sound(&config)
    {
        faults.push(format!("archive: {error}"));
    }
    faults.extend(is_short(&config));
    match (args.no_environment, knows_nats) {
        (true, _) => {}
        (false, true) => faults.extend(crate::broker::check_nats(&config).await),
        (false, false) => faults.push("NATS was not asked: first mend what says where it is".to_owned()),
    }
    if faults.is_empty() {
        let nats = if args.no_environment { "" } else { ", NATS" };
        words(&format!("configuration, registry, schemas, archive{nats}: no fault found\n"));
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::Configuration, faults.join("\nliaison: ")))
}

/// Less room than the broker wants before it takes messages.
fn is_short(config: &Config) -> Option<String> {
    let found = archive::space::least(&config.archive.directory).ok()?;
    let (free, reserve) = (found.free >> 20, config.archive.reserve >> 20);
    let place = found.place.display();
    let words = format!(
        "archive: {free} MiB free in {place}, [archive] reserve is {reserve} MiB: no message would be taken"
    );
    (found.free < config.archive.reserve).then_some(words)
}

/// The journal can be read, and the root key is that of the archive's keys.
fn archive_is_sound(config: &Config) -> Result<(), archive::Error> {
    let archive = archive::Archive::read_only(&config.archive.directory)?;
    archive.stats()?;
    keys_are_sound(config, archive)
}

/// The root key opens the archive's keys, and there is the key that signed its checkpoints. An archive without keys is not given one by
/// looking at it.
pub fn keys_are_sound(config: &Config, archive: archive::ReadOnly) -> Result<(), archive::Error> {
    let signing = config.nats.keys.join("broker/checkpoint.key");
    let has_signed = Notebook::messages(&config.archive.directory).latest_file().is_file();
    if has_signed && matches!(signing.try_exists(), Ok(false)) {
        let words =
            "is missing, and signed what stands in archive/checkpoints: put it back, or move those away";
        return Err(archive::Error::Keys(format!("{} {words}", signing.display())));
    }
    if config.archive.directory.join("keys/messages.liak").is_file() {
        archive.unlocked(&config.archive.root_key()?)?;
    }
    Ok(())
}
