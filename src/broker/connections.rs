//! The broker's connections to NATS: one a role, each with the key of that role alone.

use std::time::Duration;

use super::config::Config;
use super::{Error, rulebook};
use crate::message::names::PartyId;
use crate::message::time;
use crate::wire::connect::{self, Client, Road, Role};
use crate::wire::egress::Publisher;
use crate::wire::lease::Term;
use crate::wire::{keys, streams};

/// The connections of a running broker.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    /// How the readers of intake streams, which have a connection each, get theirs.
    pub(super) intake: Road,
    /// Writes receipts and mailboxes.
    pub(super) publisher: Publisher,
    /// Looks into mailboxes.
    pub(super) egress: Client,
    /// Services and subscriptions.
    pub(super) control: Client,
}

impl Connections {
    pub(super) async fn open(config: &Config, term: Option<Term>) -> Result<Self, Error> {
        Ok(Self {
            intake: road(config, Role::Intake)?,
            publisher: Publisher::open(road(config, Role::Egress)?, term).await?,
            egress: open(config, Role::Egress).await?,
            control: open(config, Role::Control).await?,
        })
    }
}

pub(super) fn road(config: &Config, role: Role) -> Result<Road, Error> {
    Ok(Road { url: config.nats.url.clone(), seed: seed(config, role)? })
}

fn seed(config: &Config, role: Role) -> Result<String, Error> {
    let file = config.nats.keys.join("broker").join(format!("{}.nk", role.as_str()));
    Ok(keys::read_seed(&file)?)
}

async fn open(config: &Config, role: Role) -> Result<Client, Error> {
    Ok(connect::connect(&config.nats.url, &seed(config, role)?, role).await?)
}

fn options(config: &Config) -> streams::Options {
    streams::Options {
        intake_bytes: config.nats.intake_bytes,
        mailbox_bytes: config.nats.mailbox_bytes,
        replicas: config.nats.replicas,
        replicated: config.cluster.is_some(),
    }
}

/// How long a cluster may take until it makes streams: after a start, or the death of a server, it has no leader for some
/// seconds.
const SETTLING: Duration = Duration::from_secs(40);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Streams are made and compared with the administrator's key, in a connection that is closed again.
pub(super) async fn ensure(config: &Config, parties: &[PartyId]) -> Result<(), Error> {
    with_admin(config, async |admin| streams::ensure(admin, parties, options(config)).await).await
}

/// The same for what instances need to agree on who serves.
pub(super) async fn ensure_replication(config: &Config) -> Result<(), Error> {
    with_admin(config, async |admin| streams::ensure_replication(admin, options(config)).await).await
}

async fn with_admin(
    config: &Config,
    work: impl AsyncFn(&Client) -> Result<(), crate::wire::Error>,
) -> Result<(), Error> {
    let admin = open(config, Role::Admin).await?;
    let until = time::stopwatch() + SETTLING;
    let ensured = loop {
        match work(&admin).await {
            Err(crate::wire::Error::Api { call, words })
                if config.nats.replicas > 1 && time::stopwatch() < until =>
            {
                tracing::info!(%call, %words, "the cluster does not make streams yet; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            ensured => break ensured,
        }
    };
    admin.drain().await.map_err(|error| Error::Nats(error.to_string()))?;
    Ok(ensured?)
}

/// What `liaison check` finds wrong with NATS: address, keys, rights, version, streams. Makes nothing.
pub async fn check(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let replica = config.cluster.is_some().then_some(Role::Replica);
    for role in [Role::Intake, Role::Egress, Role::Control].into_iter().chain(replica) {
        if let Err(error) = open(config, role).await {
            faults.push(format!("{} ({})", error, role.as_str()));
        }
    }
    let parties: Vec<PartyId> = match rulebook::load(config) {
        Ok(rules) => rules.registry.parties().map(|party| party.id.clone()).collect(),
        Err(_) => Vec::new(), // told by the check of the registry itself
    };
    match open(config, Role::Admin).await {
        Err(error) => faults.push(format!("{error} (admin)")),
        Ok(admin) => match streams::compare(&admin, &parties, options(config)).await {
            Ok(()) => {}
            Err(crate::wire::Error::Drift(found)) => faults.extend(found),
            Err(error) => faults.push(format!("NATS: {error}")),
        },
    }
    faults
}
