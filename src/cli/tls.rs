//! Flags of TLS: for whatever connects, and for the configuration of nats-server.

use std::path::{Path, PathBuf};

use super::serve::wire_exit;
use super::{Exit, Failure};
use crate::broker::config::Config;
use crate::wire::accounts::Member;
use crate::wire::certificates;
use crate::wire::tls::{Address, Given, Tls};

/// What a client needs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClientTls {
    /// Connect by TLS to a server whose certificate is of this authority (PEM); with an address tls:// the default is
    /// tls/ca.crt where the keys are.
    #[arg(long, env = "LIAISON_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our own certificate for it (PEM); default: tls.crt beside the keys of the authority, or of the broker.
    #[arg(long, env = "LIAISON_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of that certificate, mode 0600; default: tls.key there.
    #[arg(long, env = "LIAISON_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl ClientTls {
    /// An address with these files; the others lie with the keys of this owner.
    pub fn address(&self, url: String, keys: &Path, owner: &str) -> Address {
        let (ca, certificate, key) = (self.tls_ca.clone(), self.tls_cert.clone(), self.tls_key.clone());
        Given { ca, certificate, key }.address(url, || Tls::beside(keys, owner))
    }

    /// Puts them over what the configuration says.
    pub fn over(&self, config: &mut Config) {
        let nats = &mut config.nats;
        let pairs = [
            (&mut nats.tls_ca, &self.tls_ca),
            (&mut nats.tls_cert, &self.tls_cert),
            (&mut nats.tls_key, &self.tls_key),
        ];
        for (place, given) in pairs {
            if given.is_some() {
                place.clone_from(given);
            }
        }
    }
}

/// What the configuration of nats-server needs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServerTls {
    /// TLS 1.3 with client certificates; an authority and certificates that are missing are made beside the keys.
    #[arg(long, env = "LIAISON_TLS")]
    tls: bool,
    /// Name or IP address by which clients call the server, for the certificate that is made. May be given again.
    #[arg(long, env = "LIAISON_TLS_HOST", value_name = "HOST", value_delimiter = ',', requires = "tls")]
    tls_host: Vec<String>,
    /// The server's certificate, instead of one that is made: only named in the configuration, like the next two.
    #[arg(long, env = "LIAISON_TLS_SERVER_CERT", value_name = "FILE", requires_all = ["tls", "tls_server_key", "tls_client_ca"])]
    tls_server_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, env = "LIAISON_TLS_SERVER_KEY", value_name = "FILE", requires_all = ["tls_server_cert", "tls_client_ca"])]
    tls_server_key: Option<PathBuf>,
    /// The authorities whose client certificates the server takes.
    #[arg(long, env = "LIAISON_TLS_CLIENT_CA", value_name = "FILE", requires_all = ["tls_server_cert", "tls_server_key"])]
    tls_client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// The files of the servers that listen there, made if they are missing; none without `--tls`.
    pub fn files(&self, keys: &Path, listen: &[&str], members: &[Member]) -> Result<Option<Tls>, Failure> {
        let given = (&self.tls_client_ca, &self.tls_server_cert, &self.tls_server_key);
        if let (Some(ca), Some(certificate), Some(key)) = given {
            return Ok(Some(Tls { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() }));
        }
        if !self.tls {
            return Ok(None);
        }
        let named = self.tls_host.clone();
        let hosts = listen.iter().try_fold(named, |named, listen| certificates::hosts(listen, &named));
        ensured(keys, &hosts.map_err(|words| Failure::new(Exit::Usage, words))?, members).map(Some)
    }
}

/// The server's files by their whole paths, made if they are missing.
pub fn ensured(keys: &Path, hosts: &[String], members: &[Member]) -> Result<Tls, Failure> {
    let keys = std::path::absolute(keys)
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", keys.display())))?;
    certificates::ensure(&keys, hosts, members)
        .map_err(|error| Failure::new(wire_exit(&error), error.to_string()))
}
