//! Sending into streams: receipts and deliveries, each with its acknowledgement.
//!
//! Nothing that matters is published without one: a reconnect drops what was not written yet, and a stream that is
//! full or gone says so only in the answer. Whether to send again is the caller's decision.

use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;

/// Header names and values, all written by the broker.
pub type Headers = Vec<(&'static str, String)>;

/// Publishes whose acknowledgement is awaited, over all streams. Without awaiting them messages get lost silently.
const IN_FLIGHT: usize = 4_096;
/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stream did not take a message, or did not say so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SendError(String);

/// Sends into streams.
#[derive(Debug, Clone)]
pub struct Publisher {
    context: Context,
}

impl Publisher {
    /// A sender over this connection. One for a connection: each has a window of its own.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let context = ContextBuilder::new()
            .ack_timeout(PATIENCE)
            .max_ack_inflight(IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        Self { context }
    }

    /// Hands a message to the connection, waiting for room in the window; the future behind it is the stream's answer:
    /// the stream sequence at which the message stands.
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
