//! Where is played: on a running `liaison up`, or on another network that somebody says is for tests.

use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure};
use crate::client::exchange::{ENDPOINTS, Endpoints};
use crate::rules::registry;
use crate::sim::run::{Network, Road};

/// Flags that say where.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// Data directory of a running `liaison up`.
    #[arg(long, env = "LIAISON_DATA", value_name = "DIR", default_value = "./liaison-data")]
    data: PathBuf,
    /// Address of NATS, where no `liaison up` runs on this machine; with --keys and --registry.
    #[arg(long, env = "LIAISON_NATS", value_name = "URL", requires_all = ["keys", "registry", "for_tests"])]
    nats: Option<String>,
    /// Directory with the keys of all posts and authorities.
    #[arg(long, env = "LIAISON_KEYS", value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Registry file.
    #[arg(long, env = "LIAISON_REGISTRY", value_name = "FILE")]
    registry: Option<PathBuf>,
    /// Address of the broker's window for operators, to see its archive grow.
    #[arg(long, env = "LIAISON_HTTP", value_name = "URL")]
    http: Option<String>,
    /// With --nats: yes, simulated messages may go into its archive and its mailboxes.
    #[arg(long = "this-network-is-for-tests", id = "for_tests", env = "LIAISON_THIS_NETWORK_IS_FOR_TESTS")]
    for_tests: bool,
}

impl Where {
    /// True if it is a `liaison up` of this machine.
    pub fn is_local(&self) -> bool {
        self.nats.is_none()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The registry file in force.
    pub fn registry_file(&self) -> PathBuf {
        match &self.registry {
            Some(file) if !self.is_local() => file.clone(),
            _ => self.data.join("network.toml"),
        }
    }

    /// The text of the registry where nothing need run: the one given, that of the data directory, or the demo one.
    pub fn registry_offline(&self) -> Result<String, Failure> {
        match &self.registry {
            Some(file) => read(file),
            None if self.data.join("network.toml").exists() => read(&self.data.join("network.toml")),
            None => Ok(registry::DEMO.to_owned()),
        }
    }

    /// The running network.
    pub fn network(&self) -> Result<Network, Failure> {
        if let Some(nats) = &self.nats {
            if !self.for_tests {
                let words = "simulated messages go into archive and mailboxes: --this-network-is-for-tests says that they may";
                return Err(Failure::new(Exit::Usage, words));
            }
            let http = self
                .http
                .as_ref()
                .map(|url| url.trim_start_matches("http://").trim_end_matches('/').to_owned());
            let keys = self.keys.clone().unwrap_or_else(|| self.data.join("keys"));
            return Ok(Network {
                road: Road { url: nats.as_str().into(), keys: keys.into() },
                endpoints: Endpoints { nats: nats.clone(), http, pid: None },
                endpoints_file: None,
                registry: read(&self.registry_file())?,
            });
        }
        let file = self.data.join(ENDPOINTS);
        let Some(endpoints) = Endpoints::read(&file).filter(Endpoints::is_alive) else {
            let data = self.data.display();
            let words = format!("nothing runs on {data}: start `liaison up --data {data}` first");
            return Err(Failure::new(Exit::Unreachable, words));
        };
        Ok(Network {
            road: Road { url: endpoints.nats.as_str().into(), keys: self.data.join("keys").into() },
            endpoints,
            endpoints_file: Some(file),
            registry: read(&self.registry_file())?,
        })
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Configuration, format!("{}: {error}", file.display())))
}
