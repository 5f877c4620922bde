//! What can be seen of a broker's NATS without the broker: troubles that would keep it from starting, the server, and how far each
//! party's intake and mailbox are read. For `liaison doctor`; it makes and changes nothing, and the broker may be dead.

use super::cluster::SHARD;
use super::config::Config;
use super::connections::{Trouble, examine, open};
use super::standbys;
use crate::message::names::PartyId;
use crate::wire::connect::{Client, Role};
use crate::wire::lease::LeaseKey;
use crate::wire::survey::{self, Reader, Server, Stream};
use crate::wire::{Error, intake_stream, mailbox_stream};

/// How many words of a standby may be missed until it is not there.
const LOOKS: u32 = 4;

/// One stream of a party, and its reader if it has one.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Whose.
    pub party: PartyId,
    /// The stream.
    pub stream: Stream,
    /// Who reads it.
    pub reader: Option<Reader>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Survey {
    /// What would keep the broker from starting.
    pub troubles: Vec<Trouble>,
    /// The server; `None` if it could not be asked.
    pub server: Option<Server>,
    /// Why the server could not be asked, if its key is there.
    pub unseen: Option<Error>,
    /// Intake streams, those that are there.
    pub intakes: Vec<Queue>,
    /// Mailboxes, those that are there.
    pub mailboxes: Vec<Queue>,
}

/// Looks at everything, as far as it can be reached.
pub async fn survey(config: &Config, parties: &[PartyId]) -> Survey {
    let (troubles, admin) = examine(config, parties).await;
    let mut seen = Survey { troubles, ..Survey::default() };
    let Some(admin) = admin else { return seen };
    for party in parties {
        seen.intakes.extend(queue(&admin, party, &intake_stream(party), "intake").await);
        seen.mailboxes.extend(queue(&admin, party, &mailbox_stream(party), "main").await);
    }
    match ask_server(config).await {
        Ok(server) => seen.server = Some(server),
        Err(error) => seen.unseen = Some(error),
    }
    seen
}

/// A stream that is missing, or cannot be asked about, is among the troubles already.
async fn queue(admin: &Client, party: &PartyId, stream: &str, reader: &str) -> Option<Queue> {
    let found = survey::stream(admin, stream).await.ok().flatten()?;
    let reader = survey::reader(admin, stream, reader).await.ok().flatten();
    Some(Queue { party: party.clone(), stream: found, reader })
}

/// An instance of a cluster that stands by. It has no window: that opens when it serves.
#[derive(Debug, Clone)]
pub struct StandsBy {
    /// The last archive sequence that it has.
    pub kept: u64,
    /// The instance that serves, as far as anybody does.
    pub serves: Option<String>,
}

/// Whether the instance of this configuration stands by: it goes on saying so. `None` too if nobody can be asked.
pub async fn stands_by(config: &Config) -> Option<StandsBy> {
    let instance = &config.cluster.as_ref()?.instance;
    let key = LeaseKey::new(open(config, Role::Replica).await.ok()?, SHARD);
    let word = async || key.signs().await.ok()?.into_iter().find(|(_, sign)| sign.instance == *instance);
    let (first, _) = word().await?;
    for _ in 0..LOOKS {
        tokio::time::sleep(standbys::EVERY).await;
        let (revision, sign) = word().await?;
        if revision > first {
            let holder = key.look().await.ok()?.map(|(_, holder)| holder);
            let serves = holder.filter(|holder| !holder.released).map(|holder| holder.instance);
            return Some(StandsBy { kept: sign.kept, serves });
        }
    }
    None
}

async fn ask_server(config: &Config) -> Result<Server, Error> {
    let system = open(config, Role::System).await?;
    survey::server(&system).await
}
