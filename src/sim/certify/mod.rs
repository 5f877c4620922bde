//! Acceptance: a foreign system of one party is led through scenarios, and what it does right and wrong is written down.
//!
//! ```text
//! its publisher  <- lines  -- certifier --  keys of other parties -> broker
//!    |                                                                 ^
//!    +--- proxy that can be cut, and a tap on what it publishes -------+
//! ```
//!
//! The foreign system is two commands, run in a shell with `LIAISON_NATS`, `LIAISON_KEY`, `LIAISON_PARTY` and
//! `LIAISON_POST`. The publisher reads lines `{"subject", "message", "payload"}` and must publish the text `payload` byte
//! for byte; it prints a receipt a line. The subscriber prints `{"feed_seq", "digest", "event"}` a line and acknowledges
//! what it printed; if it keeps the running digest it says so with `feed_digest`. Nothing is believed that the commands say of
//! themselves where the tap or the broker can tell.
//!
//! It needs the data directory of a `liaison up` without other traffic for the party. With `--tls` the proxy stands between with the
//! server's own key, and `LIAISON_TLS_CA`, `LIAISON_TLS_CERT` and `LIAISON_TLS_KEY` name the party's files.

mod altering;
mod certificate;
mod driven;
mod messages;
mod proxy;
mod publishing;
mod reading;
mod stage;
mod tap;

use std::path::PathBuf;
use std::time::Duration;

use crate::client;
use crate::message::names::{PartyId, PostId};
use crate::message::time;

use self::certificate::together;
pub use self::certificate::{Certificate, Check, Shown, Verdict};
use self::stage::Stage;

/// Version of the certificate.
const FORMAT: u32 = 1;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Valid messages.
    Valid,
    /// Invalid ones among valid ones.
    Invalid,
    /// The same message twice.
    Duplicate,
    /// The connection is cut while messages are sent.
    Outage,
    /// Very many messages at once.
    Burst,
    /// Nobody takes what it prints.
    SlowConsumer,
    /// The connection is cut while messages are read.
    Interrupted,
    /// A letter is changed on the way.
    Altered,
    /// A message is taken back.
    Recall,
    /// A message is to be erased everywhere.
    Erasure,
}

impl Scenario {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 10] = [
        Self::Valid,
        Self::Invalid,
        Self::Duplicate,
        Self::Outage,
        Self::Burst,
        Self::SlowConsumer,
        Self::Interrupted,
        Self::Altered,
        Self::Recall,
        Self::Erasure,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Duplicate => "duplicate",
            Self::Outage => "outage",
            Self::Burst => "burst",
            Self::SlowConsumer => "slow-consumer",
            Self::Interrupted => "interrupted",
            Self::Altered => "altered",
            Self::Recall => "recall",
            Self::Erasure => "erasure",
        }
    }

    /// What it is about.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Valid => "Valid messages are published as they are, and their receipts awaited.",
            Self::Invalid => {
                "A refusal is reported with its code, not tried again for ever, and stops nothing."
            }
            Self::Duplicate => "The receipt of a duplicate is a success.",
            Self::Outage => {
                "The connection is cut twice while messages are sent; they are sent again unchanged."
            }
            Self::Burst => "Very many messages wait in the mailbox; all are read and acknowledged.",
            Self::SlowConsumer => {
                "What reads behind it stands still for a while; it acknowledges no more than it could hand on."
            }
            Self::Interrupted => "The connection is cut while messages are read; none is lost.",
            Self::Altered => {
                "A letter is changed on the way: it is not taken for what was archived, and the true one is read when it comes again."
            }
            Self::Recall => "A message is retracted; that it is gone is confirmed to the broker.",
            Self::Erasure => {
                "A message is erased by order of its originator; that it is gone is confirmed to the broker."
            }
        }
    }

    /// True if it needs the publisher, else the subscriber.
    #[must_use]
    pub fn publishes(self) -> bool {
        matches!(self, Self::Valid | Self::Invalid | Self::Duplicate | Self::Outage)
    }
}

/// What is certified, and how hard.
#[derive(Debug, Clone)]
pub struct Options {
    /// Data directory of a running `liaison up`.
    pub data: PathBuf,
    /// Whose system.
    pub party: PartyId,
    /// The post that publishes; none: the system user.
    pub post: Option<PostId>,
    /// Command that publishes.
    pub publisher: Option<String>,
    /// Command that reads the mailbox.
    pub subscriber: Option<String>,
    /// What is tried; empty: everything.
    pub scenarios: Vec<Scenario>,
    /// Longest time for one step of a scenario.
    pub limit: Duration,
    /// Messages that are sent while the connection is cut.
    pub outage: usize,
    /// Messages that wait at once.
    pub burst: usize,
}

impl Options {
    /// Everything, as hard as an acceptance is.
    #[must_use]
    pub fn new(data: PathBuf, party: PartyId) -> Self {
        Self {
            data,
            party,
            post: None,
            publisher: None,
            subscriber: None,
            scenarios: Vec::new(),
            limit: Duration::from_secs(120),
            outage: 200,
            burst: 1_000,
        }
    }
}

/// Why nothing could be certified. What the foreign system does wrong is no error.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The data directory.
    #[error("{0}: {1}")]
    Data(PathBuf, String),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] crate::wire::Error),
    /// The broker cannot be used by the certifier itself.
    #[error("the certifier's own connection: {0}")]
    Client(#[from] client::Error),
    /// A command could not be started, or no port be had.
    #[error("{0}: {1}")]
    Start(&'static str, std::io::Error),
    /// Nobody may write to the party.
    #[error("no other party of this data directory can send a message to {0}")]
    NoSender(PartyId),
    /// What the certifier itself sent was not accepted.
    #[error("the certifier's own message was not accepted: {0}")]
    Own(String),
}

/// Leads the foreign system through the scenarios.
///
/// # Errors
/// See [`CertifyError`].
pub async fn run(options: Options) -> Result<Certificate, CertifyError> {
    let started = time::now();
    let scenarios =
        if options.scenarios.is_empty() { Scenario::ALL.to_vec() } else { options.scenarios.clone() };
    let mut stage = Stage::set(options).await?;
    let mut shown = Vec::new();
    for scenario in scenarios {
        let watch = time::stopwatch();
        stage.clear();
        let checks = play(&mut stage, scenario).await?;
        let verdicts: Vec<Verdict> = checks.iter().map(|check| check.verdict).collect();
        tracing::info!(scenario = scenario.as_str(), "certified");
        shown.push(Shown {
            scenario: scenario.as_str(),
            words: scenario.words(),
            verdict: together(&verdicts),
            took_ms: u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
            checks,
        });
    }
    let verdicts: Vec<Verdict> = shown.iter().map(|shown| shown.verdict).collect();
    Ok(Certificate {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        party: stage.options.party.clone(),
        post: stage.options.post.clone(),
        started,
        ended: time::now(),
        verdict: together(&verdicts),
        scenarios: shown,
    })
}

async fn play(stage: &mut Stage, scenario: Scenario) -> Result<Vec<Check>, CertifyError> {
    let command = if scenario.publishes() { &stage.options.publisher } else { &stage.options.subscriber };
    if command.is_none() {
        return Ok(vec![Check::unseen("there is a command", "none was given".to_owned())]);
    }
    match scenario {
        Scenario::Valid => publishing::valid(stage).await,
        Scenario::Invalid => publishing::invalid(stage).await,
        Scenario::Duplicate => publishing::duplicate(stage).await,
        Scenario::Outage => publishing::outage(stage).await,
        Scenario::Burst => Box::pin(reading::burst(stage)).await,
        Scenario::SlowConsumer => Box::pin(reading::slow_consumer(stage)).await,
        Scenario::Interrupted => Box::pin(reading::interrupted(stage)).await,
        Scenario::Altered => Box::pin(reading::altered(stage)).await,
        Scenario::Recall => Box::pin(reading::recall(stage)).await,
        Scenario::Erasure => Box::pin(reading::erasure(stage)).await,
    }
}
