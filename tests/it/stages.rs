//! The broker killed between all stages of a message's way, and a disk that fails under it: what was receipted is archived and
//! delivered, once, and nothing is promised after a failed write.

use super::faults::{DISK, Fault, STAGES};
use super::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_broker_at_every_stage_loses_and_doubles_nothing() {
    let mut scene = Scene::begin("killed at every stage").await;
    for stage in STAGES {
        Fault::BrokerKilledAt(stage).strike(&mut scene).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_broker_and_no_promise_is_broken() {
    let mut scene = Scene::begin("a failing disk").await;
    for (place, how) in DISK {
        Fault::DiskFails(place, how).strike(&mut scene).await;
    }
    Fault::SledFails.strike(&mut scene).await;
    Fault::AuditLogFails.strike(&mut scene).await;
    scene.end().await;
}

/// A checkpoint that cannot be written is told, is no reason to stop at once, and is made good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_cannot_be_written_is_told_and_made_good() {
    let scene = Scene::begin("no checkpoints").await;
    scene.arm("checkpoint", "ENOSPC");
    let client = scene.exchange.connect("de-bpol", "system").await;
    let answer = scene.exchange.ask(&client, "de-bpol", "witness", &serde_json::json!({ "old": 0 })).await;
    assert_eq!(answer.expect_err("none can be signed").0, "503");
    let words = scene.check("checkpoint", true).await;
    assert!(words.contains("none could be written") && words.contains("No space left"), "{words}");
    scene.goes_on("no checkpoints").await;
    scene.disarm("checkpoint");
    let answer = scene.exchange.ask(&client, "de-bpol", "witness", &serde_json::json!({ "old": 0 })).await;
    assert!(answer.expect("signed")["checkpoint"].is_string());
    assert!(!scene.check("checkpoint", true).await.contains("none could"));
    scene.end().await;
}
