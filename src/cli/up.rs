//! `liaison up`: everything on one machine, as separated as production: an account a party, keys, its own nats-server.
//!
//! It writes what is absent and never overwrites what an operator may have changed, except the generated
//! configuration of nats-server.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use serde_json::json;

use super::serve::{Root, Signals, configuration, failure, watch, wire_exit};
use super::tls::ensured;
use super::{Exit, Failure};
use crate::broker::config::Config;
use crate::broker::{Broker, rulebook};
use crate::client::exchange::LOCK;
use crate::console;
use crate::message::time;
use crate::rules::registry::{self, Registry};
use crate::sim::demo;
use crate::wire::accounts::{self, Member};
use crate::wire::certificates::LOOPBACK;
use crate::wire::keys;
use crate::wire::server::{self, Server};
use crate::wire::tls;

/// How long a liaison that is just ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory.
    #[arg(long, env = "LIAISON_DATA", default_value = "./liaison-data")]
    data: PathBuf,
    /// The nats-server program; default: `PATH`, then where scripts/setup put it.
    #[arg(long, env = "LIAISON_NATS_SERVER")]
    nats_server: Option<PathBuf>,
    /// Port of NATS on 127.0.0.1; a free one unless given.
    #[arg(long, env = "LIAISON_NATS_PORT", default_value_t = 0)]
    nats_port: u16,
    /// Address of the window for operators; default: `[http] listen` of liaison.toml, or a free port of 127.0.0.1.
    #[arg(long, env = "LIAISON_HTTP")]
    http: Option<SocketAddr>,
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
    /// Let a few simulated posts publish valid and invalid example messages, about one a second.
    #[arg(long, env = "LIAISON_DEMO")]
    demo: bool,
    /// TLS 1.3 with client certificates between everybody and NATS; what is missing for it is made beside the keys.
    #[arg(long, env = "LIAISON_TLS")]
    tls: bool,
    #[command(flatten)]
    root: Root,
}

const CONFIG: &str = r#"# liaison.toml: written by `liaison up`; yours to change. SIGHUP reloads it.
[broker]
name = "liaison-1"

[registry]
file = "network.toml"

[archive]
directory = "archive"

[planes]
case = false
"#;

/// Runs it.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    super::limits::raise_descriptors();
    super::limits::forbid_core_files();
    let lock = lock(&args.data)?;
    let config_file = prepare(&args.data)?;
    let mut config = configure(&args, &config_file)?;
    let registry = read_registry(Some(&config.registry.file))?;
    let server = start_server(&args, &registry, &lock).await?;
    config.nats.url = url(&args, &server);
    let ended = Box::pin(serve(&args, &config_file, config, &server)).await;
    if let Err(error) = std::fs::remove_file(args.data.join("endpoints.json")) {
        tracing::debug!(%error, "endpoints.json");
    }
    server.stop().await;
    ended
}

async fn serve(args: &Args, config_file: &Path, config: Config, server: &Server) -> Result<Exit, Failure> {
    let broker = Box::pin(Broker::start(config.clone(), || ())).await.map_err(|error| failure(&error))?;
    let (listener, address) = console::bind(config.http.listen)
        .await
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", config.http.listen)))?;
    let signals = Signals::new()?;
    announce(args, &config, address)?;
    let posts = args.demo.then(|| tokio::spawn(demo::run(config.nats.url.clone(), config.nats.keys.clone())));
    let ended = watch(broker, listener, signals, async |broker: &mut Broker| {
        reload(args, config_file, server, broker).await.map_err(|fault| vec![fault.to_string()])
    })
    .await;
    if let Some(posts) = posts {
        posts.abort();
    }
    ended
}

/// Configuration, registry and schemas are read and checked before nats-server hears of new accounts.
async fn reload(args: &Args, file: &Path, server: &Server, broker: &mut Broker) -> Result<(), Failure> {
    let faults = |faults: Vec<String>| Failure::new(Exit::Configuration, faults.join("; "));
    let unreachable = |error: crate::wire::Error| Failure::new(Exit::Unreachable, error.to_string());
    let mut config = configure(args, file)?;
    config.nats.url = url(args, server);
    let rules = rulebook::load(&config).map_err(faults)?;
    let text = server_text(args, &rules.registry)?;
    server.reload(&text).await.map_err(unreachable)?;
    broker.reload(config).await.map_err(faults)
}

fn url(args: &Args, server: &Server) -> String {
    if args.tls { tls::secured(server.url()) } else { server.url().to_owned() }
}

fn configure(args: &Args, file: &Path) -> Result<Config, Failure> {
    let mut config = configuration(file, args.enable_case_plane, &args.root)?;
    config.nats.keys = args.data.join("keys");
    if let Some(listen) = args.http {
        config.http.listen = listen;
    }
    config.trust_clock = args.trust_clock;
    if config.cluster.is_some() || config.nats.replicas > 1 {
        let words = "`liaison up` is alone on its machine: for a cluster use `liaison nats-config --cluster` and `liaison serve`";
        return Err(Failure::new(Exit::Configuration, words));
    }
    Ok(config)
}

/// One liaison for a data directory. The nats-server child holds the lock too, so that none starts beside one that is
/// still ending; that takes milliseconds and is waited for.
fn lock(data: &Path) -> Result<File, Failure> {
    let file = data.join(LOCK);
    let io = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", file.display()));
    std::fs::create_dir_all(data).map_err(io)?;
    let lock = File::options().create(true).write(true).truncate(false).open(&file).map_err(io)?;
    let until = time::stopwatch() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if time::stopwatch() < until => {
                std::thread::sleep(Duration::from_millis(20))
            }
            Err(TryLockError::WouldBlock) => {
                let words =
                    format!("{} is in use by another liaison; only one may run on it", data.display());
                return Err(Failure::new(Exit::Failure, words));
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// Writes what is absent.
fn prepare(data: &Path) -> Result<PathBuf, Failure> {
    let io =
        |path: &Path, error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", path.display()));
    std::fs::create_dir_all(data).map_err(|error| io(data, error))?;
    for (name, text) in [("network.toml", registry::DEMO), ("liaison.toml", CONFIG)] {
        let file = data.join(name);
        if !file.try_exists().map_err(|error| io(&file, error))? {
            // Half a registry under the final name would be one with fewer parties.
            let fresh = data.join(format!("{name}.new"));
            std::fs::write(&fresh, text)
                .and_then(|()| std::fs::rename(&fresh, &file))
                .map_err(|error| io(&file, error))?;
        }
    }
    // A stale file would send clients to a port that somebody else has by now.
    let stale = data.join("endpoints.json");
    match std::fs::remove_file(&stale) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&stale, error)),
        _ => Ok(data.join("liaison.toml")),
    }
}

pub(super) fn read_registry(file: Option<&Path>) -> Result<Registry, Failure> {
    let Some(file) = file else { return Ok(Registry::demo()) };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Configuration, format!("{}: {error}", file.display())))?;
    Registry::parse(&text).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(|fault| format!("{}: {fault}", file.display())).collect();
        Failure::new(Exit::Configuration, lines.join("\n"))
    })
}

pub(super) fn members(registry: &Registry) -> Vec<Member> {
    registry.parties().map(|party| Member { party: party.id.clone(), posts: party.posts.clone() }).collect()
}

async fn start_server(args: &Args, registry: &Registry, lock: &File) -> Result<Server, Failure> {
    let unreachable = |error: crate::wire::Error| Failure::new(Exit::Unreachable, error.to_string());
    let program = server::find(args.nats_server.as_deref())
        .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let text = server_text(args, registry)?;
    Server::start(&program, &args.data.join("nats"), &text, lock).await.map_err(unreachable)
}

/// The configuration of nats-server for a registry; keys that are missing are made.
fn server_text(args: &Args, registry: &Registry) -> Result<String, Failure> {
    let members = members(registry);
    let keys = keys::ensure(&args.data.join("keys"), &members)
        .map_err(|error| Failure::new(wire_exit(&error), error.to_string()))?;
    let store = std::path::absolute(args.data.join("nats").join("store"))
        .map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    let options = accounts::Options {
        listen: format!("127.0.0.1:{}", if args.nats_port == 0 { -1 } else { i32::from(args.nats_port) }),
        store,
        tls: args
            .tls
            .then(|| ensured(&args.data.join("keys"), &LOOPBACK.map(str::to_owned), &members))
            .transpose()?,
        ..accounts::Options::default()
    };
    Ok(accounts::configuration(&members, &keys, &options))
}

/// Writes endpoints.json, atomically, as the last thing before messages are taken from outside; says what to copy.
fn announce(args: &Args, config: &Config, http: SocketAddr) -> Result<(), Failure> {
    let file = args.data.join("endpoints.json");
    let value =
        json!({ "nats": config.nats.url, "http": format!("http://{http}"), "pid": std::process::id() });
    let fresh = args.data.join("endpoints.json.new");
    std::fs::write(&fresh, format!("{value}\n"))
        .and_then(|()| std::fs::rename(&fresh, &file))
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    let data = args.data.display();
    say(&format!(
        "liaison is ready.\n  NATS       {}\n  operators  http://{http}/readyz  /metrics\n  data       {data}\n\
         publish:    liaison publish --data {data} --as it-moi --post tn-01 --fill examples/flow-observation.json\n\
         subscribe:  liaison subscribe --data {data} --as de-bpol --count 3\n",
        config.nats.url
    ));
    Ok(())
}

fn say(words: &str) {
    // Nobody may be there to read it, or its disk be full: no reason to end.
    drop(std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes()));
}
