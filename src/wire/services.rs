//! The micro service `liaison` on the road: endpoints in, answers out.
//!
//! What a request means is the broker's business; here it is only taken apart and answered. The party is the token in
//! the subject: no other account can publish there.

use async_nats::service::ServiceExt as _;
use async_nats::service::error::Error as ServiceError;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

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
}

/// Why a request failed: HTTP-like status, stable code, places.
#[derive(Debug, Clone)]
pub struct Failure {
    status: usize,
    code: String,
    detail: Vec<Fault>,
}

impl Failure {
    /// A failure with one place.
    #[must_use]
    pub fn new(status: usize, code: &str, path: &str, message: &str) -> Self {
        let fault = Fault { path: path.to_owned(), message: message.to_owned() };
        Self { status, code: code.to_owned(), detail: vec![fault] }
    }

    /// A failure from a refusal.
    #[must_use]
    pub fn of(status: usize, refused: &Refused) -> Self {
        Self { status, code: refused.code.to_string(), detail: refused.detail.clone() }
    }

    fn body(&self) -> Value {
        json!({ "code": self.code, "detail": self.detail })
    }
}

/// What a request gets.
pub type Answer = Result<Value, Failure>;

/// Registers the service, says so, and answers until stopped.
///
/// # Errors
/// The text of what NATS refused.
pub async fn serve<F>(
    client: async_nats::Client,
    verbs: &'static [&'static str],
    stop: CancellationToken,
    registered: oneshot::Sender<()>,
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> Result<(), String>
where
    F: Future<Output = Answer> + Send,
{
    let service = client
        .service_builder()
        .description("Information exchange broker of the network of immigration liaison officers")
        .start("liaison", env!("CARGO_PKG_VERSION"))
        .await
        .map_err(|error| format!("registering the service: {error}"))?;
    for verb in verbs {
        let mut endpoint = service
            .endpoint_builder()
            .name(verb.replace('.', "-"))
            .add(format!("ilo.svc.*.{verb}"))
            .await
            .map_err(|error| format!("endpoint {verb}: {error}"))?;
        let (stop, answer) = (stop.clone(), answer.clone());
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = endpoint.next() => next,
                    () = stop.cancelled() => None,
                };
                let Some(request) = next else { return };
                let asked = take(&request.message.subject, verb, &request.message.payload);
                let answered = match asked {
                    Some(asked) => answer(asked).await,
                    None => Err(Failure::new(400, "E-REQUEST", "", "not a service subject of a party")),
                };
                respond(&request, answered).await;
            }
        });
    }
    // What was subscribed is in force when the server has answered behind it.
    client.flush().await.map_err(|error| format!("registering the service: {error}"))?;
    registered.send(()).ok(); // nobody waits any more if the start was given up
    stop.cancelled().await;
    service.stop().await.map_err(|error| format!("ending the service: {error}"))
}

fn take(subject: &str, verb: &str, payload: &Bytes) -> Option<Request> {
    let rest = subject.strip_prefix("ilo.svc.")?;
    let party = rest.strip_suffix(verb)?.strip_suffix('.')?;
    let party = PartyId::parse(party).ok()?;
    Some(Request { party, verb: verb.to_owned(), payload: payload.clone() })
}

async fn respond(request: &async_nats::service::Request, answered: Answer) {
    let sent = match answered {
        Ok(value) => request.respond(Ok(Bytes::from(value.to_string()))).await,
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
