//! A look at nats-server from outside: the server itself, its streams and who reads them. For an operator who wants to know what
//! is wrong; it changes nothing, and judges nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::Error;
use super::connect::Client;
use super::inspect::{Inspector, ahead_ms, refused};
use crate::message::time::Timestamp;

/// JetStream's word for a stream or consumer that is not there.
const NOT_FOUND: u64 = 404;

/// When what JetStream has acknowledged is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged.
    Always,
    /// At the latest so long after.
    Every(Duration),
}

/// The server as it sees itself. Only the user of its system account is told.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// How far its clock is ahead of ours.
    pub ahead_ms: i64,
    /// See [`Sync`]; `None` if it does not say.
    pub sync: Option<Sync>,
    /// Until when its certificate is valid, if it has one and says so.
    pub certificate_until: Option<Timestamp>,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that may be.
    pub most_connections: u64,
    /// Bytes of all streams.
    pub stored: u64,
    /// Bytes that they may have.
    pub most_stored: u64,
}

/// A stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Messages in it.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that it may have; `None` if it has no limit.
    pub most_bytes: Option<u64>,
    /// When the oldest message in it came.
    pub oldest: Option<Timestamp>,
}

/// The reader of a stream: a durable consumer.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Messages that it has not acknowledged, delivered or not.
    pub waiting: u64,
    /// Of these, delivered ones.
    pub unacknowledged: u64,
    /// Pulls that wait for a message at the moment.
    pub pulls: u64,
    /// When it last acknowledged something.
    pub last_acknowledged: Option<Timestamp>,
}

/// Asks the server about itself, as the user of the system account.
///
/// # Errors
/// [`Error::Api`].
pub async fn server(system: &Client) -> Result<Server, Error> {
    let call = "SERVER.PING.VARZ";
    let answer = system.request(format!("$SYS.REQ.{call}"), "".into()).await;
    let answer = answer.map_err(|error| Error::api(call, error))?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| Error::api(call, error))?;
    let told = &answer["data"];
    let now = time(&told["now"]).ok_or_else(|| Error::api(call, "an answer without a time"))?;
    let jetstream = &told["jetstream"];
    let sync = match (&jetstream["config"]["sync_always"], jetstream["config"]["sync_interval"].as_u64()) {
        (Value::Bool(true), _) => Some(Sync::Always),
        (_, Some(nanoseconds)) => Some(Sync::Every(Duration::from_nanos(nanoseconds))),
        _ => None,
    };
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    Ok(Server {
        version: told["version"].as_str().unwrap_or_default().to_owned(),
        ahead_ms: ahead_ms(now),
        sync,
        certificate_until: time(&told["tls_cert_not_after"]),
        connections: number(&told["connections"]),
        most_connections: number(&told["max_connections"]),
        stored: number(&jetstream["stats"]["storage"]),
        most_stored: number(&jetstream["config"]["max_storage"]),
    })
}

/// Asks about a stream; `None` if there is none.
///
/// # Errors
/// [`Error::Api`].
pub async fn stream(client: &Client, name: &str) -> Result<Option<Stream>, Error> {
    let Some(answer) = info(client, &format!("STREAM.INFO.{name}")).await? else { return Ok(None) };
    let state = &answer["state"];
    let messages = state["messages"].as_u64().unwrap_or_default();
    Ok(Some(Stream {
        messages,
        bytes: state["bytes"].as_u64().unwrap_or_default(),
        most_bytes: answer["config"]["max_bytes"].as_u64(),
        oldest: time(&state["first_ts"]).filter(|_| messages > 0),
    }))
}

/// Asks about the reader of a stream; `None` if there is none.
///
/// # Errors
/// [`Error::Api`].
pub async fn reader(client: &Client, stream: &str, name: &str) -> Result<Option<Reader>, Error> {
    let Some(answer) = info(client, &format!("CONSUMER.INFO.{stream}.{name}")).await? else {
        return Ok(None);
    };
    let number = |name: &str| answer[name].as_u64().unwrap_or_default();
    Ok(Some(Reader {
        waiting: number("num_pending") + number("num_ack_pending"),
        unacknowledged: number("num_ack_pending"),
        pulls: number("num_waiting"),
        last_acknowledged: time(&answer["ack_floor"]["last_active"]),
    }))
}

async fn info(client: &Client, call: &str) -> Result<Option<Value>, Error> {
    let answer = Inspector::new(client.clone()).ask(call, &json!({})).await?;
    if answer["error"]["code"].as_u64() == Some(NOT_FOUND) {
        return Ok(None);
    }
    refused(call, answer).map(Some)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}
