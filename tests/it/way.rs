//! The way of a message, seen from outside: published, receipted, delivered, and nothing more.

use futures_util::StreamExt as _;

use super::harness::{Exchange, REPORT_SUBJECT, audit_feed, report, stream_info, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_receipted_and_reaches_those_it_was_released_to() {
    let exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let bytes = report().to_string().into_bytes();
    let receipt = exchange.publish(&post, REPORT_SUBJECT, bytes.clone()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    assert_eq!(receipt["data"]["seq"], 1);
    let letters = exchange.letters("fr-dnpaf").await;
    audit_feed(&letters);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].payload, bytes, "the received bytes, untouched");
    assert_eq!(letters[0].subject, "ilo.out.fr-dnpaf.net.flow.observation.tn");
    assert!(exchange.letters("it-moi").await.is_empty(), "not to its own originator");
}

/// More than any window in the house: what piled up while the broker was away is worked off, whatever waits for what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_every_window_is_worked_off() {
    const BACKLOG: u64 = 7_000;
    let mut exchange = Exchange::apart("[rate]\nper_second = 1e6\nburst = 1e6\n").await;
    exchange.kill();
    let post = exchange.connect("it-moi", "tn-01").await;
    let queued = futures_util::stream::iter(0..BACKLOG)
        .map(|_| post.request(REPORT_SUBJECT, report().to_string().into()))
        .buffer_unordered(256);
    queued.for_each(|answer| async { drop(answer.expect("a PubAck")) }).await;
    exchange.again().await;
    let operator = exchange.operator().await;
    until("a receipt for every message", async || {
        let receipts = stream_info(&operator, "RCPT").await["state"]["messages"].as_u64();
        (receipts == Some(BACKLOG)).then_some(())
    })
    .await;
    let mailbox = async || stream_info(&operator, "MBOX_DE_BPOL").await["state"]["last_seq"].as_u64();
    until("every message in the mailbox", async || (mailbox().await == Some(BACKLOG)).then_some(())).await;
}
