//! Where subscriptions live: a key-value bucket that every broker instance reads and watches.
//!
//! One key a party, its value the JSON list of its subscriptions. What they mean is the rules' business.

use async_nats::jetstream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::message::names::PartyId;

/// Name of the bucket.
pub const BUCKET: &str = "SUBS";

/// The bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: jetstream::kv::Store,
}

impl Bucket {
    /// Opens the bucket, which the administrator made.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn open(client: async_nats::Client) -> Result<Self, String> {
        let store = jetstream::new(client)
            .get_key_value(BUCKET)
            .await
            .map_err(|error| format!("bucket {BUCKET}: {error}"))?;
        Ok(Self { store })
    }

    /// Replaces the list of one party if its revision is still the one given (0: none yet); gives the new revision.
    ///
    /// # Errors
    /// The text of what NATS answered, also when another instance was faster.
    pub async fn put(&self, party: &PartyId, list: &Value, revision: u64) -> Result<u64, String> {
        let body = list.to_string().into();
        self.store.update(party.as_str(), body, revision).await.map_err(|error| error.to_string())
    }

    /// Asks the server anything: when it has answered, it has dealt with all that this connection said before.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn touch(&self) -> Result<(), String> {
        // Not `status`: that tells what was known when the bucket was opened, and asks nobody.
        self.store.stream.get_info().await.map(drop).map_err(|error| error.to_string())
    }

    /// All lists as they are now, then every change.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn watch(&self) -> Result<BoxStream<'static, Stored>, String> {
        let watch = self.store.watch_with_history(">").await.map_err(|error| error.to_string())?;
        Ok(watch.filter_map(|entry| async move { stored(&entry.ok()?) }).boxed())
    }

    /// All lists as they are now.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn all(&self) -> Result<Vec<Stored>, String> {
        let mut keys = self.store.keys().await.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| error.to_string())?;
            let entry = self.store.entry(&key).await.map_err(|error| error.to_string())?;
            all.extend(entry.as_ref().and_then(stored));
        }
        Ok(all)
    }
}

/// The list of one party as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Whose.
    pub party: PartyId,
    /// The list; `null` if it is not JSON any more, which must not be taken for an empty one.
    pub list: Value,
    /// Grows with every change in the bucket.
    pub revision: u64,
}

fn stored(entry: &jetstream::kv::Entry) -> Option<Stored> {
    let party = PartyId::parse(&entry.key).ok()?;
    let list = serde_json::from_slice(&entry.value).unwrap_or_default();
    Some(Stored { party, list, revision: entry.revision })
}
