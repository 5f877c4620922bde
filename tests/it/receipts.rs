//! Receipts as documents: valid by their own schemas, complete, and without a word of what was refused.
//!
//! Whatever is wrong with a message may be personal data in the wrong place. So a marker is put where values are wrong,
//! and must turn up nowhere that outlives the message: no receipt, no log, no metric.

use async_nats::Client;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{Exchange, PATIENCE, REPORT_SUBJECT, fresh_id, liaison, queue_with, report, sha256};

/// The validators of the envelope and of the data of a receipt, from the published files.
fn validators() -> (jsonschema::Validator, jsonschema::Validator) {
    let file = |name: &str| -> Value {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
        serde_json::from_slice(&std::fs::read(path).expect("a schema")).expect("JSON")
    };
    let defs = file("defs.json");
    let registry =
        jsonschema::Registry::new().add(defs["$id"].as_str().expect("an id"), &defs).expect("adds");
    let registry = registry.prepare().expect("prepares");
    let build = |name: &str| {
        let options =
            jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_registry(&registry);
        options.should_validate_formats(true).build(&file(name)).expect("compiles")
    };
    (build("envelope.json"), build("msg.receipt.json"))
}

fn assert_valid(validators: &(jsonschema::Validator, jsonschema::Validator), receipt: &Value) {
    for (validator, value) in [(&validators.0, receipt), (&validators.1, &receipt["data"])] {
        let faults: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{receipt}: {faults:#?}");
    }
    assert_eq!(receipt["type"], "eu.ilonet.msg.receipt.v1");
    assert_eq!(receipt["source"], "/broker/liaison-1");
    assert_eq!((&receipt["audience"], &receipt["datacategory"]), (&json!("it-moi"), &json!("none")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_are_valid_events_that_say_what_became_of_the_bytes() {
    let validators = validators();
    let exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut live = post.subscribe("ilo.rcpt.it-moi.tn-01.>").await.expect("subscribes");
    let message = report();
    let bytes = message.to_string().into_bytes();
    let target = json!({ "source": message["source"], "id": message["id"] });

    let accepted = exchange.publish(&post, REPORT_SUBJECT, bytes.clone()).await;
    assert_valid(&validators, &accepted);
    let data = &accepted["data"];
    assert_eq!((&data["outcome"], &data["target"]), (&json!("accepted"), &target));
    assert_eq!((&data["seq"], &data["sha256"]), (&json!(1), &json!(sha256(&bytes))));
    let ledger = exchange.connect("it-moi", "system").await;
    let ledger =
        exchange.ask(&ledger, "it-moi", "ledger", &json!({ "id": message["id"] })).await.expect("answers");
    assert_eq!(data["recipients"], json!(ledger["recipients"].as_array().map(Vec::len)));
    assert!(data["code"].is_null() && data["detail"].is_null(), "{accepted}");
    let heard = live.next().await.expect("the live receipt");
    assert_eq!(serde_json::from_slice::<Value>(&heard.payload).expect("JSON"), accepted, "live as stored");
    let content_type =
        heard.headers.as_ref().and_then(|headers| headers.get("Content-Type")).map(ToString::to_string);
    assert_eq!(content_type.as_deref(), Some("application/cloudevents+json"));

    let duplicate = exchange.publish(&post, REPORT_SUBJECT, bytes.clone()).await;
    assert_valid(&validators, &duplicate);
    assert_ne!(duplicate["id"], accepted["id"], "another receipt");

    let mut late = report();
    late["time"] = "2026-03-02T08:15:00Z".into();
    let late = exchange.publish(&post, REPORT_SUBJECT, late.to_string().into_bytes()).await;
    assert_valid(&validators, &late);
    assert_eq!((&late["data"]["outcome"], &late["data"]["seq"]), (&json!("accepted"), &json!(2)));
    assert_eq!(late["data"]["detail"][0]["path"], "/time", "late is a remark, not a refusal: {late}");

    let mut broken = report();
    broken["data"]["places"][0]["country"] = "EL".into();
    broken["data"]["more"] = true.into();
    broken["data"]["trend"] = "upwards".into();
    let refused = exchange.publish(&post, REPORT_SUBJECT, broken.to_string().into_bytes()).await;
    assert_valid(&validators, &refused);
    assert_eq!(
        (&refused["data"]["outcome"], &refused["data"]["code"]),
        (&json!("rejected"), &json!("E-SCHEMA"))
    );
    assert!(refused["data"]["seq"].is_null() && refused["data"]["recipients"].is_null());
    let mut paths: Vec<&str> = refused["data"]["detail"]
        .as_array()
        .expect("places")
        .iter()
        .filter_map(|place| place["path"].as_str())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/data/more", "/data/places/0/country", "/data/trend"]);

    let unreadable = exchange.publish(&post, REPORT_SUBJECT, b"{".to_vec()).await;
    assert_valid(&validators, &unreadable);
    assert_eq!(unreadable["data"]["target"], json!({ "source": "", "id": "" }));
}

/// Long names and many faults: the receipt stays one that its schema takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_bounded_whatever_was_sent() {
    let validators = validators();
    let exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut names = report();
    for at in 0..200 {
        names["data"][format!("{}/~{at}", "é".repeat(400))] = at.into();
    }
    let mut nested = json!({});
    for _ in 0..25 {
        nested = json!({ "x".repeat(300): nested });
    }
    let mut deep = report();
    deep["data"]["places"][0]["geometry"] = nested;
    let twice = format!("{{\"{0}\":1,\"{0}\":2}}", "y".repeat(5_000));
    let mut long = report();
    long["source"] = format!("/authority/it-moi/post/{}", "z".repeat(5_000)).into();
    for payload in [names.to_string(), deep.to_string(), twice, long.to_string()] {
        let receipt = exchange.publish(&post, REPORT_SUBJECT, payload.into_bytes()).await;
        assert_valid(&validators, &receipt);
        assert_eq!(receipt["data"]["outcome"], "rejected");
        let places = receipt["data"]["detail"].as_array().expect("places").len();
        assert!((1..=20).contains(&places), "{places} places");
    }
}

/// In no word of the broker's, and in no text of the tests' own.
const MARKER: &str = "zqxj7wvk";

/// Messages that are wrong where the marker stands. A `source` of the right form is not among them: with the id it is
/// the name of the message, which its receipt repeats.
fn marked() -> Vec<(&'static str, Value)> {
    let at = |pointer: &'static str, value: Value| {
        let mut message = report();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        message.pointer_mut(parent).expect("a place")[name] = value;
        (pointer, message)
    };
    let text = |pointer: &'static str| at(pointer, MARKER.into());
    let mut cases: Vec<(&str, Value)> = [
        "/specversion",
        "/id",
        "/source",
        "/type",
        "/subject",
        "/time",
        "/recordedtime",
        "/datacontenttype",
        "/originator",
        "/purpose",
        "/dataclassification",
        "/datacategory",
        "/tlp",
        "/audience",
        "/priority",
        "/handling",
        "/evaluation",
        "/data/lang",
        "/data/level",
        "/data/trend",
        "/data/more",
        "/data/count",
        "/data/period",
        "/data/more",
    ]
    .map(text)
    .to_vec();
    cases.extend([
        at("/audience", format!("de-{MARKER}").into()),
        at("/exclude", format!("de-{MARKER}").into()),
        at("/originator", format!("de-{MARKER}").into()),
        at("/type", format!("eu.ilonet.flow.{MARKER}.v1").into()),
        at("/handlingnote", "".into()),
        at("/data/narrative", format!("Call {MARKER} on +39 333 1234567 or {MARKER}@example.org").into()),
        at("/data/narrative", format!("P<UTO{}<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10", MARKER.to_uppercase()).into()),
        at("/data/title", format!("{MARKER} {}", "x".repeat(300)).into()),
        at("/data/places/0/locode", format!("LY{}", &MARKER[..3].to_uppercase()).into()),
        at("/data/places/0/country", MARKER.into()),
        at("/data/routes", json!([MARKER])),
        at("/data/composition", json!([{"nationality": MARKER, "count": 3}])),
        at("/data/person", json!({"familyName": MARKER, "dateOfBirth": "1990-01-01"})),
        at("/data/count", json!({"value": 1, "min": 5, "max": 2, "basis": "estimated", "note": MARKER})),
    ]);
    cases
}

async fn next(live: &mut async_nats::Subscriber) -> String {
    let heard = tokio::time::timeout(PATIENCE, live.next()).await.expect("a receipt").expect("a receipt");
    let headers: Vec<String> = heard
        .headers
        .iter()
        .flat_map(|map| map.iter())
        .map(|(name, values)| format!("{name}: {values:?}"))
        .collect();
    format!("{} {headers:?} {}", heard.subject, String::from_utf8_lossy(&heard.payload))
}

fn assert_unmarked(what: &str, text: &str) {
    assert!(!text.to_lowercase().contains(MARKER), "{what} holds what was refused: {text}");
}

async fn send(post: &Client, headers: &[(&str, &str)], payload: Vec<u8>) {
    let mut map = async_nats::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    queue_with(post, REPORT_SUBJECT, map, payload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_refused_value_is_ever_told() {
    let exchange = Exchange::with(&["--enable-case-plane", "--log", "debug"], |_| {}).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut live = post.subscribe("ilo.rcpt.it-moi.tn-01.>").await.expect("subscribes");
    for (place, message) in marked() {
        send(&post, &[], message.to_string().into_bytes()).await;
        let told = next(&mut live).await;
        assert!(told.contains("\"rejected\""), "{place}: {told}");
        assert_unmarked(place, &told);
    }
    let header = format!("text/{MARKER}");
    for (headers, payload) in [
        (&[("Content-Type", header.as_str())][..], report().to_string()),
        (&[("ce-id", MARKER), ("ce-source", MARKER)][..], report().to_string()),
        (&[][..], MARKER.to_owned()),
        (&[][..], format!("{{\"id\":\"{MARKER}")),
        (&[][..], format!("{{\"id\":{MARKER}}}")),
        (&[][..], format!("\u{feff}\"{MARKER}\"")),
        (&[][..], format!("[\"{MARKER}\"]")),
    ] {
        send(&post, headers, payload.clone().into_bytes()).await;
        let told = next(&mut live).await;
        assert!(told.contains("\"rejected\""), "{payload}: {told}");
        assert_unmarked(&payload, &told);
    }
    // A dry run and a bad subscription are answered to the same rule.
    let system = exchange.connect("it-moi", "system").await;
    for (verb, body) in [
        ("validate", json!({ "id": fresh_id(), "type": MARKER })),
        ("sub.put", json!({ "name": "x", "where": format!("event.subject == {MARKER}") })),
        ("sub.put", json!({ "name": "x", "filters": [{ "exact": { "type": { MARKER: 1 } } }] })),
        ("status", json!({ "id": MARKER })),
    ] {
        let answer =
            system.request(format!("ilo.svc.it-moi.{verb}"), body.to_string().into()).await.expect("answers");
        assert_unmarked(verb, &format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.payload)));
    }
    // What is kept of a refusal is where it was wrong, never the bytes.
    let shown = liaison()
        .args(["archive", "show", "--content", "--limit", "1000", "--data"])
        .arg(&exchange.data)
        .output();
    let shown = String::from_utf8(shown.expect("runs").stdout).expect("text");
    assert!(shown.lines().count() > marked().len(), "{shown}");
    assert_unmarked("the archive", &shown);
    assert_unmarked("the log", &exchange.log());
    let (status, metrics) = exchange.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("liaison_") && metrics.contains("E-SCHEMA"), "{metrics}");
    assert_unmarked("the metrics", &metrics);
    assert_unmarked("readiness", &exchange.get("/readyz").await.1);
}
