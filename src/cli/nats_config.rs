//! `liaison nats-config`: what nats-server must be told, from the registry; for one server, or for each of a cluster.

use std::path::{Path, PathBuf};

use super::serve::wire_exit;
use super::tls::ServerTls;
use super::up::{members, read_registry};
use super::{Exit, Failure};
use crate::wire::accounts::{self, Member, Options, Seat};
use crate::wire::certificates;
use crate::wire::keys::{self, Keys};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Registry file; default: the demo registry.
    #[arg(long, env = "LIAISON_REGISTRY")]
    registry: Option<PathBuf>,
    /// Where keys are kept and missing ones are made.
    #[arg(long, env = "LIAISON_KEYS", default_value = "./liaison-data/keys")]
    keys: PathBuf,
    /// Directory of JetStream's store, for the configuration.
    #[arg(long, env = "LIAISON_NATS_STORE", default_value = "./liaison-data/nats/store")]
    store: PathBuf,
    /// Address to listen on.
    #[arg(long, env = "LIAISON_NATS_LISTEN", default_value = "127.0.0.1:4222")]
    listen: String,
    /// Write one file a server of a cluster into this directory, instead of one configuration to stdout.
    #[arg(long, env = "LIAISON_CLUSTER")]
    cluster: Option<PathBuf>,
    /// A server of the cluster, `NAME=CLIENTS,ROUTES`: where it listens for clients and for the other servers. Three, or
    /// five; three on this machine unless given.
    #[arg(
        long = "server",
        env = "LIAISON_SERVERS",
        value_name = "NAME=CLIENTS,ROUTES",
        value_delimiter = ' ',
        requires = "cluster",
        default_values = [
            "nats-1=127.0.0.1:4222,127.0.0.1:6222",
            "nats-2=127.0.0.1:4223,127.0.0.1:6223",
            "nats-3=127.0.0.1:4224,127.0.0.1:6224",
        ]
    )]
    servers: Vec<String>,
    #[command(flatten)]
    tls: ServerTls,
}

/// Runs it: keys that are missing are made, the configuration goes to stdout, or to a file a server.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let registry = read_registry(args.registry.as_deref())?;
    let members = members(&registry);
    let keys = keys::ensure(&args.keys, &members)
        .map_err(|error| Failure::new(wire_exit(&error), error.to_string()))?;
    if let Some(directory) = &args.cluster {
        return cluster(args, directory, &members, &keys);
    }
    let options = Options {
        listen: args.listen.clone(),
        store: args.store.clone(),
        tls: args.tls.files(&args.keys, &[&args.listen], &members)?,
        ..Options::default()
    };
    super::exit::print(accounts::configuration(&members, &keys, &options).as_bytes())
}

fn cluster(args: &Args, directory: &Path, members: &[Member], keys: &Keys) -> Result<Exit, Failure> {
    let usage = |words: String| Failure::new(Exit::Usage, words);
    if ![3, 5].contains(&args.servers.len()) {
        return Err(usage("a cluster has three or five servers".to_owned()));
    }
    let servers: Vec<(&str, &str, &str)> = args
        .servers
        .iter()
        .map(|text| parse(text).ok_or_else(|| usage(format!("--server {text}: must be NAME=CLIENTS,ROUTES"))))
        .collect::<Result<_, _>>()?;
    // One certificate for all of them, for clients and for each other.
    let called: Vec<&str> = servers.iter().flat_map(|(_, clients, routes)| [*clients, *routes]).collect();
    let tls = args.tls.files(&args.keys, &called, members)?;
    let pin = tls.as_ref().map(certificates::pin).transpose();
    let pin = pin.map_err(|error| Failure::new(wire_exit(&error), error.to_string()))?;
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", directory.display())))?;
    for (name, clients, routes) in &servers {
        let others = servers.iter().filter(|(other, ..)| other != name);
        let options = Options {
            listen: (*clients).to_owned(),
            store: args.store.join(name),
            seat: Some(Seat {
                name: (*name).to_owned(),
                listen: (*routes).to_owned(),
                routes: others.map(|(_, _, routes)| (*routes).to_owned()).collect(),
                pin: pin.clone(),
            }),
            tls: tls.clone(),
            ..Options::default()
        };
        let file = directory.join(format!("{name}.conf"));
        std::fs::write(&file, accounts::configuration(members, keys, &options))
            .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    }
    Ok(Exit::Ok)
}

/// Name, address for clients, address for routes. The name is that of a file too.
fn parse(text: &str) -> Option<(&str, &str, &str)> {
    let (name, addresses) = text.split_once('=')?;
    let (clients, routes) = addresses.split_once(',')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some((name, clients.trim(), routes.trim()))
}
