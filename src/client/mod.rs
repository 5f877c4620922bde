//! What a member-state system in Rust uses: publish and get the receipt, read the mailbox, replay, witness.
//!
//! It knows nothing that a client in another language could not know: plain JetStream publish, live receipts with the
//! stored one as the truth, an ordinary pull consumer, requests. It never sees archive or rules. [`exchange`] is for tools on the
//! machine of a `liaison up`.

pub mod exchange;
mod feed;
pub mod replay;
mod signer;
mod witness;

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

pub use self::feed::{Feed, FeedFault};
pub use self::signer::Signer;
pub use self::witness::{Shown, WitnessLine};
pub use crate::wire::asking::AskError;
pub use crate::wire::pipeline::{Answers, Heard, Pipeline};
pub use crate::wire::tls::Address;

use crate::message::names::{PartyId, PostId};
use crate::message::signature;
use crate::wire::asking;
use crate::wire::connect;
use crate::wire::mailbox::{Letter, Mailbox, MailboxError, Pull};
use crate::wire::outbox::{Outbox, OutboxError};

/// Why a client could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// NATS cannot be reached or does not let this key in.
    #[error("NATS: {0}")]
    Wire(#[from] crate::wire::Error),
    /// Publishing.
    #[error("publish: {0}")]
    Publish(#[from] OutboxError),
    /// Reading the mailbox.
    #[error("mailbox: {0}")]
    Mailbox(#[from] MailboxError),
    /// Asking a service.
    #[error("service: {0}")]
    Ask(#[from] AskError),
    /// An answer that is not what `PROTOCOL.md` says.
    #[error("the broker's answer {0}")]
    Answer(&'static str),
}

/// A publisher: one user of a party.
pub struct Publisher {
    outbox: Outbox,
    /// What its subjects begin with: the server takes nothing else from it, and says so to nobody who waits.
    may: String,
    signer: Option<Signer>,
}

impl Publisher {
    /// Connects with a user's seed and listens for receipts.
    ///
    /// # Errors
    /// NATS cannot be reached, or the key is not let in.
    pub async fn connect(
        to: &Address,
        seed: &str,
        party: PartyId,
        post: Option<PostId>,
    ) -> Result<Self, Error> {
        let nats = connect::connect_party(to, seed, &party, post.as_ref()).await?;
        let may = post
            .as_ref()
            .map_or_else(|| format!("ilo.in.{party}."), |post| format!("ilo.in.{party}.{post}."));
        Ok(Self { outbox: Outbox::open(nats, party, post).await?, may, signer: None })
    }

    /// The same, and everything that it publishes is signed with this key.
    #[must_use]
    pub fn signing(self, signer: Option<Signer>) -> Self {
        Self { signer, ..self }
    }

    /// Publishes one message and waits at most `patience` for its receipt.
    ///
    /// # Errors
    /// Not queued, or no receipt in time: the caller keeps the message and sends the same bytes again. [`wire::Error::Denied`]
    /// where this user may not publish.
    ///
    /// [`wire::Error::Denied`]: crate::wire::Error::Denied
    pub async fn publish(
        &mut self,
        subject: &str,
        id: Option<&str>,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Value, Error> {
        if !subject.starts_with(&self.may) {
            let words = format!("{subject} is not a subject of this user; its own begin with {}", self.may);
            return Err(Error::Wire(crate::wire::Error::Denied(words)));
        }
        let signature = self.signer.as_ref().map(|signer| signer.sign(&payload));
        Ok(self.outbox.publish(subject, id, payload, signature.as_ref(), patience).await?)
    }
}

/// Connects a user of a party that has many messages under way at once; it waits for no answer.
///
/// # Errors
/// NATS cannot be reached, or the key is not let in.
pub async fn pipeline(
    to: &Address,
    seed: &str,
    party: &PartyId,
    post: Option<&PostId>,
) -> Result<(Pipeline, Answers), Error> {
    let nats = connect::connect_party(to, seed, party, post).await?;
    Ok(Pipeline::open(nats, party, post).await?)
}

/// A delivered message.
#[derive(Debug)]
pub struct Delivered {
    /// Dense per recipient, from 1.
    pub feed_seq: u64,
    /// RFC 3339.
    pub archived_at: String,
    /// `sha256:<hex>` of the payload.
    pub digest: String,
    /// Running digest of the feed, hexadecimal.
    pub feed_digest: String,
    /// The signature of its post, a detached JWS, if it has one.
    pub signature: Option<String>,
    /// The received bytes.
    pub payload: Bytes,
    letter: Letter,
}

/// A reader of one party's mailbox.
pub struct Subscriber {
    mailbox: Mailbox,
    /// What was asked for and has not come yet.
    pull: Option<Pull>,
}

impl Subscriber {
    /// Connects as the system user of a party.
    ///
    /// # Errors
    /// NATS cannot be reached, or the key is not let in.
    pub async fn connect(to: &Address, seed: &str, party: &PartyId) -> Result<Self, Error> {
        let nats = connect::connect_party(to, seed, party, None).await?;
        Ok(Self { mailbox: Mailbox::of(nats, party), pull: None })
    }

    /// What is there or comes within `wait`, at most `most` messages. What was asked for and has not come by then comes
    /// with the next call.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub async fn next(&mut self, most: usize, wait: Duration) -> Result<Vec<Delivered>, Error> {
        let mut pull = match self.pull.take() {
            Some(pull) => pull,
            None => self.mailbox.begin(most, wait).await?,
        };
        let letters = pull.some(most, wait).await?;
        self.pull = Some(pull).filter(Pull::goes_on);
        Ok(letters
            .into_iter()
            .map(|letter| Delivered {
                feed_seq: letter.header(crate::wire::FEED_SEQ).parse().unwrap_or_default(),
                archived_at: letter.header("Ilo-Archived-At"),
                digest: letter.header("Ilo-Digest"),
                feed_digest: letter.header("Ilo-Feed-Digest"),
                signature: Some(letter.header(signature::HEADER)).filter(|text| !text.is_empty()),
                payload: letter.payload(),
                letter,
            })
            .collect())
    }

    /// Asks for nothing more: what comes from now on is for whoever reads next.
    pub fn rest(&mut self) {
        self.pull = None;
    }

    /// Acknowledges a message: it will not come again.
    ///
    /// # Errors
    /// NATS went away.
    pub async fn acknowledge(&self, delivered: &Delivered) -> Result<(), Error> {
        Ok(self.mailbox.acknowledge(&delivered.letter).await?)
    }

    /// How many messages were not read yet, and how many were read and not acknowledged.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub async fn left(&self) -> Result<(u64, u64), Error> {
        Ok(self.mailbox.left().await?)
    }

    /// Makes sure that acknowledgements are sent.
    ///
    /// # Errors
    /// NATS went away.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.mailbox.flush().await?)
    }
}

/// Asks the services of one party.
#[derive(Debug, Clone)]
pub struct Asker {
    asker: asking::Asker,
}

impl Asker {
    /// Connects as the system user of a party.
    ///
    /// # Errors
    /// NATS cannot be reached, or the key is not let in.
    pub async fn connect(to: &Address, seed: &str, party: &PartyId) -> Result<Self, Error> {
        let nats = connect::connect_party(to, seed, party, None).await?;
        Ok(Self { asker: asking::Asker::new(nats, party.clone()) })
    }

    /// Asks a verb once; the bytes of the answer.
    ///
    /// # Errors
    /// Nobody answered, or the service refused.
    pub async fn ask(&self, verb: &str, body: &Value) -> Result<Bytes, AskError> {
        self.asker.ask(verb, body).await
    }
}
