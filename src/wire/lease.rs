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

use super::journal::{get, get_next, publish};
use super::{Error, stranded};
use crate::message::time;

/// Name of the bucket.
pub const BUCKET: &str = "LEASE";

/// How long a holder believes in its lease after it began to renew it. Servers find a new leader 4 to 9 s after one died:
/// most such deaths must not cost the broker too. Longer, and another instance would not serve within 15 s.
pub const HOLD: Duration = Duration::from_secs(9);

/// More than there are standbys: words that come while they are read do not keep a reader for ever.
const MOST_SIGNS: usize = 200;

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

/// What a standby says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Name of the instance.
    pub instance: String,
    /// The last archive sequence that it has.
    pub kept: u64,
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

    /// Takes a server anew: this one may be cut off from the others (`stranded.rs`). The journal goes over the same connection.
    pub async fn leave_server(&self) {
        stranded::leave(&self.client).await;
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

    /// Says that an instance stands by. Each has a key of its own, so nobody waits for anybody.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn sign(&self, sign: &Sign) -> Result<(), Error> {
        let body = serde_json::to_vec(sign).map_err(|error| Error::api(stream(), error))?;
        let at = self.subject(&format!("{}-standby.{}", self.key, sign.instance));
        publish(&self.client, at, HeaderMap::new(), body.into()).await.map(|_| ())
    }

    /// The last word of each instance that ever stood by, with its revision. Of two hundred at most.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn signs(&self) -> Result<Vec<(u64, Sign)>, Error> {
        let (filter, mut from, mut signs) = (self.subject(&format!("{}-standby.*", self.key)), 1, Vec::new());
        while signs.len() < MOST_SIGNS {
            let Some(found) = get_next(&self.client, &stream(), from, &filter).await? else { break };
            from = found.sequence + 1;
            // What another version says of itself may be read by nobody here.
            if let Ok(sign) = serde_json::from_slice(&found.payload) {
                signs.push((found.sequence, sign));
            }
        }
        Ok(signs)
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
