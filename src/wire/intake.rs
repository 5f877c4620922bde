//! Reading the intake streams: contiguous batches, acknowledged only as far as they are archived and receipted.
//!
//! Each party has an unfiltered durable `intake` with `AckAll` and one reader. JetStream sends what was not acknowledged
//! again only after `ack_wait`, and behind newer messages; an `AckAll` past those would lose them. So after every start
//! and every interruption the durable is made anew right behind its acknowledged floor, and a delivery that is not the
//! next one is an interruption. Reading a message twice is harmless: the archive knows each place in a stream.
//!
//! A server that is alone has the durable in memory: to write how far each was is an eighth of all its work. When it is started
//! again, the floor is what the broker noted itself, as far as the stream still has what the archive has from there.
//!
//! Each party has a connection of its own, because what a party publishes can break it: the server passes on subjects
//! and headers that the client library cannot parse. Two interruptions without a message in between make the next
//! messages suspects; those are read one by one (`suspects.rs`), and the reading goes on behind them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::acker::Acker;
use super::connect::{self, Road, Role};
use super::durables;
use super::led::led_info;
use super::suspects;
use super::{Error, intake_stream};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::raw::{Frame, Position, Raw};
use crate::message::signature;
use crate::message::time::Timestamp;

/// Most messages handed on at once.
pub const BATCH: usize = 512;
/// Bytes after which a batch is handed on.
const BATCH_BYTES: usize = 2 << 20;
/// Messages and bytes asked for ahead of the reader: as much as ordinary messages need, and no more than sixty parties may have
/// in memory at once if all send the largest ones.
const AHEAD: usize = 2 * BATCH;
const AHEAD_BYTES: usize = 2 << 20;
/// Most messages delivered and not yet acknowledged: everything between the stream and the archive.
const PENDING_MAX: i64 = 32_768;
/// Places of the archive that are looked up in a stream, ever further back, to see where both have the same.
const TRIES: u32 = 16;
/// Far longer than any healthy way; a redelivery means that something went wrong.
const ACK_WAIT: Duration = Duration::from_secs(120);
/// How long a pull may wait, well under the two minutes after which answers get lost.
const PULL: Duration = Duration::from_secs(30);
/// Silence after which a pull counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Interruptions without a message in between, after which the next messages are read one by one.
const TROUBLES: u32 = 2;
/// Pause between two looks at whether suspects are receipted.
const LOOK: Duration = Duration::from_millis(20);

struct Open {
    /// Cancelled when the connection broke.
    broken: CancellationToken,
    messages: pull::Stream,
    epoch: i64,
    /// The consumer sequence that the next delivery must have.
    next: u64,
}

/// A publication as the archive has it.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Where it stood.
    pub at: Position,
    /// Of its payload.
    pub digest: Digest,
    /// When the stream took it, Unix milliseconds. The same bytes are sent again under the same place by chance, not at the same time.
    pub arrived_ms: i64,
}

/// What the archive knows of the stream that is read.
pub struct Memory {
    /// The last place that was decided.
    pub last: Box<dyn Fn() -> Option<Position> + Send + Sync>,
    /// A publication at this place or before it.
    pub nearest: Box<dyn Fn(Position) -> Option<Kept> + Send + Sync>,
}

/// The reader of one party's intake stream.
pub struct Puller {
    road: Road,
    party: PartyId,
    stream: String,
    acker: Acker,
    memory: Memory,
    open: Option<Open>,
    troubles: u32,
    /// Suspects were handed on up to here; nothing is read behind them before they are receipted.
    behind: Option<Position>,
}

impl Puller {
    /// A reader.
    #[must_use]
    pub fn new(road: Road, party: PartyId, acker: Acker, memory: Memory) -> Self {
        let stream = intake_stream(&party);
        Self { road, party, stream, acker, memory, open: None, troubles: 0, behind: None }
    }

    /// Whose stream.
    #[must_use]
    pub fn party(&self) -> &PartyId {
        &self.party
    }

    /// True while it reads as it should, false while it looks at messages one by one.
    #[must_use]
    pub fn reads_on(&self) -> bool {
        self.open.is_some()
    }

    /// Makes the reader where there is none; whatever lasts after that is waiting for messages.
    ///
    /// # Errors
    /// See [`Puller::next`].
    pub async fn prepare(&mut self) -> Result<(), Error> {
        if self.open.is_none() && self.troubles < TROUBLES {
            self.open = Some(self.begin().await?);
        }
        Ok(())
    }

    /// The next batch, in stream order, at most [`BATCH`].
    ///
    /// # Errors
    /// The reading was interrupted; the next call begins again behind what was acknowledged.
    pub async fn next(&mut self) -> Result<Vec<Raw>, Error> {
        self.prepare().await?;
        let Some(open) = self.open.take() else { return self.one_by_one().await };
        // Whatever ends the reading early counts, until a message has come.
        self.troubles += 1;
        let batch = self.read(open).await?;
        self.troubles = 0;
        Ok(batch)
    }

    async fn read(&mut self, mut open: Open) -> Result<Vec<Raw>, Error> {
        let interrupted = |words: &str| Error::api(format!("reading {}", self.stream), words);
        let first = tokio::select! {
            biased;
            first = open.messages.next() => first,
            () = open.broken.cancelled() => return Err(interrupted("the connection broke")),
        };
        let Some(first) = first else { return Err(interrupted("the pull ended")) };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut read = None;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let message = message.map_err(|error| interrupted(&error.to_string()))?;
            let raw = raw(&self.party, &message, &mut open)
                .ok_or_else(|| interrupted("a delivery that is not the next one"))?;
            read = Some((raw.position.sequence, message.message.reply));
            bytes += raw.payload.len();
            batch.push(raw);
            if batch.len() < BATCH && bytes < BATCH_BYTES {
                // Lifted out of tokio's budget, which would end the draining at 127 messages.
                next = tokio::task::unconstrained(open.messages.next()).now_or_never().flatten();
            }
        }
        if let Some((sequence, reply)) = read {
            self.acker.expect(&self.party, sequence, reply);
        }
        self.open = Some(open);
        Ok(batch)
    }

    /// Makes the durable anew behind its floor and begins to pull.
    async fn begin(&mut self) -> Result<Open, Error> {
        let (client, broken) = connect::connect_once(&self.road, Role::Intake).await?;
        let stream = &self.stream;
        let (info, epoch, floor) = self.floor(&client).await?;
        let archived = self.archived(epoch);
        tracing::debug!(party = %self.party, floor = floor.sequence, archived, "reads intake behind its floor");
        self.acker.begin(&self.party, client, epoch, floor.sequence);
        if floor.durable {
            let deleted = info.delete_consumer("intake").await;
            deleted.map_err(|error| Error::api(format!("CONSUMER.DELETE.{stream}.intake"), error))?;
        }
        let alone = info.cached_info().config.num_replicas <= 1;
        let consumer = durables::fresh(&info, &durable(floor.sequence + 1, alone)).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(AHEAD)
            .max_bytes_per_batch(AHEAD_BYTES)
            .expires(PULL)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| Error::api(format!("CONSUMER.MSG.NEXT.{stream}.intake"), error))?;
        self.behind = None;
        Ok(Open { broken, messages, epoch, next: 1 })
    }

    /// The last place that the archive knows of this life of the stream. Behind it only what needed no record was decided.
    fn archived(&self, epoch: i64) -> u64 {
        let last = (self.memory.last)().filter(|position| position.epoch == epoch);
        last.map_or(0, |position| position.sequence)
    }

    /// Up to where everything was acknowledged, or handed on as suspects and receipted.
    async fn floor(&self, client: &Client) -> Result<(stream::Stream, i64, Floor), Error> {
        let stream = &self.stream;
        let call = format!("STREAM.INFO.{stream}");
        // A cluster loses no end of a stream with one server, and to go over to another is no new run.
        let alone = !self.road.to.url.contains(',');
        if alone && self.acker.owes(&self.party, &client.server_info().server_id) {
            return Err(Error::api(
                format!("reading {stream}"),
                "receipts of what was read are on their way",
            ));
        }
        let info = jetstream::new(client.clone()).get_stream(stream).await;
        let info = info.map_err(|error| Error::api(&call, error))?;
        // A copy that lies behind would look like a stream that was cut back.
        led_info(&call, info.cached_info())?;
        let created = info.cached_info().created;
        let epoch = created.unix_timestamp() * 1_000 + i64::from(created.millisecond());
        let acknowledged = match info.consumer_info("intake").await {
            Ok(consumer) => Some(consumer.ack_floor.stream_sequence),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => None,
            Err(error) => return Err(Error::api(format!("CONSUMER.INFO.{stream}.intake"), error)),
        };
        let durable = acknowledged.is_some();
        let behind = self.behind.filter(|behind| behind.epoch == epoch).map_or(0, |behind| behind.sequence);
        let done = self.acker.known(&self.party, epoch, &client.server_info().server_id);
        let state = &info.cached_info().state;
        let (first, last) = (state.first_sequence, state.last_sequence);
        let floor = match acknowledged {
            // What was acknowledged and is not in the archive, its end lost or an older copy in its place, is read again.
            Some(acknowledged) => acknowledged.min(self.archived(epoch)),
            None => self.noted(client, epoch, (first, last)).await?,
        };
        let floor = floor.max(behind).max(done);
        let sequence = if floor > last { cut_back(&self.party, floor, last) } else { floor };
        Ok((info, epoch, Floor { sequence, durable }))
    }

    /// Without a durable: the nearest place at the noted floor or before it where the stream has what the archive has from there. A
    /// stream loses its end and nothing else, so it is the same up to there; what stands behind may be new under old places.
    async fn noted(&self, client: &Client, epoch: i64, (first, last): (u64, u64)) -> Result<u64, Error> {
        let Some(known) = (self.memory.last)().filter(|position| position.epoch == epoch) else {
            return Ok(0);
        };
        // Far enough behind the archive that everything whose receipt may be missing is read again.
        let far = known.sequence.saturating_sub(PENDING_MAX.unsigned_abs());
        let Some(noted) = self.acker.noted(&self.party, epoch) else { return Ok(far) };
        let mut at = Position { sequence: noted.min(last), ..known };
        let mut back = 1;
        for _ in 0..TRIES {
            // Nothing is there that could be read again.
            if first > at.sequence {
                return Ok(at.sequence);
            }
            let Some(kept) = (self.memory.nearest)(at) else { break };
            let sequence = kept.at.sequence;
            let stands = suspects::stands(client, &self.stream, sequence).await?;
            if stands == Some((kept.digest, kept.arrived_ms)) {
                return Ok(sequence);
            }
            // It was erased there, or another message stands in its place.
            at.sequence = sequence.saturating_sub(back);
            back *= 2;
        }
        Ok(far.min(noted))
    }

    /// Reads the next messages with calls that cannot break the connection. The durable is made anew behind them only
    /// when their receipts are stored: its floor is all that a crash would leave.
    async fn one_by_one(&mut self) -> Result<Vec<Raw>, Error> {
        if let Some(behind) = self.behind {
            let receipted = self.acker.noted(&self.party, behind.epoch);
            if receipted.is_some_and(|upto| upto >= behind.sequence) {
                self.troubles = 0;
            } else {
                tokio::time::sleep(LOOK).await;
            }
            return Ok(Vec::new());
        }
        let (client, _) = connect::connect_once(&self.road, Role::Intake).await?;
        let (_, epoch, floor) = self.floor(&client).await?;
        self.acker.begin(&self.party, client.clone(), epoch, floor.sequence);
        let batch = suspects::read(&client, &self.party, &self.stream, epoch, floor.sequence + 1).await?;
        match batch.last() {
            Some(last) => {
                self.acker.expect(&self.party, last.position.sequence, None);
                self.behind = Some(last.position);
            }
            None => self.troubles = 0, // nothing stands there: whatever broke the reading was not a message
        }
        Ok(batch)
    }
}

/// A stream that ends before what we acknowledged lost its end: the server's disk, or its power. It gives those sequences to
/// other messages now, which must not be taken for read. Those that we have are recognised by their digest.
fn cut_back(party: &PartyId, floor: u64, last: u64) -> u64 {
    tracing::error!(%party, acknowledged = floor, last, "the intake stream has lost its end; it is read again");
    last.saturating_sub(PENDING_MAX.unsigned_abs())
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    sequence: u64,
    /// True if the durable exists.
    durable: bool,
}

/// In memory it does not outlive its server, and a cluster could forget it with two of three.
fn durable(start: u64, in_memory: bool) -> pull::Config {
    pull::Config {
        memory_storage: in_memory,
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
        content_type: headers.and_then(|headers| values(headers, "Content-Type").next().map(str::to_owned)),
        signature: headers.and_then(signature_in),
        binary_mode: headers.is_some_and(binary_mode),
        arrived: Timestamp::from_millisecond(arrived).ok()?,
        position: Position { epoch: open.epoch, sequence: info.stream_sequence },
        frame: frame(message),
    })
}

/// A subject with NUL comes through the library, but no program writes it by mistake: it is as broken as those that do not.
/// Its header block is not told by the library.
fn frame(message: &jetstream::Message) -> Frame {
    match message.subject.contains('\0') {
        true => {
            Frame::Broken { bytes: [message.subject.as_bytes(), b"\r\n", &message.payload].concat().into() }
        }
        false => Frame::Whole,
    }
}

/// The values of a header. NATS names are case-sensitive, CloudEvents calls them case-insensitive: any case is read.
fn values<'a>(headers: &'a HeaderMap, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    let named =
        headers.iter().filter(move |(name, _)| AsRef::<str>::as_ref(*name).eq_ignore_ascii_case(wanted));
    named.flat_map(|(_, values)| values).map(async_nats::HeaderValue::as_str)
}

/// Several signatures are joined: none of them may be the one that counts.
pub(super) fn signature_in(headers: &HeaderMap) -> Option<String> {
    let all: Vec<&str> = values(headers, signature::HEADER).collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn binary_mode(headers: &HeaderMap) -> bool {
    let begins = |name: &str| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ce-"));
    headers.iter().any(|(name, _)| begins(name.as_ref()))
}
