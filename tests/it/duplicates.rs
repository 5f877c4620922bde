//! The same message again: what is answered, what is kept, what is delivered. Once, whatever the publisher repeats.
//!
//! A publisher that got no receipt sends the same bytes again (`PROTOCOL.md` section 3); that must never deliver twice
//! and never end in a refusal. The same id with other bytes is a mistake or an attack and must not take its place.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::control::{control, reference};
use super::harness::{
    Exchange, PATIENCE, REPORT_SUBJECT, audit_feed, example, fresh_id, queue, report, sha256, shifted,
};

const SYSTEM_SUBJECT: &str = "ilo.in.it-moi.system.net.flow.observation.tn";

fn bytes(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

/// The next live receipts, in the order in which they came.
async fn live(receipts: &mut async_nats::Subscriber, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < count {
        let next =
            tokio::time::timeout(PATIENCE, receipts.next()).await.expect("a receipt").expect("a receipt");
        all.push(serde_json::from_slice(&next.payload).expect("JSON"));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_again_are_a_duplicate_also_after_a_crash() {
    let mut exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let message = report();
    let first = exchange.publish(&post, REPORT_SUBJECT, bytes(&message)).await;
    assert_eq!(first["data"]["outcome"], "accepted", "{first}");
    let again = exchange.publish(&post, REPORT_SUBJECT, bytes(&message)).await;
    let same = |receipt: &Value| {
        let data = &receipt["data"];
        assert_eq!(data["outcome"], "duplicate", "{receipt}");
        assert_eq!(
            (&data["seq"], &data["recipients"]),
            (&first["data"]["seq"], &first["data"]["recipients"])
        );
        assert_eq!((&data["target"], &data["at"]), (&first["data"]["target"], &first["data"]["at"]));
        assert_eq!(data["sha256"], sha256(&bytes(&message)).as_str());
    };
    same(&again);
    let mut other = message.clone();
    other["data"]["title"] = "Other words".into();
    let refused = exchange.publish(&post, REPORT_SUBJECT, bytes(&other)).await;
    assert_eq!(
        (&refused["data"]["outcome"], &refused["data"]["code"]),
        (&json!("rejected"), &json!("E-DUP"))
    );
    assert_eq!(refused["data"]["detail"][0]["path"], "/id");

    exchange.kill();
    exchange.again().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    // What was not acknowledged before the crash is read again and told again with the same receipts, perhaps only now.
    let told = [&first, &again, &refused].map(|receipt| receipt["id"].clone());
    let after_crash = loop {
        let receipt = exchange.publish(&post, REPORT_SUBJECT, bytes(&message)).await;
        if !told.contains(&receipt["id"]) {
            break receipt;
        }
    };
    same(&after_crash);
    let refused = exchange.publish(&post, REPORT_SUBJECT, bytes(&other)).await;
    assert_eq!(refused["data"]["code"], "E-DUP", "{refused}");
    assert_eq!(exchange.stats()["outcomes"], json!({"accepted": 1, "rejected E-DUP": 2}));

    let letters = exchange.letters("fr-dnpaf").await;
    audit_feed(&letters);
    assert_eq!(letters.iter().map(|letter| letter.payload.clone()).collect::<Vec<_>>(), [bytes(&message)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_belongs_to_its_source_and_only_once_it_is_kept() {
    let exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let german = exchange.connect("de-bpol", "system").await;
    let message = report();
    let mut of_system = message.clone();
    of_system["source"] = "/authority/it-moi".into();
    let mut of_germans = message.clone();
    of_germans["source"] = "/authority/de-bpol".into();
    of_germans["originator"] = "de-bpol".into();
    let german_subject = "ilo.in.de-bpol.system.net.flow.observation.tn";
    for (client, subject, message) in [
        (&post, REPORT_SUBJECT, &message),
        (&system, SYSTEM_SUBJECT, &of_system),
        (&german, german_subject, &of_germans),
    ] {
        let receipt = exchange.publish(client, subject, bytes(message)).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "one id of three sources: {receipt}");
    }

    // What was refused does not take its id: mended, it may come under the same one.
    let mut broken = report();
    broken["data"]["count"]["max"] = 1.into();
    let mended = {
        let mut mended = report();
        mended["id"] = broken["id"].clone();
        mended
    };
    for (message, outcome) in
        [(&broken, "rejected"), (&broken, "rejected"), (&mended, "accepted"), (&mended, "duplicate")]
    {
        let receipt = exchange.publish(&post, REPORT_SUBJECT, bytes(message)).await;
        assert_eq!(receipt["data"]["outcome"], outcome, "{receipt}");
    }
    // The refused bytes again are refused for what they are: E-RANGE, whoever has the id by now.
    let receipt = exchange.publish(&post, REPORT_SUBJECT, bytes(&broken)).await;
    assert_eq!(receipt["data"]["code"], "E-RANGE", "{receipt}");

    let ids: Vec<String> = exchange.letters("fr-dnpaf").await.iter().map(|letter| letter.id()).collect();
    let id = |message: &Value| message["id"].as_str().expect("an id").to_owned();
    assert_eq!(ids, [id(&message), id(&message), id(&message), id(&mended)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_message_stays_quarantined_and_reaches_nobody() {
    let mut exchange = Exchange::start().await;
    let subject = "ilo.in.it-moi.tn-01.net.thb.pattern.tn";
    let mut message = shifted(example("invalid/33-small-cell.json")["message"].clone());
    message["id"] = fresh_id().into();
    let quarantined = |receipt: &Value| {
        let data = &receipt["data"];
        assert_eq!(
            (&data["outcome"], &data["code"]),
            (&json!("quarantined"), &json!("E-SMALLCELL")),
            "{receipt}"
        );
        assert!(data["seq"].is_null() && data["recipients"].is_null(), "{receipt}");
    };
    let post = exchange.connect("it-moi", "tn-01").await;
    quarantined(&exchange.publish(&post, subject, bytes(&message)).await);
    quarantined(&exchange.publish(&post, subject, bytes(&message)).await);
    exchange.kill();
    exchange.again().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    quarantined(&exchange.publish(&post, subject, bytes(&message)).await);
    let stats = exchange.stats();
    assert_eq!(stats["outcomes"], json!({"quarantined E-SMALLCELL": 1}), "kept once");
    assert_eq!(stats["deliveries"], 0);
    for (party, letters) in exchange.mailboxes(&["de-bka", "eu-europol", "it-moi", "fr-dnpaf"]).await {
        assert!(letters.is_empty(), "{party} got a quarantined message");
    }
}

/// What was refused only when the rules of its target were asked is put aside like everything else: with its bytes, and it
/// stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_correction_is_kept_and_stays_quarantined() {
    let exchange = Exchange::small("").await;
    let subject = "ilo.in.it-moi.tn-01.net.thb.pattern.tn";
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut message = shifted(example("invalid/33-small-cell.json")["message"].clone());
    message["id"] = fresh_id().into();
    message["audience"] = "@ms-lea".into();
    let small = message["data"].clone();
    message["data"]["victimProfile"][0]["count"] = 40.into();
    let receipt = exchange.publish(&post, subject, bytes(&message)).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let data = json!({ "target": reference(&message), "reason": "counted anew", "newData": small });
    let mut correction = control("msg.correction", "it-moi", "de-bpol", data);
    correction["source"] = message["source"].clone();
    let subject = "ilo.in.it-moi.tn-01.ctl.msg.correction.zz";
    for _ in 0..2 {
        let receipt = exchange.publish(&post, subject, bytes(&correction)).await;
        assert_eq!(receipt["data"]["outcome"], "quarantined", "{receipt}");
        assert_eq!(receipt["data"]["code"], "E-SMALLCELL", "{receipt}");
    }
    let show = exchange.run(&["archive", "show", "--content", "--personal"]);
    let shown = String::from_utf8(show.stdout).expect("UTF-8");
    let aside: Vec<&str> = shown.lines().filter(|line| line.contains("E-SMALLCELL")).collect();
    assert_eq!(aside.len(), 1, "{shown}");
    assert!(aside[0].contains("counted anew"), "what a supervisor is to look at is kept: {}", aside[0]);
}

/// Without waiting for receipts: pairs that may or may not meet in one commit end the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hurried_publisher_gets_the_same_verdicts_as_a_patient_one() {
    const PAIRS: usize = 20;
    let exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut receipts = post.subscribe("ilo.rcpt.it-moi.tn-01.>").await.expect("subscribes");
    post.flush().await.expect("flushes");
    for _ in 0..PAIRS {
        let message = report();
        let mut other = message.clone();
        other["data"]["title"] = "Other words".into();
        let all = [bytes(&message), bytes(&message), bytes(&other)]
            .map(|bytes| queue(&post, REPORT_SUBJECT, bytes));
        futures_util::future::join_all(all).await;
    }
    let all = live(&mut receipts, 3 * PAIRS).await;
    for three in all.chunks(3) {
        // Three publications in flight may be stored in any order; whichever bytes came first keep the id.
        let outcome = |at: usize| three[at]["data"]["outcome"].as_str().unwrap_or_default().to_owned();
        assert_eq!(outcome(0), "accepted", "{three:?}");
        let rest = [outcome(1), outcome(2)];
        let accepted = &three[0]["data"]["sha256"];
        let expected =
            [1, 2].map(|at| if three[at]["data"]["sha256"] == *accepted { "duplicate" } else { "rejected" });
        assert_eq!(rest, expected, "{three:?}");
    }
    let letters = exchange.letters("fr-dnpaf").await;
    audit_feed(&letters);
    assert_eq!(letters.len(), PAIRS);
}

/// A correction right behind its target, both perhaps in one commit: the order of the stream decides, not the batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_right_behind_its_target_finds_it() {
    let exchange = Exchange::start().await;
    let post = exchange.connect("de-bpol", "tr-03").await;
    let system = exchange.connect("de-bpol", "system").await;
    let mut receipts = system.subscribe("ilo.rcpt.de-bpol.>").await.expect("subscribes");
    system.flush().await.expect("flushes");
    let modus = "ilo.in.de-bpol.tr-03.net.smuggling.modus.tr";
    let correction = "ilo.in.de-bpol.system.ctl.msg.correction.tr";
    let fresh = |file: &str| {
        let mut message = shifted(example(file)["message"].clone());
        message["id"] = fresh_id().into();
        message
    };
    let mut sent = Vec::new();
    for _ in 0..30 {
        let (target, mut corrects) =
            (fresh("valid/03-smuggling-modus.json"), fresh("valid/10-msg-correction.json"));
        corrects["data"]["target"]["id"] = target["id"].clone();
        sent.extend([(&post, modus, bytes(&target)), (&system, correction, bytes(&corrects))]);
    }
    for (client, subject, bytes) in &sent {
        // The PubAck fixes the order in the stream; nobody waits for a receipt.
        queue(client, subject, bytes.clone()).await;
    }
    for receipt in live(&mut receipts, sent.len()).await {
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    }
}
