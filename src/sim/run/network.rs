//! Makes the network ready for a run: enough posts, empty mailboxes, the subscriptions of the cast; and looks whether this
//! was played there before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::RunError;
use super::readers::Box as Mailbox;
use super::station::{Road, open};
use crate::client::exchange::Endpoints;
use crate::message::names::PartyId;
use crate::message::time;
use crate::sim::cast::{self, Authority, Cast};
use crate::sim::plan::Plan;
use crate::wire::asking::AskError;
use crate::wire::connect;
use crate::wire::keys;

/// How long a reload may take: thousands of keys are made.
const RELOAD: Duration = Duration::from_secs(120);
/// Connections made, or parties asked, at once.
pub(super) const AT_ONCE: usize = 64;
/// A message of the case plane, as far as it must be read to be refused for that.
const CASE: &str = r#"{"type":"eu.ilonet.case.identity-request.v1"}"#;

/// The network on which is played.
#[derive(Debug, Clone)]
pub struct Network {
    /// How to connect.
    pub road: Road,
    /// Where the broker is.
    pub endpoints: Endpoints,
    /// The file that says so, where `liaison up` writes one.
    pub endpoints_file: Option<PathBuf>,
    /// The registry in force.
    pub registry: String,
}

/// Writes a registry with more posts over that of a running `liaison up`, and waits until it is in force. True if there
/// were too few.
///
/// # Errors
/// It cannot be written, or is not taken in time.
pub async fn enrol(network: &mut Network, file: &Path, plan: &Plan) -> Result<bool, RunError> {
    let Some(text) = cast::enrol(plan, &network.registry).map_err(RunError::Cast)? else { return Ok(false) };
    let io = |file: &Path, error| RunError::Io { file: file.to_owned(), error };
    let kept = file.with_extension("toml.before-simulation");
    if !kept.try_exists().map_err(|error| io(&kept, error))? {
        std::fs::copy(file, &kept).map_err(|error| io(&kept, error))?;
    }
    let fresh = file.with_extension("toml.new");
    std::fs::write(&fresh, &text)
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(|error| io(file, error))?;
    network.registry = text;
    let told = network.endpoints.reload(RELOAD).await;
    told.map_err(|error| RunError::NotReady(format!("the registry with the new posts: {error}")))?;
    Ok(true)
}

/// Connects every authority and reads what waits for it; their mailboxes and the last numbers of their feeds.
///
/// # Errors
/// One cannot be connected or read.
pub async fn mailboxes(network: &Network, cast: &Cast) -> Result<Vec<(Mailbox, u64)>, RunError> {
    let connect = |authority: &Authority| {
        let party = authority.party.clone();
        async move {
            let seed = keys::read_seed(&network.road.keys.join(party.as_str()).join("system.nk"))?;
            let nats = connect::connect_party(&network.road.of(&party), &seed, &party, None).await?;
            let mailbox = Mailbox::new(party, nats);
            let last = mailbox.empty().await?;
            Ok::<_, RunError>((mailbox, last))
        }
    };
    stream::iter(cast.authorities.iter().map(connect)).buffered(AT_ONCE).try_collect().await
}

/// Stores exactly the subscriptions of the cast.
///
/// # Errors
/// The broker refused, or did not answer.
pub async fn subscribe(cast: &Cast, mailboxes: &[(Mailbox, u64)]) -> Result<(), RunError> {
    let store = |(authority, (mailbox, _)): (&Authority, &(Mailbox, u64))| {
        let (wanted, mailbox) = (authority.subscriptions.clone(), mailbox.clone());
        async move { exactly(&mailbox, &wanted).await.map_err(|error| (mailbox.party, error)) }
    };
    let pairs: Vec<_> = cast.authorities.iter().zip(mailboxes).map(store).collect();
    let done: Result<Vec<()>, (PartyId, AskError)> =
        stream::iter(pairs).buffer_unordered(AT_ONCE).try_collect().await;
    done.map(drop).map_err(|(party, error)| {
        RunError::NotReady(format!("the subscriptions of {party} could not be stored: {error}"))
    })
}

async fn exactly(mailbox: &Mailbox, wanted: &[Value]) -> Result<(), AskError> {
    let name = |subscription: &Value| subscription["name"].as_str().unwrap_or_default().to_owned();
    let answer = match mailbox.asker().ask("sub.list", &json!({})).await {
        // One that takes no part has none.
        Err(AskError::Refused { status: 403, .. }) => return Ok(()),
        answer => answer?,
    };
    let listed: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let listed = listed["subscriptions"].as_array().cloned().unwrap_or_default();
    for subscription in wanted {
        mailbox.asker().ask("sub.put", subscription).await?;
    }
    for old in listed.iter().map(name).filter(|old| wanted.iter().all(|wanted| name(wanted) != *old)) {
        match mailbox.asker().ask("sub.del", &json!({ "name": old })).await {
            // The default that everybody has is listed and not stored.
            Ok(_) | Err(AskError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// True if the broker takes messages of the case plane.
///
/// # Errors
/// Nobody says so.
pub async fn takes_case_plane(mailboxes: &[(Mailbox, u64)]) -> Result<bool, RunError> {
    let message: Value = serde_json::from_str(CASE).unwrap_or_default();
    for (mailbox, _) in mailboxes {
        match mailbox.asker().ask("validate", &message).await {
            Ok(answer) => {
                let verdict: Value = serde_json::from_slice(&answer).unwrap_or_default();
                return Ok(verdict["code"].as_str() != Some("E-PLANE"));
            }
            Err(AskError::Refused { status: 403, .. }) => {}
            Err(error) => return Err(RunError::NotReady(error.to_string())),
        }
    }
    Err(RunError::NotReady("no party may ask anything".to_owned()))
}

/// True if nothing was ever published there.
pub async fn is_fresh(network: &Network, mailboxes: &[(Mailbox, u64)]) -> bool {
    match network.endpoints.metric("liaison_archive_last_sequence").await {
        Some(last) => last < 1.0,
        None => mailboxes.iter().all(|(_, last)| *last == 0),
    }
}

/// Looks for a receipt of one of these attempts, each with its officer's place and its id.
///
/// # Errors
/// An officer cannot be connected, or this was played before.
pub async fn was_not_played(
    network: &Network,
    cast: &Cast,
    attempts: &[(usize, String)],
) -> Result<(), RunError> {
    for (officer, id) in attempts {
        let Some(who) = cast.officers.get(*officer) else { continue };
        let (connection, mut opened) = open(&network.road, who).await?.split();
        let receipt = crate::message::subject::receipt(&who.party, who.post.as_str(), id);
        let asked = connection.pipeline.ask_stored(0, &receipt).await;
        asked.map_err(|error| RunError::NotReady(error.to_string()))?;
        let heard = tokio::time::timeout(Duration::from_secs(5), opened.0.next()).await;
        if let Ok(Some(crate::client::Heard::Stored { event: Some(_), .. })) = heard {
            return Err(RunError::PlayedBefore);
        }
    }
    Ok(())
}

/// The last midnight (UTC) before now.
#[must_use]
pub fn midnight() -> time::Timestamp {
    let second = time::now().as_second();
    time::Timestamp::from_second(second - second.rem_euclid(86_400)).unwrap_or_else(|_| time::now())
}
