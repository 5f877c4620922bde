//! A courier a party: carries its feed from the archive to its mailbox, in order, without gap or double.
//!
//! The feed in the archive is the outbox, and the mailbox itself says how far delivery came: the courier reads the
//! last `Ilo-Feed-Seq` there and goes on behind it. So there is no delivery state of ours that a crash could make
//! wrong. A mailbox never gets a hole: letters go in parcels that it takes from the front on or not at all, and nothing is
//! sent behind a parcel before it is answered. A full, missing or slow mailbox keeps only its own courier waiting.
//!
//! What the party has acknowledged is swept out of the mailbox beside it (`broom.rs`), except the last letter, which holds
//! the place.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::broom::{Broom, Swept};
use super::couriers::Progress;
use super::gaps::{self, Lost};
use super::metrics::{Delivered, Metrics};
use super::notices;
use super::receipt::Issuer;
use crate::archive::audit::{Entry, Object, Span, What};
use crate::archive::{FeedItem, Opened, Reader, Withdrawn};
use crate::message::fault::{self, Spot};
use crate::message::names::PartyId;
use crate::message::signature;
use crate::message::subject;
use crate::message::time::{self, Timestamp};
use crate::rules::Rules;
use crate::wire::egress::{Headers, Letter, Line, Publisher, SendError};
use crate::wire::inspect::{self, Inspector};
use crate::wire::{FEED_SEQ, mailbox_stream};

/// Deliveries handed over directly; what does not fit is read from the archive instead.
pub const QUEUE: usize = 1_024;
/// Letters in one parcel.
const PARCEL: usize = 256;
/// Bytes in one parcel that has more than one letter, and read from the archive at once.
const PARCEL_BYTES: usize = 1 << 20;
/// Pause between two sweepings of a mailbox.
const SWEEP: Duration = Duration::from_secs(30);
/// Pauses after a mailbox did not take a delivery. Trying again is cheap: one letter, until it is taken.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// One courier.
pub struct Courier {
    /// Whose mailbox.
    pub party: PartyId,
    /// Where the feed is.
    pub reader: Reader,
    /// Whether the party takes part.
    pub rules: Arc<RwLock<Arc<Rules>>>,
    /// How it is sent.
    pub publisher: Publisher,
    /// How the mailbox is asked.
    pub inspector: Inspector,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The one that counts every letter.
    pub delivered: Counter,
    /// Letters that the party has not acknowledged.
    pub waiting: Gauge,
    /// What sweeps the mailbox.
    pub broom: Broom,
    /// Where is noted what the party has read.
    pub audit: Audit,
    /// Feed sequence up to which that is noted.
    pub read: u64,
    /// True once letters were found missing in the middle of the mailbox.
    pub is_damaged: bool,
    /// Who signs what stands in the place of a withdrawn message.
    pub issuer: Issuer,
    /// How far it has come, for others to see.
    pub progress: Arc<Progress>,
    /// Fresh deliveries, in feed order, possibly with gaps.
    pub fresh: mpsc::Receiver<FeedItem>,
    /// Wakes the courier when something was committed that did not fit the queue.
    pub skipped: watch::Receiver<u64>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Where one carrying stands.
#[derive(Default)]
struct Round {
    /// Feed sequence of the last letter handed to the connection.
    sent: u64,
    /// Where the last letter stands in the mailbox stream that is known to stand there.
    at: u64,
    ready: VecDeque<FeedItem>,
    swept: u64,
}

/// A parcel on its way: how many letters, the feed sequence of the last, and where it stands in the mailbox stream.
type Flight = Pin<Box<dyn Future<Output = (u64, u64, Result<u64, SendError>)> + Send>>;

impl Courier {
    /// Runs until stopped. At the end everything that was handed over before the stop is in the mailbox, or stays in
    /// the feed for the next start.
    pub async fn run(mut self) {
        let mut pause = PAUSE;
        while !self.stop.is_cancelled() {
            let before = self.progress.last_stored();
            let Err(reason) = self.carry().await else { return };
            let label = Delivered { authority: self.party.to_string(), outcome: "refused" };
            self.metrics.deliveries.get_or_create(&label).inc();
            self.stall(Some(&reason));
            if self.progress.last_stored() > before {
                pause = PAUSE;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Notes that the mailbox takes nothing, and why, or that it takes deliveries again. Logged once a change.
    fn stall(&self, reason: Option<&str>) {
        if self.progress.stall(reason.is_some()) == reason.is_some() {
            return;
        }
        match reason {
            Some(reason) => {
                self.metrics.mailboxes_stalled.inc();
                tracing::warn!(party = %self.party, %reason, "mailbox does not take deliveries; trying again");
            }
            None => {
                self.metrics.mailboxes_stalled.dec();
                tracing::info!(party = %self.party, "mailbox takes deliveries again");
            }
        }
    }

    async fn carry(&mut self) -> Result<(), String> {
        let line = self.publisher.line();
        if line.is_broken() {
            return Err("not connected".to_owned());
        }
        // Nothing is on its way yet: a drain need not wait for an answer that a dead connection never gives.
        let stop = self.stop.clone();
        let Some(round) = stop.run_until_cancelled(self.begin()).await else { return Ok(()) };
        let mut round = round?;
        let mut flying: Fuse<Flight> = Fuse::terminated();
        let mut sweep =
            tokio::time::interval_at(tokio::time::Instant::now() + self.broom.first(SWEEP), SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweeping = JoinSet::new();
        loop {
            let suspended = self.is_suspended(); // A-22; what is owed waits in the archive
            if flying.is_terminated() && !suspended {
                let parcel = self.pack(&mut round, &line)?;
                if !parcel.is_empty() {
                    flying = self.send(parcel, round.sent, &line).await.fuse();
                }
            }
            let idle = flying.is_terminated();
            tokio::select! {
                answer = &mut flying, if !idle => self.stored(&mut round, answer)?,
                changed = self.skipped.changed(), if idle => {
                    if changed.is_err() { self.stop.cancel(); }
                }
                Some(item) = self.fresh.recv(), if idle => {
                    if !suspended { round.ready.push_back(item); }
                }
                _ = sweep.tick(), if sweeping.is_empty() => {
                    sweeping.spawn(self.broom.clone().sweep(round.swept, self.case_plane()));
                }
                Some(told) = sweeping.join_next(), if !sweeping.is_empty() => {
                    self.swept(told.map_err(|error| format!("sweeping broke: {error}"))?, &mut round);
                }
                () = line.broken() => return Err("the connection broke".to_owned()),
                () = self.stop.cancelled() => break,
            }
        }
        if !flying.is_terminated() {
            let answer = flying.await;
            self.stored(&mut round, answer)?;
        }
        Ok(())
    }

    /// Looks how far the mailbox is and makes room in it.
    async fn begin(&mut self) -> Result<Round, String> {
        let (sent, at) = self.came_to().await?;
        self.look_for_lost().await?;
        let mut round = Round { sent, at, ..Round::default() };
        // Before the first letter: a mailbox that was full may have room by now.
        let told = self.broom.clone().sweep(round.swept, self.case_plane()).await;
        self.swept(told, &mut round);
        Ok(round)
    }

    /// Says it if letters are missing in the middle of the mailbox. After each connecting: nats-server loses some when it starts.
    async fn look_for_lost(&mut self) -> Result<(), String> {
        let lost = gaps::lost(&self.inspector, &self.reader, &self.party, self.read).await?;
        if lost.is_some() != self.is_damaged {
            self.is_damaged = lost.is_some();
            self.metrics.mailboxes_damaged.inc_by(if self.is_damaged { 1 } else { -1 });
        }
        if let Some(Lost { first, count }) = lost {
            let stream = mailbox_stream(&self.party);
            tracing::error!(party = %self.party, stream, first, count, "the mailbox has lost letters; the archive has them");
        }
        Ok(())
    }

    /// Hands a parcel to the line; `last` is the feed sequence of its last letter.
    async fn send(&self, parcel: Vec<Letter>, last: u64, line: &Line) -> Flight {
        let count = parcel.len() as u64;
        let answer = line.parcel(parcel).await;
        Box::pin(async move { (count, last, answer.await) })
    }

    /// True while the party takes no part, or none any more. Looked at again with every message for it and at every sweep.
    fn is_suspended(&self) -> bool {
        let rules = self.rules.read();
        rules.registry.party(self.party.as_str()).is_none_or(|party| party.is_suspended())
    }

    fn case_plane(&self) -> bool {
        self.rules.read().policy.case_plane
    }

    /// The letters of the next parcel: all that is there, but one alone after a refusal, so that no more is sent again and again
    /// than one.
    fn pack(&mut self, round: &mut Round, line: &Line) -> Result<Vec<Letter>, String> {
        if time::leapt().is_some() {
            // Tombstones would go out for messages whose day has not come.
            return Err("the clock is far ahead of what was known".to_owned());
        }
        let most = if self.progress.is_stalled() { 1 } else { line.parcel_of(PARCEL) };
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < most && bytes < PARCEL_BYTES {
            let Some(item) = self.next(round)? else { break };
            let letter = self.letter(&item)?;
            bytes += letter.2.len();
            round.sent = item.feed_seq;
            letters.push(letter);
        }
        Ok(letters)
    }

    /// Takes note of an answer. Letters are all that a mailbox stream takes: if the last one does not stand where it must, not all of
    /// them are there, or somebody else wrote.
    fn stored(
        &self,
        round: &mut Round,
        (count, feed_seq, answer): (u64, u64, Result<u64, SendError>),
    ) -> Result<(), String> {
        let at = answer.map_err(|error| error.to_string())?;
        if at != round.at + count {
            return Err(format!("the mailbox took {count} letters behind {} up to {at}", round.at));
        }
        round.at = at;
        fault::point(Spot::Delivered);
        self.progress.stored(feed_seq, at);
        self.stall(None);
        self.delivered.inc_by(count);
        Ok(())
    }

    /// The next delivery: from the queue if it follows, else from the archive.
    fn next(&mut self, round: &mut Round) -> Result<Option<FeedItem>, String> {
        if round.ready.is_empty() {
            while let Ok(item) = self.fresh.try_recv() {
                round.ready.push_back(item);
            }
        }
        while round.ready.front().is_some_and(|item| item.feed_seq <= round.sent) {
            round.ready.pop_front();
        }
        let follows = |item: &FeedItem| item.feed_seq == round.sent + 1;
        if round.ready.front().is_some_and(follows) {
            return Ok(round.ready.pop_front());
        }
        if self.reader.feed_head(&self.party) <= round.sent {
            return Ok(None);
        }
        let items = self.reader.feed(&self.party, round.sent, PARCEL, PARCEL_BYTES);
        for item in items.map_err(|error| error.to_string())?.into_iter().rev() {
            round.ready.push_front(item);
        }
        match round.ready.front() {
            Some(item) if item.feed_seq == round.sent + 1 => Ok(round.ready.pop_front()),
            _ => Err(format!("the archive does not give feed sequence {}", round.sent + 1)),
        }
    }

    /// How far the mailbox is: the last feed sequence there, and the last stream sequence.
    async fn came_to(&self) -> Result<(u64, u64), String> {
        let stream = mailbox_stream(&self.party);
        let filter = format!("ilo.out.{}.>", self.party);
        let head = self.reader.feed_head(&self.party);
        let last = self.inspector.last(&stream, &filter).await.map_err(|error| error.to_string())?;
        // Read second: if a letter still came in between, the next answer will not be what it must, and this is asked again.
        let at = self.inspector.last_sequence(&stream).await.map_err(|error| error.to_string())?;
        let (feed_seq, stands_at) = match last {
            // Behind the last one that stands there may have stood some that were taken back, or that the server lost: they are
            // put in again, as what they are by now.
            Some(last) => {
                let feed_seq = inspect::feed_seq(&last.headers);
                (feed_seq.ok_or("the last message of the mailbox has no feed sequence")?, last.sequence)
            }
            // Never swept empty: somebody purged it, or the last letter was taken back. Where this process saw it last is
            // right; counted by places it may be too far, for a letter that was put in again has two.
            None => match self.progress.last_stored() {
                0 => (at.min(head), at),
                stored => (stored.min(at.min(head)), at),
            },
        };
        if feed_seq > head {
            // Going on would leave out what this archive has yet to count up to there.
            return Err(format!(
                "the mailbox holds feed sequence {feed_seq}, the archive knows only {head}: this is not the archive \
                 that filled it"
            ));
        }
        if feed_seq > 0 {
            // What was stored and not answered is counted here; what another process sent is not.
            let before = self.progress.last_stored();
            self.delivered.inc_by(if before > 0 { feed_seq.saturating_sub(before) } else { 0 });
            self.progress.stored(feed_seq, stands_at);
        }
        Ok((feed_seq, at))
    }

    /// Takes note of what a sweeping saw and did.
    fn swept(&mut self, told: Swept, round: &mut Round) {
        let Swept { standing, upto } = told;
        let standing = match standing {
            Ok(standing) => standing,
            Err(error) => return self.stall(Some(&error.to_string())),
        };
        if self.progress.last_stored() == self.reader.feed_head(&self.party) {
            self.stall(None); // nothing is owed, and the mailbox answers
        }
        self.waiting.set(standing.waiting.cast_signed());
        if let Some(ahead_ms) = standing.ahead_ms {
            self.metrics.clock_skew_seconds.set(ahead_ms as f64 / 1_000.0);
        }
        self.note_read(self.progress.feed_seq_at(standing.acknowledged));
        match upto {
            Ok(upto) => round.swept = upto,
            Err(error) => tracing::warn!(party = %self.party, %error, "the mailbox cannot be swept"),
        }
    }

    /// Notes how far the party has acknowledged its mailbox. Said again after a start, which does no harm; what finds no
    /// room in the queue is said with the next sweep.
    fn note_read(&mut self, upto: u64) {
        if upto > self.read {
            let object = Object { feed: Some(Span { first: 1, last: upto }), ..Object::default() };
            let now = time::now().as_millisecond();
            if self.audit.note(Entry::of_party(now, &self.party, What::Read, object)) {
                self.read = upto;
            }
        }
    }

    /// What goes into the mailbox: the received bytes, or what says that they are withdrawn.
    fn letter(&self, item: &FeedItem) -> Result<Letter, String> {
        let record = &item.record;
        let withdrawn = self.reader.withdrawn(record, time::now().as_millisecond());
        let opened = match withdrawn {
            Some(_) => Opened::Gone,
            None => self.reader.open(record).map_err(|error| error.to_string())?,
        };
        let (to, payload, signature) = match opened {
            Opened::Content(content) => {
                let summary = record.summary.as_ref().ok_or("a delivery without an envelope")?;
                let country = summary.country.as_deref();
                let (plane, kind) = (summary.plane.as_str(), summary.kind.as_str());
                let to = subject::delivery_text(&self.party, plane, kind, country);
                (to, content.payload, content.signature)
            }
            gone @ (Opened::Gone | Opened::Lost) => {
                if gone == Opened::Lost {
                    tracing::error!(record.seq, "its key is damaged; a tombstone is delivered in its place");
                }
                let why = withdrawn.unwrap_or(Withdrawn::Erased(record.seq));
                let event = notices::tombstone(&self.issuer, &self.party, record, why);
                let to = subject::delivery_text(&self.party, "ctl", "msg.receipt", None);
                (to, Bytes::from(event.to_string()), None)
            }
        };
        let archived = Timestamp::from_millisecond(record.archived_ms).unwrap_or_default();
        let running = item.feed_digest.hex();
        let mut headers: Headers = vec![
            ("Content-Type", "application/cloudevents+json".to_owned()),
            // The recipient's own numbers: the archive's would tell how much others send.
            ("Nats-Msg-Id", format!("{}-{}-{}", self.party, item.feed_seq, &running[..16])),
            // Of the message, also where a tombstone stands in its place: the running digest counts it.
            ("Ilo-Digest", format!("sha256:{}", record.digest)),
            (FEED_SEQ, item.feed_seq.to_string()),
            ("Ilo-Feed-Digest", running),
            ("Ilo-Archived-At", time::rfc3339(archived)),
        ];
        // As it was verified and kept: no header is passed on that nobody looked at.
        headers.extend(signature.map(|signature| (signature::HEADER, signature)));
        Ok((to, headers, payload))
    }
}
