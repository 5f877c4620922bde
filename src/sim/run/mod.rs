//! The run: sends what the script says when it is due, reads every mailbox, and writes down what it saw.
//!
//! ```text
//! script (thread) -> conductor (thread) -> connections of the officers -> stations -> conductor
//!                          \-> scribe (thread) <- readers, final replay, probe
//! ```
//!
//! Everything is bounded: attempts ahead, under way and held, notes, letters at once. It judges nothing: what is wrong with
//! what it saw is the auditor's business.

mod analysts;
mod clock;
mod conductor;
mod crew;
mod desk;
pub mod dry;
mod echo;
mod headers;
mod live;
mod network;
mod probe;
mod readers;
mod recent;
mod scribe;
mod station;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::clock::Clock;
pub use self::conductor::Stop;
pub use self::live::{Live, Percentiles};
pub use self::network::{Network, enrol, midnight};
pub use self::station::Road;

use self::conductor::Stages;
use self::crew::Ready;
use self::scribe::{Notes, Scribe};
use crate::message::names::PartyId;
use crate::message::outcome::Code;
use crate::message::time;
use crate::sim::cast::Cast;
use crate::sim::log::{LogError, Run, Writer};
use crate::sim::plan::Plan;
use crate::sim::script::{Setting, left_out};
use crate::wire::mailbox::MailboxError;

/// From when all are connected to the start.
const LEAD: Duration = Duration::from_millis(1_500);

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A client.
    #[error(transparent)]
    Client(#[from] crate::client::Error),
    /// Connections and keys.
    #[error(transparent)]
    Wire(#[from] crate::wire::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A mailbox.
    #[error("the mailbox of {0} cannot be read: {1}")]
    Mailbox(PartyId, MailboxError),
    /// Files.
    #[error("{}: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The registry does not give a cast.
    #[error("{0}")]
    Cast(String),
    /// The network is not as it must be.
    #[error("{0}")]
    NotReady(String),
    /// The plan has messages of the case plane, and the broker takes none.
    #[error(
        "the plan has messages of the case plane (mix.case), which this broker does not take: start it with --enable-case-plane, or take them out of the plan"
    )]
    NoCasePlane,
    /// The same seed again on the same archive.
    #[error(
        "messages of this seed were published there before: every one would be a duplicate. Take another --seed, or a new data directory"
    )]
    PlayedBefore,
    /// The system gives no thread.
    #[error("starting a thread: {0}")]
    Thread(std::io::Error),
    /// A part of the run ended before its time.
    #[error("{0} ended before the run did")]
    Broken(&'static str),
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    /// It was broken off by a signal.
    pub interrupted: bool,
    /// Everything was waited for and looked at; false if a second signal broke that off too.
    pub complete: bool,
    /// What went wrong and is not in the log, a sentence each.
    pub remarks: Vec<String>,
}

/// What is to be played, where.
#[derive(Debug)]
pub struct Play {
    /// The plan, with what the command line put over it.
    pub plan: Plan,
    /// The network.
    pub network: Network,
    /// Directory of the log.
    pub out: PathBuf,
    /// From outside.
    pub stop: Stop,
    /// For who watches.
    pub live: Arc<Live>,
}

/// A run whose participants are all connected.
pub struct Prepared {
    play: Play,
    ready: Ready,
    cast: Cast,
    run: Run,
}

impl Play {
    /// Connects everybody and makes the network ready.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn prepare(self) -> Result<Prepared, RunError> {
        let Self { plan, network, stop, .. } = &self;
        let cast = Cast::choose(plan, &network.registry).map_err(RunError::Cast)?;
        let mailboxes = network::mailboxes(network, &cast).await?;
        let case_plane = network::takes_case_plane(&mailboxes).await?;
        if plan.mix.case > 0.0 && !case_plane {
            // Other messages in their place would be a run that nobody asked for.
            return Err(RunError::NoCasePlane);
        }
        let fresh = network::is_fresh(network, &mailboxes).await;
        let clock = plan.clock.unwrap_or_else(midnight);
        let setting = Setting { clock, case_plane, fresh };
        if !fresh {
            network::was_not_played(network, &cast, &dry::first(plan, &cast, setting)).await?;
        }
        network::subscribe(&cast, &mailboxes).await?;
        let opened = crew::connect(network, &cast, &stop.all).await?;
        let run = Run {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan: plan.clone(),
            registry: network.registry.clone(),
            clock,
            started: time::now(),
            ended: None,
            interrupted: false,
            case_plane,
            fresh,
        };
        Ok(Prepared { play: self, ready: Ready { mailboxes, opened, setting }, cast, run })
    }
}

impl Prepared {
    /// Plays; the clock is told to `started` when it is known.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn play(self, started: impl FnOnce(Clock)) -> Result<Ended, RunError> {
        let Self { play, ready, cast, mut run } = self;
        let clock = Clock::starting_in(LEAD);
        run.started = time::now().saturating_add(LEAD).unwrap_or_else(|_| time::now());
        started(clock);
        let (scribe, notes) = Scribe::begin(Writer::create(&play.out, &run)?)?;
        let over = tokio_util::sync::CancellationToken::new();
        let probing = tokio::spawn(probe::probe(
            play.network.endpoints.clone(),
            play.network.endpoints_file.clone(),
            clock,
            Arc::clone(&play.live),
            notes.clone(),
            over.clone(),
        ));
        let remarks = act(&play, ready, cast, clock, notes).await;
        over.cancel();
        probing.await.map_err(|_| RunError::Broken("the probe"))?;
        let remarks = remarks?;
        let complete = !play.stop.all.is_cancelled();
        run.ended = complete.then(time::now);
        run.interrupted = play.stop.sending.is_cancelled();
        let interrupted = run.interrupted;
        tokio::task::spawn_blocking(move || scribe.finish(&run))
            .await
            .map_err(|_| RunError::Broken("the scribe"))??;
        Ok(Ended { interrupted, complete, remarks })
    }

    /// Refusals that this run does not play, each with the reason.
    #[must_use]
    pub fn left_out(&self) -> Vec<(Code, &'static str)> {
        left_out(&self.play.plan, &self.cast, self.ready.setting)
    }

    /// Where the log goes.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.play.out
    }
}

/// Everything between the start and the last replay; what went wrong, a sentence each.
async fn act(
    play: &Play,
    ready: Ready,
    cast: Cast,
    clock: Clock,
    notes: Notes,
) -> Result<Vec<String>, RunError> {
    let Play { plan, network, stop, live, .. } = play;
    let stages = Stages::default();
    let Ready { mailboxes, opened, setting } = ready;
    let script = crew::script(plan, &cast, setting)?;
    for place in &cast.analysts {
        let Some(authority) = cast.authorities.get(*place) else { continue };
        let (road, party) = (network.road.clone(), authority.party.clone());
        let seen = (Arc::clone(live), clock);
        tokio::spawn(analysts::analyse(road, party, seen, stages.clone(), notes.clone()));
    }
    let readers: Vec<_> = cast
        .authorities
        .iter()
        .zip(mailboxes)
        .map(|(authority, (mailbox, last))| {
            let reader = readers::Reader {
                authority: authority.clone(),
                mailbox,
                last,
                seed: plan.seed,
                clock,
                notes: notes.clone(),
                live: Arc::clone(live),
                stages: stages.clone(),
                stop: stop.clone(),
            };
            tokio::spawn(reader.run())
        })
        .collect();
    let parties: Vec<PartyId> = cast.authorities.iter().map(|authority| authority.party.clone()).collect();
    let conductor =
        crew::conductor(play, cast, opened, (script, setting.fresh), clock, notes.clone(), &stages);
    let conducted = conductor?.await;
    // Whatever ended it: nobody waits for it any more.
    stages.sent.cancel();
    stages.settled.cancel();
    let conducted = conducted.map_err(|_| RunError::Broken("the conductor"))?;
    if conducted.is_err() {
        stop.all.cancel();
    }
    let mut remarks = Vec::new();
    for reader in readers {
        remarks.extend(reader.await.map_err(|_| RunError::Broken("a reader"))??);
    }
    conducted?;
    remarks.extend(analysts::replay_all(&network.road, parties, &notes, live, stop).await?);
    Ok(remarks)
}
