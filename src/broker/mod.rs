//! The daemon: joins words, rules, memory and road into the way of a message.
//!
//! ```text
//! intake (a task a party) -> judging (thread) -> keeper (thread, commits) -> outgoing (receipts, acknowledgements)
//!                                                                       \-> couriers (a task a party, mailboxes)
//! ```
//! Every queue between them is bounded, so a slow end slows the start and nothing piles up. Only this room logs and
//! counts. It holds no rule: what may be sent to whom is `rules`' word alone.

pub mod audit;
mod broom;
pub mod checkpoints;
mod cluster;
pub mod config;
mod connections;
mod courier;
mod couriers;
mod drafts;
mod explain;
mod floors;
mod gaps;
mod gauges;
mod handling;
mod intake;
pub mod judging;
pub mod keeper;
mod lease;
pub mod metrics;
mod notices;
mod outgoing;
mod own;
pub mod rate;
pub mod recall;
pub mod receipt;
mod reloading;
pub mod replay;
mod replica;
pub mod retention;
pub mod routes;
pub mod rulebook;
pub mod services;
mod space;
mod standbys;
mod supervision;
pub mod survey;
mod sweeper;
mod threads;
mod view;
mod withdrawals;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::connections::{Trouble, check as check_nats};
pub use self::view::View;

use self::audit::Audit;
use self::checkpoints::Checkpoints;
use self::cluster::{Held, Seat};
use self::config::Config;
use self::connections::Connections;
use self::couriers::Couriers;
use self::floors::Floors;
use self::gauges::Gauges;
use self::handling::Asker;
use self::intake::Gate;
use self::keeper::{Done, Keeper, Work};
use self::metrics::Metrics;
use self::outgoing::Outgoing;
use self::rate::Rate;
use self::replay::{Backlog, Limits, Replay};
use self::routes::Routes;
use self::services::Services;
use self::space::Reserve;
use self::standbys::Standbys;
use self::withdrawals::Withdrawals;
use crate::archive::{self, Archive, Reader};
use crate::message::names::PartyId;
use crate::message::raw::Raw;
use crate::rules::Rules;
use crate::wire::acker::Acker;
use crate::wire::inspect::Inspector;
use crate::wire::intake::Puller;
use crate::wire::subscriptions::Bucket;

/// Batches waiting between two stages. Few: a stage that is behind is not helped by more waiting before it, and what was
/// judged long before it is kept has left the processor's caches by then.
const BATCHES: usize = 4;

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration, registry or schemas: all faults.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// The archive.
    #[error("archive: {0}")]
    Archive(#[from] archive::Error),
    /// NATS.
    #[error("NATS: {0}")]
    Wire(#[from] crate::wire::Error),
    /// NATS, in its own words.
    #[error("NATS: {0}")]
    Nats(String),
    /// A thread cannot be started.
    #[error("starting thread {0}: {1}")]
    Thread(&'static str, std::io::Error),
    /// A stage ended that must not.
    #[error("{0} ended; the daemon stops so that nothing is promised that cannot be kept")]
    Stage(&'static str),
    /// The drain took longer than allowed.
    #[error("the drain was cut off after {0} s; what was not receipted stays in the intake streams")]
    Drain(u64),
}

/// What the stages share. Each lock is held for a look or a swap, never across an await.
#[derive(Clone)]
struct Shared {
    rules: Arc<RwLock<Arc<Rules>>>,
    routes: Arc<RwLock<Routes>>,
    rate: Arc<RwLock<Rate>>,
    couriers: Arc<RwLock<Couriers>>,
    metrics: Arc<Metrics>,
    reader: Reader,
    checkpoints: Arc<Checkpoints>,
    audit: Audit,
    replay: Arc<RwLock<Limits>>,
    reserve: Arc<Reserve>,
    standbys: Arc<Standbys>,
}

/// A running broker. Drop does not stop it: call [`Broker::stop`].
pub struct Broker {
    config: Config,
    shared: Shared,
    connections: Connections,
    acker: Acker,
    parties: BTreeSet<PartyId>,
    ready: Arc<AtomicBool>,
    gauges: Arc<Gauges>,
    raw: mpsc::Sender<Vec<Raw>>,
    stop_intake: CancellationToken,
    stop_all: CancellationToken,
    tasks: JoinSet<()>,
    judge: std::thread::JoinHandle<()>,
    keeper: std::thread::JoinHandle<Result<(), archive::Error>>,
    outgoing: tokio::task::JoinHandle<()>,
    failed: watch::Receiver<Option<&'static str>>,
    held: Option<Held>,
}

impl Broker {
    /// Opens the archive, connects, asserts the streams and begins to take messages. In a cluster `standing_by` is called
    /// when this instance follows the one that serves, and the rest is done when it takes over.
    ///
    /// # Errors
    /// See [`Error`]; nothing was taken then.
    pub async fn start(config: Config, standing_by: impl FnOnce()) -> Result<Self, Error> {
        let mut rules = rulebook::load(&config).map_err(Error::Configuration)?;
        let (fail, failed) = watch::channel(None);
        // Its future is large, and is the whole of a start while it stands by.
        let (archive, mut seat) = Box::pin(cluster::open(&config, &fail, standing_by)).await?;
        if seat.is_some() {
            // Who stood by for weeks has old ones.
            rules = rulebook::load(&config).map_err(Error::Configuration)?;
        }
        let parties: Vec<PartyId> = rules.registry.parties().map(|party| party.id.clone()).collect();
        let (log, cut) = archive.audit()?;
        if cut > 0 {
            tracing::warn!(
                cut_bytes = cut,
                "cut a torn frame from the audit log; nobody was told it was written"
            );
        }
        let audit = Audit::start(log, config.archive.directory.clone(), fail.clone())?;
        let term = seat.as_ref().map(|seat| seat.held.term.clone());
        let connections = Connections::open(&config, term, &parties).await?;
        connections::ensure_or_later(&config, &parties, &fail).await?;
        connections::hold_suspended(&config, &rules.registry).await?;
        let reader = archive.reader();
        sweeper::believe_in_clock(&reader, config.trust_clock)?;
        let (bucket, routes) =
            connections::settled(&config, async || routes::rebuild(&reader, &connections.control).await)
                .await?;
        let shared = Shared {
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            routes: Arc::new(RwLock::new(routes)),
            rate: Arc::new(RwLock::new(config.rate)),
            couriers: Arc::default(),
            metrics: Arc::new(Metrics::default()),
            checkpoints: Arc::new(Checkpoints::open(&config, &reader)?),
            reader,
            audit,
            replay: Arc::new(RwLock::new(config.replay)),
            reserve: Arc::new(Reserve::new(&config.archive)),
            standbys: seat.as_mut().map(|seat| std::mem::take(&mut seat.standbys)).unwrap_or_default().into(),
        };
        shared.reserve.look(&shared.metrics);
        shared.metrics.lease_epoch.set(seat.as_ref().map_or(0, |seat| seat.epoch));
        shared.audit.begin(shared.reader.head_seq()).await?;
        let (registered, can_be_asked) = oneshot::channel();
        let alarm = (fail, failed);
        let mut broker =
            Self::join(config, shared, (archive, seat), connections, bucket.clone(), registered, alarm)?;
        for party in parties {
            broker.serve(party);
        }
        // Ready means that the first question is answered too.
        can_be_asked.await.map_err(|_| Error::Nats("the services could not be registered".to_owned()))?;
        bucket.touch().await.map_err(Error::Nats)?;
        broker.ready.store(true, Ordering::Relaxed);
        Ok(broker)
    }

    /// Starts the stages that do not belong to one party, the last first, so that none speaks to nobody.
    fn join(
        config: Config,
        shared: Shared,
        (archive, seat): (Archive, Option<Seat>),
        connections: Connections,
        bucket: Bucket,
        registered: oneshot::Sender<()>,
        (fail, failed): (watch::Sender<Option<&'static str>>, watch::Receiver<Option<&'static str>>),
    ) -> Result<Self, Error> {
        let (stop_intake, stop_all) = (CancellationToken::new(), CancellationToken::new());
        let (raw, raw_out) = mpsc::channel::<Vec<Raw>>(BATCHES);
        let (judged_in, judged_out) = mpsc::channel::<Work>(BATCHES);
        let (done_in, done_out) = mpsc::channel::<Done>(BATCHES);
        let asker = Asker::new(&judged_in);
        let gauges = Gauges::new(config.archive.directory.clone(), &raw, &judged_in, &done_in);
        let (publisher, inspector) =
            (connections.publisher.clone(), Inspector::new(connections.egress.clone()));
        let (floors, acker) = Floors::open(&config.archive.directory);
        let outgoing = Outgoing {
            publisher: publisher.clone(),
            issuer: config.issuer(),
            acker: acker.clone(),
            floors,
            inspector: inspector.clone(),
            couriers: Arc::clone(&shared.couriers),
            metrics: Arc::clone(&shared.metrics),
        };
        let outgoing = tokio::spawn(outgoing.run(done_out));
        let (replica, held) = seat.map(|seat| (seat.replica, seat.held)).unzip();
        let keeper = {
            let keeper = Keeper::new(archive, replica, &shared, config.issuer());
            threads::spawn("keeper", fail.clone(), move || keeper.run(judged_out, &done_in))?
        };
        let judge = {
            let rules = Arc::clone(&shared.rules);
            threads::spawn("judge", fail, move || judging::run(&rules, raw_out, &judged_in))?
        };
        let mut tasks = JoinSet::new();
        // Until the process ends: the drain needs lines too.
        tokio::spawn(publisher.keep(CancellationToken::new()));
        tasks.spawn(routes::follow(bucket.clone(), Arc::clone(&shared.routes), stop_all.clone()));
        tasks.spawn(checkpoints::run(shared.clone(), stop_all.clone()));
        tasks.spawn(space::watch(shared.clone(), stop_all.clone()));
        tasks.spawn(Standbys::watch(shared.clone(), stop_all.clone()));
        let replay = Arc::new(Replay {
            reader: shared.reader.clone(),
            audit: shared.audit.clone(),
            metrics: Arc::clone(&shared.metrics),
            limits: Arc::clone(&shared.replay),
            intake: Backlog(raw.downgrade()),
            gate: Arc::default(),
        });
        tasks.spawn(shared.audit.clone().keep_counting(stop_all.clone()));
        let directory = config.archive.directory.clone();
        tasks.spawn(Withdrawals::new(&shared, inspector.clone(), directory).run(stop_all.clone()));
        tasks.spawn(sweeper::run(asker.clone(), shared.clone(), config.retention, stop_intake.clone()));
        let services = Services { shared: shared.clone(), bucket, inspector, keeper: asker, replay };
        tasks.spawn(services.serve(connections.control.clone(), stop_all.clone(), registered));
        Ok(Self {
            config,
            shared,
            connections,
            acker,
            parties: BTreeSet::new(),
            ready: Arc::default(),
            gauges,
            raw,
            stop_intake,
            stop_all,
            tasks,
            judge,
            keeper,
            outgoing,
            failed,
            held,
        })
    }

    /// Begins to read the intake of a party and to carry its deliveries.
    fn serve(&mut self, party: PartyId) {
        let inspector = Inspector::new(self.connections.egress.clone());
        let issuer = self.config.issuer();
        let hired = couriers::hire(
            &party,
            &self.shared,
            self.connections.publisher.clone(),
            inspector,
            issuer,
            &self.stop_all,
        );
        let (desk, courier) = hired;
        self.shared.couriers.write().add(party.clone(), desk);
        self.tasks.spawn(courier.run());
        let (road, acker) = (self.connections.intake.clone(), self.acker.clone());
        let puller = Puller::new(road, party.clone(), acker, intake::memory(&self.shared.reader, &party));
        let metrics = Arc::clone(&self.shared.metrics);
        let gate = Gate {
            checkpoints: Arc::clone(&self.shared.checkpoints),
            reserve: Arc::clone(&self.shared.reserve),
        };
        self.tasks.spawn(intake::run(puller, self.raw.clone(), metrics, gate, self.stop_intake.clone()));
        self.parties.insert(party);
    }

    /// What can be seen.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(&self.shared, Arc::clone(&self.ready), Arc::clone(&self.gauges), &self.connections)
    }

    /// Resolves when a stage ended by itself: the caller must stop the process.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            stage = self.failed.wait_for(Option::is_some) => {
                Error::Stage(stage.ok().and_then(|stage| *stage).unwrap_or("a stage"))
            }
            // None of these ends before it is told to, but by a panic.
            _ = &mut self.outgoing => Error::Stage("the sender of receipts"),
            Some(_) = self.tasks.join_next() => Error::Stage("a task"),
        }
    }

    /// Stops taking, lets everything taken be archived and receipted, closes the archive.
    ///
    /// # Errors
    /// [`Error::Drain`] if it took longer than configured, or what the archive said at closing.
    pub async fn stop(self) -> Result<(), Error> {
        let Self {
            config,
            shared,
            raw,
            stop_intake,
            stop_all,
            mut tasks,
            judge,
            keeper,
            mut outgoing,
            ready,
            held,
            ..
        } = self;
        ready.store(false, Ordering::Relaxed);
        stop_intake.cancel();
        drop(raw);
        let seconds = config.drain.seconds;
        let drained = tokio::time::timeout(Duration::from_secs(seconds), async {
            // Intake tasks drop their senders; each stage ends when the one before it hung up.
            let sent = (&mut outgoing).await;
            stop_all.cancel();
            while tasks.join_next().await.is_some() {}
            sent
        })
        .await;
        match drained {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::Stage("the sender of receipts")),
            Err(_) => return Err(Error::Drain(seconds)),
        }
        let (checkpoints, reader, metrics) = (Arc::clone(&shared.checkpoints), shared.reader, shared.metrics);
        let joined = tokio::task::spawn_blocking(move || {
            let joined = (judge.join(), keeper.join());
            checkpoints.sign_last(&reader, &metrics);
            joined
        })
        .await;
        // The last that speaks: nothing was given out after it.
        let log = shared.audit.reader().clone();
        let noted = shared.audit.close().await;
        shared.checkpoints.sign_audit(&log);
        if let Some(held) = held {
            held.release().await;
        }
        match joined {
            Ok((Ok(()), Ok(closed))) => {
                closed.map_err(Error::Archive)?;
                noted.map_err(|_| Error::Stage("the auditor"))
            }
            _ => Err(Error::Stage("a thread")),
        }
    }
}
