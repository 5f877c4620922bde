//! The way of a message, seen from outside: published, receipted, delivered, and nothing more.

use super::harness::{Exchange, REPORT_SUBJECT, audit_feed, report};

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
