//! Reading messages that may break a connection: one by one, through JetStream's JSON call, which wraps subject, header
//! block and payload so that any bytes may stand in them.
//!
//! It tells which frames the client library could not have read; what becomes of those is the judgement's word.

use async_nats::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::Error;
use super::led::led;
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::raw::{Frame, Position, Raw};
use crate::message::signature;
use crate::message::time::Timestamp;

/// Suspects read before the ordinary reading is tried again.
const MOST: usize = 64;
/// Code of JetStream for "no message found".
const NO_MESSAGE: u64 = 10_037;

/// The messages from a stream sequence on, at most [`MOST`]; none only if nothing stands there up to the end. Places whose messages
/// are gone are passed over, however many: those refused for personal data are overwritten, and anybody can send them.
///
/// # Errors
/// [`Error::Api`].
pub(super) async fn read(
    client: &Client,
    party: &PartyId,
    stream: &str,
    epoch: i64,
    from: u64,
) -> Result<Vec<Raw>, Error> {
    let mut found = Vec::new();
    let last = last_sequence(client, stream).await?;
    let mut next = from;
    while found.len() < MOST && next <= last {
        let call = format!("STREAM.MSG.GET.{stream}");
        let answer = ask(client, &call, &json!({ "seq": next, "next_by_subj": ">" })).await?;
        if answer["error"]["err_code"].as_u64() == Some(NO_MESSAGE) {
            break;
        }
        let message = &answer["message"];
        let raw = message["seq"].as_u64().and_then(|sequence| take(party, epoch, sequence, message));
        let raw = raw.ok_or_else(|| Error::api(&call, "an answer that cannot be read"))?;
        next = raw.position.sequence + 1;
        found.push(raw);
    }
    Ok(found)
}

/// What stands at a place of a stream: the digest of its payload, and when it came, Unix milliseconds; `None` if nothing does.
///
/// # Errors
/// [`Error::Api`].
pub(super) async fn stands(
    client: &Client,
    stream: &str,
    sequence: u64,
) -> Result<Option<(Digest, i64)>, Error> {
    let call = format!("STREAM.MSG.GET.{stream}");
    let answer = ask(client, &call, &json!({ "seq": sequence })).await?;
    if answer["error"]["err_code"].as_u64() == Some(NO_MESSAGE) {
        return Ok(None);
    }
    let message = &answer["message"];
    let payload = STANDARD.decode(message["data"].as_str().unwrap_or_default()).ok();
    let came = message["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    match (payload, came) {
        (Some(payload), Some(came)) => Ok(Some((Digest::of(&payload), came.as_millisecond()))),
        _ => Err(Error::api(&call, "an answer that cannot be read")),
    }
}

async fn last_sequence(client: &Client, stream: &str) -> Result<u64, Error> {
    let call = format!("STREAM.INFO.{stream}");
    let answer = led(&call, ask(client, &call, &json!({})).await?)?;
    answer["state"]["last_seq"].as_u64().ok_or_else(|| Error::api(call, "no state in the answer"))
}

async fn ask(client: &Client, call: &str, body: &Value) -> Result<Value, Error> {
    let answer = client.request(format!("$JS.API.{call}"), Bytes::from(body.to_string())).await;
    let answer = answer.map_err(|error| Error::api(call, error))?;
    // The subject in the answer may hold bytes that are not UTF-8. Everything else is ASCII, so each byte is read as a
    // character of its own and the subject put together again from them.
    let text: String = answer.payload.iter().map(|byte| char::from(*byte)).collect();
    serde_json::from_str(&text).map_err(|_| Error::api(call, "no JSON"))
}

/// The bytes of a text that was read byte by byte; what the server had escaped is longer than one.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn take(party: &PartyId, epoch: i64, sequence: u64, message: &Value) -> Option<Raw> {
    let decoded = |name: &str| match message[name].as_str() {
        Some(text) => STANDARD.decode(text).ok(),
        None => Some(Vec::new()),
    };
    let (payload, block) = (decoded("data")?, decoded("hdrs")?);
    let name = bytes_of(message["subject"].as_str()?);
    let subject = String::from_utf8_lossy(&name).into_owned();
    let headers = headers(&block);
    let fine = headers.is_some() && !subject.contains(char::REPLACEMENT_CHARACTER) && !subject.contains('\0');
    let headers = headers.unwrap_or_default();
    let named = |wanted: &str| {
        let all = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        all.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let signatures = named(signature::HEADER);
    let all = || [name.as_slice(), b"\r\n", &block, &payload].concat();
    Some(Raw {
        party: party.clone(),
        subject,
        content_type: named("Content-Type").first().map(|value| (*value).to_owned()),
        signature: (!signatures.is_empty()).then(|| signatures.join(",")),
        binary_mode: headers.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("ce-")),
        arrived: message["time"].as_str()?.parse::<Timestamp>().ok()?,
        position: Position { epoch, sequence },
        frame: if fine { Frame::Whole } else { Frame::Broken { bytes: all().into() } },
        payload: payload.into(),
    })
}

/// The headers of a block, or `None` if the library would have choked on it.
#[must_use]
pub fn headers(block: &[u8]) -> Option<Vec<(String, String)>> {
    if block.is_empty() {
        return Some(Vec::new());
    }
    let text = std::str::from_utf8(block).ok()?;
    // What stands behind the version is a status, which the server takes away when it delivers.
    let lines = text.strip_prefix("NATS/1.0")?.strip_suffix("\r\n\r\n")?;
    let mut found = Vec::new();
    for line in lines.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let odd = |text: &str| text.contains(['\r', '\n', '\0']);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) || odd(value) {
            return None;
        }
        found.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server says of a subject that is not UTF-8, raw or replaced, comes back as bytes.
    #[test]
    fn all_that_came_in_a_broken_frame_is_kept() {
        let read = |bytes: &[u8]| bytes_of(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>());
        assert_eq!(read(b"a.\xff\xfe.b"), b"a.\xff\xfe.b");
        assert_eq!(read("a.é.b".as_bytes()), "a.é.b".as_bytes());
        assert_eq!(bytes_of("a.\u{fffd}.b"), "a.\u{fffd}.b".as_bytes());
        let message = json!({
            "subject": "ilo.in.it-moi.x", "hdrs": STANDARD.encode(b"NATS/1.0\r\nA: \rb\r\n\r\n"),
            "data": STANDARD.encode(b"{}"), "time": "2026-03-02T10:00:00Z",
        });
        let party = PartyId::parse("it-moi").expect("well formed");
        let raw = take(&party, 1, 1, &message).expect("readable");
        assert_eq!(&raw.payload[..], b"{}");
        assert_eq!(&raw.evidence()[..], b"ilo.in.it-moi.x\r\nNATS/1.0\r\nA: \rb\r\n\r\n{}");
    }

    #[test]
    fn blocks_that_break_the_library_are_told_from_good_ones() {
        let good: [&[u8]; 4] =
            [b"NATS/1.0 503\r\n\r\n", b"", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0\r\n\r\n"];
        for block in good {
            assert!(headers(block).is_some(), "{:?}", String::from_utf8_lossy(block));
        }
        let bad: [&[u8]; 7] = [
            b"A: b\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nA: a\rb\r\n\r\n",
            b"NATS/1.0\r\nA: a\nb\r\n\r\n",
            b"NATS/1.0\r\nA: \xff\r\n\r\n",
            b"NATS/1.0\r\n: b\r\n\r\n",
            b"NATS/1.0\r\nA: b",
        ];
        for block in bad {
            assert!(headers(block).is_none(), "{:?}", String::from_utf8_lossy(block));
        }
    }
}
