//! The connection of one officer: what comes back over it is told to the desk with the time at which it came, and it is
//! closed and opened again when the officer drops off.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::RunError;
use super::clock::{Clock, micros};
use crate::client::{Address, Answers, Heard, Pipeline};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::sim::cast::Officer;
use crate::wire::keys;

/// So much before its return an officer begins to connect.
const AHEAD: u64 = 500_000;
/// Pause before another attempt to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Message id, or `unreadable-<stream sequence>`.
    pub token: String,
    /// Its own id: the same for the same publication and outcome.
    pub id: String,
    /// Outcome.
    pub outcome: String,
    /// Code.
    pub code: Option<String>,
    /// Archive sequence.
    pub seq: Option<u64>,
    /// Number of recipients.
    pub recipients: Option<u64>,
    /// Digest of the bytes that it answers.
    pub digest: Option<Digest>,
    /// Id of the message in its target.
    pub target: String,
    /// Places and words of its detail.
    pub detail: Vec<(String, String)>,
}

/// What an officer's connection tells.
#[derive(Debug)]
pub enum What {
    /// The stream took a publication.
    Queued { mark: u64, sequence: u64 },
    /// The stream did not take it.
    NotQueued,
    /// A live receipt.
    Receipt(Receipt),
    /// A stored receipt, or that there is none.
    Stored { mark: u64, receipt: Option<Receipt> },
    /// The officer is about to drop off.
    Leaving,
    /// It is back.
    Back(Connection),
}

/// Something that an officer's connection tells.
#[derive(Debug)]
pub struct Event {
    /// Place in the cast.
    pub officer: usize,
    /// When, in microseconds from the start.
    pub at: u64,
    /// What.
    pub what: What,
}

/// The sending half; hearing ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    /// The way in.
    pub pipeline: Pipeline,
    _hearing: DropGuard,
}

/// How officers connect.
#[derive(Debug, Clone)]
pub struct Road {
    /// Address of NATS.
    pub url: std::sync::Arc<str>,
    /// Directory of the keys.
    pub keys: std::sync::Arc<Path>,
}

impl Road {
    /// The address for a party, with its files for TLS if there is any.
    #[must_use]
    pub fn of(&self, party: &PartyId) -> Address {
        Address::with_keys(&*self.url, &self.keys, party.as_str())
    }
}

/// An open connection that nobody listens to yet.
#[derive(Debug)]
pub struct Opened {
    /// The sending half.
    pub connection: Connection,
    answers: Answers,
    closed: CancellationToken,
}

/// Connects an officer.
///
/// # Errors
/// The key cannot be read, or NATS does not let it in.
pub async fn open(road: &Road, who: &Officer) -> Result<Opened, RunError> {
    let file = road.keys.join(who.party.as_str()).join(format!("{}.nk", who.post));
    let seed = keys::read_seed(&file)?;
    let (pipeline, answers) =
        crate::client::pipeline(&road.of(&who.party), &seed, &who.party, Some(&who.post)).await?;
    let closed = CancellationToken::new();
    let connection = Connection { pipeline, _hearing: closed.clone().drop_guard() };
    Ok(Opened { connection, answers, closed })
}

/// One officer's place in the run.
pub struct Station {
    /// Place in the cast.
    pub officer: usize,
    /// Who it is.
    pub who: Officer,
    /// How it connects.
    pub road: Road,
    /// The clock of the run.
    pub clock: Clock,
    /// Where it tells.
    pub events: mpsc::Sender<Event>,
}

impl Station {
    /// Listens until the connection is dropped; is away in between, if the officer is. Ends early if nobody listens.
    pub async fn attend(self, opened: (Answers, CancellationToken)) {
        let (mut answers, mut closed) = opened;
        if let Some((from, to)) = self.who.away {
            let leaving = tokio::time::sleep_until(self.clock.moment(micros(from)));
            if !self.hear(&mut answers, &closed, leaving).await {
                return;
            }
            self.tell(What::Leaving).await;
            self.hear(&mut answers, &closed, std::future::pending()).await;
            drop(answers);
            tokio::time::sleep_until(self.clock.moment(micros(to).saturating_sub(AHEAD))).await;
            let Some((connection, again)) = self.return_to_work().await else { return };
            (answers, closed) = again;
            self.tell(What::Back(connection)).await;
        }
        self.hear(&mut answers, &closed, std::future::pending()).await;
    }

    /// Connects until it succeeds.
    async fn return_to_work(&self) -> Option<(Connection, (Answers, CancellationToken))> {
        while !self.events.is_closed() {
            match open(&self.road, &self.who).await {
                Ok(opened) => return Some((opened.connection, (opened.answers, opened.closed))),
                Err(error) => tracing::warn!(party = %self.who.party, %error, "an officer cannot return"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    /// Tells what comes, until the connection is dropped, or the time has come: then it is true.
    async fn hear(
        &self,
        answers: &mut Answers,
        closed: &CancellationToken,
        until: impl Future<Output = ()>,
    ) -> bool {
        let mut until = std::pin::pin!(until);
        loop {
            let heard = tokio::select! {
                biased;
                () = closed.cancelled() => return false,
                () = until.as_mut() => return true,
                heard = answers.next() => heard,
            };
            let Some(heard) = heard else { return false };
            let what = match heard {
                Heard::Queued { mark, sequence } => What::Queued { mark, sequence },
                Heard::NotQueued { words, .. } => {
                    tracing::debug!(party = %self.who.party, words, "not queued");
                    What::NotQueued
                }
                Heard::Stored { mark, event } => {
                    What::Stored { mark, receipt: event.and_then(|event| read(String::new(), &event)) }
                }
                Heard::Receipt { token, event } => match read(token, &event) {
                    Some(receipt) => What::Receipt(receipt),
                    None => continue,
                },
            };
            self.tell(what).await;
        }
    }

    async fn tell(&self, what: What) {
        let event = Event { officer: self.officer, at: self.clock.now(), what };
        // Nobody listens any more once the run is over.
        self.events.send(event).await.unwrap_or_default();
    }
}

impl Opened {
    /// Takes the halves apart.
    #[must_use]
    pub fn split(self) -> (Connection, (Answers, CancellationToken)) {
        (self.connection, (self.answers, self.closed))
    }
}

fn read(token: String, event: &[u8]) -> Option<Receipt> {
    let event: Value = serde_json::from_slice(event).ok()?;
    let data = &event["data"];
    let place = |place: &Value| {
        let text = |name: &str| place[name].as_str().unwrap_or_default().to_owned();
        (text("path"), text("message"))
    };
    let text = |name: &str| data[name].as_str().map(str::to_owned);
    Some(Receipt {
        token,
        id: event["id"].as_str()?.to_owned(),
        outcome: text("outcome")?,
        code: text("code"),
        seq: data["seq"].as_u64(),
        recipients: data["recipients"].as_u64(),
        digest: data["sha256"].as_str().and_then(Digest::parse),
        target: data["target"]["id"].as_str().unwrap_or_default().to_owned(),
        detail: data["detail"].as_array().into_iter().flatten().map(place).collect(),
    })
}
