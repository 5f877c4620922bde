//! Analysts, who replay everything that they may see, again and again, while the others work; and the replay of every feed
//! when all is over, which goes into the log.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::RunError;
use super::conductor::{Stages, Stop};
use super::live::Live;
use super::scribe::{Note, Notes};
use super::station::Road;
use crate::client::replay::{Content, Page, Place, Replay, Wanted};
use crate::client::{AskError, Error};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::sim::log::Replayed;
use crate::wire::keys;

/// Pause between two replays of an analyst, and after one that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a broker that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Feeds replayed at once: what the broker reads at once.
const FEEDS: usize = 4;

async fn begin(road: &Road, party: &PartyId) -> Result<Replay, RunError> {
    let seed = keys::read_seed(&road.keys.join(party.as_str()).join("system.nk"))?;
    let wanted = Wanted { patience: PATIENCE, ..Wanted::default() };
    Ok(Replay::connect(&road.of(party), &seed, party, wanted, Place::default()).await?)
}

/// Replays a party's feed again and again until everything has been sent.
pub async fn analyse(road: Road, party: PartyId, live: Arc<Live>, stages: Stages) {
    let work = async {
        loop {
            match begin(&road, &party).await {
                Ok(mut replay) => {
                    while let Some(Ok(page)) = replay.next().await {
                        live.analysed.fetch_add(page.messages.len() as u64, Relaxed);
                    }
                }
                Err(error) => tracing::debug!(%party, %error, "an analyst cannot replay"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = stages.sent.cancelled() => {}
        () = work => {}
    }
}

/// Replays every feed once, into the log; a sentence for each that could not be.
///
/// # Errors
/// The log cannot be written.
pub async fn replay_all(
    road: &Road,
    parties: Vec<PartyId>,
    notes: &Notes,
    live: &Live,
    stop: &Stop,
) -> Result<Vec<String>, RunError> {
    let feeds = stream::iter(parties.into_iter().map(|party| async move {
        tokio::select! {
            () = stop.all.cancelled() => Ok(None),
            done = replay_one(road, &party, notes, live) => match done {
                // One that takes no part has no feed to show.
                Ok(()) | Err(RunError::Client(Error::Ask(AskError::Refused { status: 403, .. }))) => Ok(None),
                Err(error @ RunError::Broken(_)) => Err(error),
                Err(error) => Ok(Some(format!("{party}: the feed could not be replayed: {error}"))),
            },
        }
    }));
    let told: Vec<Option<String>> = feeds.buffer_unordered(FEEDS).try_collect().await?;
    Ok(told.into_iter().flatten().collect())
}

async fn replay_one(road: &Road, party: &PartyId, notes: &Notes, live: &Live) -> Result<(), RunError> {
    let mut replay = begin(road, party).await?;
    while let Some(page) = replay.next().await {
        let lines = lines(party, &page?);
        live.replayed.fetch_add(lines.len() as u64, Relaxed);
        notes.send(Note::Replayed(lines)).await.map_err(|_| RunError::Broken("the log"))?;
    }
    Ok(())
}

fn lines(party: &PartyId, page: &Page) -> Vec<Replayed> {
    let line = |message: &crate::client::replay::Message| Replayed {
        party: party.to_string(),
        feed_seq: message.seq,
        digest: message.digest.hex(),
        sha256: match &message.content {
            Content::Event(bytes) => Some(Digest::of(bytes).hex()),
            Content::Tombstone(_) => None,
        },
    };
    page.messages.iter().map(line).collect()
}
