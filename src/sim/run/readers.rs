//! Who reads: one connection an authority, one pull of its mailbox after the other; each letter is noted, then acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::json;

use super::RunError;
use super::clock::Clock;
use super::conductor::{Stages, Stop};
use super::headers::are_those_of_a_letter;
use super::live::Live;
use super::scribe::{Note, Notes};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::stopwatch;
use crate::sim::cast::{Authority, Reads};
use crate::sim::log::Read;
use crate::sim::script::attempt_of;
use crate::wire::asking::{AskError, Asker};
use crate::wire::connect::Client;
use crate::wire::mailbox::{Letter, Mailbox, MailboxError};

/// Letters asked for at once.
const BATCH: usize = 256;
/// Letters noted at once.
const AT_ONCE: usize = 64;
/// How long a pull waits, while more is to come and at the end.
const WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(500));
/// Pause after a pull that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it is asked for the last number of a feed.
const ASKING: Duration = Duration::from_secs(30);
/// How long a mailbox must have been empty before it is believed that a letter with a known number does not come.
const EMPTY: Duration = Duration::from_secs(10);
/// How long a reader waits for a letter that does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The mailbox of one authority, connected.
#[derive(Debug, Clone)]
pub struct Box {
    /// Whose.
    pub party: PartyId,
    mailbox: Mailbox,
    asker: Asker,
}

impl Box {
    /// Over this connection, which must be that of the party's system user.
    #[must_use]
    pub fn new(party: PartyId, nats: Client) -> Self {
        let mailbox = Mailbox::of(nats.clone(), &party);
        let asker = Asker::new(nats, party.clone());
        Self { party, mailbox, asker }
    }

    /// Asks a service.
    #[must_use]
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Reads and forgets what waits there; the last number of the feed.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn empty(&self) -> Result<u64, RunError> {
        let fault = |error: MailboxError| RunError::Mailbox(self.party.clone(), error);
        let begun = stopwatch();
        while self.mailbox.left().await.map_err(fault)? != (0, 0) && begun.elapsed() < PATIENCE {
            let mut pull = self.mailbox.begin(BATCH, WAIT.1).await.map_err(fault)?;
            while let Some(letter) = pull.next().await.map_err(fault)? {
                self.mailbox.acknowledge(&letter).await.map_err(fault)?;
            }
            self.mailbox.flush().await.map_err(fault)?;
        }
        match self.head().await {
            Head::At(last) => Ok(last),
            Head::None => Ok(0),
            Head::Unknown => Err(RunError::NotReady(format!("no broker answers {}", self.party))),
        }
    }

    /// The last number of the feed.
    pub async fn head(&self) -> Head {
        #[derive(Deserialize)]
        struct Page {
            head: u64,
        }
        let begun = stopwatch();
        loop {
            match self.asker.ask("replay", &json!({ "limit": 1 })).await {
                Ok(answer) => {
                    let page = serde_json::from_slice(&answer);
                    return page.map_or(Head::Unknown, |page: Page| Head::At(page.head));
                }
                Err(AskError::Refused { status: 403, .. }) => return Head::None,
                // All mailboxes ask at the same time, and the broker reads few pages at once.
                Err(AskError::Refused { retry_after_ms, .. }) if begun.elapsed() < ASKING => {
                    let rest = Duration::from_millis(retry_after_ms.unwrap_or(100)).min(PAUSE);
                    tokio::time::sleep(rest).await;
                }
                Err(_) => return Head::Unknown,
            }
        }
    }
}

/// What a party can learn of the last number of its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The number.
    At(u64),
    /// It takes no part: nothing is delivered to it.
    None,
    /// The broker did not say.
    Unknown,
}

/// One authority that reads.
pub struct Reader {
    /// Who, and how.
    pub authority: Authority,
    /// Its mailbox.
    pub mailbox: Box,
    /// Last number of its feed before the start.
    pub last: u64,
    /// Seed of the script: letters of its attempts are measured.
    pub seed: u64,
    /// The clock of the run.
    pub clock: Clock,
    /// To the log.
    pub notes: Notes,
    /// For who watches.
    pub live: Arc<Live>,
    /// What it waits for.
    pub stages: Stages,
    /// From outside.
    pub stop: Stop,
}

impl Reader {
    /// Reads until everything that was sent has come; a sentence if it has not.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn run(mut self) -> Result<Option<String>, RunError> {
        if self.authority.reads == Reads::Afterwards {
            tokio::select! {
                () = self.stages.sent.cancelled() => {}
                () = self.stop.all.cancelled() => return Ok(None),
            }
        }
        let mut moved = stopwatch();
        let mut empty = None;
        while !self.stop.all.is_cancelled() {
            let settled = self.stages.settled.is_cancelled();
            let count = match self.pull(settled).await? {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(party = %self.mailbox.party, %error, "the mailbox cannot be read");
                    tokio::time::sleep(PAUSE).await;
                    0
                }
            };
            if count > 0 || !settled {
                (moved, empty) = (stopwatch(), None);
                continue;
            }
            match self.mailbox.head().await {
                Head::At(head) if self.last >= head => return Ok(None),
                Head::None => return Ok(None),
                Head::At(_) | Head::Unknown => {}
            }
            // Nothing is waiting and nothing comes: letters that were taken back.
            if self.mailbox.mailbox.left().await.is_ok_and(|left| left == (0, 0)) {
                if empty.get_or_insert_with(stopwatch).elapsed() > EMPTY {
                    return Ok(None);
                }
            } else {
                empty = None;
            }
            if moved.elapsed() > PATIENCE {
                return Ok(Some(format!("{}: letters wait that do not come", self.mailbox.party)));
            }
        }
        Ok(None)
    }

    /// One pull; how many letters it gave. The outer error ends the run.
    async fn pull(&mut self, settled: bool) -> Result<Result<usize, MailboxError>, RunError> {
        let sent = self.stages.sent.is_cancelled();
        let (most, wait, rest) = match self.authority.reads {
            Reads::Slowly(rate) if !sent => slowly(rate),
            _ => (BATCH, if settled { WAIT.1 } else { WAIT.0 }, None),
        };
        let rested = rest.map(|rest| tokio::time::Instant::now() + rest);
        let mut pull = match self.mailbox.mailbox.begin(most, wait).await {
            Ok(pull) => pull,
            Err(error) => return Ok(Err(error)),
        };
        let mut count = 0;
        loop {
            let first = tokio::select! {
                biased;
                () = self.stop.all.cancelled() => return Ok(Ok(count)),
                // Nothing else breaks a pull off: what the server sent for it would come again only after a minute.
                first = pull.next() => first,
            };
            let first = match first {
                Ok(Some(letter)) => letter,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            let at = self.clock.now();
            let mut letters = vec![first];
            while letters.len() < AT_ONCE
                && let Some(Ok(Some(letter))) = pull.next().now_or_never()
            {
                letters.push(letter);
            }
            count += letters.len();
            self.note(&letters, at).await?;
            for letter in &letters {
                if let Err(error) = self.mailbox.mailbox.acknowledge(letter).await {
                    return Ok(Err(error));
                }
            }
        }
        if let Some(until) = rested {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.stages.sent.cancelled() => {}
            }
        }
        Ok(Ok(count))
    }

    async fn note(&mut self, letters: &[Letter], at: u64) -> Result<(), RunError> {
        let held = self.authority.reads != Reads::Promptly;
        let lines: Vec<Read> =
            letters.iter().map(|letter| line(&self.mailbox.party, letter, at, held)).collect();
        self.last = lines.iter().map(|line| line.feed_seq).fold(self.last, u64::max);
        self.live.letters.fetch_add(lines.len() as u64, Relaxed);
        if !held {
            self.live.deliveries(lines.iter().filter_map(|line| attempt_of(&line.id, self.seed)), at);
        }
        self.notes.send(Note::Letters(lines)).await.map_err(|_| RunError::Broken("the log"))
    }
}

/// Letters at once, how long they are waited for, and when it is asked again.
fn slowly(rate: f64) -> (usize, Duration, Option<Duration>) {
    let span = (1.0 / rate).clamp(1.0, 60.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    let most = (rate * span).round().clamp(1.0, BATCH as f64) as usize;
    (most, WAIT.1, Some(Duration::from_secs_f64(most as f64 / rate)))
}

fn line(party: &PartyId, letter: &Letter, at: u64, held: bool) -> Read {
    #[derive(Deserialize)]
    struct Event {
        id: String,
        source: String,
    }
    let payload = letter.payload();
    let event = serde_json::from_slice(&payload)
        .unwrap_or_else(|_| Event { id: String::new(), source: String::new() });
    let digest = letter.header("Ilo-Digest");
    Read {
        party: party.to_string(),
        subject: letter.subject().to_owned(),
        feed_seq: letter.header(crate::wire::FEED_SEQ).parse().unwrap_or_default(),
        id: event.id,
        source: event.source,
        sha256: Digest::of(&payload).hex(),
        digest: digest.strip_prefix("sha256:").map_or(digest.clone(), str::to_owned),
        feed_digest: letter.header("Ilo-Feed-Digest"),
        stream_seq: letter.stream_sequence(),
        odd_headers: !are_those_of_a_letter(letter.headers()),
        at,
        held,
    }
}
