//! Bad roads between broker, nats-server and publishers, and a nats-server that is killed, stopped, wiped or damaged under load.

use super::faults::{Fault, ROADS, STREAMS};
use super::harness::setting;
use super::scene::Scene;

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
