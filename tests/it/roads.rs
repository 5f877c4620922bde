//! Bad roads between broker, nats-server and publishers, and a nats-server that is killed, stopped, wiped or damaged under load.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::auditor::pull;
use super::faults::{Fault, ROADS, STREAMS};
use super::harness::{FEW, Letter, setting, until};
use super::proxy::{Proxy, Weather};
use super::scene::Scene;

/// Authorities whose roads are clogged.
const CLOGGED: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roads_that_are_slow_silent_or_cut_lose_nothing() {
    let mut scene = Scene::begin("bad roads").await;
    for weather in ROADS {
        Fault::BrokerRoad(weather).strike(&mut scene).await;
        Fault::PublishersRoad(weather).strike(&mut scene).await;
    }
    scene.end().await;
}

/// Connections that are dead and nobody was told: found out, and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_found_out() {
    let mut scene = Scene::begin("half-open").await;
    for _ in 0..setting("LIAISON_LOST", 1) {
        Fault::BrokerRoadLost.strike(&mut scene).await;
    }
    scene.end().await;
}

/// Some connections are dead still when the broker is told to end. Everything is receipted; a question that is never answered
/// keeps it no longer than it may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_dead_connections_ends_in_time() {
    let mut scene = Scene::begin("half-open, and the end").await;
    for fault in [Fault::BrokerRoadLost, Fault::BrokerTerminated] {
        fault.strike(&mut scene).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_stopped_or_renamed_loses_nothing() {
    let mut scene = Scene::begin("the server").await;
    for fault in [Fault::ServerKilled, Fault::ServerStopped, Fault::ServerRenamed, Fault::SlowReader] {
        fault.strike(&mut scene).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_deleted_or_wiped_take_nothing_from_the_archive() {
    let mut scene = Scene::begin("deleted streams").await;
    for stream in STREAMS {
        Fault::StreamDeleted(stream).strike(&mut scene).await;
    }
    Fault::ServerWiped.strike(&mut scene).await;
    scene.end().await;
}

/// nats-server loses what it confirmed to a publisher: the publisher sends again, and sequences that are given a second time
/// are read a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_stream_that_is_damaged_or_cut_back_is_read_on() {
    let mut scene = Scene::begin("a damaged intake").await;
    for fault in [Fault::IntakeCut, Fault::IntakeFlipped, Fault::IntakeCut] {
        fault.strike(&mut scene).await;
    }
    scene.end().await;
}

/// A mailbox loses its end, or a bit of it: it gets again what it lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_that_are_damaged_or_cut_back_get_everything() {
    let mut scene = Scene::begin("a damaged mailbox").await;
    for fault in [Fault::MailboxCut, Fault::MailboxFlipped, Fault::MailboxCut, Fault::MailboxFlipped] {
        fault.strike(&mut scene).await;
    }
    scene.end().await;
}

/// An authority that reads all the time, by a road of its own.
struct Reader {
    party: &'static str,
    road: Proxy,
    letters: Arc<Mutex<Vec<Letter>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Reader {
    async fn begin(scene: &mut Scene, party: &'static str) -> Self {
        let road = Proxy::start(&scene.exchange.nats, scene.dice.seed()).await;
        let direct = std::mem::replace(&mut scene.exchange.nats, road.url());
        let client = scene.exchange.connect(party, "system").await;
        scene.exchange.nats = direct;
        let (letters, stop) = (Arc::<Mutex<Vec<Letter>>>::default(), CancellationToken::new());
        let (read, stopped) = (Arc::clone(&letters), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let more = pull(&client, party, json!({ "batch": 256, "expires": 300_000_000 })).await;
                read.lock().extend(more);
            }
        });
        Self { party, road, letters, stop, task }
    }

    fn count(&self) -> usize {
        self.letters.lock().len()
    }

    async fn gets_more(&self) {
        let before = self.count();
        until(self.party, async || (self.count() > before + 2).then_some(())).await;
    }
}

/// Swizzle-clogging: some authorities are cut off one by one and come back in another order. The others notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_that_are_cut_off_one_by_one_keep_nobody_waiting() {
    let mut scene = Scene::begin("swizzle-clogged").await;
    let mut readers = Vec::new();
    for party in FEW {
        readers.push(Reader::begin(&mut scene, party).await);
    }
    for round in 0..setting("LIAISON_CLOGS", 2) {
        let mut clogged = Vec::new();
        while clogged.len() < CLOGGED {
            let at = usize::try_from(scene.dice.below(readers.len() as u64)).expect("small");
            if !clogged.contains(&at) {
                readers[at].road.set(Weather::Silent);
                clogged.push(at);
                scene.hold(50, 300).await;
            }
        }
        for (_, reader) in readers.iter().enumerate().filter(|(at, _)| !clogged.contains(at)) {
            tokio::time::timeout(Duration::from_secs(20), reader.gets_more()).await.expect("others go on");
        }
        while !clogged.is_empty() {
            let at =
                clogged.swap_remove(usize::try_from(scene.dice.below(clogged.len() as u64)).expect("small"));
            readers[at].road.set(Weather::Fair);
            readers[at].gets_more().await;
        }
        scene.goes_on(&format!("clogging {round}")).await;
    }
    for reader in readers {
        reader.stop.cancel();
        reader.task.await.expect("reads to its end");
        let letters = std::mem::take(&mut *reader.letters.lock());
        scene.expect.read.insert(reader.party.to_owned(), letters);
    }
    scene.end().await;
}
