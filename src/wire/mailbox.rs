//! A party's way out: the durable pull consumer `main` on its mailbox.
//!
//! Uses only what a party's user may: `MSG.NEXT`, and acknowledging. A letter that is not acknowledged comes again.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
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

    /// All headers, name and value; a name that is there twice comes twice.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.message.headers.iter().flat_map(|headers| headers.iter());
        headers.flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
    }

    /// Where it stands in the stream of the mailbox: the same whenever it is delivered again.
    #[must_use]
    pub fn stream_sequence(&self) -> Option<u64> {
        stream_sequence(self.message.reply.as_deref()?)
    }

    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// The received bytes of the message.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.message.payload.clone()
    }
}

/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.…`; newer servers put domain and account before the stream.
fn stream_sequence(reply: &str) -> Option<u64> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let before = match tokens.len() {
        7 => 3,
        9.. => 5,
        _ => return None,
    };
    tokens.get(before)?.parse().ok()
}

/// A pull that is under way.
#[derive(Debug)]
pub struct Pull {
    answers: Subscriber,
    left: usize,
    until: tokio::time::Instant,
}

impl Pull {
    /// The next letter; `None` once all that was asked for has come, or nothing more came in time. Can be dropped without
    /// losing a letter.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn next(&mut self) -> Result<Option<Letter>, MailboxError> {
        while self.left > 0 {
            let Ok(Some(message)) = tokio::time::timeout_at(self.until, self.answers.next()).await else {
                break;
            };
            match message.status.map(|status| status.as_u16()) {
                None => {
                    self.left -= 1;
                    return Ok(Some(Letter { message }));
                }
                Some(404 | 408 | 409) => break,
                Some(503) => return Err(MailboxError::Unreadable("no mailbox answers".to_owned())),
                Some(_) => {}
            }
        }
        self.left = 0;
        Ok(None)
    }

    /// The letters that are there or come within `wait`, at most `most`. The pull goes on behind them: what the server sends to
    /// one that was given up is lost until it comes again, which takes a minute.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn some(&mut self, most: usize, wait: Duration) -> Result<Vec<Letter>, MailboxError> {
        let mut letters = Vec::new();
        while letters.len() < most {
            // Behind the first letter only what is already on the way is waited for.
            let wait = if letters.is_empty() { wait } else { LINGER };
            match tokio::time::timeout(wait, self.next()).await.ok().transpose()?.flatten() {
                Some(letter) => letters.push(letter),
                None => break,
            }
        }
        Ok(letters)
    }

    /// True while more may come of it.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.left > 0
    }
}

/// The reader of one party's mailbox.
#[derive(Debug, Clone)]
pub struct Mailbox {
    client: Client,
    next: String,
    state: String,
}

impl Mailbox {
    /// The mailbox of a party.
    #[must_use]
    pub fn of(client: Client, party: &PartyId) -> Self {
        let durable = format!("MBOX_{}.main", subject::upper(party));
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{durable}");
        Self { client, next, state: format!("$JS.API.CONSUMER.INFO.{durable}") }
    }

    /// Begins a pull whose letters are handed on as they come.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn begin(&self, most: usize, wait: Duration) -> Result<Pull, MailboxError> {
        let fault = |error: &dyn std::fmt::Display| MailboxError::Unreadable(error.to_string());
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await.map_err(|error| fault(&error))?;
        let (batch, wait) = (most.clamp(1, BATCH), wait.min(PULL));
        let ask = serde_json::json!({ "batch": batch, "expires": wait.as_nanos() });
        self.client
            .publish_with_reply(self.next.clone(), inbox, Bytes::from(ask.to_string()))
            .await
            .map_err(|error| fault(&error))?;
        let until = tokio::time::Instant::now() + wait + Duration::from_secs(2);
        Ok(Pull { answers, left: batch, until })
    }

    /// How many letters are not acknowledged.
    ///
    /// # Errors
    /// NATS went away.
    pub async fn waiting(&self) -> Result<u64, MailboxError> {
        let fault = |words: String| MailboxError::Unreadable(words);
        let answer = self.client.request(self.state.clone(), Bytes::new()).await;
        let answer = answer.map_err(|error| fault(error.to_string()))?;
        let told: serde_json::Value =
            serde_json::from_slice(&answer.payload).map_err(|error| fault(error.to_string()))?;
        match (told["num_pending"].as_u64(), told["num_ack_pending"].as_u64()) {
            (Some(pending), Some(unacknowledged)) => Ok(pending + unacknowledged),
            _ => Err(fault("no state of the mailbox".to_owned())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_stream_is_in_the_reply_subject() {
        let short = "$JS.ACK.MBOX_IT_MOI.main.2.17.40.1700000000000000000.3";
        let long = "$JS.ACK.hub.ACCHASH.MBOX_IT_MOI.main.2.17.40.1700000000000000000.3.token";
        assert_eq!((stream_sequence(short), stream_sequence(long)), (Some(17), Some(17)));
        for other in ["_INBOX.a.b", "$JS.ACK.MBOX.main.1", "$JS.ACK.MBOX.main.1.x.2.3.4"] {
            assert_eq!(stream_sequence(other), None, "{other}");
        }
    }
}
