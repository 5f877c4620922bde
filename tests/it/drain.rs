//! The end in order: what has a receipt is archived and delivered, what has none comes again, and nobody waits for ever.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auditor::{audit, mailbox};
use super::harness::{Exchange, REPORT_SUBJECT, api, is_alive, queue, receipt, signal, until};
use super::load::{Load, message};

const FAST: &str = "[rate]\nper_second = 100000\nburst = 100000\n";
/// `[drain] seconds` by default, and some for a loaded machine.
const DRAIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_breaks_no_promise() {
    let mut exchange = Exchange::apart(FAST).await;
    let load = Load::begin(&exchange).await;
    for _ in 0..3 {
        load.more(40).await;
        let asked = Instant::now();
        exchange.signal("TERM");
        assert_eq!(exchange.wait(), Some(0));
        assert!(asked.elapsed() < DRAIN, "{:?}", asked.elapsed());
        println!("drained in {:?}", asked.elapsed());
        exchange.again().await;
    }
    load.more(20).await;
    let books = load.end().await;
    audit(&exchange, &books).await;
}

/// The stream of receipts is gone, so a drain cannot end well; the message that waits for its receipt.
async fn without_receipts(exchange: &Exchange) -> (Value, Vec<u8>) {
    let deleted = api(&exchange.admin().await, "STREAM.DELETE.RCPT", &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    let post = exchange.connect("it-moi", "tn-01").await;
    let message = message("it-moi", "tn-01", "fr-dnpaf", true);
    let bytes = message.to_string().into_bytes();
    queue(&post, REPORT_SUBJECT, bytes.clone()).await;
    until("a receipt that cannot be stored", async || {
        exchange.log().contains("a receipt was not stored").then_some(())
    })
    .await;
    (message, bytes)
}

/// After the next start the message has its receipt, and was delivered once.
async fn made_good(exchange: &mut Exchange, message: &Value, bytes: &[u8]) {
    exchange.again().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let receipt = receipt(&post, REPORT_SUBJECT, message["id"].as_str().expect("an id"), bytes).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let letters = mailbox(exchange, "fr-dnpaf", 1).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].payload == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_cannot_end_is_cut_off_at_its_deadline() {
    let mut exchange = Exchange::small("[drain]\nseconds = 2\n").await;
    let (message, bytes) = without_receipts(&exchange).await;
    let asked = Instant::now();
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(1));
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(exchange.log().contains("the drain was cut off after 2 s"), "{}", exchange.log());
    made_good(&mut exchange, &message, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_cuts_the_drain_off() {
    let mut exchange = Exchange::small("[drain]\nseconds = 600\n").await;
    let (message, bytes) = without_receipts(&exchange).await;
    exchange.signal("TERM");
    until("the drain", async || exchange.log().contains("draining").then_some(())).await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(1));
    made_good(&mut exchange, &message, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_nats_hangs_ends_in_time() {
    let mut exchange = Exchange::small("[drain]\nseconds = 2\n").await;
    let nats = exchange.nats_pid().expect("a nats-server");
    signal(nats, "STOP");
    let asked = Instant::now();
    exchange.signal("TERM");
    let code = exchange.wait();
    println!("ended with {code:?} in {:?} while nats-server hung", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    until("the end of the hanging child too", async || (!is_alive(nats)).then_some(())).await;
    exchange.again().await;
}
