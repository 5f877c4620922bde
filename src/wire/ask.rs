//! Asking the broker's services as a party: one request, one answer or a refusal.
//!
//! What a verb means is the business of who asks.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use serde_json::Value;

use super::Error;
use crate::message::names::PartyId;

/// The broker says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP-like status.
    pub status: u16,
    /// Stable code, `E-...`.
    pub code: String,
    /// The body, which names the places.
    pub body: Value,
}

/// Asks `ilo.svc.<party>.<verb>` and waits at most `patience`.
///
/// # Errors
/// [`Error::Api`]: nobody answers, not in time, or with something that is no JSON.
pub async fn ask(
    client: &Client,
    party: &PartyId,
    verb: &str,
    body: &Value,
    patience: Duration,
) -> Result<Result<Value, Refused>, Error> {
    let subject = format!("ilo.svc.{party}.{verb}");
    let request = client.request(subject.clone(), Bytes::from(body.to_string()));
    let answer = tokio::time::timeout(patience, request)
        .await
        .map_err(|_| Error::api(&subject, "no answer in time"))?
        .map_err(|error| Error::api(&subject, error))?;
    let body: Value = serde_json::from_slice(&answer.payload)
        .map_err(|_| Error::api(&subject, "an answer that is no JSON"))?;
    let header =
        |name: &str| answer.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
    Ok(match header("Nats-Service-Error-Code").and_then(|status| status.parse().ok()) {
        Some(status) => Err(Refused { status, code: header("Nats-Service-Error").unwrap_or_default(), body }),
        None => Ok(body),
    })
}
