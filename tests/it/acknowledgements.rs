//! Acknowledgements that are lost on the way: those of nats-server for what the broker sends. Bad roads that lose nothing
//! but time are in `roads.rs`.

use async_nats::Client;

use super::auditor::taken;
use super::harness::{FEW, stream};
use super::proxy::Weather;
use super::scene::Scene;

/// Rounds in which answers must have been lost, and how many are tried for that.
const LOSSES: usize = 3;
const TRIES: usize = 30;

/// How many letters and receipts nats-server has taken.
async fn both(admin: &Client) -> (u64, u64) {
    // Receipts first: they are what the broker sends soonest, and a late look would find nothing new.
    let receipts = taken(admin, "RCPT").await;
    let mut letters = 0;
    for party in FEW {
        letters += taken(admin, &stream("MBOX", party)).await;
    }
    (letters, receipts)
}

/// What nats-server takes after the road went silent is answered to nobody: the broker sends it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_the_broker_that_are_lost_double_nothing() {
    let mut scene = Scene::begin("lost answers").await;
    let admin = scene.exchange.admin().await;
    let (mut letters, mut receipts) = (0, 0);
    for _ in 0..TRIES {
        scene.broker.set(Weather::SilentBack);
        let before = both(&admin).await;
        scene.hold(100, 400).await;
        scene.broker.set(Weather::Cut);
        let after = both(&admin).await;
        scene.broker.set(Weather::Fair);
        letters += usize::from(after.0 > before.0);
        receipts += usize::from(after.1 > before.1);
        scene.goes_on("lost answers").await;
        if letters >= LOSSES && receipts >= LOSSES {
            break;
        }
    }
    println!("rounds that lost answers: {letters} to letters, {receipts} to receipts");
    assert!(letters > 0 && receipts > 0, "no answer was ever lost");
    scene.end().await;
}
