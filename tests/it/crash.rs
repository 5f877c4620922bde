//! Kills at random moments under load: what was receipted is archived and delivered, once, whatever was killed.
//!
//! `LIAISON_KILLS` says how many kills a test makes, `LIAISON_SEED` repeats a run.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::auditor::audit;
use super::harness::{
    Dice, Exchange, REPORT_SUBJECT, few_parties, fresh_id, queue, receipt, setting, signal, until,
};
use super::load::{Load, message};
use super::mail::readable_id;

/// So many messages a second that no publisher is ever refused for its rate.
pub const FAST: &str = "[rate]\nper_second = 100000\nburst = 100000\n";

/// A port that is free now, so that clients find the exchange again after its restart.
pub fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

/// Kills and starts again at random moments, some of them in the middle of a start.
async fn kills(exchange: &mut Exchange, load: &Load, dice: &mut Dice) {
    let mut ready = Vec::new();
    for _ in 0..setting("LIAISON_KILLS", 8) {
        // The moment of the kill is what is thrown; nothing is waited for.
        tokio::time::sleep(Duration::from_millis(dice.below(800))).await;
        exchange.kill();
        while dice.below(4) == 0 {
            exchange.stumble(Duration::from_millis(dice.below(500))).await;
        }
        ready.push(exchange.again().await);
    }
    ready.sort();
    let (middle, last) = (ready[ready.len() / 2], ready[ready.len() - 1]);
    println!("{} kills; from start to ready: median {middle:?}, longest {last:?}", ready.len());
    load.more(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_everything_loses_and_doubles_nothing() {
    let mut dice = Dice::new("killing everything");
    let port = free_port();
    let prepare = |data: &std::path::Path| {
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        std::fs::write(data.join("liaison.toml"), FAST).expect("a configuration");
    };
    let mut exchange = Exchange::with(&["--nats-port", &port], prepare).await;
    let load = Load::begin(&exchange).await;
    kills(&mut exchange, &load, &mut dice).await;
    let books = load.end().await;
    audit(&exchange, &books).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_broker_beside_a_living_nats_loses_and_doubles_nothing() {
    let mut dice = Dice::new("killing the broker");
    let mut exchange = Exchange::apart(FAST).await;
    let load = Load::begin(&exchange).await;
    kills(&mut exchange, &load, &mut dice).await;
    let books = load.end().await;
    audit(&exchange, &books).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_nats_alone_needs_no_restart_of_the_broker() {
    let exchange = Exchange::small(FAST).await;
    let load = Load::begin(&exchange).await;
    let broker = exchange.pid();
    for _ in 0..setting("LIAISON_KILLS", 8).div_ceil(3) {
        load.more(20).await;
        let killed = exchange.nats_pid().expect("a nats-server");
        signal(killed, "KILL");
        let at = Instant::now();
        until("another nats-server", async || exchange.nats_pid().filter(|pid| *pid != killed)).await;
        load.more(20).await;
        println!("receipts again {:?} after the kill", at.elapsed());
    }
    let books = load.end().await;
    assert_eq!(exchange.pid(), broker);
    let (status, words) = exchange.get("/readyz").await;
    assert_eq!(status, 200, "{words}");
    audit(&exchange, &books).await;
}

/// What is archived and was not acknowledged is read again, and answered. Nobody sends anything again here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_archived_when_everything_died_gets_its_receipt() {
    let prepare = |data: &std::path::Path| {
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        std::fs::create_dir(data.join("faults")).expect("a directory of faults");
    };
    let mut exchange = Exchange::with(&["--nats-port", &free_port()], prepare).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let fresh = || {
        let mut message = message("it-moi", "tn-01", "de-bpol", true);
        message["id"] = fresh_id().into();
        message.to_string().into_bytes()
    };
    let before = exchange.publish(&post, REPORT_SUBJECT, fresh()).await;
    assert_eq!(before["data"]["outcome"], "accepted", "{before}");
    std::fs::write(exchange.data.join("faults/receipting"), "kill 1").expect("a fault");
    let message = fresh();
    queue(&post, REPORT_SUBJECT, message.clone()).await;
    let ended = until("the end", async || exchange.child.try_wait().expect("waits")).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9), "{ended}");
    std::fs::remove_file(exchange.data.join("faults/receipting")).expect("no fault");
    exchange.again().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let id = readable_id(&message).expect("an id");
    let receipt = receipt(&post, REPORT_SUBJECT, &id, &message).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    assert_eq!(receipt["data"]["seq"], 2, "archived before it died, and not again: {receipt}");
}

/// `LIAISON_ARCHIVED` says how many messages are in the archive; 200000 is the figure of the design.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_exchange_is_soon_ready_again() {
    let many = setting("LIAISON_ARCHIVED", 1_000);
    let mut exchange = Exchange::apart(FAST).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let template = message("it-moi", "tn-01", "de-bpol", true);
    let publishing = futures_util::stream::iter(0..many).for_each_concurrent(256, |_| {
        let (post, mut message) = (post.clone(), template.clone());
        message["id"] = fresh_id().into();
        async move {
            queue(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
        }
    });
    publishing.await;
    let sequence = async || {
        let (_, metrics) = exchange.get("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("liaison_archive_last_sequence "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    let mut archived = 0;
    while archived < many {
        // However many there are: the archive must go on.
        archived = until("progress", async || Some(sequence().await).filter(|now| *now > archived)).await;
    }
    let mut ready = Vec::new();
    for _ in 0..5 {
        exchange.kill();
        ready.push(exchange.again().await);
    }
    ready.sort();
    println!("{many} archived; from start to ready: median {:?}, longest {:?}", ready[2], ready[4]);
    assert!(ready[2] < Duration::from_secs(20), "{ready:?}");
}
