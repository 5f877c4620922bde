//! What an ordinary party can try on the road: headers that command the server, words that look like the broker's,
//! the ids of others, and more than it may send. It harms nobody, and each publication has its one outcome.
//!
//! Frames that cannot be read are in `poison`, what one party may not do to another in `isolation`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{
    Exchange, PATIENCE, REPORT_SUBJECT, fresh_id, queue, queue_with, receipt_after, report, stream_info,
    streams, until,
};
use super::load::message;
use super::rawlink::{Raw, frame};

fn bytes(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

/// The last sequence of every stream; the bucket of subscriptions is touched by the broker itself.
async fn sequences(operator: &Client) -> HashMap<String, u64> {
    let mut all = HashMap::new();
    for name in streams(operator).await.into_iter().filter(|name| name != "KV_SUBS") {
        let last = stream_info(operator, &name).await["state"]["last_seq"].as_u64().expect("a number");
        all.insert(name, last);
    }
    all
}

/// Headers that command the server, and whether the message may be stored all the same.
const CONTROLS: [(&str, &str, bool); 16] = [
    ("Nats-Rollup", "sub", false),
    ("Nats-Rollup", "all", false),
    ("Nats-TTL", "1s", false),
    ("Nats-TTL", "never", false),
    ("Nats-Expected-Stream", "IN_DE_BPOL", false),
    ("Nats-Expected-Last-Sequence", "999", false),
    ("Nats-Expected-Last-Subject-Sequence", "999", false),
    ("Nats-Expected-Last-Msg-Id", "nobody's", false),
    ("Nats-Schedule", "@every 1s", false),
    ("Nats-Schedule-Target", "ilo.out.de-bpol.net.flow.observation.tn", true),
    ("Nats-Incr", "+1", false),
    ("Nats-Batch-Id", "x", false),
    ("Nats-Marker-Reason", "Purge", true),
    ("Nats-Stream", "MBOX_DE_BPOL", true),
    ("Nats-Last-Sequence", "1", true),
    ("Status", "503", true),
];

/// T8: the server refuses what the streams do not allow; the rest is passed over. Nothing but the party's own stream and
/// its receipts ever changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_headers_control_nothing() {
    let exchange = Exchange::small("").await;
    let operator = exchange.operator().await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let first = exchange.publish(&client, REPORT_SUBJECT, bytes(&report())).await;
    assert_eq!(first["data"]["outcome"], "accepted", "{first}");
    let before = sequences(&operator).await;
    let mut stored = 0;
    for (name, value, may) in CONTROLS {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let message = json!({"to": "nobody"}).to_string();
        let sent = client.request_with_headers(REPORT_SUBJECT, headers, message.clone().into());
        let answer: Value = serde_json::from_slice(&sent.await.expect("an answer").payload).expect("JSON");
        println!("{name}: {value}: {answer}");
        if let Some(sequence) = answer["seq"].as_u64().filter(|sequence| *sequence > 0) {
            assert!(may, "{name}: {value} was taken: {answer}");
            let tokens = [format!("unreadable-{sequence}")];
            let receipt = receipt_after(&client, REPORT_SUBJECT, &tokens, message.as_bytes(), 0).await;
            assert_eq!(receipt["data"]["code"], "E-ENVELOPE", "{name}: {receipt}");
            stored += 1;
        } else {
            assert!(!answer["error"].is_null(), "{name}: {answer}");
        }
    }
    // Traces, which the server sends wherever it is told; it does not answer what it traces across accounts.
    for dest in ["ilo.rcpt.it-moi.tn-01.x", SYSTEM, "$JS.API.STREAM.DELETE.IN_IT_MOI", "ilo.out.de-bpol.x"] {
        for only in ["true", "false"] {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Trace-Dest", dest);
            headers.insert("Nats-Trace-Only", only);
            client.publish_with_headers(REPORT_SUBJECT, headers, "{}".into()).await.expect("sends");
        }
    }
    let last = exchange.publish(&client, REPORT_SUBJECT, bytes(&report())).await;
    assert_eq!(last["data"]["outcome"], "accepted", "{last}");
    let now = sequences(&operator).await;
    let taken = now["IN_IT_MOI"] - before["IN_IT_MOI"];
    println!("{stored} answered, {} of the traced ones stored", taken - stored - 1);
    for (name, last) in before.iter().filter(|(name, _)| !name.starts_with("MBOX_")) {
        let more = if name == "IN_IT_MOI" || name == "RCPT" { taken } else { 0 };
        assert_eq!(now[name], last + more, "{name}");
    }
    // One outcome a publication, and two good reports alone: no trace was taken for a message.
    let stats = exchange.stats();
    assert_eq!(
        (&stats["records"], &stats["outcomes"]["accepted"]),
        (&json!(now["IN_IT_MOI"]), &json!(2)),
        "{stats}"
    );
}

const SYSTEM: &str = "ilo.in.it-moi.system.net.flow.observation.tn";

/// T7: words of the broker and of the server, sent by a party as if they were its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_broker_traffic_is_refused_like_anything_else() {
    let exchange = Exchange::small("").await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let genuine = exchange.publish(&client, REPORT_SUBJECT, bytes(&report())).await;
    assert_eq!(genuine["data"]["outcome"], "accepted", "{genuine}");
    let mut own = genuine.clone();
    own["source"] = "/authority/it-moi".into();
    own["originator"] = "it-moi".into();
    own["id"] = fresh_id().into();
    let mut erasure = genuine.clone();
    erasure["type"] = "eu.ilonet.msg.erasure.v1".into();
    erasure["id"] = fresh_id().into();
    let receipts = "ilo.in.it-moi.system.ctl.msg.receipt.zz";
    let erasures = "ilo.in.it-moi.system.ctl.msg.erasure.zz";
    let ack = json!({"stream": "IN_IT_MOI", "seq": 1});
    let advisory = json!({"type": "io.nats.jetstream.advisory.v1.max_deliver", "stream": "IN_IT_MOI"});
    for (client, subject, message, codes) in [
        // A genuine receipt, sent back; one that claims to be the party's own; an erasure by "the broker".
        (&system, receipts, genuine.clone(), &["E-ORIGIN"][..]),
        (&system, erasures, erasure, &["E-ORIGIN"][..]),
        (&client, REPORT_SUBJECT, genuine, &["E-ORIGIN"][..]),
        (&client, REPORT_SUBJECT, ack, &["E-ENVELOPE"][..]),
        (&client, REPORT_SUBJECT, advisory, &["E-ENVELOPE", "E-TYPE"][..]),
    ] {
        let receipt = exchange.publish(client, subject, bytes(&message)).await;
        let code = receipt["data"]["code"].as_str().unwrap_or_default();
        assert!(codes.contains(&code), "{subject}: {receipt}");
    }
    // A receipt under its own name is a message like any other: whatever becomes of it, no receipt of the broker changes.
    let target = own["data"]["target"]["id"].as_str().expect("an id").to_owned();
    let receipt = exchange.publish(&system, receipts, bytes(&own)).await;
    println!("a receipt of one's own: {}", receipt["data"]);
    let kept = super::harness::stored_receipt(&client, REPORT_SUBJECT, &target).await.expect("is kept").1;
    assert_eq!(
        (&kept["source"], &kept["data"]["outcome"]),
        (&json!("/broker/liaison-1"), &json!("accepted"))
    );
    // A PubAck that is led to a subject of the party itself is a message of nobody's (F5): refused, never read as one.
    let mut raw = Raw::connect(&exchange, "it-moi", "system").await;
    let subject = b"ilo.in.it-moi.system.net.flow.observation.tn";
    let mut message = report();
    message["source"] = "/authority/it-moi".into();
    raw.publish_to(subject, subject, None, &bytes(&message)).await;
    assert_eq!(raw.fence().await, Vec::<String>::new());
    let behind = exchange.publish(&client, REPORT_SUBJECT, bytes(&report())).await;
    assert_eq!(behind["data"]["outcome"], "accepted", "{behind}");
    let operator = exchange.operator().await;
    let last = stream_info(&operator, "IN_IT_MOI").await["state"]["last_seq"].as_u64();
    assert_eq!(exchange.stats()["records"].as_u64(), last, "one outcome a sequence");
}

/// T3: neither the id of NATS nor that of the message is one for the whole network. Another authority that has used
/// both before takes nothing away; nor does a post of one's own, for whoever waits for its receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_used_before_take_nothing_away() {
    let exchange = Exchange::small("").await;
    let id = fresh_id();
    let headers = || {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.as_str());
        headers
    };
    let with_id = |party: &str, post: &str| {
        let mut message = message(party, post, "gr-hp", true);
        message["id"] = id.clone().into();
        bytes(&message)
    };
    for (party, post) in [("es-pn", "sn-02"), ("it-moi", "tn-01"), ("de-bpol", "tr-03")] {
        let client = exchange.connect(party, post).await;
        let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
        let payload = with_id(party, post);
        queue_with(&client, &subject, headers(), payload.clone()).await;
        let receipt = receipt_after(&client, &subject, std::slice::from_ref(&id), &payload, 0).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{party}: {receipt}");
    }
    // Another user of the same authority suppresses a publication with the same header for a tenth of a second at most,
    // and only if it has that header. No receipt comes, so the publisher sends again, and is heard.
    let system = exchange.connect("it-moi", "system").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let own = "ilo.in.it-moi.system.net.flow.observation.tn";
    let victim = message("it-moi", "tn-01", "gr-hp", true);
    let id = victim["id"].as_str().expect("an id").to_owned();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id.as_str());
    queue_with(&system, own, headers.clone(), b"{}".to_vec()).await;
    let told = until("a receipt for who sends again", async || {
        queue_with(&post, REPORT_SUBJECT, headers.clone(), bytes(&victim)).await;
        let stored = super::harness::stored_receipt(&post, REPORT_SUBJECT, &id).await;
        stored.map(|(_, receipt)| receipt["data"]["outcome"].clone())
    })
    .await;
    assert!(told == "accepted" || told == "duplicate", "{told}");
    let letters = exchange.letters("gr-hp").await;
    assert_eq!(letters.len(), 4, "each once");
}

/// Messages that the flooder sends, and what it may send: a burst of 500, then 50 a second.
const FLOOD: usize = 5_000;
/// Messages of each of the others meanwhile.
const MEANWHILE: usize = 60;

/// T21: an ordinary party sends several thousand a second. It is told when to come again; the others notice little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_drowns_only_its_sender() {
    let exchange = Exchange::small("").await;
    let operator = exchange.operator().await;
    let flooder = exchange.connect("it-moi", "tn-01").await;
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    let all: Vec<Vec<u8>> = (0..FLOOD)
        .map(|_| {
            let mut message = report();
            message["audience"] = "gr-hp".into();
            frame(REPORT_SUBJECT.as_bytes(), b"", None, &bytes(&message))
        })
        .collect();
    let last = async || stream_info(&operator, "IN_IT_MOI").await["state"]["last_seq"].as_u64();
    let flooding = async {
        let began = Instant::now();
        for chunk in all.chunks(200) {
            raw.send(&chunk.concat()).await;
        }
        raw.fence().await;
        until("the flood in the stream", async || (last().await == Some(FLOOD as u64)).then_some(())).await;
        began.elapsed()
    };
    let (took, mut waits, more) = tokio::join!(
        flooding,
        others(&exchange, "de-bpol", "tr-03"),
        others(&exchange, "fr-dnpaf", "ne-02"),
    );
    waits.extend(more);
    waits.sort_unstable();
    let rate = FLOOD as f64 / took.as_secs_f64();
    let (middle, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("a flood of {rate:.0}/s; receipts of the others: median {middle:?}, longest {longest:?}");
    assert!(rate > 1_000.0, "that is no flood: {rate:.0}/s");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    // Every one of the flood has its outcome.
    let outcomes = until("an outcome for each", async || {
        let stats = exchange.stats();
        (stats["records"].as_u64() == Some((FLOOD + 2 * MEANWHILE) as u64))
            .then_some(stats["outcomes"].clone())
    })
    .await;
    println!("{outcomes}");
    let refused = outcomes["rejected E-RATE"].as_u64().expect("a number");
    assert_eq!(refused + outcomes["accepted"].as_u64().expect("a number"), (FLOOD + 2 * MEANWHILE) as u64);
    assert!(refused > (FLOOD / 2) as u64, "{outcomes}");
    // Who is refused is told when to come again, and is taken then.
    told_when(&exchange, &flooder).await;
}

/// Publishes one after the other, each when the one before has its receipt; how long each waited for it.
async fn others(exchange: &Exchange, party: &str, post: &str) -> Vec<Duration> {
    let client = exchange.connect(party, post).await;
    let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
    let mut live = client.subscribe(format!("ilo.rcpt.{party}.{post}.>")).await.expect("subscribes");
    client.flush().await.expect("flushes");
    let mut waits = Vec::new();
    for _ in 0..MEANWHILE {
        let began = Instant::now();
        queue(&client, &subject, bytes(&message(party, post, "gr-hp", true))).await;
        let heard = tokio::time::timeout(PATIENCE, live.next()).await.expect("a receipt").expect("open");
        waits.push(began.elapsed());
        let receipt: Value = serde_json::from_slice(&heard.payload).expect("JSON");
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    }
    waits
}

/// Sends until it is refused, waits as long as it is told, and is taken.
async fn told_when(exchange: &Exchange, client: &Client) {
    let send = async || exchange.publish(client, REPORT_SUBJECT, bytes(&report())).await["data"].clone();
    let words = until("a refusal", async || {
        let all: Vec<Vec<u8>> = (0..600).map(|_| bytes(&report())).collect();
        let sent = all.into_iter().map(|payload| queue(client, REPORT_SUBJECT, payload));
        futures_util::future::join_all(sent).await;
        let data = send().await;
        (data["code"] == "E-RATE").then(|| data["detail"][0]["message"].as_str().map(str::to_owned))
    })
    .await
    .expect("words");
    let seconds = words.rsplit_once("after ").and_then(|(_, rest)| rest.strip_suffix(" s"));
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{words}"));
    assert!((1..=2).contains(&seconds), "{words}");
    // As long as the broker says, and no test hopes: that is what is asserted.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!(send().await["outcome"], "accepted", "after {seconds} s");
}
