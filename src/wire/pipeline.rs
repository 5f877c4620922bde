//! A party's way in for many messages under way at once: publishing does not wait, and what comes back is told as it comes.
//!
//! It keeps nothing and sends nothing again; who publishes gives each publication a mark, finds it in the answers, and
//! decides what a missing one means.

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::outbox::OutboxError;
use crate::message::names::{PartyId, PostId};
use crate::message::subject;

/// Token of the reply subjects of publications.
const QUEUED: &str = "q";
/// Token of the reply subjects of questions for stored receipts.
const STORED: &str = "s";

/// The half that sends.
#[derive(Debug, Clone)]
pub struct Pipeline {
    client: Client,
    inbox: String,
}

/// The half that hears.
#[derive(Debug)]
pub struct Answers {
    replies: Subscriber,
    receipts: Subscriber,
}

/// Something that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The stream took a publication.
    Queued {
        /// Mark of the publication.
        mark: u64,
        /// Where it stands in the stream.
        sequence: u64,
    },
    /// The stream did not take a publication.
    NotQueued {
        /// Mark of the publication.
        mark: u64,
        /// What the server said.
        words: String,
    },
    /// The answer to a question for a stored receipt.
    Stored {
        /// Mark of the question.
        mark: u64,
        /// The event, if there is one.
        event: Option<Bytes>,
    },
    /// A live receipt.
    Receipt {
        /// Last token of its subject: message id, or `unreadable-<stream sequence>`.
        token: String,
        /// The event.
        event: Bytes,
    },
}

impl Pipeline {
    /// Begins to listen for answers and receipts.
    ///
    /// # Errors
    /// [`OutboxError::Deaf`].
    pub async fn open(
        client: Client,
        party: &PartyId,
        post: Option<&PostId>,
    ) -> Result<(Self, Answers), OutboxError> {
        let deaf = |error: &dyn std::fmt::Display| OutboxError::Deaf(error.to_string());
        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.>")).await.map_err(|error| deaf(&error))?;
        let receipts = match post {
            Some(post) => subject::receipt(party, post.as_str(), ">"),
            None => format!("ilo.rcpt.{party}.>"),
        };
        let receipts = client.subscribe(receipts).await.map_err(|error| deaf(&error))?;
        client.flush().await.map_err(|error| deaf(&error))?;
        Ok((Self { client, inbox }, Answers { replies, receipts }))
    }

    /// Hands a publication to the connection. It waits only while the connection can take no more.
    ///
    /// # Errors
    /// [`OutboxError::NotQueued`]: the connection did not take it.
    pub async fn publish(&self, mark: u64, to: &str, payload: Bytes) -> Result<(), OutboxError> {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        let reply = format!("{}.{QUEUED}.{mark}", self.inbox);
        let sent = self.client.publish_with_reply_and_headers(to.to_owned(), reply, headers, payload).await;
        sent.map_err(|error| OutboxError::NotQueued(error.to_string()))
    }

    /// Asks for the receipt that is stored under the own subject of a message.
    ///
    /// # Errors
    /// [`OutboxError::NotQueued`]: the connection did not take the question.
    pub async fn ask_stored(&self, mark: u64, receipt: &str) -> Result<(), OutboxError> {
        let call = format!("$JS.API.DIRECT.GET.RCPT.{receipt}");
        let reply = format!("{}.{STORED}.{mark}", self.inbox);
        let sent = self.client.publish_with_reply(call, reply, Bytes::new()).await;
        sent.map_err(|error| OutboxError::NotQueued(error.to_string()))
    }
}

impl Answers {
    /// What comes next; `None` once the connection is closed. Can be dropped without losing anything.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = tokio::select! {
                reply = self.replies.next() => answer(&reply?),
                receipt = self.receipts.next() => Some(live(&receipt?)),
            };
            if heard.is_some() {
                return heard;
            }
        }
    }
}

fn live(message: &Message) -> Heard {
    let token = message.subject.rsplit('.').next().unwrap_or_default();
    Heard::Receipt { token: token.to_owned(), event: message.payload.clone() }
}

/// Takes a reply apart; `None` if it answers nothing that was asked.
fn answer(message: &Message) -> Option<Heard> {
    let (rest, mark) = message.subject.rsplit_once('.')?;
    let mark = mark.parse().ok()?;
    let status = message.status.map(|status| status.as_u16());
    match rest.rsplit('.').next()? {
        STORED => Some(Heard::Stored {
            mark,
            event: (status.is_none() && !message.payload.is_empty()).then(|| message.payload.clone()),
        }),
        QUEUED if status == Some(503) => Some(Heard::NotQueued { mark, words: "nobody takes it".to_owned() }),
        QUEUED => {
            let told: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            Some(match told["seq"].as_u64() {
                Some(sequence) => Heard::Queued { mark, sequence },
                None => {
                    let words = told["error"]["description"].as_str().unwrap_or("refused").to_owned();
                    Heard::NotQueued { mark, words }
                }
            })
        }
        _ => None,
    }
}
