//! The broker's connections to NATS: one a role, each with the key of that role alone.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::config::Config;
use super::{Error, rulebook};
use crate::message::names::PartyId;
use crate::message::time;
use crate::rules::registry::Registry;
use crate::wire;
use crate::wire::connect::{self, Client, Road, Role};
use crate::wire::egress::Publisher;
use crate::wire::keys::Seed;
use crate::wire::lease::Term;
use crate::wire::stranded::Watched;
use crate::wire::streams::Unanswered;
use crate::wire::tls::End;
use crate::wire::{keys, mailbox_stream, standstill, streams};

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
    /// Whether the servers of the last two see each other.
    _watched: Vec<Watched>,
}

impl Connections {
    pub(super) async fn open(
        config: &Config,
        term: Option<Term>,
        parties: &[PartyId],
    ) -> Result<Self, Error> {
        let egress = open(config, Role::Egress).await?;
        let control = open(config, Role::Control).await?;
        let mailbox = parties.first().map(mailbox_stream);
        let mailbox = mailbox.and_then(|stream| watched(config, &egress, &stream));
        let watched = watched(config, &control, SUBSCRIPTIONS).into_iter().chain(mailbox).collect();
        Ok(Self {
            intake: road(config, Role::Intake)?,
            publisher: Publisher::open(road(config, Role::Egress)?, term).await?,
            egress,
            control,
            _watched: watched,
        })
    }
}

/// The streams whose state is asked for.
const RECEIPTS: &str = "RCPT";
const SUBSCRIPTIONS: &str = "KV_SUBS";

/// Watches a connection whose server may be cut off from others.
fn watched(config: &Config, client: &Client, stream: &str) -> Option<Watched> {
    (config.nats.replicas > 1).then(|| Watched::begin(client.clone(), stream))
}

pub(super) fn road(config: &Config, role: Role) -> Result<Road, Error> {
    Ok(Road { to: config.nats.address(), seed: seed(config, role)? })
}

fn seed(config: &Config, role: Role) -> Result<Seed, wire::Error> {
    let file = config.nats.keys.join("broker").join(format!("{}.nk", role.as_str()));
    keys::read_seed(&file)
}

/// A connection as a user of the broker.
pub(super) async fn open(config: &Config, role: Role) -> Result<Client, wire::Error> {
    connect::connect(&config.nats.address(), &seed(config, role)?, role).await
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
/// How long a start waits for single streams, and how long after that they are looked at again.
const ONE_SETTLES: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Streams are made and compared with the administrator's key, in a connection that is closed again.
pub(super) async fn ensure(config: &Config, parties: &[PartyId]) -> Result<(), Error> {
    match looked(config, parties.to_vec()).await?.pop() {
        None => Ok(()),
        Some(unanswered) => Err(unanswered.error.into()),
    }
}

/// The same at a start. One mailbox without a leader must not keep everybody's messages waiting: who is not answered for has to wait
/// alone, and is looked at as soon as the cluster answers. Streams that turn out not to be as they must be end the daemon then,
/// as they would have refused the start.
pub(super) async fn ensure_or_later(
    config: &Config,
    parties: &[PartyId],
    fail: &watch::Sender<Option<&'static str>>,
) -> Result<(), Error> {
    let left = looked(config, parties.to_vec()).await?;
    if !left.is_empty() {
        for Unanswered { party, error } in &left {
            tracing::warn!(%party, %error, "the cluster does not answer for streams of a party; serving the others");
        }
        tokio::spawn(later(config.clone(), left, fail.clone()));
    }
    Ok(())
}

/// Lets the mailboxes of suspended parties stand still, and those of all others go on.
pub(super) async fn hold_suspended(config: &Config, registry: &Registry) -> Result<(), Error> {
    let admin = open(config, Role::Admin).await?;
    let parties = registry.parties().map(|party| (party.id.clone(), party.is_suspended()));
    let held = standstill::hold(&admin, parties.collect()).await;
    admin.drain().await.map_err(|error| Error::Nats(error.to_string()))?;
    Ok(held?)
}

async fn later(config: Config, mut left: Vec<Unanswered>, fail: watch::Sender<Option<&'static str>>) {
    while !left.is_empty() {
        tokio::time::sleep(LOOK_AGAIN).await;
        if fail.is_closed() {
            return; // the broker has ended
        }
        match looked(&config, parties(&left)).await {
            Ok(still) => left = still,
            Err(error @ Error::Wire(wire::Error::Drift(_))) => {
                tracing::error!(%error, "streams that could not be looked at before");
                fail.send_replace(Some("the comparison of streams"));
                return;
            }
            Err(error) => tracing::info!(%error, "the cluster does not answer yet; trying again"),
        }
    }
    tracing::info!("all streams have been looked at");
}

fn parties(left: &[Unanswered]) -> Vec<PartyId> {
    left.iter().map(|unanswered| unanswered.party.clone()).collect()
}

/// Looks at the streams of these parties, and at those of all.
async fn looked(config: &Config, parties: Vec<PartyId>) -> Result<Vec<Unanswered>, Error> {
    let admin = open(config, Role::Admin).await?;
    let watched = watched(config, &admin, RECEIPTS);
    let looked = settle(config, &admin, parties).await;
    drop(watched);
    admin.drain().await.map_err(|error| Error::Nats(error.to_string()))?;
    looked
}

/// Waits until a cluster answers, and from then on a little for single streams that it does not answer for.
async fn settle(config: &Config, admin: &Client, mut open: Vec<PartyId>) -> Result<Vec<Unanswered>, Error> {
    let (until, mut single) = (time::stopwatch() + SETTLING, None);
    loop {
        let begun = time::stopwatch();
        match streams::ensure(admin, &open, options(config)).await.map_err(Error::from) {
            Ok(left) => {
                let single = *single.get_or_insert(begun + ONE_SETTLES);
                if left.is_empty() || time::stopwatch() >= single {
                    return Ok(left);
                }
                open = parties(&left);
            }
            Err(error) if settles(config, &error, until) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for what instances need to agree on who serves.
pub(super) async fn ensure_replication(config: &Config) -> Result<(), Error> {
    let admin = open(config, Role::Admin).await?;
    let watched = watched(config, &admin, RECEIPTS);
    let ensured = settled(config, async || {
        streams::ensure_replication(&admin, options(config)).await.map_err(Error::from)
    });
    let ensured = ensured.await;
    drop(watched);
    admin.drain().await.map_err(|error| Error::Nats(error.to_string()))?;
    ensured
}

/// Does something again while a cluster does not answer.
pub(super) async fn settled<T>(
    config: &Config,
    work: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    let until = time::stopwatch() + SETTLING;
    loop {
        match work().await {
            Err(error) if settles(config, &error, until) => tokio::time::sleep(PAUSE).await,
            ended => return ended,
        }
    }
}

/// True if this may be a cluster without a leader, and there is time to wait for one.
fn settles(config: &Config, error: &Error, until: Instant) -> bool {
    let settles = matches!(error, Error::Wire(wire::Error::Api { .. }) | Error::Nats(_))
        && config.nats.replicas > 1
        && time::stopwatch() < until;
    if settles {
        tracing::info!(%error, "the cluster does not answer yet; trying again");
    }
    settles
}

/// What would keep the broker from its NATS.
#[derive(Debug)]
pub struct Trouble {
    /// What came back.
    pub error: wire::Error,
    /// As which user it came, if it is about connecting.
    pub role: Option<Role>,
}

impl Trouble {
    /// In words, a line a fault.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match (&self.error, self.role) {
            (wire::Error::Drift(found), _) => found.clone(),
            (error, Some(role)) => vec![format!("NATS: {error} ({})", role.as_str())],
            (error, None) => vec![format!("NATS: {error}")],
        }
    }
}

/// Tries address, keys, rights, version and streams. Makes nothing. Also gives the administrator's connection, if there is one.
pub(super) async fn examine(config: &Config, parties: &[PartyId]) -> (Vec<Trouble>, Option<Client>) {
    let mut troubles = Vec::new();
    // The same files for every user: what is wrong with them is told once.
    if let Some(error) = config.nats.address().tls.and_then(|tls| tls.check(End::Client).err()) {
        return (vec![Trouble { error, role: None }], None);
    }
    let replica = config.cluster.is_some().then_some(Role::Replica);
    for role in [Role::Intake, Role::Egress, Role::Control].into_iter().chain(replica) {
        if let Err(error) = open(config, role).await {
            troubles.push(Trouble { error, role: Some(role) });
        }
    }
    match open(config, Role::Admin).await {
        Err(error) => {
            troubles.push(Trouble { error, role: Some(Role::Admin) });
            (troubles, None)
        }
        Ok(admin) => {
            let compared = streams::compare(&admin, parties, options(config)).await;
            troubles.extend(compared.err().map(|error| Trouble { error, role: None }));
            (troubles, Some(admin))
        }
    }
}

/// What `liaison check` finds wrong with NATS, in words.
pub async fn check(config: &Config) -> Vec<String> {
    let parties: Vec<PartyId> = match rulebook::load(config) {
        Ok(rules) => rules.registry.parties().map(|party| party.id.clone()).collect(),
        Err(_) => Vec::new(), // told by the check of the registry itself
    };
    examine(config, &parties).await.0.iter().flat_map(Trouble::lines).collect()
}
