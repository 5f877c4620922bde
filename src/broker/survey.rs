//! What can be seen of a broker's NATS without the broker: troubles that would keep it from starting, the server, and how far each
//! party's intake and mailbox are read. For `liaison doctor`; it makes and changes nothing, and the broker may be dead.

use super::config::Config;
use super::connections::{Trouble, examine, open};
use crate::message::names::PartyId;
use crate::wire::connect::{Client, Role};
use crate::wire::survey::{self, Reader, Server, Stream};
use crate::wire::{Error, intake_stream, mailbox_stream};

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

async fn ask_server(config: &Config) -> Result<Server, Error> {
    let system = open(config, Role::System).await?;
    survey::server(&system).await
}
