//! Sending into streams: receipts and deliveries, each with its acknowledgement.
//!
//! Nothing that matters is published without one: a stream that is full or gone says so only in the answer. A line that
//! breaks never comes back: what the client library still held would be sent later, behind what was sent anew, and leave a
//! hole in a mailbox. A new line takes its place; whoever was sending on the old one looks how far it came and goes on.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::connect::{self, Road, Role};

/// Header names and values, all written by the broker.
pub type Headers = Vec<(&'static str, String)>;

/// More than the windows of all senders together. The library's own window must never be what they wait for: an answer
/// gives its place back only when it is looked at, so that senders who wait for a place and look at nothing meanwhile
/// would wait for ever.
const IN_FLIGHT: usize = 1 << 20;
/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts to get a new line.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The stream did not take a message, or did not say so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SendError(String);

/// Sends into streams, over whichever line is up.
#[derive(Debug, Clone)]
pub struct Publisher {
    road: Road,
    line: Arc<RwLock<Line>>,
}

/// One connection, from when it was made until it broke.
#[derive(Debug, Clone)]
pub struct Line {
    context: Context,
    broken: CancellationToken,
}

impl Publisher {
    /// Gets the first line.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Denied`].
    pub async fn open(road: Road) -> Result<Self, Error> {
        let line = Line::open(&road).await?;
        Ok(Self { road, line: Arc::new(RwLock::new(line)) })
    }

    /// The line that is up, or the last one that was.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line.read().clone()
    }

    /// Sends over the line that is up; see [`Line::publish`].
    pub async fn publish(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<u64, SendError>> + Send + use<> {
        self.line().publish(subject, headers, payload).await
    }

    /// Gets a new line whenever one broke, until stopped.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            let line = self.line();
            tokio::select! { () = line.broken() => {}, () = stop.cancelled() => return }
            drop(line);
            let mut pause = PAUSE;
            loop {
                match Line::open(&self.road).await {
                    Ok(line) => break *self.line.write() = line,
                    Err(error) => {
                        tracing::warn!(%error, "no line to send receipts and deliveries; trying again")
                    }
                }
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

impl Line {
    async fn open(road: &Road) -> Result<Self, Error> {
        let (client, broken) = connect::connect_once(road, Role::Egress).await?;
        let context = ContextBuilder::new()
            .ack_timeout(PATIENCE)
            .max_ack_inflight(IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        Ok(Self { context, broken })
    }

    /// True once it broke.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Resolves when it breaks.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Hands a message to the connection; the future behind it is the stream's answer: the stream sequence at which the
    /// message stands. What is handed over stays in order. How many answers are awaited at once is the caller's to bound.
    pub async fn publish(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<u64, SendError>> + Send + use<> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from(value));
        }
        let sent = self.context.publish_with_headers(Subject::from(subject), map, payload).await;
        async move {
            let acknowledged = match sent {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            acknowledged.map(|ack| ack.sequence).map_err(|error| SendError(chain(&error)))
        }
    }
}

/// The error with its sources: the outer text alone says only "failed to publish".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = inner.source();
    }
    text
}
