//! Control messages through a running broker: recalls, corrections, releases and erasures reach whom they must, do what
//! they say, and leave nothing behind.

use std::path::Path;

use async_nats::Client;
use serde_json::{Value, json};

use super::harness::{Exchange, audit_feed, few_parties, until};
use super::samples::{REPORT_SUBJECT, example, fresh_id, report, shifted};

/// A control message of a party's own systems.
pub fn control(kind: &str, party: &str, audience: &str, data: Value) -> Value {
    let mut message = report();
    for (name, value) in [
        ("source", json!(format!("/authority/{party}"))),
        ("originator", json!(party)),
        ("type", json!(format!("eu.ilonet.{kind}.v1"))),
        ("purpose", json!("ctl")),
        ("audience", json!(audience)),
        ("data", data),
    ] {
        message[name] = value;
    }
    for name in ["subject", "evaluation", "handling", "priority", "correlationid"] {
        message.as_object_mut().expect("an object").remove(name);
    }
    message
}

/// What refers to a message.
pub fn reference(message: &Value) -> Value {
    json!({ "source": message["source"], "id": message["id"] })
}

pub async fn send(exchange: &Exchange, client: &Client, subject: &str, message: &Value) -> Value {
    let receipt = exchange.publish(client, subject, message.to_string().into_bytes()).await;
    receipt["data"].clone()
}

/// Sends a control message of a party and wants it accepted.
pub async fn order(exchange: &Exchange, client: &Client, kind: &str, message: &Value) -> Value {
    let party = message["originator"].as_str().expect("an originator");
    let subject = format!("ilo.in.{party}.system.ctl.{kind}.zz");
    let receipt = send(exchange, client, &subject, message).await;
    assert_eq!(receipt["outcome"], "accepted", "{receipt}");
    receipt
}

/// It-moi orders the erasure of a message of its own from a holder; the receipt.
pub async fn erase(exchange: &Exchange, message: &Value, holder: &str) -> Value {
    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let data = json!({ "targets": [reference(message)], "ground": "unlawful", "dueBy": due, "attest": true });
    let system = exchange.connect("it-moi", "system").await;
    order(exchange, &system, "msg.erasure", &control("msg.erasure", "it-moi", holder, data)).await
}

async fn refused(exchange: &Exchange, client: &Client, kind: &str, message: &Value) -> String {
    let party = message["originator"].as_str().expect("an originator");
    let subject = format!("ilo.in.{party}.system.ctl.{kind}.zz");
    let receipt = send(exchange, client, &subject, message).await;
    assert_eq!(receipt["outcome"], "rejected", "{receipt}");
    let path = receipt["detail"][0]["path"].as_str().unwrap_or_default();
    format!("{} {path}", receipt["code"].as_str().expect("a code"))
}

async fn ids_in(exchange: &Exchange, party: &str) -> Vec<String> {
    let letters = exchange.letters(party).await;
    audit_feed(&letters);
    letters.iter().map(|letter| letter.id()).collect()
}

fn few() -> impl Fn(&Path) {
    |data| std::fs::write(data.join("network.toml"), few_parties()).expect("a registry")
}

#[tokio::test(flavor = "multi_thread")]
async fn recalls_and_corrections_reach_the_holders_and_nobody_else() {
    let exchange = Exchange::with(&[], few()).await;
    let it = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let mut message = report();
    message["audience"] = "de-bpol,fr-dnpaf".into();
    send(&exchange, &it, REPORT_SUBJECT, &message).await;

    // Written to everybody and to a third party only: both reach the two holders.
    let data = json!({ "target": reference(&message), "reason": "counted anew", "newData": message["data"] });
    let correction = control("msg.correction", "it-moi", "@network", data);
    let receipt = order(&exchange, &system, "msg.correction", &correction).await;
    assert_eq!(receipt["recipients"], 2);
    let data = json!({ "target": reference(&message), "reason": "source-unreliable" });
    let retraction = control("msg.retraction", "it-moi", "es-pn", data.clone());
    let receipt = order(&exchange, &system, "msg.retraction", &retraction).await;
    assert_eq!(receipt["recipients"], 2);

    // Nothing can be corrected any more, nor passed on.
    let data = json!({ "target": reference(&message), "reason": "again", "newData": message["data"] });
    let late = control("msg.correction", "it-moi", "de-bpol", data);
    assert_eq!(refused(&exchange, &system, "msg.correction", &late).await, "E-REF /data/target");
    let data =
        json!({ "target": reference(&message), "step": "grant", "newAudience": "es-pn", "reason": "x" });
    let grant = control("msg.release", "it-moi", "de-bpol", data);
    assert_eq!(refused(&exchange, &system, "msg.release", &grant).await, "E-REF /data/target");

    let id = |message: &Value| message["id"].as_str().expect("an id").to_owned();
    let all = vec![id(&message), id(&correction), id(&retraction)];
    assert_eq!(ids_in(&exchange, "de-bpol").await, all);
    assert_eq!(ids_in(&exchange, "fr-dnpaf").await, all);
    assert!(ids_in(&exchange, "es-pn").await.is_empty());

    // The recall is an obligation: who did not confirm is told, and only to the originator.
    let asked = json!({ "id": message["id"], "source": message["source"] });
    let told = exchange.ask(&system, "it-moi", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["withdrawn"], "retracted");
    assert_eq!(told["fate"]["retracted"]["unconfirmed"], json!(["de-bpol", "fr-dnpaf"]));
    let de = exchange.connect("de-bpol", "system").await;
    let done =
        exchange.ask(&de, "de-bpol", "confirm", &json!({ "id": retraction["id"] })).await.expect("answers");
    assert_eq!(done, json!({ "confirmed": 3, "state": "withdrawn" }));
    let records = exchange.stats()["records"].clone();
    let again = exchange.ask(&de, "de-bpol", "confirm", &json!({ "id": retraction["id"] })).await;
    assert_eq!(
        (again.expect("answers"), &exchange.stats()["records"]),
        (done, &records),
        "said twice, kept once"
    );
    let told = exchange.ask(&system, "it-moi", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["retracted"]["unconfirmed"], json!(["fr-dnpaf"]));
    assert_eq!(told["recipients"][0]["confirmed"], "withdrawn");
    let es = exchange.connect("es-pn", "system").await;
    let (code, _) = exchange.ask(&es, "es-pn", "confirm", &asked).await.expect_err("no holder");
    assert_eq!(code, "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_grant_widens_and_delivers_to_the_new_parties() {
    let mut exchange = Exchange::with(&[], few()).await;
    let it = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let de = exchange.connect("de-bpol", "system").await;
    let mut message = report();
    message["audience"] = "de-bpol".into();
    send(&exchange, &it, REPORT_SUBJECT, &message).await;
    let release = |party: &str, to: &str, step: &str, wider: &str| {
        let data = json!({ "target": reference(&message), "step": step, "newAudience": wider, "reason": "a case of ours" });
        control("msg.release", party, to, data)
    };
    // Who does not hold it may not even learn that it is there.
    let fr = exchange.connect("fr-dnpaf", "system").await;
    let ask = release("fr-dnpaf", "it-moi", "ask", "fr-dnpaf");
    assert_eq!(refused(&exchange, &fr, "msg.release", &ask).await, "E-REF /data/target");
    // A holder asks, whatever audience it writes; it grants nothing to itself.
    let ask = release("de-bpol", "@network", "ask", "fr-dnpaf,es-pn");
    assert_eq!(order(&exchange, &de, "msg.release", &ask).await["recipients"], 1);
    let own = release("de-bpol", "it-moi", "grant", "fr-dnpaf");
    assert_eq!(refused(&exchange, &de, "msg.release", &own).await, "E-REF /data/target");
    // The originator corrects, then grants to one more than holds it: that one gets both.
    let data = json!({ "target": reference(&message), "reason": "counted anew", "newData": message["data"] });
    let correction = control("msg.correction", "it-moi", "de-bpol", data);
    order(&exchange, &system, "msg.correction", &correction).await;
    let grant = release("it-moi", "de-bpol,es-pn", "grant", "de-bpol,fr-dnpaf");
    assert_eq!(order(&exchange, &system, "msg.release", &grant).await["recipients"], 1);
    let data = json!({ "target": reference(&message), "reason": "false-information" });
    let retraction = control("msg.retraction", "it-moi", "de-bpol", data);
    assert_eq!(order(&exchange, &system, "msg.retraction", &retraction).await["recipients"], 2);

    let id = |message: &Value| message["id"].as_str().expect("an id").to_owned();
    let asked = json!({ "id": message["id"], "source": message["source"] });
    let told = exchange.ask(&system, "it-moi", "ledger", &asked).await.expect("answers");
    let parties: Vec<&str> = told["recipients"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["party"].as_str())
        .collect();
    assert_eq!(parties, ["de-bpol", "fr-dnpaf"]);
    assert_eq!(
        (&told["recipients"][1]["released"], &told["recipients"][1]["feed_seq"]),
        (&json!(true), &json!(1))
    );
    exchange.kill();
    exchange.again().await;
    assert_eq!(ids_in(&exchange, "it-moi").await, [id(&ask)]);
    assert_eq!(ids_in(&exchange, "de-bpol").await, [&message, &correction, &grant, &retraction].map(id));
    assert_eq!(ids_in(&exchange, "fr-dnpaf").await, [&message, &correction, &retraction].map(id));
    assert!(ids_in(&exchange, "es-pn").await.is_empty());
}

/// Every file below a directory that holds these bytes.
pub fn files_with(directory: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

pub const CANARY: &str = "Invented-Canary-Name";

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_the_content_is_nowhere() {
    let mut exchange = Exchange::with(&["--enable-case-plane"], few()).await;
    let system = exchange.connect("nl-dtv", "system").await;
    let case = example("valid/07-case-identity-request.json");
    let mut message = shifted(case["message"].clone());
    message["id"] = fresh_id().into();
    message["data"]["person"]["familyName"] = CANARY.into();
    message["audience"] = "de-bpol,fr-dnpaf".into();
    let subject = case["natsSubject"].as_str().expect("a subject");
    let receipt = send(&exchange, &system, subject, &message).await;
    assert_eq!(receipt["outcome"], "accepted", "{receipt}");
    // One has read it, the other has not.
    assert_eq!(ids_in(&exchange, "de-bpol").await.len(), 1);

    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let data = json!({ "targets": [reference(&message)], "ground": "data-subject-request", "dueBy": due, "attest": true });
    let erasure = control("msg.erasure", "nl-dtv", "de-bpol", data);
    assert_eq!(order(&exchange, &system, "msg.erasure", &erasure).await["recipients"], 2);

    let data = exchange.data.clone();
    until("the canary's end", async || files_with(&data, CANARY.as_bytes()).is_empty().then_some(())).await;
    let letters = exchange.letters("fr-dnpaf").await;
    assert_eq!(letters.iter().map(|letter| letter.feed_seq()).collect::<Vec<_>>(), [2], "the letter is gone");
    assert_eq!(letters[0].event()["data"]["targets"][0], reference(&message));

    let asked = json!({ "id": message["id"], "source": message["source"] });
    let told = exchange.ask(&system, "nl-dtv", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["erased"]["content"], "destroyed");
    assert_eq!(told["fate"]["erased"]["unconfirmed"], json!(["de-bpol", "fr-dnpaf"]));
    let fr = exchange.connect("fr-dnpaf", "system").await;
    let by = json!({ "id": erasure["id"], "source": erasure["source"] });
    exchange.ask(&fr, "fr-dnpaf", "confirm", &by).await.expect("answers");
    exchange.kill();
    exchange.again().await;
    let system = exchange.connect("nl-dtv", "system").await;
    let told = exchange.ask(&system, "nl-dtv", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["erased"]["unconfirmed"], json!(["de-bpol"]));
    assert!(files_with(&data, CANARY.as_bytes()).is_empty());
    // The same bytes again are still known: they are not taken in a second time.
    let again = send(&exchange, &system, subject, &message).await;
    assert_eq!(again["outcome"], "duplicate", "{again}");
    until("the canary's end", async || files_with(&data, CANARY.as_bytes()).is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_report_is_erased_from_journal_and_sled_in_place() {
    let mut exchange = Exchange::with(&[], few()).await;
    let it = exchange.connect("it-moi", "tn-01").await;
    let system = exchange.connect("it-moi", "system").await;
    let mut message = report();
    message["audience"] = "de-bpol".into();
    message["data"]["narrative"] = format!("seen by {CANARY} and others").into();
    let receipt = send(&exchange, &it, REPORT_SUBJECT, &message).await;
    assert_eq!(receipt["outcome"], "accepted", "{receipt}");
    // What is sent again is answered, has no record, and stands in the intake stream all the same.
    for _ in 0..2 {
        assert_eq!(send(&exchange, &it, REPORT_SUBJECT, &message).await["outcome"], "duplicate");
    }
    // Enough behind it that its block is sealed into sled.
    for _ in 0..300 {
        let mut filler = report();
        filler["audience"] = "fr-dnpaf".into();
        super::harness::queue(&it, REPORT_SUBJECT, filler.to_string().into_bytes()).await;
    }
    let mut last = report();
    last["audience"] = "fr-dnpaf".into();
    send(&exchange, &it, REPORT_SUBJECT, &last).await;
    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let data = json!({ "targets": [reference(&message)], "ground": "unlawful", "dueBy": due });
    let erasure = control("msg.erasure", "it-moi", "de-bpol", data);
    order(&exchange, &system, "msg.erasure", &erasure).await;
    let place = exchange.data.clone();
    until("the canary's end", async || files_with(&place, CANARY.as_bytes()).is_empty().then_some(())).await;
    exchange.kill();
    exchange.again().await;
    assert_eq!(exchange.stats()["records"], 303);
    let asked = json!({ "id": message["id"], "source": message["source"] });
    let system = exchange.connect("it-moi", "system").await;
    let told = exchange.ask(&system, "it-moi", "ledger", &asked).await.expect("answers");
    assert_eq!(told["fate"]["erased"]["content"], "destroyed");
    assert_eq!(ids_in(&exchange, "fr-dnpaf").await.len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_due_is_erased_and_a_hold_keeps_it() {
    let exchange = Exchange::with(&["--enable-case-plane"], |data| {
        few()(data);
        std::fs::write(data.join("liaison.toml"), "[retention]\nevery_seconds = 1\n")
            .expect("a configuration");
    })
    .await;
    let system = exchange.connect("nl-dtv", "system").await;
    let case = example("valid/07-case-identity-request.json");
    let subject = case["natsSubject"].as_str().expect("a subject");
    let mut asked = Vec::new();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(10);
    for _ in 0..2 {
        let mut message = shifted(case["message"].clone());
        message["id"] = fresh_id().into();
        message["eraseby"] = format!("{soon:.3}").into();
        message.as_object_mut().expect("an object").remove("reviewby");
        message["data"]["dueBy"] = message["eraseby"].clone();
        let receipt = send(&exchange, &system, subject, &message).await;
        assert_eq!(receipt["outcome"], "accepted", "{receipt}");
        asked.push(json!({ "id": message["id"], "source": message["source"] }));
    }
    let it = exchange.connect("it-moi", "tn-01").await;
    let mut plain = report();
    plain["audience"] = "de-bpol".into();
    let report = send(&exchange, &it, REPORT_SUBJECT, &plain).await["seq"].clone();
    let mut small = shifted(example("invalid/33-small-cell.json")["message"].clone());
    small["id"] = fresh_id().into();
    let put_aside = send(&exchange, &it, "ilo.in.it-moi.tn-01.net.thb.pattern.tn", &small).await;
    assert_eq!(put_aside["outcome"], "quarantined", "{put_aside}");
    let aside = report.as_u64().expect("a sequence") + 1;
    let mut hold = asked[1].clone();
    hold["on"] = true.into();
    exchange.ask(&system, "nl-dtv", "hold", &hold).await.expect("answers");
    // The preview says what the sweep is going to do: one is erased, the held one is not.
    let later = format!("{:.3}", soon + jiff::SignedDuration::from_secs(1));
    let preview = exchange.run(&["archive", "retention", "--at", &later]);
    assert_eq!(String::from_utf8_lossy(&preview.stdout), "{\"seq\":1,\"step\":\"erase\"}\n", "{preview:?}");
    // In six years the others are over by their type's days; what was put aside, in a week.
    let later = format!("{:.3}", soon + jiff::SignedDuration::from_hours(6 * 366 * 24));
    let preview = exchange.run(&["archive", "retention", "--at", &later]);
    let preview = String::from_utf8_lossy(&preview.stdout).into_owned();
    assert!(preview.contains(&format!("{{\"seq\":{report},\"step\":\"expire\"}}")), "{preview}");
    assert!(preview.contains(&format!("{{\"seq\":{aside},\"step\":\"expire\"}}")), "{preview}");
    // Its originator may not erase it either, unless a court says so.
    let due = format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48));
    let data = json!({ "targets": [asked[1]], "ground": "unlawful", "dueBy": due });
    let erasure = control("msg.erasure", "nl-dtv", "de-bpol", data);
    assert_eq!(refused(&exchange, &system, "msg.erasure", &erasure).await, "E-RETENTION /data/targets/0");
    let fate = async |at: usize| {
        let told = exchange.ask(&system, "nl-dtv", "ledger", &asked[at]).await.expect("answers");
        told["fate"].clone()
    };
    assert_eq!(fate(0).await["withdrawn"], Value::Null, "not yet");
    until("the erasure", async || (fate(0).await["erased"]["content"] == "destroyed").then_some(())).await;
    assert_eq!((&fate(1).await["withdrawn"], &fate(1).await["hold"]), (&Value::Null, &json!(true)));
    hold["on"] = false.into();
    exchange.ask(&system, "nl-dtv", "hold", &hold).await.expect("answers");
    until("the other", async || (fate(1).await["erased"]["ground"] == "retention-reached").then_some(()))
        .await;
    let letters = exchange.letters("de-bpol").await;
    let orders: Vec<Value> =
        letters.iter().map(|letter| letter.event()["data"]["targets"][0].clone()).collect();
    assert_eq!(orders.iter().filter(|order| !order.is_null()).count(), 2, "{orders:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_that_were_refused_do_not_wait_in_the_intake_stream() {
    let exchange = Exchange::with(&[], few()).await;
    let system = exchange.connect("nl-dtv", "system").await;
    let case = example("valid/07-case-identity-request.json");
    let mut message = shifted(case["message"].clone());
    message["data"]["person"]["familyName"] = CANARY.into();
    let receipt = send(&exchange, &system, case["natsSubject"].as_str().expect("a subject"), &message).await;
    assert_eq!(receipt["code"], "E-PLANE", "{receipt}");
    let it = exchange.connect("it-moi", "tn-01").await;
    let mut message = report();
    message["data"]["narrative"] = format!("call {CANARY} on +216 20 123 456").into();
    let receipt = send(&exchange, &it, REPORT_SUBJECT, &message).await;
    assert_eq!(receipt["code"], "E-PERSONAL", "{receipt}");
    let place = exchange.data.clone();
    until("the canary's end", async || files_with(&place, CANARY.as_bytes()).is_empty().then_some(())).await;
}
