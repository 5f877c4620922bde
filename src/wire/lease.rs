//! The lease on a shard: a key in a bucket, changed by compare-and-set, and how long its holder may believe in it.
//!
//! The clock is not the fence. A holder that was stopped and wakes up may believe in its lease for an instant too long;
//! what it then writes is refused by the stream of the journal (`journal.rs`). The lease decides who tries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::Error;
use super::journal::{get, publish};
use crate::message::time;

/// Name of the bucket.
pub const BUCKET: &str = "LEASE";

/// How long a holder believes in its lease after it began to renew it. Servers find a new leader 4 to 9 s after one died:
/// most such deaths must not cost the broker too. Longer, and another instance would not serve within 15 s.
pub const HOLD: Duration = Duration::from_secs(9);

/// Who holds a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the instance.
    pub instance: String,
    /// Grows with every taking.
    pub epoch: u64,
    /// Given back in order: nobody needs to wait.
    pub released: bool,
}

/// The key of a shard in the bucket.
#[derive(Debug, Clone)]
pub struct LeaseKey {
    client: Client,
    key: String,
}

impl LeaseKey {
    /// The key of a shard. The administrator made the bucket.
    #[must_use]
    pub fn new(client: Client, shard: u16) -> Self {
        Self { client, key: format!("shard-{shard}") }
    }

    /// Who holds it, and the revision that says so.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn look(&self) -> Result<Option<(u64, Holder)>, Error> {
        let found = get(&self.client, &stream(), "last_by_subj", self.subject(&self.key).into()).await?;
        let Some(found) = found else { return Ok(None) };
        let holder = serde_json::from_slice(&found.payload);
        let holder = holder.map_err(|_| Error::api(stream(), "a lease that cannot be read"))?;
        Ok(Some((found.sequence, holder)))
    }

    /// Writes it if its revision is still this one (0: none yet); the new revision, or `None` if it is another.
    ///
    /// # Errors
    /// [`Error::Api`]: it may be written all the same.
    pub async fn put(&self, holder: &Holder, revision: u64) -> Result<Option<u64>, Error> {
        let body = serde_json::to_vec(holder).map_err(|error| Error::api(stream(), error))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
        publish(&self.client, self.subject(&self.key), headers, body.into()).await
    }

    /// A number that whoever holds the shard keeps beside the lease: up to which order erasures are carried out in the
    /// stream.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn erased_upto(&self) -> Result<u64, Error> {
        let found = get(&self.client, &stream(), "last_by_subj", self.mark().into()).await?;
        let text = found.map(|found| String::from_utf8_lossy(&found.payload).into_owned());
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// Notes that number.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn note_erased(&self, upto: u64) -> Result<(), Error> {
        let body = Bytes::from(upto.to_string());
        publish(&self.client, self.mark(), HeaderMap::new(), body).await.map(|_| ())
    }

    fn mark(&self) -> String {
        self.subject(&format!("{}-erased", self.key))
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{BUCKET}.{key}")
    }
}

fn stream() -> String {
    format!("KV_{BUCKET}")
}

/// How long this process may believe that it holds the lease.
#[derive(Debug, Clone, Default)]
pub struct Term(Arc<RwLock<Option<Instant>>>);

impl Term {
    /// The lease was renewed; the renewal began then.
    pub fn renewed(&self, began: Instant) {
        *self.0.write() = Some(began + HOLD);
    }

    /// It is lost, or given back.
    pub fn end(&self) {
        *self.0.write() = None;
    }

    /// True as long as it is to be believed in.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.read().is_some_and(|until| time::stopwatch() < until)
    }
}
