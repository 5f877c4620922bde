//! Bytes that are no message: each gets its receipt where its publisher looks for it, and none is lost or doubled.
//!
//! What cannot be read has no id, so its receipt is found by the stream sequence of the PubAck. Every stream sequence
//! ends in exactly one outcome; at the end the archive's count is held against the server's.

use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};

use super::harness::{
    Exchange, REPORT_SUBJECT, example, queue_with, receipt_after, report, shifted, stored_receipt,
    stream_info, streams,
};

/// Where the receipt must be.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// Under the message's own id.
    ById,
    /// Under `unreadable-<stream sequence>`.
    BySequence,
}

use Told::{ById, BySequence};

struct Case {
    name: &'static str,
    payload: Vec<u8>,
    headers: &'static [(&'static str, &'static str)],
    code: &'static str,
    told: Told,
}

fn case(name: &'static str, payload: impl Into<Vec<u8>>, code: &'static str, told: Told) -> Case {
    Case { name, payload: payload.into(), headers: &[], code, told }
}

fn with(name: &'static str, headers: &'static [(&'static str, &'static str)], code: &'static str) -> Case {
    Case { name, payload: report().to_string().into_bytes(), headers, code, told: ById }
}

/// The report, changed in its text.
fn text(change: impl FnOnce(String) -> String) -> String {
    change(report().to_string())
}

/// The report with as many bytes as given: spaces before the last brace.
fn padded(bytes: usize) -> String {
    let text = report().to_string();
    let spaces = " ".repeat(bytes - text.len());
    format!("{}{spaces}}}", &text[..text.len() - 1])
}

fn changed(name: &str, value: Value) -> String {
    let mut message = report();
    message[name] = value;
    message.to_string()
}

fn no_json() -> Vec<Case> {
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    vec![
        case("empty", "", "E-JSON", BySequence),
        case("garbage", &b"\x00\x9f\xff\xfeNATS/1.0"[..], "E-JSON", BySequence),
        case("byte order mark", format!("\u{feff}{}", report()), "E-JSON", BySequence),
        case("truncated", text(|text| text[..text.len() / 2].to_owned()), "E-JSON", BySequence),
        case("a list", text(|text| format!("[{text}]")), "E-JSON", BySequence),
        case("two", text(|text| format!("{text}{text}")), "E-JSON", BySequence),
        case("a number", "17", "E-JSON", BySequence),
        case(
            "not UTF-8",
            text(|text| text)
                .into_bytes()
                .into_iter()
                .map(|b| if b == b'S' { 0xe9 } else { b })
                .collect::<Vec<u8>>(),
            "E-JSON",
            BySequence,
        ),
        case("lone surrogate", text(|text| text.replace("rising", "\\ud800")), "E-JSON", BySequence),
        case("NaN", text(|text| text.replace("1240", "NaN")), "E-JSON", BySequence),
        case("too large a number", text(|text| text.replace("1240", "1e999")), "E-JSON", BySequence),
        case("deep", deep, "E-JSON", BySequence),
        case(
            "a member twice",
            text(|text| text.replacen('{', "{\"tlp\":\"TLP:CLEAR\",", 1)),
            "E-JSON",
            BySequence,
        ),
    ]
}

fn no_message() -> Vec<Case> {
    let upper = report()["id"].as_str().expect("an id").to_uppercase();
    vec![
        case("an empty object", "{}", "E-ENVELOPE", BySequence),
        case("no id", text(|text| text.replacen("\"id\"", "\"ID\"", 1)), "E-ENVELOPE", BySequence),
        case("id in upper case", changed("id", json!(upper)), "E-ENVELOPE", BySequence),
        case("id is no UUID", changed("id", json!("x.>")), "E-ENVELOPE", BySequence),
        case("id is a number", changed("id", json!(7)), "E-ENVELOPE", BySequence),
        case("null attribute", changed("handling", Value::Null), "E-ENVELOPE", ById),
        case("old TLP", changed("tlp", json!("TLP:WHITE")), "E-ENVELOPE", ById),
        case("source is a list", changed("source", json!(["/authority/it-moi"])), "E-ENVELOPE", ById),
        case(
            "source is long",
            changed("source", json!(format!("/authority/{}", "x".repeat(5_000)))),
            "E-ENVELOPE",
            ById,
        ),
        case("empty audience", changed("audience", json!("")), "E-ENVELOPE", ById),
        case("leap second", changed("time", json!("2026-03-02T08:15:60Z")), "E-ENVELOPE", ById),
        case("trailing newline", changed("subject", json!("TN\n")), "E-ENVELOPE", ById),
        case("unknown type", changed("type", json!("eu.ilonet.flow.nosuch.v1")), "E-TYPE", ById),
        case("65,537 bytes", padded(65_537), "E-SIZE", ById),
        case("300 KiB", padded(300 * 1024), "E-SIZE", ById),
        case("300 KiB of nothing", vec![b' '; 300 * 1024], "E-SIZE", BySequence),
        with(
            "binary mode",
            &[("ce-id", "1"), ("ce-source", "/authority/de-bpol"), ("ce-type", "x")],
            "E-ENVELOPE",
        ),
        with(
            "binary mode by content type",
            &[("ce-id", "1"), ("Content-Type", "application/json")],
            "E-ENVELOPE",
        ),
        with("wrong content type", &[("Content-Type", "application/json")], "E-ENVELOPE"),
        with("a batch", &[("Content-Type", "application/cloudevents-batch+json")], "E-ENVELOPE"),
        with(
            "another charset",
            &[("content-type", "application/cloudevents+json; charset=latin1")],
            "E-ENVELOPE",
        ),
    ]
}

fn fine() -> Vec<Case> {
    vec![
        case("65,536 bytes", padded(65_536), "", ById),
        with("content type", &[("Content-Type", "application/cloudevents+json")], ""),
        with(
            "content type in another case",
            &[("CONTENT-TYPE", "Application/CloudEvents+JSON; charset=UTF-8")],
            "",
        ),
        with(
            "headers that mean nothing here",
            &[("Nats-Sequence", "1"), ("Ilo-Feed-Seq", "7"), ("X-Party", "de-bpol")],
            "",
        ),
    ]
}

/// Publishes and gives the receipt, which must be where the case says and nowhere else.
async fn publish(client: &Client, case: &Case) -> Value {
    let mut headers = HeaderMap::new();
    for (name, value) in case.headers {
        headers.insert(*name, *value);
    }
    let sequence = queue_with(client, REPORT_SUBJECT, headers, case.payload.clone()).await;
    let unreadable = format!("unreadable-{sequence}");
    let id = serde_json::from_slice::<Value>(&case.payload)
        .ok()
        .and_then(|value| value["id"].as_str().map(str::to_owned));
    let (here, other) = match (case.told, id) {
        (ById, Some(id)) => (id, Some(unreadable)),
        (ById, None) => panic!("{} has no id", case.name),
        // What is no token of a subject cannot have been used as one.
        (BySequence, id) => {
            (unreadable, id.filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')))
        }
    };
    let receipt = receipt_after(client, REPORT_SUBJECT, std::slice::from_ref(&here), &case.payload, 0).await;
    if let Some(other) = other {
        assert!(stored_receipt(client, REPORT_SUBJECT, &other).await.is_none(), "{}: told twice", case.name);
    }
    let id = if case.told == ById { here } else { String::new() };
    assert_eq!(receipt["data"]["target"]["id"], id, "{}", case.name);
    receipt
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_publication_ends_in_exactly_one_receipt() {
    let mut exchange = Exchange::start().await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut published = 0;
    for case in no_json().iter().chain(&no_message()).chain(&fine()) {
        let receipt = publish(&post, case).await;
        let data = &receipt["data"];
        let outcome = if case.code.is_empty() { "accepted" } else { "rejected" };
        let code = if case.code.is_empty() { Value::Null } else { case.code.into() };
        assert_eq!((&data["outcome"], &data["code"]), (&json!(outcome), &code), "{}: {receipt}", case.name);
        published += 1;
    }
    // The larger planes take more, up to 256 KiB.
    let system = exchange.connect("eu-com", "system").await;
    let mut decision = shifted(example("valid/12-board-decision-funding.json")["message"].clone());
    for (bytes, outcome) in [(256 * 1024, "accepted"), (256 * 1024 + 1, "rejected")] {
        decision["id"] = super::harness::fresh_id().into();
        let text = decision.to_string();
        let payload = format!("{}{}}}", &text[..text.len() - 1], " ".repeat(bytes - text.len()));
        let subject = "ilo.in.eu-com.system.board.board.decision.zz";
        let receipt = exchange.publish(&system, subject, payload.into_bytes()).await;
        assert_eq!(receipt["data"]["outcome"], outcome, "{bytes} bytes: {receipt}");
        published += 1;
    }
    audit(&exchange, published).await;
    // A crash and a start change nothing of it.
    exchange.kill();
    exchange.again().await;
    audit(&exchange, published).await;
}

/// One record a stream sequence, one receipt a record.
async fn audit(exchange: &Exchange, published: u64) {
    let operator = exchange.operator().await;
    let mut taken = 0;
    for name in streams(&operator).await.iter().filter(|name| name.starts_with("IN_")) {
        taken += stream_info(&operator, name).await["state"]["last_seq"].as_u64().expect("a number");
    }
    assert_eq!(taken, published);
    assert_eq!(exchange.stats()["records"], published);
    let receipts = stream_info(&operator, "RCPT").await;
    assert_eq!(receipts["state"]["messages"], published, "each on its own subject");
}
