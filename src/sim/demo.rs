//! The simulated posts of `up --demo`: a few officers who publish valid and invalid example messages, about one a
//! second, and one authority that reads its mailbox, so that a newcomer sees the exchange at work.
//!
//! All data is invented. It speaks to the broker only as its parties do, over NATS with their own keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::client::{Address, Publisher, Subscriber};
use crate::message::envelope::Source;
use crate::message::names::{PartyId, PostId};
use crate::message::time;
use crate::wire::keys;

/// The messages, from the same files that the tests use. The first three are accepted, refused and accepted.
const EXAMPLES: &[&str] = &[
    include_str!("../../tests/examples/valid/01-flow-observation-mixed.json"),
    include_str!("../../tests/examples/invalid/02-phone-in-narrative.json"),
    include_str!("../../tests/examples/valid/03-smuggling-modus.json"),
    include_str!("../../tests/examples/valid/04-event-incident-24h.json"),
    include_str!("../../tests/examples/invalid/14-shares-over-one.json"),
    include_str!("../../tests/examples/valid/02-flow-route-geojson.json"),
    include_str!("../../tests/examples/valid/05-document-fraud.json"),
    include_str!("../../tests/examples/invalid/33-small-cell.json"),
];

/// The clock of the examples.
const CLOCK: &str = "2026-03-02T10:00:00Z";
/// Pause between two messages.
const PACE: Duration = Duration::from_millis(900);
/// How long a post waits for a receipt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whose mailbox is read.
const READER: &str = "fr-dnpaf";

/// Runs until aborted.
pub async fn run(url: String, keys: PathBuf) {
    let ended = tokio::select! {
        ended = publish(&url, &keys) => ended,
        ended = read(&url, &keys) => ended,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the demonstration ended");
    }
}

async fn publish(url: &str, keys: &Path) -> Result<(), String> {
    let mut posts: HashMap<String, Publisher> = HashMap::new();
    let mut tick = tokio::time::interval(PACE);
    for example in EXAMPLES.iter().cycle() {
        tick.tick().await;
        let example: Value = serde_json::from_str(example).map_err(|error| error.to_string())?;
        let (Some(subject), Some(message)) = (example["natsSubject"].as_str(), example.get("message")) else {
            continue;
        };
        let event = freshen(message.clone());
        let source = event["source"].as_str().and_then(Source::parse).ok_or("an example without source")?;
        let (Some(party), post) = (source.party(), source.post()) else { continue };
        let user = format!("{party}/{}", post.map_or("system", PostId::as_str));
        if !posts.contains_key(&user) {
            match open(url, keys, party, post).await {
                Ok(publisher) => drop(posts.insert(user.clone(), publisher)),
                Err(error) => tracing::warn!(%user, %error, "a post cannot connect"),
            }
        }
        let Some(publisher) = posts.get_mut(&user) else { continue };
        let id = event["id"].as_str().map(str::to_owned);
        let body = Bytes::from(event.to_string());
        match publisher.publish(subject, id.as_deref(), body, PATIENCE).await {
            Ok(receipt) => tell(&user, &event, &receipt["data"]),
            Err(error) => {
                tracing::warn!(%user, %error, "no receipt");
                // Its key may have been replaced: the next message is sent with what is in its file by then.
                posts.remove(&user);
            }
        }
    }
    Ok(())
}

async fn open(url: &str, keys: &Path, party: &PartyId, post: Option<&PostId>) -> Result<Publisher, String> {
    let file = keys.join(party.as_str()).join(format!("{}.nk", post.map_or("system", PostId::as_str)));
    let seed = keys::read_seed(&file).map_err(|error| error.to_string())?;
    let opened = Publisher::connect(
        &Address::with_keys(url, keys, party.as_str()),
        &seed,
        party.clone(),
        post.cloned(),
    )
    .await;
    opened.map_err(|error| error.to_string())
}

fn tell(user: &str, event: &Value, receipt: &Value) {
    let outcome = receipt["outcome"].as_str().unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    let code = receipt["code"].as_str().unwrap_or_default();
    let recipients = receipt["recipients"].as_u64().unwrap_or_default();
    tracing::info!(post = %user, r#type = kind, outcome, code, recipients, "receipt");
}

async fn read(url: &str, keys: &Path) -> Result<(), String> {
    let party = PartyId::parse(READER).map_err(|error| error.to_string())?;
    let seed = keys::read_seed(&keys.join(READER).join("system.nk")).map_err(|error| error.to_string())?;
    let mut subscriber = Subscriber::connect(&Address::with_keys(url, keys, READER), &seed, &party)
        .await
        .map_err(|error| error.to_string())?;
    loop {
        match subscriber.next(16, Duration::from_secs(4)).await {
            Ok(letters) => {
                for letter in letters {
                    tracing::info!(to = %party, feed_seq = letter.feed_seq, "delivered");
                    subscriber.acknowledge(&letter).await.map_err(|error| error.to_string())?;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the mailbox cannot be read; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// A fresh id, and every time moved by as much as the examples' clock lies back.
pub(super) fn freshen(mut event: Value) -> Value {
    let Some(clock) = time::parse(CLOCK) else { return event };
    let by = time::now().duration_since(clock);
    shift(&mut event, by);
    event["id"] = json!(uuid::Uuid::now_v7().to_string());
    event
}

/// Moves every RFC 3339 text with a time; dates without one stay.
fn shift(value: &mut Value, by: jiff::SignedDuration) {
    match value {
        Value::String(text) => {
            if let Some(at) = time::parse(text).and_then(|at| at.checked_add(by).ok()) {
                *text = time::rfc3339(at);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(members) => members.values_mut().for_each(|member| shift(member, by)),
        _ => {}
    }
}
