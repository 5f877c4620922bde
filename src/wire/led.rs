//! Whether what is told of a stream comes from whoever leads it.
//!
//! A nats-server that knows that a stream has no leader tells the state of its own copy all the same, which may lie behind: between two
//! leaders, or for as long as it is cut off from the others. Nothing may be concluded from it, least of all that something was lost.
//! Questions for messages and durables are answered by leaders only.

use async_nats::jetstream::stream::Info;
use serde_json::Value;

use super::Error;

/// An answer to `STREAM.INFO`. One that is no state, or of a server alone, is as good as that of a leader.
pub(super) fn is_led(answer: &Value) -> bool {
    answer.get("cluster").is_none_or(|cluster| named(cluster["leader"].as_str()))
}

/// The answer, if it may be believed.
///
/// # Errors
/// [`Error::Api`].
pub(super) fn led(call: &str, answer: Value) -> Result<Value, Error> {
    if is_led(&answer) { Ok(answer) } else { Err(unled(call)) }
}

/// The same for an answer that the client library has read.
///
/// # Errors
/// [`Error::Api`].
pub(super) fn led_info<'a>(call: &str, info: &'a Info) -> Result<&'a Info, Error> {
    let led = info.cluster.as_ref().is_none_or(|cluster| named(cluster.leader.as_deref()));
    if led { Ok(info) } else { Err(unled(call)) }
}

fn named(leader: Option<&str>) -> bool {
    leader.is_some_and(|leader| !leader.is_empty())
}

fn unled(call: &str) -> Error {
    Error::api(call, "its server knows no leader, and tells of its own copy")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_without_a_leader_is_not_believed() {
        for (answer, believed) in [
            (json!({ "state": {}, "cluster": { "name": "liaison", "leader": "n2" } }), true),
            (json!({ "state": {}, "cluster": { "name": "liaison", "replicas": [] } }), false),
            (json!({ "state": {}, "cluster": { "leader": "" } }), false),
            (json!({ "error": { "code": 404 } }), true),
            (json!({ "state": {} }), true),
        ] {
            assert_eq!(led("STREAM.INFO.RCPT", answer.clone()).is_ok(), believed, "{answer}");
        }
    }
}
