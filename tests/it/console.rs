//! The operators' window: states and counts in the forms that machines expect, and never anything of a message.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::{Exchange, REPORT_SUBJECT, api, report, signal, until};
use serde_json::json;

/// The whole answer: status line and headers, and body.
async fn whole(exchange: &Exchange, request: &str) -> (String, String) {
    let address = exchange.http.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("connects");
    let text = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(text.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers and body");
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_and_readiness_are_told() {
    let exchange = Exchange::small("").await;
    let (head, _) = whole(&exchange, "GET /livez").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let (head, body) = whole(&exchange, "GET /readyz").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["ready"], true);
    let names: Vec<&str> = body["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|check| check["check"].as_str())
        .collect();
    assert_eq!(names, ["nats", "archive", "intake", "checkpoint", "clock", "audit", "mailboxes"]);
    let nats = exchange.nats_pid().expect("a nats-server");
    signal(nats, "KILL");
    let away = until("a word that NATS is away", async || {
        let (status, body) = exchange.get("/readyz").await;
        (status == 503).then_some(body)
    });
    assert!(away.await.contains("not connected: "));
    let (status, _) = exchange.get("/livez").await;
    assert_eq!(status, 200, "alive though not ready");
    until("readiness", async || (exchange.get("/readyz").await.0 == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_a_problem_in_json() {
    let exchange = Exchange::small("").await;
    for request in ["GET /", "GET /archive", "GET /metrics/../etc", "GET /readyz%00"] {
        let (head, body) = whole(&exchange, request).await;
        assert!(head.starts_with("http/1.1 404"), "{request}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{request}: {head}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["status"], 404);
        assert!(body["type"].is_string() && body["title"].is_string(), "{body}");
    }
    for request in ["POST /readyz", "DELETE /metrics"] {
        let (head, body) = whole(&exchange, request).await;
        assert!(head.starts_with("http/1.1 405"), "{request}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{request}: {head} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_and_tell_nothing_else() {
    let exchange = Exchange::small("").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let good = report();
    let receipt = exchange.publish(&post, REPORT_SUBJECT, good.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let mut bad = report();
    bad["data"]["narrative"] = "Call +90 555 010 20 30 at once, ask for Zephyrine".into();
    let receipt = exchange.publish(&post, REPORT_SUBJECT, bad.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["code"], "E-PERSONAL", "{receipt}");
    let count = receipt_count(&exchange).await;
    assert_eq!(count, 2);
    let (head, text) = whole(&exchange, "GET /metrics").await;
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines() {
        let name =
            line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").trim_start_matches("# UNIT ");
        assert!(name.starts_with("liaison_") || line == "# EOF", "{line}");
    }
    for line in [
        "liaison_messages_total{outcome=\"accepted\",code=\"\"} 1",
        "liaison_messages_total{outcome=\"rejected\",code=\"E-PERSONAL\"} 1",
        "liaison_receipts_total 2",
        "liaison_archive_last_sequence 2",
        "liaison_mailboxes_stalled 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    let (_, ready) = whole(&exchange, "GET /readyz").await;
    let log = exchange.log();
    let ids = [good["id"].as_str().expect("an id"), bad["id"].as_str().expect("an id")];
    for secret in ids.into_iter().chain(["Zephyrine", "555 010", "tn-01", "Sfax"]) {
        assert!(!text.contains(secret) && !ready.contains(secret), "{secret} is told");
    }
    for secret in ["Zephyrine", "555 010", "Sfax"] {
        assert!(!log.contains(secret), "{secret} is logged");
    }
}

/// Receipts are counted when they are stored, which a client may see a moment sooner.
async fn receipt_count(exchange: &Exchange) -> u64 {
    until("the count of receipts", async || {
        let info = api(&exchange.admin().await, "STREAM.INFO.RCPT", &json!({})).await;
        let stored = info["state"]["messages"].as_u64()?;
        let (_, text) = exchange.get("/metrics").await;
        text.contains(&format!("liaison_receipts_total {stored}\n")).then_some(stored)
    })
    .await
}
