//! The replicated journal: a stream that takes an entry only if its writer knows all that stands before it.
//!
//! Every entry names the stream sequence that must be the last one. So there is one order, and a writer that was replaced
//! is refused by nats-server itself, whatever it believes about the time. When an answer does not come, what stands in
//! the place decides, and nothing else. It knows nothing of frames but their bytes.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::Error;
use super::connect::{self, Road, Role};
use super::lease::Term;
use super::led::led;
use crate::message::subject;

/// Code of JetStream for "no message found".
const NO_MESSAGE: u64 = 10_037;
/// Codes of JetStream for "wrong last sequence".
const WRONG_LAST: [u64; 2] = [10_070, 10_071];
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// The name of the stream of a shard.
#[must_use]
pub fn stream(shard: u16) -> String {
    format!("JOURNAL_{shard}")
}

/// What may stand in a replicated journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A frame as it was committed.
    Frame(Bytes),
    /// A frame from which bodies were taken, in the place of the one that begins with this sequence.
    Anew(u64, Bytes),
    /// The seed in this slot of the key file.
    Seed(u64, Bytes),
    /// Another instance carries on from here, in its words.
    Term(Bytes),
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Stream sequence.
    pub sequence: u64,
    /// What stands there.
    pub entry: Entry,
}

/// The stream of one shard.
#[derive(Debug, Clone)]
pub struct Journal {
    client: Client,
    shard: u16,
}

impl Journal {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Denied`].
    pub async fn open(road: &Road, shard: u16) -> Result<Self, Error> {
        Ok(Self { client: connect::connect(&road.to, &road.seed, Role::Replica).await?, shard })
    }

    /// The connection, for the lease on the same shard.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The first entry at or behind a stream sequence.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn behind(&self, from: u64) -> Result<Option<Placed>, Error> {
        self.next(from, "ilo.journal.>").await
    }

    /// The first frame at or behind a stream sequence.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn frame_behind(&self, from: u64) -> Result<Option<(u64, Bytes)>, Error> {
        let found = self.next(from, &subject::journal(self.shard)).await?;
        Ok(found.and_then(|found| match found.entry {
            Entry::Frame(bytes) => Some((found.sequence, bytes)),
            _ => None,
        }))
    }

    /// Where stands, and what it is, the frame in the place of the one that begins with this archive sequence, if bodies were taken.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn anew(&self, first: u64) -> Result<Option<(u64, Bytes)>, Error> {
        let at = subject::journal_part(self.shard, "anew", Some(first));
        let found = get(&self.client, &stream(self.shard), "last_by_subj", at.into()).await?;
        Ok(found.map(|found| (found.sequence, found.payload)))
    }

    /// The stream sequence of the seed in this slot.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn seed(&self, slot: u64) -> Result<Option<u64>, Error> {
        let at = subject::journal_part(self.shard, "key", Some(slot));
        Ok(get(&self.client, &stream(self.shard), "last_by_subj", at.into())
            .await?
            .map(|found| found.sequence))
    }

    /// Deletes every seed of this slot and has it overwritten. There may be more than one: that of a holder whose frame was refused,
    /// and those that were put again because the servers had lost what stood behind them.
    ///
    /// # Errors
    /// [`Error::Api`]; also if one stays although it was deleted.
    pub async fn erase_seeds(&self, slot: u64) -> Result<(), Error> {
        let mut before = None;
        while let Some(at) = self.seed(slot).await? {
            if before.replace(at) == Some(at) {
                return Err(Error::api(stream(self.shard), format!("the entry at {at} cannot be deleted")));
            }
            self.erase(at).await?;
        }
        Ok(())
    }

    /// The last stream sequence ever given.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn last(&self) -> Result<u64, Error> {
        let call = format!("STREAM.INFO.{}", stream(self.shard));
        let answer = led(&call, ask(&self.client, &call, &json!({})).await?)?;
        answer["state"]["last_seq"].as_u64().ok_or_else(|| Error::api(call, words(&answer)))
    }

    /// Deletes one entry and has its bytes overwritten.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn erase(&self, sequence: u64) -> Result<(), Error> {
        let call = format!("STREAM.MSG.DELETE.{}", stream(self.shard));
        let answer = ask(&self.client, &call, &json!({ "seq": sequence, "no_erase": false })).await?;
        let gone = answer["success"] == true || code(&answer) == Some(NO_MESSAGE);
        if gone { Ok(()) } else { Err(Error::api(call, words(&answer))) }
    }

    /// Puts an entry right behind a stream sequence, and gives its own. Tries until it stands there or another does, as
    /// long as the lease is to be believed in.
    ///
    /// # Errors
    /// [`Error::Fenced`]: another entry stands there, or nobody knows whether this one does; it must count as not
    /// written.
    pub async fn append(&self, after: u64, entry: &Entry, term: &Term) -> Result<u64, Error> {
        let mut last = "the lease ran out before".to_owned();
        while term.is_held() {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Sequence", after.to_string());
            match publish(&self.client, self.subject(entry), headers, bytes(entry)).await {
                Ok(Some(sequence)) => return Ok(sequence),
                Ok(None) => "another entry may stand there".clone_into(&mut last),
                Err(error) => last = error.to_string(),
            }
            let at = get(&self.client, &stream(self.shard), "seq", (after + 1).into()).await;
            if let Ok(Some(found)) = at {
                if found.subject == self.subject(entry) && found.payload == bytes(entry) {
                    return Ok(after + 1);
                }
                return Err(Error::Fenced("another instance carries the journal on".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::Fenced(format!("the journal could not be carried on while the lease was held: {last}")))
    }

    async fn next(&self, from: u64, filter: &str) -> Result<Option<Placed>, Error> {
        let name = stream(self.shard);
        let Some(found) = get_next(&self.client, &name, from, filter).await? else { return Ok(None) };
        let Found { sequence, subject, payload } = found;
        let entry = self.entry(&subject, payload).ok_or_else(|| Error::api(&name, "an unknown entry"))?;
        Ok(Some(Placed { sequence, entry }))
    }

    fn subject(&self, entry: &Entry) -> String {
        match entry {
            Entry::Frame(_) => subject::journal(self.shard),
            Entry::Anew(first, _) => subject::journal_part(self.shard, "anew", Some(*first)),
            Entry::Seed(slot, _) => subject::journal_part(self.shard, "key", Some(*slot)),
            Entry::Term(_) => subject::journal_part(self.shard, "term", None),
        }
    }

    fn entry(&self, subject: &str, payload: Bytes) -> Option<Entry> {
        let part = subject.strip_prefix(&subject::journal(self.shard))?;
        let mut tokens = part.split('.').skip(1);
        let kind = tokens.next();
        let number = tokens.next().map(str::parse).transpose().ok()?;
        match (kind, number) {
            (None, None) => Some(Entry::Frame(payload)),
            (Some("term"), None) => Some(Entry::Term(payload)),
            (Some("key"), Some(slot)) => Some(Entry::Seed(slot, payload)),
            (Some("anew"), Some(first)) => Some(Entry::Anew(first, payload)),
            _ => None,
        }
    }
}

fn bytes(entry: &Entry) -> Bytes {
    match entry {
        Entry::Frame(bytes) | Entry::Anew(_, bytes) | Entry::Seed(_, bytes) | Entry::Term(bytes) => {
            bytes.clone()
        }
    }
}

/// A stored message.
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

/// One message of a stream, asked of its leader: replicas may be behind.
pub(super) async fn get(
    client: &Client,
    stream: &str,
    by: &str,
    which: Value,
) -> Result<Option<Found>, Error> {
    let call = format!("STREAM.MSG.GET.{stream}");
    found(&call, &ask(client, &call, &json!({ by: which })).await?)
}

/// The first message at or behind a stream sequence whose subject is one of these.
pub(super) async fn get_next(
    client: &Client,
    stream: &str,
    from: u64,
    filter: &str,
) -> Result<Option<Found>, Error> {
    let call = format!("STREAM.MSG.GET.{stream}");
    found(&call, &ask(client, &call, &json!({ "seq": from.max(1), "next_by_subj": filter })).await?)
}

fn found(call: &str, answer: &Value) -> Result<Option<Found>, Error> {
    if code(answer) == Some(NO_MESSAGE) {
        return Ok(None);
    }
    let message = &answer["message"];
    let (Some(sequence), Some(subject)) = (message["seq"].as_u64(), message["subject"].as_str()) else {
        return Err(Error::api(call, words(answer)));
    };
    let payload = STANDARD.decode(message["data"].as_str().unwrap_or_default());
    let payload = payload.map_err(|_| Error::api(call, "an answer that cannot be read"))?.into();
    Ok(Some(Found { sequence, subject: subject.to_owned(), payload }))
}

/// Publishes under a condition: the stream sequence, or `None` if the condition did not hold.
pub(super) async fn publish(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Option<u64>, Error> {
    let request = Request::new().headers(headers).payload(payload).timeout(Some(PATIENCE));
    let answer = client.send_request(subject.clone(), request).await;
    let answer = answer.map_err(|error| Error::api(&subject, error))?;
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    if code(&answer).is_some_and(|code| WRONG_LAST.contains(&code)) {
        return Ok(None);
    }
    answer["seq"].as_u64().map(Some).ok_or_else(|| Error::api(subject, words(&answer)))
}

async fn ask(client: &Client, call: &str, body: &Value) -> Result<Value, Error> {
    let request = Request::new().payload(body.to_string().into()).timeout(Some(PATIENCE));
    let answer = client.send_request(format!("$JS.API.{call}"), request).await;
    let answer = answer.map_err(|error| Error::api(call, error))?;
    serde_json::from_slice(&answer.payload).map_err(|_| Error::api(call, "an answer that is no JSON"))
}

fn code(answer: &Value) -> Option<u64> {
    answer["error"]["err_code"].as_u64()
}

fn words(answer: &Value) -> String {
    answer["error"]["description"].as_str().unwrap_or("an answer that cannot be read").to_owned()
}
