//! A party's questions: one request on `ilo.svc.<party>.<verb>`, one answer. What they mean is not known here.

use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Client, Message};
use bytes::Bytes;
use serde_json::Value;

use crate::message::names::PartyId;
use crate::message::subject;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The service refused: status and code as in `PROTOCOL.md` section 2, and its words.
    #[error("{code} ({status}): {words}")]
    Refused {
        /// 400, 403, 404, 429, 503.
        status: u16,
        /// The stable code.
        code: String,
        /// Places and what is wrong there.
        words: String,
        /// When it is worth asking again, milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// No broker serves this.
    #[error("no broker answers")]
    Nobody,
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// NATS refused or went away.
    #[error("{0}")]
    Road(String),
}

impl AskError {
    /// True if the same question may be answered a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 429 | 503),
            Self::Nobody | Self::Late(_) | Self::Road(_) => true,
        }
    }
}

/// One who asks: a user of a party.
#[derive(Debug, Clone)]
pub struct Asker {
    client: Client,
    party: PartyId,
}

impl Asker {
    /// Asks as this party.
    #[must_use]
    pub fn new(client: Client, party: PartyId) -> Self {
        Self { client, party }
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, verb: &str, body: Bytes, patience: Duration) -> Result<Bytes, AskError> {
        let request = Request::new().payload(body).timeout(Some(patience));
        let answer = self.client.send_request(subject::service(&self.party, verb), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => AskError::Nobody,
            RequestErrorKind::TimedOut => AskError::Late(patience),
            _ => AskError::Road(error.to_string()),
        })?;
        match refusal(&answer) {
            Some(refused) => Err(refused),
            None => Ok(answer.payload),
        }
    }
}

fn refusal(answer: &Message) -> Option<AskError> {
    let status = answer.headers.as_ref()?.get("Nats-Service-Error-Code")?;
    let body: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    let faults = body["detail"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words: Vec<String> =
        faults.iter().map(|fault| format!("{} {}", text(&fault["path"]), text(&fault["message"]))).collect();
    Some(AskError::Refused {
        status: status.as_str().parse().unwrap_or(500),
        code: text(&body["code"]),
        words: words.join("; ").trim().to_owned(),
        retry_after_ms: faults.first().and_then(|fault| fault["retry_after_ms"].as_u64()),
    })
}
