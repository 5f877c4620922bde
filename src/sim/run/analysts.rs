//! Analysts, who replay everything that they may see, again and again, while the others work; and the replay of every feed
//! when all is over, which goes into the log.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::RunError;
use super::clock::Clock;
use super::conductor::{Stages, Stop};
use super::live::Live;
use super::scribe::{Note, Notes};
use super::station::Road;
use crate::client::replay::{Content, Page, Place, Replay, Wanted};
use crate::client::{AskError, Error};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::sim::log::{Analysed, Replayed};
use crate::wire::keys;

/// Pause between two replays of an analyst, and after one that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a broker that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Feeds replayed at once: what the broker reads at once.
const FEEDS: usize = 4;

async fn begin(road: &Road, party: &PartyId) -> Result<Replay, RunError> {
    let seed = keys::read_seed(&road.keys.join(party.as_str()).join("system.nk"))?;
    let wanted = Wanted { patience: PATIENCE, ..Wanted::default() };
    Ok(Replay::connect(&road.of(party), &seed, party, wanted, Place::default()).await?)
}

/// One replay of an analyst, while it is made.
#[derive(Debug)]
struct Pass {
    line: Analysed,
    running: Option<Digest>,
}

impl Pass {
    fn begin(party: &PartyId, at: u64) -> Self {
        let line = Analysed { party: party.to_string(), at, ..Analysed::default() };
        Self { line, running: Some(Digest::default()) }
    }

    /// Takes the next message. A feed is dense: behind a gap nothing can be compared.
    fn take(&mut self, seq: u64, digest: Digest) {
        self.running = self.running.filter(|_| seq == self.line.last + 1).map(|before| before.feed(digest));
        self.line.last = seq;
        self.line.messages += 1;
    }

    /// What is written down of it; nothing if nothing came of it.
    fn end(self) -> Option<Analysed> {
        let running = self.running.filter(|_| self.line.messages > 0).map(|digest| digest.hex());
        let is_empty = self.line.pages == 0 && !self.line.failed;
        (!is_empty).then_some(Analysed { running, ..self.line })
    }
}

/// Replays a party's feed again and again until everything has been sent; notes what came.
pub async fn analyse(
    road: Road,
    party: PartyId,
    (live, clock): (Arc<Live>, Clock),
    stages: Stages,
    notes: Notes,
) {
    let mut pass = Pass::begin(&party, clock.now());
    let work = async {
        loop {
            if let Err(error) = replay_once(&road, &party, &live, &mut pass).await {
                tracing::debug!(%party, %error, "an analyst cannot replay");
                pass.line.failed = true;
            }
            let done = std::mem::replace(&mut pass, Pass::begin(&party, clock.now()));
            note(done, &notes).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = stages.sent.cancelled() => {}
        () = work => {}
    }
    note(pass, &notes).await;
}

async fn replay_once(road: &Road, party: &PartyId, live: &Live, pass: &mut Pass) -> Result<(), RunError> {
    let mut replay = begin(road, party).await?;
    while let Some(page) = replay.next().await {
        let page = page?;
        pass.line.pages += 1;
        page.messages.iter().for_each(|message| pass.take(message.seq, message.digest));
        live.analysed.fetch_add(page.messages.len() as u64, Relaxed);
    }
    Ok(())
}

async fn note(pass: Pass, notes: &Notes) {
    if let Some(line) = pass.end() {
        // Without a scribe the run is over.
        notes.send(Note::Analysed(line)).await.unwrap_or_default();
    }
}

/// Replays every feed once, into the log; a sentence for each that could not be.
///
/// # Errors
/// The log cannot be written.
pub async fn replay_all(
    road: &Road,
    parties: Vec<PartyId>,
    notes: &Notes,
    live: &Live,
    stop: &Stop,
) -> Result<Vec<String>, RunError> {
    let feeds = stream::iter(parties.into_iter().map(|party| async move {
        tokio::select! {
            () = stop.all.cancelled() => Ok(None),
            done = replay_one(road, &party, notes, live) => match done {
                // One that takes no part has no feed to show.
                Ok(()) | Err(RunError::Client(Error::Ask(AskError::Refused { status: 403, .. }))) => Ok(None),
                Err(error @ RunError::Broken(_)) => Err(error),
                Err(error) => Ok(Some(format!("{party}: the feed could not be replayed: {error}"))),
            },
        }
    }));
    let told: Vec<Option<String>> = feeds.buffer_unordered(FEEDS).try_collect().await?;
    Ok(told.into_iter().flatten().collect())
}

async fn replay_one(road: &Road, party: &PartyId, notes: &Notes, live: &Live) -> Result<(), RunError> {
    let mut replay = begin(road, party).await?;
    while let Some(page) = replay.next().await {
        let lines = lines(party, &page?);
        live.replayed.fetch_add(lines.len() as u64, Relaxed);
        notes.send(Note::Replayed(lines)).await.map_err(|_| RunError::Broken("the log"))?;
    }
    Ok(())
}

fn lines(party: &PartyId, page: &Page) -> Vec<Replayed> {
    let line = |message: &crate::client::replay::Message| Replayed {
        party: party.to_string(),
        feed_seq: message.seq,
        digest: message.digest.hex(),
        sha256: match &message.content {
            Content::Event(bytes) => Some(Digest::of(bytes).hex()),
            Content::Tombstone(_) => None,
        },
    };
    page.messages.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_told_with_the_running_digest_unless_it_has_a_gap() {
        let party = PartyId::parse("it-moi").expect("a party");
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let pass = |seqs: [u64; 2]| {
            let mut pass = Pass::begin(&party, 7);
            pass.line.pages = 1;
            pass.take(seqs[0], one);
            pass.take(seqs[1], two);
            pass.end().expect("something came")
        };
        let dense = pass([1, 2]);
        assert_eq!(dense.running, Some(Digest::default().feed(one).feed(two).hex()));
        assert_eq!((dense.messages, dense.last, dense.at), (2, 2, 7));
        assert_eq!((pass([1, 3]).running, pass([2, 3]).running), (None, None));
        assert_eq!(Pass::begin(&party, 7).end(), None);
        let mut failed = Pass::begin(&party, 7);
        failed.line.failed = true;
        assert!(failed.end().is_some_and(|line| line.failed && line.running.is_none()));
    }
}
