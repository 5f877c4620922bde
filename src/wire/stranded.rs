//! Connections that are up and lead nowhere: their server is cut off from the others of its cluster.
//!
//! Such a server keeps its clients, and answers nothing that needs the others. The client library stays with it for ever. So whoever
//! keeps a connection for long asks now and then for the state of a stream; if nobody answers, another server is taken. It
//! tells no other fault apart: after the death of a leader nobody answers for some seconds either, and a new connection does no
//! harm then. A leader that is alone goes on answering for some ten seconds what is asked of it, so who must know sooner, because of
//! a lease, goes by what it could not write. Lines that are made anew when nothing is heard on them (`egress.rs`, `intake.rs`) need none of this.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Request};
use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::led::is_led;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Questions in a row without an answer, after which another server is taken.
const MISSES: u32 = 2;
/// JetStream's word for having no leader.
const UNAVAILABLE: u64 = 503;
/// Longest pause behind a change that did not help.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Watches a connection until all that holds this is gone.
#[derive(Debug, Clone)]
pub struct Watched {
    _guard: Arc<DropGuard>,
}

impl Watched {
    /// Begins to watch. The connection's user must have the right to ask for the state of this stream.
    #[must_use]
    pub fn begin(client: Client, stream: &str) -> Self {
        let stop = CancellationToken::new();
        let guard = Arc::new(stop.clone().drop_guard());
        let question = format!("$JS.API.STREAM.INFO.{stream}");
        tokio::spawn(async move { stop.run_until_cancelled(watch(client, question)).await });
        Self { _guard: guard }
    }
}

async fn watch(client: Client, question: String) {
    let (mut misses, mut pause) = (0, PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        if client.connection_state() != State::Connected {
            continue; // it looks for a server itself
        }
        let request = Request::new().payload(Bytes::new()).timeout(Some(PATIENCE));
        let answer = client.send_request(question.clone(), request).await;
        if answer.is_ok_and(|answer| speaks_for_its_cluster(&answer.payload)) {
            (misses, pause) = (0, PAUSE);
            continue;
        }
        misses += 1;
        if misses >= MISSES {
            leave(&client).await;
            (misses, pause) = (0, (pause * 2).min(PAUSE_MAX));
        }
    }
}

/// False for a server that knows that it has no leader: it says so, or tells the state of its own copy. Any other answer is one: the
/// stream may not be there yet.
fn speaks_for_its_cluster(answer: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    answer["error"]["code"] != UNAVAILABLE && is_led(&answer)
}

/// Has a connection take a server anew, perhaps the same one.
pub(super) async fn leave(client: &Client) {
    let server = client.server_info().server_name;
    tracing::warn!(%server, "the server does not answer for its cluster; taking one anew");
    if let Err(error) = client.force_reconnect().await {
        tracing::warn!(%error, "no server can be taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_leader_does_not_speak_for_its_cluster() {
        for (answer, speaks) in [
            (r#"{"config":{"name":"RCPT"},"cluster":{"name":"liaison","leader":"n2"}}"#, true),
            (r#"{"config":{"name":"RCPT"},"cluster":{"name":"liaison"}}"#, false),
            (r#"{"error":{"code":503,"err_code":10008}}"#, false),
            (r#"{"error":{"code":404,"err_code":10059}}"#, true),
        ] {
            assert_eq!(speaks_for_its_cluster(answer.as_bytes()), speaks, "{answer}");
        }
    }
}
