//! The daemon: joins words, rules, memory and road into the way of a message.
//!
//! ```text
//! intake (a task a party) -> judging (thread) -> keeper (thread, commits) -> outgoing (receipts, acknowledgements)
//!                                                                       \-> couriers (a task a party, mailboxes)
//! ```
//! Every queue between them is bounded, so a slow end slows the start and nothing piles up. Only this room logs and
//! counts. It holds no rule: what may be sent to whom is `rules`' word alone.

pub mod config;
mod courier;
mod couriers;
pub mod judging;
pub mod keeper;
pub mod metrics;
pub mod rate;
pub mod receipt;
pub mod routes;
pub mod rulebook;
pub mod services;

mod outgoing;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::config::Config;
use self::courier::Courier;
use self::couriers::{Couriers, Desk};
use self::keeper::Keeper;
use self::metrics::Metrics;
use self::outgoing::Outgoing;
use self::rate::Rate;
use self::receipt::Issuer;
use self::routes::Routes;
use self::services::Services;
use crate::archive::{self, Archive, Reader};
use crate::message::names::PartyId;
use crate::message::outcome::Outcome;
use crate::rules::Rules;
use crate::rules::subscriptions::Subscription;
use crate::wire::connect::{self, Role};
use crate::wire::egress::Publisher;
use crate::wire::inspect::Inspector;
use crate::wire::intake::{Acker, Puller};
use crate::wire::keys;
use crate::wire::streams;
use crate::wire::subscriptions::Bucket;

/// Batches waiting between two stages.
const BATCHES: usize = 16;

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
    /// A stage ended that must not.
    #[error("{0} ended; the daemon stops so that nothing is promised that cannot be kept")]
    Stage(&'static str),
    /// The drain took longer than allowed.
    #[error("the drain was cut off after {0} s; what was not receipted stays in the intake streams")]
    Drain(u64),
}

/// What can be seen of a running broker.
#[derive(Clone)]
pub struct View {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The memory.
    pub reader: Reader,
    /// True while messages are taken.
    pub ready: Arc<AtomicBool>,
    /// The rules in force.
    pub rules: Arc<RwLock<Arc<Rules>>>,
    nats: Vec<async_nats_state::Watch>,
}

mod async_nats_state {
    //! The state of a connection, without its type leaking into the console.
    pub(super) use crate::wire::connect::Watch;
}

impl View {
    /// One line a check: name, fine, words.
    #[must_use]
    pub fn checks(&self) -> Vec<(&'static str, bool, String)> {
        let connected = self.nats.iter().all(|connection| connection.is_connected());
        self.metrics.nats_connected.set(i64::from(connected));
        vec![
            ("nats", connected, if connected { "connected" } else { "not connected" }.to_owned()),
            ("archive", true, format!("last sequence {}", self.reader.head_seq())),
            ("intake", self.ready.load(Ordering::Relaxed), "taking messages".to_owned()),
        ]
    }
}

/// A running broker. Drop does not stop it: call [`Broker::stop`].
pub struct Broker {
    view: View,
    stop_intake: CancellationToken,
    stop_all: CancellationToken,
    tasks: JoinSet<()>,
    judge: std::thread::JoinHandle<()>,
    keeper: std::thread::JoinHandle<Result<(), archive::Error>>,
    outgoing: tokio::task::JoinHandle<()>,
    failed: watch::Receiver<Option<&'static str>>,
    config: Config,
    rate: Arc<RwLock<Rate>>,
    parties: Vec<PartyId>,
}

struct Connections {
    intake: async_nats::Client,
    egress: async_nats::Client,
    control: async_nats::Client,
}

impl Broker {
    /// Opens the archive, connects, asserts the streams and begins to take messages.
    ///
    /// # Errors
    /// See [`Error`]; nothing was taken then.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let rules = rulebook::load(&config).map_err(Error::Configuration)?;
        let parties: Vec<PartyId> = rules.registry.parties().map(|party| party.id.clone()).collect();
        let opened = Archive::open(&config.archive.directory)?;
        let (archive, recovery) = opened;
        tracing::info!(records = recovery.records, cut_bytes = recovery.cut_bytes, rebuilt = recovery.rebuilt,
            why = ?recovery.why, "archive open");
        let connections = connect_all(&config).await?;
        ensure_streams(&config, &parties).await?;
        let bucket = Bucket::open(connections.control.clone()).await.map_err(Error::Nats)?;
        let routes = Arc::new(RwLock::new(routes(&archive.reader(), &bucket).await?));
        Self::join(config, rules, parties, archive, connections, bucket, routes).await
    }

    async fn join(
        config: Config,
        rules: Rules,
        parties: Vec<PartyId>,
        archive: Archive,
        connections: Connections,
        bucket: Bucket,
        routes: Arc<RwLock<Routes>>,
    ) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let rules = Arc::new(RwLock::new(Arc::new(rules)));
        let rate = Arc::new(RwLock::new(config.rate));
        let reader = archive.reader();
        let issuer =
            Issuer { broker: config.broker.name.clone(), operator: config.broker.operator.clone() };
        let (stop_intake, stop_all) = (CancellationToken::new(), CancellationToken::new());
        let (raw_in, raw_out) = mpsc::channel(BATCHES);
        let (judged_in, judged_out) = mpsc::channel(BATCHES);
        let (done_in, done_out) = mpsc::channel(BATCHES);
        let (fail, failed) = watch::channel(None);
        let mut tasks = JoinSet::new();

        let publisher = Publisher::new(connections.egress.clone());
        let acker = Acker::new(connections.intake.clone());
        let couriers = hire(&parties, &reader, &publisher, &connections, &metrics, &stop_all, &mut tasks);
        let outgoing = Outgoing { publisher, issuer: issuer.clone(), acker: acker.clone(), couriers, metrics: Arc::clone(&metrics) };
        let outgoing = tokio::spawn(outgoing.run(done_out));
        let judge = {
            let rules = Arc::clone(&rules);
            spawn_thread("judge", fail.clone(), move || judging::run(&rules, raw_out, &judged_in))?
        };
        let keeper = {
            let keeper = Keeper::new(archive, Arc::clone(&rules), Arc::clone(&routes), Arc::clone(&rate), Arc::clone(&metrics));
            let fail = fail.clone();
            spawn_thread("keeper", fail, move || keeper.run(judged_out, &done_in))?
        };
        for party in &parties {
            let puller = Puller::new(connections.intake.clone(), party.clone(), acker.clone());
            tasks.spawn(intake(puller, raw_in.clone(), stop_intake.clone()));
        }
        drop(raw_in);
        tasks.spawn(follow(bucket.clone(), Arc::clone(&routes), stop_all.clone()));
        let services = Services { rules: Arc::clone(&rules), routes, reader: reader.clone(), bucket, metrics: Arc::clone(&metrics), issuer };
        let control = connections.control.clone();
        let stop = stop_all.clone();
        tasks.spawn(async move {
            let answering = crate::wire::services::serve(control, services::VERBS, stop, move |request| {
                let services = services.clone();
                async move { services.answer(&request).await }
            });
            if let Err(error) = answering.await {
                tracing::error!(%error, "services");
            }
        });
        let nats = [&connections.intake, &connections.egress, &connections.control]
            .map(|client| connect::Watch::new(client.clone()))
            .to_vec();
        let view = View { metrics, reader, ready: Arc::new(AtomicBool::new(true)), rules, nats };
        Ok(Self { view, stop_intake, stop_all, tasks, judge, keeper, outgoing, failed, config, rate, parties })
    }

    /// What can be seen.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Resolves when a stage ended by itself: the caller must stop the process.
    pub async fn failed(&mut self) -> Error {
        match self.failed.wait_for(Option::is_some).await {
            Ok(stage) => Error::Stage(stage.unwrap_or("a stage")),
            Err(_) => Error::Stage("a stage"),
        }
    }

    /// Takes new configuration, registry and schemas, or leaves the old in force.
    ///
    /// # Errors
    /// All faults found; nothing changed then.
    pub fn reload(&mut self, config: Config) -> Result<(), Vec<String>> {
        let loaded = rulebook::load(&config).and_then(|rules| {
            let unknown: Vec<String> = rules
                .registry
                .parties()
                .filter(|party| !self.parties.contains(&party.id))
                .map(|party| format!("{}: a new party needs its accounts and streams: run nats-config and restart", party.id))
                .collect();
            if unknown.is_empty() { Ok(rules) } else { Err(unknown) }
        });
        self.view.metrics.reload_successful.set(i64::from(loaded.is_ok()));
        let rules = loaded?;
        *self.view.rules.write() = Arc::new(rules);
        *self.rate.write() = config.rate;
        self.config = config;
        Ok(())
    }

    /// Stops taking, lets everything taken be archived and receipted, closes the archive.
    ///
    /// # Errors
    /// [`Error::Drain`] if it took longer than configured, or what the archive said at closing.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.view.ready.store(false, Ordering::Relaxed);
        self.stop_intake.cancel();
        let seconds = self.config.drain.seconds;
        let drained = tokio::time::timeout(Duration::from_secs(seconds), async {
            // Intake tasks drop their senders; each stage ends when the one before it hung up.
            let outgoing = (&mut self.outgoing).await;
            self.stop_all.cancel();
            while self.tasks.join_next().await.is_some() {}
            outgoing
        })
        .await;
        match drained {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::Stage("the sender of receipts")),
            Err(_) => return Err(Error::Drain(seconds)),
        }
        let (judge, keeper) = (self.judge, self.keeper);
        let joined = tokio::task::spawn_blocking(move || (judge.join(), keeper.join())).await;
        match joined {
            Ok((Ok(()), Ok(closed))) => closed.map_err(Error::Archive),
            _ => Err(Error::Stage("a thread")),
        }
    }
}

/// A named thread; if it ends by panic or error while the house runs, `fail` says so.
fn spawn_thread<T: Send + 'static + Ended>(
    name: &'static str,
    fail: watch::Sender<Option<&'static str>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, Error> {
    struct Alarm(&'static str, watch::Sender<Option<&'static str>>, bool);
    impl Drop for Alarm {
        fn drop(&mut self) {
            if self.2 {
                self.1.send_replace(Some(self.0));
            }
        }
    }
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let mut alarm = Alarm(name, fail, true);
            let ended = work();
            alarm.2 = ended.is_failure();
            ended
        })
        .map_err(|error| Error::Nats(format!("starting thread {name}: {error}")))
}

/// Whether a thread's result is a failure.
trait Ended {
    fn is_failure(&self) -> bool;
}

impl Ended for () {
    fn is_failure(&self) -> bool {
        false
    }
}

impl Ended for Result<(), archive::Error> {
    fn is_failure(&self) -> bool {
        if let Err(error) = self {
            tracing::error!(%error, "the archive cannot write; no more receipts");
        }
        self.is_err()
    }
}

async fn connect_all(config: &Config) -> Result<Connections, Error> {
    let open = async |role: Role| {
        let seed = keys::read_seed(&broker_key(config, role))?;
        connect::connect(&config.nats.url, &seed, role).await
    };
    Ok(Connections {
        intake: open(Role::Intake).await?,
        egress: open(Role::Egress).await?,
        control: open(Role::Control).await?,
    })
}

fn broker_key(config: &Config, role: Role) -> PathBuf {
    config.nats.keys.join("broker").join(format!("{}.nk", role.as_str()))
}

/// Streams are made and compared by the administrator's key, in a connection that is closed again.
async fn ensure_streams(config: &Config, parties: &[PartyId]) -> Result<(), Error> {
    let seed = keys::read_seed(&broker_key(config, Role::Admin))?;
    let admin = connect::connect(&config.nats.url, &seed, Role::Admin).await?;
    let options = streams::Options { mailbox_bytes: config.nats.mailbox_bytes };
    streams::ensure(&admin, parties, &options).await?;
    admin.drain().await.map_err(|error| Error::Nats(error.to_string()))
}

/// Deployments from the archive, subscriptions from the bucket.
async fn routes(reader: &Reader, bucket: &Bucket) -> Result<Routes, Error> {
    let mut routes = Routes::default();
    for record in reader.scan_kinds(&["deployment.notice", "network.facilitator"])? {
        if let (Outcome::Accepted, Some(summary)) = (record.outcome, &record.summary)
            && let Ok(event) = serde_json::from_slice::<serde_json::Value>(&record.payload)
        {
            routes.deployments.apply(&summary.originator, summary.kind.as_str(), &event["data"]);
        }
    }
    for (party, list) in bucket.all().await.map_err(Error::Nats)? {
        subscribe(&mut routes, party, &list);
    }
    Ok(routes)
}

fn subscribe(routes: &mut Routes, party: PartyId, list: &serde_json::Value) {
    let parsed: Result<Vec<Subscription>, _> =
        list.as_array().into_iter().flatten().map(Subscription::parse).collect();
    let taken = parsed.and_then(|list| routes.subscriptions.replace_party(party.clone(), list));
    if let Err(refused) = taken {
        // A list that was once accepted and no longer parses must not turn into "everything".
        tracing::error!(%party, code = %refused.code, "stored subscriptions are not readable; the party gets no group messages");
        routes.subscriptions.silence(party);
    }
}

/// Follows the bucket, so that what another instance stored takes effect here.
async fn follow(bucket: Bucket, routes: Arc<RwLock<Routes>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let watching = match bucket.watch().await {
            Ok(watching) => watching,
            Err(error) => {
                tracing::warn!(%error, "subscriptions cannot be followed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(2)) => continue,
                    () = stop.cancelled() => return,
                }
            }
        };
        let mut watching = watching;
        loop {
            let next = tokio::select! { next = watching.next() => next, () = stop.cancelled() => return };
            let Some((party, list)) = next else { break };
            subscribe(&mut routes.write(), party, &list);
        }
    }
}

/// A courier for each party.
fn hire(
    parties: &[PartyId],
    reader: &Reader,
    publisher: &Publisher,
    connections: &Connections,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Couriers {
    let mut couriers = Couriers::default();
    for party in parties {
        let (fresh_in, fresh) = mpsc::channel(courier::QUEUE);
        let (head_in, head) = watch::channel(0);
        couriers.add(party.clone(), Desk { fresh: fresh_in, head: head_in });
        let courier = Courier {
            party: party.clone(),
            reader: reader.clone(),
            publisher: publisher.clone(),
            inspector: Inspector::new(connections.egress.clone()),
            metrics: Arc::clone(metrics),
            fresh,
            head,
            stop: stop.clone(),
        };
        tasks.spawn(courier.run());
    }
    couriers
}

/// Pulls one party's stream and hands batches on; the bounded channel is the back-pressure.
async fn intake(mut puller: Puller, out: mpsc::Sender<Vec<crate::message::raw::Raw>>, stop: CancellationToken) {
    let mut patience = Duration::from_millis(50);
    loop {
        let batch = tokio::select! { batch = puller.next() => batch, () = stop.cancelled() => return };
        match batch {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                patience = Duration::from_millis(50);
                if out.send(batch).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(party = %puller.party(), %error, "intake interrupted; reading again from the last acknowledged");
                tokio::select! { () = tokio::time::sleep(patience) => {}, () = stop.cancelled() => return }
                patience = (patience * 2).min(Duration::from_secs(5));
            }
        }
    }
}
