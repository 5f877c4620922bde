//! Acknowledgements that are lost on the way: those of an authority for its letters, and those of nats-server for what the
//! broker sends. Bad roads that lose nothing but time are in `roads.rs`.

use async_nats::Client;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::auditor::mailbox;
use super::harness::{Exchange, FEW, Letter, PATIENCE, REPORT_SUBJECT, api, stream, until};
use super::load::message;
use super::proxy::{Proxy, Weather};
use super::scene::Scene;

const PARTY: &str = "fr-dnpaf";
/// Letters before the loss, and those of them whose acknowledgement arrives.
const LETTERS: usize = 6;
const KNOWN: usize = 3;
/// Rounds in which answers must have been lost, and how many are tried for that.
const LOSSES: usize = 3;
const TRIES: usize = 30;

async fn send(exchange: &Exchange) -> String {
    let post = exchange.connect("it-moi", "tn-01").await;
    let message = message("it-moi", "tn-01", PARTY, true);
    let receipt = exchange.publish(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    message["id"].as_str().expect("an id").to_owned()
}

/// The first and last sequence of a stream.
async fn ends(admin: &Client, name: &str) -> (u64, u64) {
    let info = api(admin, &format!("STREAM.INFO.{name}"), &json!({})).await;
    let end = |end: &str| info["state"][end].as_u64().expect("a sequence");
    (end("first_seq"), end("last_seq"))
}

/// Reads the mailbox over a road that carries the first acknowledgements and loses the others.
async fn read_and_lose(exchange: &mut Exchange) {
    let road = Proxy::start(&exchange.nats, 1).await;
    let direct = std::mem::replace(&mut exchange.nats, road.url());
    let client = exchange.connect(PARTY, "system").await;
    exchange.nats = direct;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribes");
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.main", stream("MBOX", PARTY));
    client
        .publish_with_reply(next, inbox, json!({ "batch": LETTERS }).to_string().into())
        .await
        .expect("asks");
    for at in 0..LETTERS {
        let letter = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").expect("open");
        let reply = letter.reply.expect("a letter");
        if at < KNOWN {
            client.request(reply, "+ACK".into()).await.expect("acknowledged");
        } else {
            road.set(Weather::SilentThere);
            client.publish(reply, "+ACK".into()).await.expect("sent");
        }
    }
    client.flush().await.expect("flushes");
    // What the road holds back is gone with it.
    road.set(Weather::Cut);
}

/// Letters come again a minute after their delivery; here after a second.
async fn hasten(exchange: &Exchange) {
    let (admin, name) = (exchange.admin().await, stream("MBOX", PARTY));
    let info = api(&admin, &format!("CONSUMER.INFO.{name}.main"), &json!({})).await;
    let mut config: Value = info["config"].clone();
    config["ack_wait"] = json!(1_000_000_000);
    let body = json!({ "stream_name": name, "config": config });
    let made = api(&admin, &format!("CONSUMER.DURABLE.CREATE.{name}.main"), &body).await;
    assert!(made["error"].is_null(), "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_whose_acknowledgements_are_lost_are_kept_and_come_again() {
    let mut exchange = Exchange::small("").await;
    let mut sent = Vec::new();
    for _ in 0..LETTERS {
        sent.push(send(&exchange).await);
    }
    let (admin, name) = (exchange.admin().await, stream("MBOX", PARTY));
    until("the letters", async || (ends(&admin, &name).await.1 == LETTERS as u64).then_some(())).await;
    read_and_lose(&mut exchange).await;
    // A courier sweeps before it delivers anything: with the new letter there, the broom has passed.
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0), "{}", exchange.log());
    exchange.again().await;
    let admin = exchange.admin().await;
    sent.push(send(&exchange).await);
    until("one letter more", async || (ends(&admin, &name).await.1 > LETTERS as u64).then_some(())).await;
    assert_eq!(ends(&admin, &name).await.0, KNOWN as u64, "swept but for the last that was acknowledged");
    hasten(&exchange).await;
    let mut letters = mailbox(&exchange, PARTY, sent.len() - KNOWN).await;
    letters.sort_by_key(Letter::feed_seq);
    let again: Vec<String> = letters.iter().map(Letter::id).collect();
    assert_eq!(again, sent[KNOWN..], "each comes again, once, and what was acknowledged does not");
}

/// How many letters and receipts nats-server has taken.
async fn taken(admin: &Client) -> (u64, u64) {
    // Receipts first: they are what the broker sends soonest, and a late look would find nothing new.
    let receipts = ends(admin, "RCPT").await.1;
    let mut letters = 0;
    for party in FEW {
        letters += ends(admin, &stream("MBOX", party)).await.1;
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
        let before = taken(&admin).await;
        scene.hold(100, 400).await;
        scene.broker.set(Weather::Cut);
        let after = taken(&admin).await;
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
