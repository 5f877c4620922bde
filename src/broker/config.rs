//! `liaison.toml`: what an operator may set. Unknown keys are errors; all faults are told at once by `check`.

mod faults;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::faults::Reading;

use super::rate::Rate;
use super::receipt::Issuer;
use super::replay::Limits;
use crate::archive::{self, RootKey};
use crate::message::names::PartyId;
use crate::wire::tls::{self, Address, Tls};

/// What stays free unless the operator says otherwise: four segments of the journal.
const RESERVE: u64 = 256 << 20;

/// The file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this broker is.
    pub broker: BrokerSection,
    /// Where NATS is and the keys to it.
    pub nats: NatsSection,
    /// Where the memory is.
    pub archive: ArchiveSection,
    /// The window for operators.
    pub http: HttpSection,
    /// Which planes are open.
    pub planes: PlanesSection,
    /// Schemas beside the embedded ones.
    pub schemas: SchemasSection,
    /// S-23.
    pub rate: Rate,
    /// How much may be replayed.
    pub replay: Limits,
    /// Policy of the rules.
    pub policy: PolicySection,
    /// How long SIGTERM may take.
    pub drain: DrainSection,
    /// How often is looked for what falls due.
    pub retention: RetentionSection,
    /// One of several instances with one archive; alone unless given.
    pub cluster: Option<ClusterSection>,
    /// The registry file.
    pub registry: RegistrySection,
    /// The clock is right though the last record is of long ago. Of one start, so not for the file.
    #[serde(skip)]
    pub trust_clock: bool,
}

/// `[broker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerSection {
    /// `/broker/<name>` in receipts.
    pub name: String,
    /// The authority that runs it.
    pub operator: PartyId,
}

/// `[nats]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsSection {
    /// Address; several, with commas between them here, of the servers of a cluster.
    #[serde(deserialize_with = "one_or_several")]
    pub url: String,
    /// Directory with `broker/{admin,intake,egress,control}.nk`.
    pub keys: PathBuf,
    /// For TLS, with an address `tls://` or if one of these is given: authorities of the server's certificate; default: in
    /// the directory of the keys, `tls/ca.crt`.
    pub tls_ca: Option<PathBuf>,
    /// The broker's certificate; default: there, `broker/tls.crt`.
    pub tls_cert: Option<PathBuf>,
    /// Its private key; default: there, `broker/tls.key`.
    pub tls_key: Option<PathBuf>,
    /// Most bytes in one intake stream; what does not fit is refused to its sender.
    pub intake_bytes: i64,
    /// Most bytes in one mailbox; what does not fit waits in the archive.
    pub mailbox_bytes: i64,
    /// Servers that hold each stream.
    pub replicas: usize,
}

/// `[cluster]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSection {
    /// Name of this instance; no other one has it.
    pub instance: String,
}

/// An address, or a list of them.
fn one_or_several<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Given::deserialize(from)? {
        Given::One(url) => url,
        Given::Several(urls) => urls.join(","),
    })
}

/// `[archive]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSection {
    /// Directory of journal, sled and keys.
    pub directory: PathBuf,
    /// Bytes that stay free on the disk: no message is taken when there is less. 0 switches it off.
    pub reserve: u64,
    /// File of the root key, outside the data directory; default: beside the directory of this file, with the ending
    /// `.root-key`.
    pub root_key: PathBuf,
    /// The root key itself, from the environment; goes before the file.
    #[serde(skip)]
    pub root: Option<RootKey>,
}

impl ArchiveSection {
    /// The root key: from the environment, or its file, which is made when the archive begins.
    ///
    /// # Errors
    /// It is missing, unreadable, or no key.
    pub fn root_key(&self) -> Result<RootKey, archive::Error> {
        self.root.clone().map_or_else(|| RootKey::of(&self.directory, &self.root_key), Ok)
    }
}

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Address; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// `[planes]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanesSection {
    /// The case plane (personal data, Art. 10). Off unless switched on.
    pub case: bool,
}

/// `[schemas]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemasSection {
    /// Files that add to or override the embedded ones.
    pub directory: Option<PathBuf>,
}

/// `[policy]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySection {
    /// Highest classification taken.
    pub ceiling: String,
}

/// `[drain]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSection {
    /// Seconds until a drain is cut off.
    pub seconds: u64,
}

/// `[retention]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Seconds between two sweeps for what falls due.
    pub every_seconds: u64,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { every_seconds: 60 }
    }
}

/// `[registry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    /// `network.toml`.
    pub file: PathBuf,
}

impl Default for BrokerSection {
    fn default() -> Self {
        let operator = PartyId::parse("eu-com").expect("a literal party id must be well formed");
        Self { name: "liaison-1".to_owned(), operator }
    }
}

impl Default for NatsSection {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            keys: "keys".into(),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            intake_bytes: 1 << 30,
            mailbox_bytes: 1 << 30,
            replicas: 1,
        }
    }
}

impl NatsSection {
    /// Where NATS is, and the files for TLS if there is any.
    #[must_use]
    pub fn address(&self) -> Address {
        let given = tls::Given {
            ca: self.tls_ca.clone(),
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
        };
        given.address(self.url.clone(), || Tls::beside(&self.keys, "broker"))
    }
}

impl Default for ArchiveSection {
    fn default() -> Self {
        Self { directory: "archive".into(), reserve: RESERVE, root_key: PathBuf::new(), root: None }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

impl Default for PolicySection {
    fn default() -> Self {
        Self { ceiling: "LIMITE".to_owned() }
    }
}

impl Default for DrainSection {
    fn default() -> Self {
        Self { seconds: 10 }
    }
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self { file: "network.toml".into() }
    }
}

/// `DIR.root-key` beside `DIR`: outside what is copied when the data directory is.
///
/// # Errors
/// The directory has no absolute path, in words.
pub fn beside(directory: &Path) -> Result<PathBuf, String> {
    // Beside the directory itself, by whatever name it is called.
    let whole = directory.canonicalize().or_else(|_| std::path::absolute(directory));
    let whole = whole.map_err(|error| format!("{}: {error}", directory.display()))?;
    let whole = whole.components().collect::<PathBuf>(); // without a slash at the end
    let mut name = whole.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_else(|| "liaison".into());
    name.push(".root-key");
    Ok(whole.with_file_name(name))
}

impl Config {
    /// Who signs what this broker says.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer { broker: self.broker.name.clone(), operator: self.broker.operator.clone() }
    }

    /// What can be read and cannot be meant.
    fn check_values(&self) -> Vec<String> {
        let mut faults = self.check_cluster();
        let name = &self.broker.name;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // As the envelope has it in `source`: nobody could read a receipt of another one.
        if !(1..=40).contains(&name.len()) || !name.bytes().all(is_plain) {
            faults.push("broker.name must be 1 to 40 lower-case letters, digits and hyphens".to_owned());
        }
        let mut least = |what: &str, least: f64, value: f64| {
            if !value.is_finite() || value < least {
                faults.push(format!("{what} is {value}, must be at least {least}"));
            }
        };
        least("rate.burst", 1.0, self.rate.burst);
        #[expect(clippy::cast_precision_loss, reason = "only whether it is less than one")]
        for (what, value) in [
            ("replay.concurrent", self.replay.concurrent as f64),
            ("replay.concurrent_all", self.replay.concurrent_all as f64),
            ("replay.bytes_per_second", f64::from(self.replay.bytes_per_second)),
            ("nats.intake_bytes", self.nats.intake_bytes as f64),
            ("nats.mailbox_bytes", self.nats.mailbox_bytes as f64),
        ] {
            least(what, 1.0, value);
        }
        let rate = self.rate.per_second;
        if !rate.is_finite() || rate <= 0.0 {
            faults.push(format!("rate.per_second is {rate}, must be more than 0"));
        }
        faults
    }

    fn check_cluster(&self) -> Vec<String> {
        let replicas = self.nats.replicas;
        let bad_replicas = (![1, 3, 5].contains(&replicas))
            .then(|| format!("nats.replicas is {replicas}, must be 1, 3 or 5"));
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            (1..=32).contains(&name.len())
                && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let bad_name =
            self.cluster.as_ref().filter(|cluster| !is_name(&cluster.instance)).map(|_| {
                "cluster.instance must be 1 to 32 lower-case letters, digits and hyphens".to_owned()
            });
        bad_replicas.into_iter().chain(bad_name).collect()
    }

    /// Reads the file; relative paths in it are taken from the file's own directory.
    ///
    /// # Errors
    /// All faults with file, line and column.
    pub fn read(file: &Path) -> Result<Self, String> {
        let Reading { config, faults, .. } = Self::read_all(file)?;
        if faults.is_empty() { Ok(config) } else { Err(faults.join("\n")) }
    }

    /// The same with what can be read of a file that has faults.
    ///
    /// # Errors
    /// The file itself cannot be read.
    pub fn read_all(file: &Path) -> Result<Reading, String> {
        let whose = |fault: &dyn std::fmt::Display| format!("{}: {fault}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| whose(&error))?;
        let mut reading = faults::parse(&text);
        reading.faults.extend(reading.config.check_values());
        reading.faults.iter_mut().for_each(|fault| *fault = whose(fault));
        let config = &mut reading.config;
        let base = file.parent().unwrap_or_else(|| Path::new("."));
        for path in [&mut config.nats.keys, &mut config.archive.directory, &mut config.registry.file] {
            *path = base.join(&*path);
        }
        let nats = &mut config.nats;
        for path in [&mut nats.tls_ca, &mut nats.tls_cert, &mut nats.tls_key].into_iter().flatten() {
            *path = base.join(&*path);
        }
        let root_key = &mut config.archive.root_key;
        *root_key = if root_key.as_os_str().is_empty() { beside(base)? } else { base.join(&*root_key) };
        if let Some(directory) = &mut config.schemas.directory {
            *directory = base.join(&*directory);
        }
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("temp dir");
        let file = folder.path().join("liaison.toml");
        std::fs::write(&file, text).expect("writes");
        Config::read(&file)
    }

    #[test]
    fn a_cluster_is_off_unless_it_is_named_and_a_bad_one_is_refused() {
        let alone = read("[nats]\nurl = \"nats://a:1\"\n").expect("reads");
        assert_eq!((alone.nats.url.as_str(), alone.nats.replicas), ("nats://a:1", 1));
        assert!(alone.cluster.is_none());
        let text =
            "[nats]\nurl = [\"nats://a:1\", \"nats://b:1\"]\nreplicas = 3\n[cluster]\ninstance = \"eu-1\"\n";
        let one = read(text).expect("reads");
        assert_eq!(one.nats.url, "nats://a:1,nats://b:1");
        assert_eq!(one.cluster.map(|cluster| cluster.instance).as_deref(), Some("eu-1"));
        for bad in [
            "[nats]\nreplicas = 2\n",
            "[cluster]\ninstance = \"\"\n",
            "[cluster]\n",
            "[cluster]\nshard = 1\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_all_at_once() {
        let text = "[broker]\nname = \"a b/c\"\n[rate]\nper_second = -1.0\nburst = nan\n\
            [replay]\nconcurrent = 0\nconcurrent_all = 0\nbytes_per_second = 0\n\
            [nats]\nreplicas = 2\nintake_bytes = 0\nmailbox_bytes = -1\n[cluster]\ninstance = \"X\"\n";
        let faults = read(text).expect_err("refused");
        let faults: Vec<&str> = faults.lines().collect();
        assert_eq!(faults.len(), 10, "{faults:#?}");
        for what in
            ["broker.name", "rate.per_second", "rate.burst", "replay.concurrent ", "nats.mailbox_bytes"]
        {
            assert!(faults.iter().any(|fault| fault.contains(what)), "{what}: {faults:#?}");
        }
        assert!(read("[rate]\nper_second = 0.001\nburst = 1\n[replay]\nconcurrent = 1\n").is_ok());
    }
}
