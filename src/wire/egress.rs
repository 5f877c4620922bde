//! Sending into streams: receipts and deliveries, each with its acknowledgement.
//!
//! Nothing that matters is published without one: a stream that is full or gone says so only in the answer. A line that
//! breaks never comes back: what the client library still held would be sent later, behind what was sent anew. A new line
//! takes its place; whoever was sending on the old one looks how far it came and goes on.
//!
//! Letters of one mailbox go in parcels (fast-ingest batches of nats-server 2.14, ADR-50): the stream takes a letter only
//! right behind the one before it in its parcel, whatever happens to its leader meanwhile. What is sent one by one without
//! waiting leaves a hole where a leader that died had some of it. Nothing goes behind a parcel before it is answered, so no
//! letter can overtake another.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::answers::Answers;
use super::connect::{self, Road, Role};
use super::lease::Term;
use crate::message::time;

/// Header names and values, all written by the broker.
pub type Headers = Vec<(&'static str, String)>;

/// Subject, headers and payload.
pub type Letter = (String, Headers, Bytes);

/// The stream acknowledges a parcel after so many letters at the latest. More than one has: it is answered once, at its end.
const FLOW: u16 = 1_000;
/// What a letter is in its parcel.
const START: u8 = 0;
const APPEND: u8 = 1;
const COMMIT: u8 = 2;

/// How long an acknowledgement may take, and how often it is looked for those that did not come.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);
/// How long a new line may take: the connection can break between any two steps, and the library says so to nobody.
const OPENING: Duration = Duration::from_secs(10);
/// Pauses between attempts to get a new line.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The stream did not take a message, or did not say so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SendError(pub(super) String);

/// Sends into streams, over whichever line is up.
#[derive(Debug, Clone)]
pub struct Publisher {
    road: Road,
    /// Nothing is sent when it is not held; a server alone has none.
    term: Option<Term>,
    line: Arc<RwLock<Line>>,
}

/// One connection, from when it was made until it broke.
#[derive(Debug, Clone)]
pub struct Line {
    client: Client,
    /// Where answers come, without the number.
    inbox: Arc<str>,
    /// Whether the server knows what a parcel is.
    parcels: bool,
    answers: Arc<Answers>,
    broken: CancellationToken,
    term: Option<Term>,
}

impl Publisher {
    /// Gets the first line.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Denied`].
    pub async fn open(road: Road, term: Option<Term>) -> Result<Self, Error> {
        let line = Line::open(&road, term.clone()).await?;
        Ok(Self { road, term, line: Arc::new(RwLock::new(line)) })
    }

    /// The line that is up, or the last one that was.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line.read().clone()
    }

    /// Sends over the line that is up; see [`Line::publish`].
    pub async fn publish(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<u64, SendError>> + Send + use<> {
        self.line().publish(subject, headers, payload).await
    }

    /// Gets a new line whenever one broke, until stopped.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            let line = self.line();
            tokio::select! { () = line.broken() => {}, () = stop.cancelled() => return }
            drop(line);
            let mut pause = PAUSE;
            loop {
                let opening = tokio::time::timeout(OPENING, Line::open(&self.road, self.term.clone()));
                match opening.await {
                    Ok(Ok(line)) => break *self.line.write() = line,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "no line to send receipts and deliveries; trying again")
                    }
                    Err(_) => {
                        tracing::warn!("a new line to send receipts and deliveries hangs; trying again")
                    }
                }
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

impl Line {
    async fn open(road: &Road, term: Option<Term>) -> Result<Self, Error> {
        let (client, broken) = connect::connect_once(road, Role::Egress).await?;
        let inbox = client.new_inbox();
        let away = |error: String| Error::Unreachable(format!("{}: {error}", road.to.url));
        let heard = client.subscribe(format!("{inbox}.>")).await.map_err(|error| away(error.to_string()))?;
        client.flush().await.map_err(|error| away(error.to_string()))?;
        let answers = Arc::<Answers>::default();
        let inbox: Arc<str> = format!("{inbox}.").into();
        let several = road.to.url.contains(',');
        tokio::spawn(hear(heard, several, Arc::clone(&inbox), Arc::clone(&answers), broken.clone()));
        let parcels = super::server::takes_parcels(&client.server_info().version);
        Ok(Self { client, inbox, parcels, answers, broken, term })
    }

    /// How many letters may be in one parcel of this many at most.
    #[must_use]
    pub fn parcel_of(&self, most: usize) -> usize {
        if self.parcels { most } else { 1 }
    }

    /// True once it broke.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Resolves when it breaks.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Hands a message to the connection; the future behind it is the stream's answer: the stream sequence at which the
    /// message stands. How many answers are awaited at once is the caller's to bound.
    pub async fn publish(
        &self,
        subject: String,
        headers: Headers,
        payload: Bytes,
    ) -> impl Future<Output = Result<u64, SendError>> + Send + use<> {
        self.parcel(vec![(subject, headers, payload)]).await
    }

    /// Hands letters to the connection of which the stream takes each only right behind the one before it. The future behind
    /// it is the stream's answer: the stream sequence of the last letter. If it is an error, or not what must come of so
    /// many letters, a beginning of them may stand there.
    pub async fn parcel(
        &self,
        letters: Vec<Letter>,
    ) -> impl Future<Output = Result<u64, SendError>> + Send + use<> {
        let (number, answer) = self.answers.await_one(time::stopwatch());
        let last = letters.len();
        for (at, letter) in (1..).zip(letters) {
            if self.broken.is_cancelled() {
                self.answers.tell(number, Err(SendError("the connection broke".to_owned())));
                break;
            }
            if self.term.as_ref().is_some_and(|term| !term.is_held()) {
                // Another instance may be sending by now.
                self.answers.tell(number, Err(SendError("the lease is not held any more".to_owned())));
                break;
            }
            self.hand_over(number, self.reply(number, at, last), letter).await;
        }
        async move {
            let told = answer.await;
            told.unwrap_or_else(|_| Err(SendError("the connection broke before the answer".to_owned())))
        }
    }

    /// Where the answer to a letter comes; of a parcel it says which letter it is. The name of a parcel must be new in its stream:
    /// that of the line, and the number.
    fn reply(&self, number: u64, at: usize, last: usize) -> String {
        let inbox = &self.inbox;
        if last == 1 {
            return format!("{inbox}{number}");
        }
        let part = match at {
            1 => START,
            at if at == last => COMMIT,
            _ => APPEND,
        };
        let name = inbox.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        format!("{inbox}{number}.{name}-{number}.{FLOW}.fail.{at}.{part}.$FI")
    }

    async fn hand_over(&self, number: u64, reply: String, (subject, headers, payload): Letter) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from(value));
        }
        let sending = self.client.publish_with_reply_and_headers(Subject::from(subject), reply, map, payload);
        // Nobody empties the queue of a connection that broke: whoever waited there would wait for ever.
        let failed = tokio::select! {
            biased;
            sent = sending => sent.err().map(|error| error.to_string()),
            () = self.broken.cancelled() => Some("the connection broke".to_owned()),
        };
        if let Some(words) = failed {
            self.answers.tell(number, Err(SendError(words)));
        }
    }
}

/// Takes the answers of the streams until the line breaks. A line on which letters wait and nothing at all is heard is dead:
/// half open, or the server hangs. The client library finds that out in a minute; a new line is there in a second. If there are
/// `several` servers, one that knows no stream any more may be cut off from the others, and is as good as dead.
async fn hear(
    mut heard: async_nats::Subscriber,
    several: bool,
    inbox: Arc<str>,
    answers: Arc<Answers>,
    broken: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK);
    let (mut last, mut refused) = (time::stopwatch(), false);
    loop {
        tokio::select! {
            message = heard.next() => match message {
                Some(message) => {
                    refused = several && message.status.is_some();
                    if !refused {
                        last = time::stopwatch();
                    }
                    answers.take(&inbox, &message);
                }
                None => break,
            },
            _ = look.tick() => {
                let given_up = answers.give_up(time::stopwatch(), PATIENCE);
                if (given_up || refused) && last.elapsed() >= PATIENCE {
                    tracing::warn!("no stream answers on this line; taking a new one");
                    broken.cancel();
                }
            }
            () = broken.cancelled() => break,
        }
    }
    answers.close();
}
