//! Reading the intake streams: contiguous batches, acknowledged only as far as they are archived and receipted.
//!
//! Each party has an unfiltered durable `intake` with `AckAll` and one reader. JetStream sends what was not acknowledged
//! again only after `ack_wait`, and behind newer messages; an `AckAll` past those would lose them. So after every start
//! and every interruption the durable is made anew right behind its acknowledged floor, and a delivery that is not the
//! next one is an interruption. Reading a message twice is harmless: the archive knows each place in a stream.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;

use super::{Error, intake_stream};
use crate::message::names::PartyId;
use crate::message::raw::{Position, Raw};
use crate::message::time::Timestamp;

/// Most messages handed on at once.
pub const BATCH: usize = 512;
/// Messages asked for ahead of the reader.
const AHEAD: usize = 2 * BATCH;
/// Most messages delivered and not yet acknowledged: everything between the stream and the archive.
const PENDING_MAX: i64 = 32_768;
/// Far longer than any healthy way; a redelivery means that something went wrong.
const ACK_WAIT: Duration = Duration::from_secs(120);
/// How long a pull may wait, well under the two minutes after which answers get lost.
const PULL: Duration = Duration::from_secs(30);
/// Silence after which a pull counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Acknowledges intake, party by party.
#[derive(Debug, Clone)]
pub struct Acker {
    client: Client,
    open: Arc<Mutex<HashMap<PartyId, VecDeque<(u64, Subject)>>>>,
}

impl Acker {
    /// Acknowledges through this connection, which must be the readers' own: order matters.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, open: Arc::default() }
    }

    /// Acknowledges everything up to a stream sequence. A lost acknowledgement is made good by the next one, or the
    /// messages come again and are recognised.
    pub async fn acknowledge(&self, party: &PartyId, sequence: u64) {
        let reply = {
            let mut open = self.open.lock();
            let Some(waiting) = open.get_mut(party) else { return };
            let mut last = None;
            while waiting.front().is_some_and(|(at, _)| *at <= sequence) {
                last = waiting.pop_front();
            }
            last.map(|(_, reply)| reply)
        };
        if let Some(reply) = reply
            && let Err(error) = self.client.publish(reply, Bytes::from_static(b"+ACK")).await
        {
            tracing::debug!(%party, %error, "an acknowledgement was not sent");
        }
    }

    fn expect(&self, party: &PartyId, sequence: u64, reply: Subject) {
        self.open.lock().entry(party.clone()).or_default().push_back((sequence, reply));
    }

    /// The durable is made anew: replies of the old one must not be used on it.
    fn forget(&self, party: &PartyId) {
        self.open.lock().remove(party);
    }
}

struct Open {
    messages: pull::Stream,
    epoch: i64,
    /// The consumer sequence that the next delivery must have.
    next: u64,
}

/// The reader of one party's intake stream.
pub struct Puller {
    context: Context,
    party: PartyId,
    stream: String,
    acker: Acker,
    /// Where the archive stands, for the case that the durable is gone.
    archived: Option<Position>,
    open: Option<Open>,
}

impl Puller {
    /// A reader through this connection. `archived` is the last place of this stream that the archive knows.
    #[must_use]
    pub fn new(client: Client, party: PartyId, acker: Acker, archived: Option<Position>) -> Self {
        let stream = intake_stream(&party);
        Self { context: jetstream::new(client), party, stream, acker, archived, open: None }
    }

    /// Whose stream.
    #[must_use]
    pub fn party(&self) -> &PartyId {
        &self.party
    }

    /// The next batch, in stream order, at most [`BATCH`]; empty if nothing came for a while.
    ///
    /// # Errors
    /// The reading was interrupted; the next call begins again behind what was acknowledged.
    pub async fn next(&mut self) -> Result<Vec<Raw>, Error> {
        let read = match self.open.take() {
            Some(open) => open,
            None => self.begin().await?,
        };
        self.read(read).await
    }

    async fn read(&mut self, mut open: Open) -> Result<Vec<Raw>, Error> {
        let interrupted = |words: &str| Error::api(format!("reading {}", self.stream), words);
        let Some(first) = open.messages.next().await else { return Err(interrupted("the pull ended")) };
        let mut batch = Vec::new();
        let mut reply = None;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let message = message.map_err(|error| interrupted(&error.to_string()))?;
            let raw = raw(&self.party, &message, &mut open)
                .ok_or_else(|| interrupted("a delivery that is not the next one"))?;
            reply = message.message.reply.map(|reply| (raw.position.sequence, reply));
            batch.push(raw);
            if batch.len() < BATCH {
                // Lifted out of tokio's budget, which would end the draining at 127 messages.
                next = tokio::task::unconstrained(open.messages.next()).now_or_never().flatten();
            }
        }
        if let Some((sequence, reply)) = reply {
            self.acker.expect(&self.party, sequence, reply);
        }
        self.open = Some(open);
        Ok(batch)
    }

    /// Makes the durable anew behind its floor and begins to pull.
    async fn begin(&self) -> Result<Open, Error> {
        let stream = &self.stream;
        let info = self.context.get_stream(stream).await;
        let info = info.map_err(|error| Error::api(format!("STREAM.INFO.{stream}"), error))?;
        let created = info.cached_info().created;
        let epoch = created.unix_timestamp() * 1_000 + i64::from(created.millisecond());
        let floor = match info.consumer_info("intake").await {
            Ok(consumer) => Some(consumer.ack_floor.stream_sequence),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => None,
            Err(error) => return Err(Error::api(format!("CONSUMER.INFO.{stream}.intake"), error)),
        };
        let start = floor.unwrap_or_else(|| self.behind_archive(epoch)) + 1;
        self.acker.forget(&self.party);
        if floor.is_some() {
            let deleted = info.delete_consumer("intake").await;
            deleted.map_err(|error| Error::api(format!("CONSUMER.DELETE.{stream}.intake"), error))?;
        }
        let consumer = info
            .create_consumer(durable(start))
            .await
            .map_err(|error| Error::api(format!("CONSUMER.CREATE.{stream}.intake"), error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(AHEAD)
            .expires(PULL)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| Error::api(format!("CONSUMER.MSG.NEXT.{stream}.intake"), error))?;
        Ok(Open { messages, epoch, next: 1 })
    }

    /// Without a floor: far enough behind the archive that everything whose receipt may be missing is read again.
    fn behind_archive(&self, epoch: i64) -> u64 {
        let known = self.archived.filter(|position| position.epoch == epoch);
        known.map_or(0, |position| position.sequence.saturating_sub(PENDING_MAX.unsigned_abs()))
    }
}

fn durable(start: u64) -> pull::Config {
    pull::Config {
        durable_name: Some("intake".to_owned()),
        name: Some("intake".to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
        ack_policy: AckPolicy::All,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: PENDING_MAX,
        ..pull::Config::default()
    }
}

/// The message as the broker takes it; `None` if it is not the next one of its consumer.
fn raw(party: &PartyId, message: &jetstream::Message, open: &mut Open) -> Option<Raw> {
    let info = message.info().ok()?;
    if info.consumer_sequence != open.next || info.delivered != 1 {
        return None;
    }
    open.next += 1;
    let headers = message.headers.as_ref();
    let arrived = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(Raw {
        party: party.clone(),
        subject: message.subject.to_string(),
        payload: message.payload.clone(),
        content_type: headers.and_then(content_type),
        binary_mode: headers.is_some_and(binary_mode),
        arrived: Timestamp::from_millisecond(arrived).ok()?,
        position: Position { epoch: open.epoch, sequence: info.stream_sequence },
    })
}

/// NATS header names are case-sensitive, CloudEvents calls them case-insensitive: any case is read.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let named = |name: &str| name.eq_ignore_ascii_case("content-type");
    let (_, values) = headers.iter().find(|(name, _)| named(name.as_ref()))?;
    values.first().map(|value| value.as_str().to_owned())
}

fn binary_mode(headers: &HeaderMap) -> bool {
    let begins = |name: &str| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ce-"));
    headers.iter().any(|(name, _)| begins(name.as_ref()))
}
