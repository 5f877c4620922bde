//! A courier a party: carries its feed from the archive to its mailbox, in order, without gap or double.
//!
//! The feed in the archive is the outbox, and the mailbox itself says how far delivery came: the courier reads the
//! last `Ilo-Feed-Seq` there and goes on behind it. So there is no delivery state of ours that a crash could make
//! wrong. Each publish expects its predecessor's id, so a mailbox that was full in the middle never gets a hole.
//! A full, missing or slow mailbox keeps only its own courier waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::metrics::{Delivered, Metrics};
use crate::archive::{FeedItem, Reader, Record};
use crate::message::names::PartyId;
use crate::message::subject;
use crate::message::time;
use crate::wire::egress::{Headers, Publisher};
use crate::wire::inspect::Inspector;

/// Deliveries handed over directly; what does not fit is read from the archive instead.
pub const QUEUE: usize = 4_096;
/// Deliveries in flight to one mailbox.
const WINDOW: usize = 512;

/// One courier.
pub struct Courier {
    /// Whose mailbox.
    pub party: PartyId,
    /// Where the feed is.
    pub reader: Reader,
    /// How it is sent.
    pub publisher: Publisher,
    /// How the mailbox is asked.
    pub inspector: Inspector,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Fresh deliveries, in feed order, possibly with gaps.
    pub fresh: mpsc::Receiver<FeedItem>,
    /// Wakes the courier when something was committed that did not fit the queue.
    pub head: watch::Receiver<u64>,
    /// Ends it.
    pub stop: CancellationToken,
}

struct AsPayload(Arc<Record>);

impl AsRef<[u8]> for AsPayload {
    fn as_ref(&self) -> &[u8] {
        &self.0.payload
    }
}

impl Courier {
    /// Runs until stopped. At the end everything that was handed over before the stop is in the mailbox, or stays in
    /// the feed for the next start.
    pub async fn run(mut self) {
        let mut patience = Duration::from_millis(100);
        while !self.stop.is_cancelled() {
            match self.carry().await {
                Ok(()) => return,
                Err(reason) => {
                    let label = Delivered { authority: self.party.to_string(), outcome: "refused" };
                    self.metrics.deliveries.get_or_create(&label).inc();
                    tracing::warn!(party = %self.party, %reason, "mailbox does not take deliveries; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(patience) => {}
                        () = self.stop.cancelled() => return,
                    }
                    patience = (patience * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    async fn carry(&mut self) -> Result<(), String> {
        let (mut sent, mut last_id) = self.delivered().await?;
        let mut flying = FuturesOrdered::new();
        let mut ready: VecDeque<FeedItem> = VecDeque::new();
        loop {
            while flying.len() < WINDOW {
                let Some(item) = self.next(&mut ready, sent)? else { break };
                sent = item.feed_seq;
                let (subject, headers, id) = self.letter(&item, last_id.as_deref());
                let body = Bytes::from_owner(AsPayload(Arc::clone(&item.record)));
                flying.push_back(self.publisher.publish(subject, headers, body).await);
                last_id = Some(id);
            }
            tokio::select! {
                Some(answer) = flying.next(), if !flying.is_empty() => {
                    answer.map_err(|error| error.to_string())?;
                    let label = Delivered { authority: self.party.to_string(), outcome: "stored" };
                    self.metrics.deliveries.get_or_create(&label).inc();
                }
                changed = self.head.changed(), if flying.len() < WINDOW => {
                    if changed.is_err() { return self.finish(flying).await; }
                }
                Some(item) = self.fresh.recv(), if flying.len() < WINDOW => ready.push_back(item),
                () = self.stop.cancelled() => return self.finish(flying).await,
            }
        }
    }

    async fn finish<F>(&self, mut flying: FuturesOrdered<F>) -> Result<(), String>
    where
        F: Future<Output = Result<(), crate::wire::egress::SendError>>,
    {
        while let Some(answer) = flying.next().await {
            answer.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The next delivery after `sent`: from the queue if it follows, else from the archive.
    fn next(&mut self, ready: &mut VecDeque<FeedItem>, sent: u64) -> Result<Option<FeedItem>, String> {
        loop {
            if ready.is_empty() {
                while let Ok(item) = self.fresh.try_recv() {
                    ready.push_back(item);
                }
            }
            match ready.front() {
                Some(item) if item.feed_seq <= sent => {
                    ready.pop_front();
                }
                Some(item) if item.feed_seq == sent + 1 => return Ok(ready.pop_front()),
                _ if self.reader.feed_head(&self.party) <= sent => return Ok(None),
                _ => break,
            }
        }
        let items = self.reader.feed(&self.party, sent, WINDOW, 8 << 20).map_err(|error| error.to_string())?;
        for item in items.into_iter().rev() {
            ready.push_front(item);
        }
        Ok(ready.pop_front())
    }

    /// How far the mailbox is: last feed sequence and message id there. An empty mailbox of a party with a history
    /// (its messages aged out) goes on behind what the archive says was there, which only the mailbox knows: so the
    /// count of an emptied stream is taken from its own last sequence.
    async fn delivered(&self) -> Result<(u64, Option<String>), String> {
        let stream = format!("MBOX_{}", subject::upper(&self.party));
        let filter = format!("ilo.out.{}.>", self.party);
        let last = self.inspector.last_headers(&stream, &filter).await.map_err(|error| error.to_string())?;
        match last {
            Some(headers) => {
                let sequence = headers
                    .iter()
                    .find(|(name, _)| name == "Ilo-Feed-Seq")
                    .and_then(|(_, value)| value.parse().ok())
                    .ok_or("the last message of the mailbox has no feed sequence")?;
                Ok((sequence, None))
            }
            None => {
                let emptied = self.inspector.last_sequence(&stream).await.map_err(|error| error.to_string())?;
                // Deliveries are the only messages of a mailbox, one feed sequence each: the counts agree.
                Ok((emptied.min(self.reader.feed_head(&self.party)), None))
            }
        }
    }

    fn letter(&self, item: &FeedItem, previous: Option<&str>) -> (String, Headers, String) {
        let record = &item.record;
        let (plane, kind, country) = record.summary.as_ref().map_or(("ctl", "msg.receipt", None), |summary| {
            (summary.plane.as_str(), summary.kind.as_str(), summary.country.as_deref())
        });
        let to = subject::delivery_text(&self.party, plane, kind, country);
        let id = format!("{}-{}", record.seq, self.party);
        let archived = crate::message::time::Timestamp::from_millisecond(record.archived_ms).unwrap_or_default();
        let mut headers: Headers = vec![
            ("Content-Type", "application/cloudevents+json".to_owned()),
            ("Nats-Msg-Id", id.clone()),
            ("Ilo-Digest", format!("sha256:{}", record.digest)),
            ("Ilo-Feed-Seq", item.feed_seq.to_string()),
            ("Ilo-Feed-Digest", item.feed_digest.hex()),
            ("Ilo-Archived-At", time::rfc3339(archived)),
        ];
        if let Some(previous) = previous {
            headers.push(("Nats-Expected-Last-Msg-Id", previous.to_owned()));
        }
        (to, headers, id)
    }
}
