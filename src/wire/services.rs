//! The micro service `liaison` on the road: endpoints in, answers out.
//!
//! What a request means is the broker's business; here it is only taken apart and answered. The party is the token in
//! the subject: no other account can publish there.

use async_nats::service::ServiceExt as _;
use async_nats::service::error::Error as ServiceError;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::intake::signature_in;
use crate::message::names::PartyId;
use crate::message::outcome::{Fault, Refused};

/// A request of a party.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks.
    pub party: PartyId,
    /// What for: `validate`, `sub.put`, …
    pub verb: String,
    /// The body.
    pub payload: Bytes,
    /// The signature over it, if one came along.
    pub signature: Option<String>,
}

/// Why a request failed: HTTP-like status, stable code, places.
#[derive(Debug, Clone)]
pub struct Failure {
    status: usize,
    code: String,
    detail: Vec<Fault>,
    retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure with one place.
    #[must_use]
    pub fn new(status: usize, code: &str, path: &str, message: &str) -> Self {
        let fault = Fault { path: path.to_owned(), message: message.to_owned() };
        Self { status, code: code.to_owned(), detail: vec![fault], retry_after_ms: None }
    }

    /// A failure from a refusal.
    #[must_use]
    pub fn of(status: usize, refused: &Refused) -> Self {
        let (code, detail) = (refused.code.to_string(), refused.detail.clone());
        Self { status, code, detail, retry_after_ms: None }
    }

    /// The same, and when it is worth asking again.
    #[must_use]
    pub fn retry_after(self, milliseconds: u64) -> Self {
        Self { retry_after_ms: Some(milliseconds), ..self }
    }

    fn body(&self) -> Value {
        let mut detail = json!(self.detail);
        if let Some(milliseconds) = self.retry_after_ms {
            detail[0]["retry_after_ms"] = milliseconds.into();
        }
        json!({ "code": self.code, "detail": detail })
    }
}

/// What a request gets.
pub type Answer = Result<Value, Failure>;
/// The same, written out.
pub type Reply = Result<Bytes, Failure>;

/// One verb.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// `validate`, `sub.put`, …
    pub verb: &'static str,
    /// Requests that may be in the making at once; the others wait in the connection.
    pub at_once: usize,
}

/// Registers the service, tells when that is done, and answers until stopped.
///
/// # Errors
/// The text of what NATS refused.
pub async fn serve<F>(
    client: async_nats::Client,
    endpoints: &'static [Endpoint],
    stop: CancellationToken,
    registered: oneshot::Sender<()>,
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> Result<(), String>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let service = client
        .service_builder()
        .description("Information exchange broker of the network of immigration liaison officers")
        .start("liaison", env!("CARGO_PKG_VERSION"))
        .await
        .map_err(|error| format!("registering the service: {error}"))?;
    for Endpoint { verb, at_once } in endpoints {
        let endpoint = service
            .endpoint_builder()
            .name(verb.replace('.', "-"))
            .add(format!("ilo.svc.*.{verb}"))
            .await
            .map_err(|error| format!("endpoint {verb}: {error}"))?;
        let (stop, answer) = (stop.clone(), answer.clone());
        tokio::spawn(attend(endpoint, verb, *at_once, stop, answer));
    }
    // Nobody may be waiting any more: then the daemon is ending.
    registered.send(()).unwrap_or_default();
    stop.cancelled().await;
    service.stop().await.map_err(|error| format!("ending the service: {error}"))
}

/// Answers the requests of one verb until stopped; what was begun is ended.
async fn attend<F>(
    mut endpoint: async_nats::service::endpoint::Endpoint,
    verb: &'static str,
    at_once: usize,
    stop: CancellationToken,
    answer: impl Fn(Request) -> F,
) where
    F: Future<Output = Reply>,
{
    let answer = &answer;
    let mut flying = FuturesUnordered::new();
    loop {
        tokio::select! {
            next = endpoint.next(), if flying.len() < at_once => {
                let Some(request) = next else { break };
                flying.push(async move {
                    let signature = request.message.headers.as_ref().and_then(signature_in);
                    let asked = take(&request.message.subject, verb, &request.message.payload);
                    let answered = match asked {
                        Some(asked) => answer(Request { signature, ..asked }).await,
                        None => Err(Failure::new(400, "E-REQUEST", "", "not a service subject of a party")),
                    };
                    respond(&request, answered).await;
                });
            }
            Some(()) = flying.next(), if !flying.is_empty() => {}
            () = stop.cancelled() => break,
        }
    }
    while flying.next().await.is_some() {}
}

fn take(subject: &str, verb: &str, payload: &Bytes) -> Option<Request> {
    let rest = subject.strip_prefix("ilo.svc.")?;
    let party = rest.strip_suffix(verb)?.strip_suffix('.')?;
    let party = PartyId::parse(party).ok()?;
    Some(Request { party, verb: verb.to_owned(), payload: payload.clone(), signature: None })
}

async fn respond(request: &async_nats::service::Request, answered: Reply) {
    let sent = match answered {
        Ok(bytes) => request.respond(Ok(bytes)).await,
        Err(failure) => {
            // The body carries code and places; the headers what service clients look at.
            let mut headers = async_nats::HeaderMap::new();
            let error = ServiceError { status: failure.code.clone(), code: failure.status };
            headers.insert("Nats-Service-Error", error.status.as_str());
            headers.insert("Nats-Service-Error-Code", error.code.to_string().as_str());
            request.respond_with_headers(Ok(Bytes::from(failure.body().to_string())), headers).await
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a service answer was not sent");
    }
}
