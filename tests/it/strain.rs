//! Strain: no descriptors, a clock that jumps, hundreds that come back at once, and bad files at every reload.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::connection::State;

use super::faults::{Fault, JUMPS};
use super::harness::{FEW, setting, until};
use super::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_descriptors_breaks_no_promise() {
    let mut scene = Scene::begin("no descriptors").await;
    Fault::DescriptorsGone.strike(&mut scene).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_refuses_nobody_wrongly() {
    let mut scene = Scene::begin("the clock").await;
    for seconds in JUMPS {
        Fault::ClockJumps(seconds).strike(&mut scene).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_at_every_reload_under_load_change_nothing() {
    let mut scene = Scene::begin("bad reloads").await;
    Fault::BadReloads.strike(&mut scene).await;
    scene.end().await;
}

/// `LIAISON_STORM` says how many clients come back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reconnecting_clients_passes() {
    let mut scene = Scene::begin("a storm").await;
    let many = usize::try_from(setting("LIAISON_STORM", 500)).expect("small");
    let mut clients = Vec::new();
    for at in 0..many {
        let party = FEW[at % FEW.len()];
        let seed = std::fs::read_to_string(scene.exchange.key(party, "system")).expect("a key");
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(format!("_INBOX_{party}-system"))
            .reconnect_delay_callback(|attempts| Duration::from_millis(20 * attempts.min(25) as u64));
        clients.push(options.connect(&scene.exchange.nats).await.expect("connects"));
    }
    scene.exchange.kill_server();
    let gone =
        async || clients.iter().all(|client| client.connection_state() != State::Connected).then_some(());
    until("the end of all connections", gone).await;
    let started = Instant::now();
    scene.exchange.start_server(&[]).await;
    let back =
        async || clients.iter().all(|client| client.connection_state() == State::Connected).then_some(());
    until("all connections again", back).await;
    println!("{many} clients are back after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    scene.goes_on("a storm").await;
    drop(clients);
    scene.end().await;
}
