//! The other end of the services: a party asks one and takes the answer apart.
//!
//! It knows no verb; what is asked and what comes back is the caller's business.

use std::time::Duration;

use async_nats::client::Request;
use bytes::Bytes;
use serde_json::Value;

use super::connect::Client;
use crate::message::names::PartyId;
use crate::message::subject;

/// How long an answer may take, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The service refused.
    #[error("{code} ({status}){words}")]
    Refused {
        /// 400, 403, 404, 429 or 503.
        status: u16,
        /// `E-…`
        code: String,
        /// The first place and what is wrong there, or nothing.
        words: String,
        /// When it is worth asking again, milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// Asks the services of one party.
#[derive(Debug, Clone)]
pub struct Asker {
    client: Client,
    party: PartyId,
    patience: Duration,
}

impl Asker {
    /// Asks over this connection, which must be that of the party's system user.
    #[must_use]
    pub fn new(client: Client, party: PartyId) -> Self {
        Self { client, party, patience: PATIENCE }
    }

    /// The same, with another time for an answer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, verb: &str, body: &Value) -> Result<Bytes, AskError> {
        let to = subject::service(&self.party, verb);
        let request = Request::new().payload(body.to_string().into()).timeout(Some(self.patience));
        let answer = self.client.send_request(to, request).await;
        let answer = answer.map_err(|error| AskError::NoAnswer(error.to_string()))?;
        let header = |name: &str| answer.headers.as_ref().and_then(|headers| headers.get(name));
        let Some(status) = header("Nats-Service-Error-Code") else { return Ok(answer.payload) };
        let said: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        let place = &said["detail"][0];
        let words = match (place["path"].as_str(), place["message"].as_str()) {
            (Some(path), Some(message)) if !path.is_empty() => format!(": {path} {message}"),
            (_, Some(message)) => format!(": {message}"),
            _ => String::new(),
        };
        Err(AskError::Refused {
            status: status.as_str().parse().unwrap_or_default(),
            code: said["code"].as_str().unwrap_or_default().to_owned(),
            words,
            retry_after_ms: place["retry_after_ms"].as_u64(),
        })
    }
}
