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

    /// Replaces the list of one party.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn put(&self, party: &PartyId, list: &Value) -> Result<(), String> {
        let body = list.to_string().into();
        self.store.put(party.as_str(), body).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// All lists as they are now, then every change; `None` once after the last present one.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn watch(&self) -> Result<BoxStream<'static, (PartyId, Value)>, String> {
        let watch = self.store.watch_with_history(">").await.map_err(|error| error.to_string())?;
        Ok(watch
            .filter_map(|entry| async move {
                let entry = entry.ok()?;
                let party = PartyId::parse(&entry.key).ok()?;
                Some((party, serde_json::from_slice(&entry.value).ok()?))
            })
            .boxed())
    }

    /// All lists as they are now.
    ///
    /// # Errors
    /// The text of what NATS answered.
    pub async fn all(&self) -> Result<Vec<(PartyId, Value)>, String> {
        let mut keys = self.store.keys().await.map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| error.to_string())?;
            let Ok(party) = PartyId::parse(&key) else { continue };
            let value = self.store.get(&key).await.map_err(|error| error.to_string())?;
            if let Some(list) = value.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                all.push((party, list));
            }
        }
        Ok(all)
    }
}
