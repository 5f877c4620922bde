//! Replay: what a party may see of the archive, page by page, in the order of its feed.
//!
//! The broker keeps nothing between two pages: a cursor says where to go on, and so following the feed is only asking
//! again from the last cursor. The mailbox is never looked at, so archive and live cannot overlap or leave a gap. The next
//! page is fetched while one is read; no more than three are in memory.

mod pace;
mod place;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

pub use self::pace::{Pace, Speed};
pub use self::place::Place;

use super::{Address, AskError, Asker, Error};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::{self, Timestamp, rfc3339};

/// Messages asked for at once: what the protocol allows.
const PAGE: u64 = 1_000;
/// Bytes asked for at once: what the protocol allows.
const PAGE_BYTES: u64 = 524_288;
/// First and longest pause after a question that was refused for now.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// First and longest pause at the end of a feed that is followed.
const IDLE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Archived at or after.
    pub from: Option<Timestamp>,
    /// Archived before.
    pub to: Option<Timestamp>,
    /// Filters of the subscription dialects; all must match.
    pub filters: Vec<Value>,
    /// CEL expression.
    pub condition: Option<String>,
    /// At most so many messages.
    pub limit: Option<u64>,
    /// Go on with what arrives.
    pub follow: bool,
    /// How long a broker that does not answer is asked again.
    pub patience: Duration,
}

/// What a message of a feed holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The event.
    Event(Bytes),
    /// It may not be seen any more; `why` says why.
    Tombstone(Map<String, Value>),
}

/// A message of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Feed sequence.
    pub seq: u64,
    /// When it was archived.
    pub archived_at: Timestamp,
    /// SHA-256 of the received bytes.
    pub digest: Digest,
    /// The signature over them, a detached JWS.
    pub signature: Option<String>,
    /// The event or what stands in its place.
    pub content: Content,
}

/// Some messages of the feed, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The messages; there may be none.
    pub messages: Vec<Message>,
    /// Where this page began: where to go on if it is not read to its end.
    pub began: Place,
    /// Where the next page begins.
    pub next: Place,
    /// True if the feed has no more for now.
    pub done: bool,
    /// Last feed sequence of the party.
    pub head: u64,
}

/// A replay that is under way.
#[derive(Debug)]
pub struct Replay {
    pages: mpsc::Receiver<Result<Page, Error>>,
    asking: tokio::task::JoinHandle<()>,
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Replay {
    /// Connects as the system user of a party and begins to ask.
    ///
    /// # Errors
    /// NATS cannot be reached, or the key is not let in.
    pub async fn connect(
        to: &Address,
        seed: &str,
        party: &PartyId,
        wanted: Wanted,
        place: Place,
    ) -> Result<Self, Error> {
        let asker = Asker::connect(to, seed, party).await?;
        let ask = move |body: Value| {
            let asker = asker.clone();
            async move { asker.ask("replay", &body).await }
        };
        Ok(Self::begin(wanted, place, ask, tokio::time::sleep))
    }

    /// Begins to ask through `ask`, with `rest` between questions.
    fn begin<A, F, R, G>(wanted: Wanted, place: Place, ask: A, rest: R) -> Self
    where
        A: Fn(Value) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Bytes, AskError>> + Send,
        R: Fn(Duration) -> G + Send + Sync + 'static,
        G: Future<Output = ()> + Send,
    {
        let (send, pages) = mpsc::channel(1);
        let asking = tokio::spawn(async move {
            let mut pager = Pager { left: wanted.limit.unwrap_or(u64::MAX), wanted, place, ask, rest };
            if let Err(error) = pager.run(&send).await {
                // Nobody may be reading any more.
                send.send(Err(error)).await.unwrap_or_default();
            }
        });
        Self { pages, asking }
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// The broker refused, did not answer in time, or answered what it must not.
    pub async fn next(&mut self) -> Option<Result<Page, Error>> {
        self.pages.recv().await
    }
}

struct Pager<A, R> {
    wanted: Wanted,
    /// Where the next question begins.
    place: Place,
    /// How many messages are still wanted.
    left: u64,
    ask: A,
    rest: R,
}

impl<A, F, R, G> Pager<A, R>
where
    A: Fn(Value) -> F,
    F: Future<Output = Result<Bytes, AskError>>,
    R: Fn(Duration) -> G,
    G: Future<Output = ()>,
{
    async fn run(&mut self, send: &mpsc::Sender<Result<Page, Error>>) -> Result<(), Error> {
        let mut idle = IDLE.0;
        let mut told = false;
        while self.left > 0 {
            let page = self.page(told).await?;
            let (done, empty) = (page.done, page.messages.is_empty());
            let moved = page.next.cursor() != page.began.cursor();
            self.left -= page.messages.len() as u64;
            if !(moved || done && empty || self.left == 0) {
                return Err(Error::Answer("leads nowhere: there is more, but the cursor stands still"));
            }
            self.place = page.next.clone();
            // At the end of a feed that is followed only the first empty page is news.
            let news = !empty || moved || !told;
            told = told || done;
            if news && send.send(Ok(page)).await.is_err() {
                return Ok(());
            }
            if done && !self.wanted.follow {
                return Ok(());
            }
            if done {
                idle = if empty { (idle * 2).min(IDLE.1) } else { IDLE.0 };
                (self.rest)(idle).await;
            }
        }
        Ok(())
    }

    /// One page, asked for again while the broker cannot answer. Who follows a feed from its end waits for ever: a broker
    /// that starts again is no reason to go.
    async fn page(&self, follows: bool) -> Result<Page, Error> {
        let body = self.request();
        let begun = time::stopwatch();
        let (mut pause, mut rested) = (RETRY.0, Duration::ZERO);
        loop {
            let error = match (self.ask)(body.clone()).await {
                Ok(answer) => return read(&answer, &self.place, self.left),
                Err(error) => error,
            };
            let waited = rested.max(begun.elapsed());
            if !is_passing(&error) || (!follows && waited >= self.wanted.patience) {
                return Err(Error::Ask(error));
            }
            let rest = match error {
                AskError::Refused { retry_after_ms: Some(ms), .. } => Duration::from_millis(ms).min(RETRY.1),
                _ => pause,
            };
            tracing::debug!(%error, ?rest, "asked again");
            (self.rest)(rest).await;
            rested += rest;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    fn request(&self) -> Value {
        let wanted = &self.wanted;
        // What was read of a page before comes once more and is skipped.
        let limit = if self.place.is_within() { PAGE } else { self.left.min(PAGE) };
        let mut body = json!({ "limit": limit, "max_bytes": PAGE_BYTES });
        let mut put = |name: &str, value: Option<Value>| {
            body.as_object_mut()
                .into_iter()
                .for_each(|members| members.extend(value.clone().map(|value| (name.to_owned(), value))));
        };
        put("from", wanted.from.map(|at| rfc3339(at).into()));
        put("to", wanted.to.map(|at| rfc3339(at).into()));
        put("after", self.place.cursor().map(Value::from));
        put("filters", (!wanted.filters.is_empty()).then(|| json!(wanted.filters)));
        put("where", wanted.condition.clone().map(Value::from));
        body
    }
}

/// True if the same question may be answered a little later.
fn is_passing(error: &AskError) -> bool {
    matches!(error, AskError::NoAnswer(_) | AskError::Refused { status: 429 | 503, .. })
}

#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    messages: Vec<Told<'a>>,
    cursor: String,
    done: bool,
    head: u64,
}

#[derive(Deserialize)]
struct Told<'a> {
    seq: u64,
    archived_at: String,
    digest: String,
    signature: Option<String>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    tombstone: Option<Map<String, Value>>,
}

/// Reads an answer; what was read before, and what is more than is left, does not count.
fn read(answer: &[u8], began: &Place, left: u64) -> Result<Page, Error> {
    let answered: Answered<'_> =
        serde_json::from_slice(answer).map_err(|_| Error::Answer("is no page of a replay"))?;
    let mut next = Place::at(answered.cursor);
    let mut messages = Vec::with_capacity(answered.messages.len());
    let mut last = began.above();
    for told in answered.messages {
        if told.seq <= began.above() {
            continue;
        }
        if messages.len() as u64 == left {
            // Asked for whole because its beginning had been read: it ends inside.
            next = began.within(last);
            break;
        }
        if told.seq <= last {
            return Err(Error::Answer("is not in the order of the feed"));
        }
        last = told.seq;
        messages.push(message(told)?);
    }
    // A smaller page than the one that was broken off may end before what was read of that.
    if messages.is_empty() && began.is_within() {
        next = next.within(began.above());
    }
    Ok(Page { messages, began: began.clone(), next, done: answered.done, head: answered.head })
}

fn message(told: Told<'_>) -> Result<Message, Error> {
    let content = match (told.event, told.tombstone) {
        (Some(event), None) => Content::Event(Bytes::copy_from_slice(event.get().as_bytes())),
        (None, Some(tombstone)) => Content::Tombstone(tombstone),
        _ => return Err(Error::Answer("has a message that is neither an event nor a tombstone")),
    };
    let archived_at = time::parse(&told.archived_at).ok_or(Error::Answer("has no archive time"))?;
    let digest = Digest::parse(&told.digest).ok_or(Error::Answer("has no digest"))?;
    Ok(Message { seq: told.seq, archived_at, digest, signature: told.signature, content })
}
