//! Looks into mailbox streams: the last letter, counts, how far the party has acknowledged; and their sweeping.
//!
//! It uses the JSON calls of JetStream, not the client's typed ones, which fail on headers that they cannot parse.

use async_nats::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::led::led;
use super::{Error, FEED_SEQ};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId};
use crate::message::time::{self, Timestamp};

/// Code of JetStream for "no message found".
const NO_MESSAGE: u64 = 10_037;

/// A look at streams through one connection.
#[derive(Debug, Clone)]
pub struct Inspector {
    client: Client,
}

/// Where a mailbox stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to this stream sequence was acknowledged by the party.
    pub acknowledged: u64,
    /// Letters that wait, delivered to the party's client but not acknowledged ones included.
    pub waiting: u64,
    /// How far the clock of nats-server was ahead of ours when it answered, if it said so.
    pub ahead_ms: Option<i64>,
}

/// The last message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its stream sequence.
    pub sequence: u64,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
}

/// A stretch in the middle of a mailbox where nothing stands any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its last stream sequence.
    pub upto: u64,
    /// Feed sequence of the letter before it.
    pub before: u64,
    /// Feed sequence of the letter behind it.
    pub behind: u64,
}

impl Inspector {
    /// Looks through this connection.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The last message on a subject filter; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn last(&self, stream: &str, filter: &str) -> Result<Option<Last>, Error> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let answer = self.ask(&call, &json!({ "last_by_subj": filter })).await?;
        if missing(&answer) {
            return Ok(None);
        }
        let answer = refused(&call, answer)?;
        let unreadable = || Error::api(&call, "an answer that cannot be read");
        let block = match answer["message"]["hdrs"].as_str() {
            Some(text) => STANDARD.decode(text).map_err(|_| unreadable())?,
            None => Vec::new(),
        };
        let sequence = answer["message"]["seq"].as_u64().ok_or_else(unreadable)?;
        Ok(Some(Last { sequence, headers: headers(&block) }))
    }

    /// The receipt that is stored for a party's message of this id, to whichever of its posts it went: the event's `data`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn receipt(&self, party: &PartyId, id: &MessageId) -> Result<Option<Value>, Error> {
        let call = "STREAM.MSG.GET.RCPT";
        let filter = format!("ilo.rcpt.{party}.*.{id}");
        let answer = self.ask(call, &json!({ "last_by_subj": filter })).await?;
        if missing(&answer) {
            return Ok(None);
        }
        let answer = refused(call, answer)?;
        let bytes = answer["message"]["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        let event = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let event = event.ok_or_else(|| Error::api(call, "an answer that cannot be read"))?;
        Ok(Some(event["data"].clone()))
    }

    /// The last stream sequence ever given in a stream.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn last_sequence(&self, stream: &str) -> Result<u64, Error> {
        let call = format!("STREAM.INFO.{stream}");
        let answer = led(&call, refused(&call, self.ask(&call, &json!({})).await?)?)?;
        Ok(answer["state"]["last_seq"].as_u64().unwrap_or_default())
    }

    /// Where letters are missing between others, in order.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn gaps(&self, stream: &str) -> Result<Vec<Gap>, Error> {
        let call = format!("STREAM.INFO.{stream}");
        let answer =
            led(&call, refused(&call, self.ask(&call, &json!({ "deleted_details": true })).await?)?)?;
        let deleted = answer["state"]["deleted"].as_array().into_iter().flatten();
        // A gap has a letter before it; of an empty stream the server names place 0.
        let mut deleted: Vec<u64> = deleted.filter_map(Value::as_u64).filter(|at| *at > 1).collect();
        deleted.sort_unstable();
        let mut gaps = Vec::new();
        for run in deleted.chunk_by(|one, next| one + 1 == *next) {
            let (first, upto) = (run[0], run[run.len() - 1]);
            // One side is missing where it was swept or taken out meanwhile: then it is no gap any more.
            if let Some(before) = self.feed_seq_at(stream, first - 1).await?
                && let Some(behind) = self.feed_seq_at(stream, upto + 1).await?
            {
                gaps.push(Gap { upto, before, behind });
            }
        }
        Ok(gaps)
    }

    async fn feed_seq_at(&self, stream: &str, sequence: u64) -> Result<Option<u64>, Error> {
        Ok(self.at(stream, sequence).await?.as_ref().and_then(number))
    }

    /// Where the durable `main` of a mailbox stands.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn standing(&self, stream: &str) -> Result<Standing, Error> {
        let call = format!("CONSUMER.INFO.{stream}.main");
        let answer = refused(&call, self.ask(&call, &json!({})).await?)?;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        Ok(Standing {
            acknowledged: number(&answer["ack_floor"]["stream_seq"]),
            waiting: number(&answer["num_pending"]) + number(&answer["num_ack_pending"]),
            ahead_ms: answer["ts"].as_str().and_then(|text| text.parse().ok()).map(ahead_ms),
        })
    }

    /// Removes what stands before a stream sequence.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn sweep(&self, stream: &str, before: u64) -> Result<(), Error> {
        let call = format!("STREAM.PURGE.{stream}");
        refused(&call, self.ask(&call, &json!({ "seq": before })).await?).map(|_| ())
    }

    /// Deletes one message and has its bytes overwritten. One that is not there is deleted.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn delete(&self, stream: &str, sequence: u64) -> Result<(), Error> {
        match self.at(stream, sequence).await? {
            Some(_) => self.overwrite(stream, sequence).await,
            None => Ok(()),
        }
    }

    /// The same for a publication with this payload: nats-server may have lost it, and given its place to another since.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn delete_publication(
        &self,
        stream: &str,
        sequence: u64,
        payload: Digest,
    ) -> Result<(), Error> {
        let Some(message) = self.at(stream, sequence).await? else { return Ok(()) };
        let body = STANDARD.decode(message["data"].as_str().unwrap_or_default());
        let body = body.map_err(|error| Error::api(stream, error))?;
        if Digest::of(&body) == payload { self.overwrite(stream, sequence).await } else { Ok(()) }
    }

    /// The same for the letter with this feed sequence, unless its subject ends like this. It stands at `upto` or before, by one for
    /// each letter that was lost or taken back as the last one since, and then put in again; never before its own number.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn delete_letter(
        &self,
        stream: &str,
        upto: u64,
        feed_seq: u64,
        but: &str,
    ) -> Result<(), Error> {
        for at in (feed_seq.min(upto)..=upto).rev() {
            let Some(message) = self.at(stream, at).await? else { continue };
            match number(&message) {
                Some(found) if found == feed_seq => {
                    let stays = message["subject"].as_str().is_some_and(|subject| subject.ends_with(but));
                    return if stays { Ok(()) } else { self.overwrite(stream, at).await };
                }
                // Letters stand in their order: it is not there any more.
                Some(found) if found < feed_seq => return Ok(()),
                Some(_) => {}
                None => return Err(Error::api(stream, format!("what stands at {at} is no letter"))),
            }
        }
        Ok(())
    }

    async fn at(&self, stream: &str, sequence: u64) -> Result<Option<Value>, Error> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let answer = self.ask(&call, &json!({ "seq": sequence })).await?;
        if missing(&answer) {
            return Ok(None);
        }
        refused(&call, answer).map(|answer| Some(answer["message"].clone()))
    }

    async fn overwrite(&self, stream: &str, sequence: u64) -> Result<(), Error> {
        let call = format!("STREAM.MSG.DELETE.{stream}");
        let answer = self.ask(&call, &json!({ "seq": sequence, "no_erase": false })).await?;
        if missing(&answer) { Ok(()) } else { refused(&call, answer).map(|_| ()) }
    }

    /// The first message on a subject filter from a sequence on, if there is one up to `last`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn next(&self, stream: &str, filter: &str, from: u64, last: u64) -> Result<Option<u64>, Error> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let answer = self.ask(&call, &json!({ "seq": from.max(1), "next_by_subj": filter })).await?;
        if missing(&answer) {
            return Ok(None);
        }
        let answer = refused(&call, answer)?;
        Ok(answer["message"]["seq"].as_u64().filter(|sequence| *sequence <= last))
    }

    pub(super) async fn ask(&self, call: &str, body: &Value) -> Result<Value, Error> {
        let body = Bytes::from(body.to_string());
        let answer = self.client.request(format!("$JS.API.{call}"), body).await;
        let answer = answer.map_err(|error| Error::api(call, error))?;
        serde_json::from_slice(&answer.payload).map_err(|_| Error::api(call, "an answer that is no JSON"))
    }
}

/// How far a clock that shows this now is ahead of ours.
pub(super) fn ahead_ms(theirs: Timestamp) -> i64 {
    theirs.as_millisecond() - time::now().as_millisecond()
}

fn missing(answer: &Value) -> bool {
    answer["error"]["err_code"].as_u64() == Some(NO_MESSAGE)
}

pub(super) fn refused(call: &str, answer: Value) -> Result<Value, Error> {
    match answer["error"]["description"].as_str() {
        Some(words) => Err(Error::api(call, words)),
        None => Ok(answer),
    }
}

/// The number in the feed of its recipient that a letter has.
#[must_use]
pub fn feed_seq(headers: &[(String, String)]) -> Option<u64> {
    let header = headers.iter().find(|(name, _)| name == FEED_SEQ);
    header.and_then(|(_, value)| value.parse().ok())
}

/// The same of a letter as JetStream's JSON gives it.
fn number(message: &Value) -> Option<u64> {
    let block = STANDARD.decode(message["hdrs"].as_str()?).ok()?;
    feed_seq(&headers(&block))
}

/// The lines of a header block, `NATS/1.0` first.
fn headers(block: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(block)
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}
