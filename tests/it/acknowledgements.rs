//! Acknowledgements that are lost on the way: those of nats-server for what the broker sends, and those of an authority for its
//! letters. Bad roads that lose nothing but time are in `roads.rs`.

use std::time::{Duration, Instant};

use async_nats::Client;
use futures_util::StreamExt as _;
use serde_json::json;

use super::auditor::{pull, taken};
use super::harness::{Exchange, FEW, Letter, stream};
use super::mailboxes::send;
use super::proxy::{Proxy, Weather};
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

/// How long nats-server waits for an acknowledgement of a letter, as PROTOCOL says, and how much longer a redelivery may take.
const ACK_WAIT: Duration = Duration::from_secs(60);
const AND_THEN: Duration = Duration::from_secs(30);

/// An authority took its letters, and what it acknowledged went lost: it gets them again, the same, once in a minute and not faster, and
/// nothing else is held up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_whose_acknowledgements_are_lost_come_again() {
    let mut exchange = Exchange::small("").await;
    let road = Proxy::start(&exchange.nats, 1).await;
    let url = std::mem::replace(&mut exchange.nats, road.url());
    let client = exchange.connect("fr-dnpaf", "system").await;
    exchange.nats = url;
    let direct = exchange.connect("fr-dnpaf", "system").await;
    for _ in 0..3 {
        send(&exchange, "fr-dnpaf").await;
    }
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribes");
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.main", stream("MBOX", "fr-dnpaf"));
    client.publish_with_reply(next, inbox, json!({ "batch": 3 }).to_string().into()).await.expect("asks");
    let taken: Vec<_> = answers.by_ref().take(3).collect().await;
    road.set(Weather::SilentThere);
    let taken_at = Instant::now();
    for letter in &taken {
        client.publish(letter.reply.clone().expect("a reply subject"), "+ACK".into()).await.expect("sent");
    }
    client.flush().await.expect("on the road");
    road.set(Weather::Cut);
    // Those behind them come at once.
    send(&exchange, "fr-dnpaf").await;
    let ask = || json!({ "batch": 256, "expires": 1_000_000_000 });
    let mut fresh = Vec::new();
    while fresh.is_empty() {
        fresh = pull(&direct, "fr-dnpaf", ask()).await;
    }
    assert_eq!(fresh.iter().map(Letter::feed_seq).collect::<Vec<_>>(), [4]);
    assert!(taken_at.elapsed() < ACK_WAIT / 2, "a letter waited for others");
    let mut again = Vec::new();
    while again.len() < taken.len() {
        again.extend(pull(&direct, "fr-dnpaf", ask()).await);
        assert!(taken_at.elapsed() < ACK_WAIT + AND_THEN, "only {} came again", again.len());
    }
    assert!(taken_at.elapsed() >= ACK_WAIT - Duration::from_secs(1), "they came again too soon");
    let bodies = |letters: &[Letter]| letters.iter().map(|letter| letter.payload.clone()).collect::<Vec<_>>();
    assert!(bodies(&again) == taken.iter().map(|letter| letter.payload.to_vec()).collect::<Vec<_>>());
    assert!(pull(&direct, "fr-dnpaf", ask()).await.is_empty(), "once, as they were acknowledged now");
}
