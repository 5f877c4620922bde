//! What tests send to the server and ask it: publications with headers, receipts, streams; and commands that end.
//!
//! The half of the harness that needs no running broker of its own: everything goes through a client at hand.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerError};
use serde_json::Value;

use super::harness::{Exchange, PATIENCE, sha256, until};

/// The same with headers.
pub async fn queue_with(client: &Client, subject: &str, headers: HeaderMap, payload: Vec<u8>) -> u64 {
    let sent = client.request_with_headers(subject.to_owned(), headers, payload.into());
    let answer = sent.await.expect("a PubAck");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("a PubAck in JSON");
    answer["seq"].as_u64().unwrap_or_else(|| panic!("no PubAck: {answer}"))
}

/// The id that the receipt goes to, if the broker can read it.
pub fn readable_id(payload: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let id = value["id"].as_str()?;
    uuid::Uuid::parse_str(id).is_ok_and(|uuid| uuid.to_string() == id).then(|| id.to_owned())
}

/// The stored receipt for these bytes, under one of these tokens, that came after this place in the stream of receipts.
pub async fn receipt_after(
    client: &Client,
    published: &str,
    tokens: &[String],
    payload: &[u8],
    after: u64,
) -> Value {
    let digest = sha256(payload);
    let until = Instant::now() + PATIENCE;
    loop {
        for token in tokens {
            if let Some((sequence, event)) = stored_receipt(client, published, token).await
                && sequence > after
                && event["data"]["sha256"] == digest.as_str()
            {
                return event;
            }
        }
        assert!(Instant::now() < until, "no receipt on {tokens:?} for what was sent to {published}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// The last receipt with this token, if there is one, and its place in the stream of receipts.
pub async fn stored_receipt(client: &Client, published: &str, token: &str) -> Option<(u64, Value)> {
    let mut parts = published.split('.').skip(2);
    let (party, post) = (parts.next().expect("a party"), parts.next().expect("a post"));
    let call = format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{party}.{post}.{token}");
    let answer = client.request(call, "".into()).await.expect("an answer");
    if answer.status.is_some() {
        return None;
    }
    let place = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence")).expect("a place");
    let event = serde_json::from_slice(&answer.payload).expect("a receipt in JSON");
    Some((place.as_str().parse().expect("a number"), event))
}

/// What the server says of a stream, asked as the operator.
pub async fn stream_info(operator: &Client, name: &str) -> Value {
    let answer = operator.request(format!("$JS.API.STREAM.INFO.{name}"), "".into()).await.expect("an answer");
    let info: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(info["error"].is_null(), "{name}: {info}");
    info
}

/// The names of all streams.
pub async fn streams(operator: &Client) -> Vec<String> {
    let answer = operator.request("$JS.API.STREAM.NAMES", "".into()).await.expect("an answer");
    let names: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    let names: Vec<String> = serde_json::from_value(names["streams"].clone()).expect("a list of names");
    assert!(!names.is_empty());
    names
}

/// Runs the binary to its end with these bytes on its stdin.
pub fn run(command: &mut Command, input: &[u8]) -> std::process::Output {
    use std::io::Write as _;
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("starts");
    // Dropped after writing: the end of the input. A program that does not read it may have ended already.
    drop(child.stdin.take().expect("a pipe").write_all(input));
    child.wait_with_output().expect("ends")
}

/// A connection that keeps what the server refuses it.
pub struct Watched {
    pub client: Client,
    fence: String,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    /// Connects as a user of a party.
    pub async fn connect(exchange: &Exchange, party: &str, user: &str) -> Self {
        let seed = std::fs::read_to_string(exchange.key(party, user)).expect("a key file");
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&refused);
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(format!("_INBOX_{party}-{user}"))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(words)) = event {
                    heard.lock().expect("not poisoned").push(words);
                }
                std::future::ready(())
            });
        let client = options.connect(&exchange.nats).await.expect("connects");
        let fence = format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{party}.{user}.none");
        Self { client, fence, refused }
    }

    /// Waits until the server has dealt with everything sent so far; what it refused, which must be this many acts.
    pub async fn refused(&self, count: usize) -> Vec<String> {
        // A connection's commands are served in order: when this is answered, all before it are done.
        self.client.request(self.fence.clone(), "".into()).await.expect("an answer");
        let heard = || self.refused.lock().expect("not poisoned").clone();
        let all = until("the refusals", async || Some(heard()).filter(|all| all.len() >= count)).await;
        assert_eq!(all.len(), count, "{all:#?}");
        assert!(all.iter().all(|words| words.to_lowercase().contains("permissions violation")), "{all:#?}");
        std::mem::take(&mut *self.refused.lock().expect("not poisoned"))
    }
}
