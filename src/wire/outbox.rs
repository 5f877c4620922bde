//! A party's way in: plain JetStream publish, then the receipt.
//!
//! The live receipt is only a hint that may be missed; the one stored in `RCPT` is the truth and is asked for when the
//! hint does not come. A PubAck means queued, never archived.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::message::names::{PartyId, PostId};
use crate::message::signature::{self, Detached};
use crate::message::subject;

/// Why a message has no receipt.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The stream did not take it. Nothing was sent on.
    #[error("not queued: {0}")]
    NotQueued(String),
    /// Queued, but no receipt came in time. Send the same bytes with the same id again.
    #[error("queued, but no receipt within {0:?}; the message must be kept and sent again unchanged")]
    NoReceipt(Duration),
    /// Receipts cannot be heard.
    #[error("receipts cannot be heard: {0}")]
    Deaf(String),
}

/// The way in of one user.
pub struct Outbox {
    client: Client,
    party: PartyId,
    post: Option<PostId>,
    live: Subscriber,
}

impl Outbox {
    /// Begins to listen for receipts.
    ///
    /// # Errors
    /// [`OutboxError::Deaf`].
    pub async fn open(client: Client, party: PartyId, post: Option<PostId>) -> Result<Self, OutboxError> {
        let receipts = match &post {
            Some(post) => format!("ilo.rcpt.{party}.{post}.>"),
            None => format!("ilo.rcpt.{party}.>"),
        };
        let deaf = |error: &dyn std::fmt::Display| OutboxError::Deaf(error.to_string());
        let live = client.subscribe(receipts).await.map_err(|error| deaf(&error))?;
        client.flush().await.map_err(|error| deaf(&error))?;
        Ok(Self { client, party, post, live })
    }

    /// Publishes and waits for the receipt. `id` is the message id if it could be read.
    ///
    /// # Errors
    /// See [`OutboxError`].
    pub async fn publish(
        &mut self,
        to: &str,
        id: Option<&str>,
        payload: Bytes,
        signature: Option<&Detached>,
        patience: Duration,
    ) -> Result<Value, OutboxError> {
        let sequence = self.queue(to, payload, signature).await?;
        let token = id.map_or_else(|| format!("unreadable-{sequence}"), str::to_owned);
        let unreadable = format!("unreadable-{sequence}");
        let post = to.split('.').nth(3).filter(|token| *token != "*").unwrap_or("system");
        let subjects = [&token, &unreadable].map(|token| subject::receipt(&self.party, post, token));
        let deadline = tokio::time::Instant::now() + patience;
        let mut pause = Duration::from_millis(250);
        while tokio::time::Instant::now() < deadline {
            if let Some(receipt) = self.hear(&subjects, pause).await {
                return Ok(receipt);
            }
            for subject in &subjects {
                if let Some(receipt) = self.look_up(subject).await {
                    return Ok(receipt);
                }
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        Err(OutboxError::NoReceipt(patience))
    }

    /// JetStream publish; the stream sequence.
    async fn queue(
        &self,
        to: &str,
        payload: Bytes,
        signature: Option<&Detached>,
    ) -> Result<u64, OutboxError> {
        let failed = |words: String| OutboxError::NotQueued(words);
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        if let Some(signature) = signature {
            headers.insert(signature::HEADER, signature.as_str());
        }
        let answer = self
            .client
            .request_with_headers(to.to_owned(), headers, payload)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&answer.payload)
            .map_err(|_| failed("an answer that is no PubAck".into()))?;
        match answer["seq"].as_u64() {
            Some(sequence) => Ok(sequence),
            None => Err(failed(answer["error"]["description"].as_str().unwrap_or("refused").to_owned())),
        }
    }

    async fn hear(&mut self, subjects: &[String; 2], pause: Duration) -> Option<Value> {
        let wait = async {
            while let Some(message) = self.live.next().await {
                if subjects.iter().any(|subject| *subject == *message.subject) {
                    return serde_json::from_slice(&message.payload).ok();
                }
            }
            None
        };
        tokio::time::timeout(pause, wait).await.ok().flatten()
    }

    /// The stored receipt, by direct get on the own subject.
    async fn look_up(&self, receipt: &str) -> Option<Value> {
        let call = format!("$JS.API.DIRECT.GET.RCPT.{receipt}");
        let answer = self.client.request(call, Bytes::new()).await.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }

    /// The post, if the user is one.
    #[must_use]
    pub fn post(&self) -> Option<&PostId> {
        self.post.as_ref()
    }
}
