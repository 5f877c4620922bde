//! A party's way out: the durable pull consumer `main` on its mailbox.
//!
//! Uses only what a party's user may: `MSG.NEXT`, and acknowledging. A letter that is not acknowledged comes again.

use std::time::Duration;

use async_nats::{Client, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::message::names::PartyId;
use crate::message::subject;

/// Letters asked for at once.
const BATCH: usize = 256;
/// How long one pull waits; across accounts a pull of two minutes never gets its message.
const PULL: Duration = Duration::from_secs(5);

/// Why a mailbox cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// NATS refused or went away.
    #[error("{0}")]
    Unreadable(String),
}

/// A delivered letter.
#[derive(Debug)]
pub struct Letter {
    message: Message,
}

impl Letter {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let headers = self.message.headers.as_ref();
        headers.and_then(|headers| headers.get(name)).map(ToString::to_string).unwrap_or_default()
    }

    /// The received bytes of the message.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.message.payload.clone()
    }
}

/// The reader of one party's mailbox.
#[derive(Debug, Clone)]
pub struct Mailbox {
    client: Client,
    next: String,
}

impl Mailbox {
    /// The mailbox of a party.
    #[must_use]
    pub fn of(client: Client, party: &PartyId) -> Self {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.MBOX_{}.main", subject::upper(party));
        Self { client, next }
    }

    /// One pull: the letters that are there or come within `wait`, at most `most`.
    ///
    /// # Errors
    /// [`MailboxError`]; a pull that merely timed out gives no letters.
    pub async fn pull(&self, most: usize, wait: Duration) -> Result<Vec<Letter>, MailboxError> {
        let fault = |error: &dyn std::fmt::Display| MailboxError::Unreadable(error.to_string());
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| fault(&error))?;
        let (batch, wait) = (most.clamp(1, BATCH), wait.min(PULL));
        let ask = serde_json::json!({ "batch": batch, "expires": wait.as_nanos() });
        let mut letters = Vec::new();
        self.client
            .publish_with_reply(self.next.clone(), inbox, Bytes::from(ask.to_string()))
            .await
            .map_err(|error| fault(&error))?;
        let deadline = tokio::time::Instant::now() + wait + Duration::from_secs(2);
        while letters.len() < batch {
            // Behind the first letter only what is already on the way is waited for.
            let until = if letters.is_empty() {
                deadline
            } else {
                deadline.min(tokio::time::Instant::now() + LINGER)
            };
            match tokio::time::timeout_at(until, answers.next()).await {
                Ok(Some(message)) => match message.status {
                    None => letters.push(Letter { message }),
                    Some(status) if status.as_u16() == 404 || status.as_u16() == 408 => break,
                    Some(status) if status.as_u16() == 409 => break,
                    Some(status) if status.as_u16() == 503 => {
                        return Err(MailboxError::Unreadable("no mailbox answers".to_owned()));
                    }
                    Some(_) => {}
                },
                Ok(None) | Err(_) => break,
            }
        }
        Ok(letters)
    }

    /// Acknowledges a letter.
    ///
    /// # Errors
    /// NATS went away; the letter comes again.
    pub async fn acknowledge(&self, letter: &Letter) -> Result<(), MailboxError> {
        let Some(reply) = &letter.message.reply else { return Ok(()) };
        self.client
            .publish(reply.clone(), Bytes::from_static(b"+ACK"))
            .await
            .map_err(|error| MailboxError::Unreadable(error.to_string()))
    }

    /// How many letters were not read yet, and how many were read and not acknowledged.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn left(&self) -> Result<(u64, u64), MailboxError> {
        let fault = |words: String| MailboxError::Unreadable(words);
        let call = self.next.replacen("CONSUMER.MSG.NEXT", "CONSUMER.INFO", 1);
        let answer =
            self.client.request(call, Bytes::new()).await.map_err(|error| fault(error.to_string()))?;
        let info: serde_json::Value =
            serde_json::from_slice(&answer.payload).map_err(|error| fault(error.to_string()))?;
        match (info["num_pending"].as_u64(), info["num_ack_pending"].as_u64()) {
            (Some(pending), Some(unacknowledged)) => Ok((pending, unacknowledged)),
            _ => Err(fault(info["error"]["description"].as_str().unwrap_or("no such answer").to_owned())),
        }
    }

    /// Makes sure that the acknowledgements are on the socket.
    ///
    /// # Errors
    /// NATS went away.
    pub async fn flush(&self) -> Result<(), MailboxError> {
        self.client.flush().await.map_err(|error| MailboxError::Unreadable(error.to_string()))
    }
}

/// How long a pull waits for the next letter once it has one.
const LINGER: Duration = Duration::from_millis(20);
