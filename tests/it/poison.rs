//! Frames that no client library can read, sent over raw TCP by an ordinary party: they are put aside, and everything
//! behind them, and everybody else, goes on.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::harness::{Exchange, REPORT_SUBJECT, liaison, queue, receipt, report, stream_info, until};

/// Good messages between two bad ones.
const BETWEEN: usize = 6;

/// Header blocks that break the library, or that the server passes on though it should not.
const BLOCKS: [(&str, &[u8]); 7] = [
    ("a header line without colon", b"NATS/1.0\r\nno colon here\r\n\r\n"),
    ("a value that is not UTF-8", b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n"),
    ("a name that is not ASCII", b"NATS/1.0\r\n\xc3\xa9: b\r\n\r\n"),
    ("a bare line feed in a value", b"NATS/1.0\r\nA: a\nb\r\n\r\n"),
    ("a lone carriage return in a value", b"NATS/1.0\r\nA: a\rb\r\n\r\n"),
    ("an empty name", b"NATS/1.0\r\n: b\r\n\r\n"),
    ("no status line", b"A: b\r\n\r\n"),
];

/// Subjects that no publisher's library would send.
const SUBJECTS: [&[u8]; 3] = [
    b"ilo.in.it-moi.tn-01.net.\xff\xfe.observation.tn",
    b"ilo.in.it-moi.tn-01.net.flow.*.tn",
    b"ilo.in.it-moi.tn-01.net.flow.>",
];

/// A connection that sends whatever bytes it is given.
struct Raw {
    socket: BufReader<TcpStream>,
}

impl Raw {
    async fn connect(exchange: &Exchange, party: &str, user: &str) -> Self {
        let address = exchange.nats.trim_start_matches("nats://");
        let mut socket = BufReader::new(TcpStream::connect(address).await.expect("connects"));
        let mut line = String::new();
        socket.read_line(&mut line).await.expect("INFO");
        let info: serde_json::Value =
            serde_json::from_str(line.trim_start_matches("INFO ").trim()).expect("INFO in JSON");
        let seed = std::fs::read_to_string(exchange.key(party, user)).expect("a key");
        let pair = nkeys::KeyPair::from_seed(seed.trim()).expect("a seed");
        let nonce = info["nonce"].as_str().expect("a nonce");
        let signature = pair.sign(nonce.as_bytes()).expect("signs");
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "lang": "raw", "version": "0",
            "nkey": pair.public_key(), "sig": base64url(&signature),
        });
        let mut raw = Self { socket };
        raw.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await;
        let mut line = String::new();
        raw.socket.read_line(&mut line).await.expect("an answer");
        assert!(line.starts_with("PONG"), "{line}");
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.expect("writes");
    }

    async fn publish(&mut self, subject: &[u8], block: Option<&[u8]>, payload: &[u8]) {
        let mut frame = Vec::new();
        match block {
            Some(block) => {
                frame.extend_from_slice(b"HPUB ");
                frame.extend_from_slice(subject);
                frame.extend_from_slice(
                    format!(" {} {}\r\n", block.len(), block.len() + payload.len()).as_bytes(),
                );
                frame.extend_from_slice(block);
            }
            None => {
                frame.extend_from_slice(b"PUB ");
                frame.extend_from_slice(subject);
                frame.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame.extend_from_slice(b"\r\n");
        self.send(&frame).await;
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_harms_nobody_and_is_put_aside() {
    let exchange = Exchange::start().await;
    let good = exchange.connect("it-moi", "tn-01").await;
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    let mut sent = Vec::new();
    let body = report().to_string().into_bytes();
    let bad = BLOCKS.iter().map(|(_, block)| (REPORT_SUBJECT.as_bytes(), Some(*block)));
    let bad: Vec<_> = bad.chain(SUBJECTS.iter().map(|subject| (*subject, None))).collect();
    let started = Instant::now();
    for (subject, block) in &bad {
        raw.publish(subject, *block, &body).await;
        for _ in 0..BETWEEN {
            let payload = report().to_string().into_bytes();
            queue(&good, REPORT_SUBJECT, payload.clone()).await;
            sent.push(payload);
        }
    }
    // Somebody else's way is not touched by it.
    let other = exchange.connect("de-bpol", "system").await;
    let mut message = report();
    message["source"] = "/authority/de-bpol".into();
    message["originator"] = "de-bpol".into();
    let subject = "ilo.in.de-bpol.system.net.flow.observation.tn";
    let others = exchange.publish(&other, subject, message.to_string().into_bytes()).await;
    assert_eq!(others["data"]["outcome"], "accepted", "{others}");
    for payload in &sent {
        let event: serde_json::Value = serde_json::from_slice(payload).expect("our own JSON");
        let id = event["id"].as_str().expect("an id");
        let receipt = receipt(&good, REPORT_SUBJECT, id, payload).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    }
    println!("{} poisonous frames among {} good ones: {:?}", bad.len(), sent.len(), started.elapsed());
    assert_every_sequence_has_one_outcome(&exchange).await;
    let (status, body) = exchange.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
}

/// Archive records of the poisoned stream against its last sequence, and what became of the bad ones.
async fn assert_every_sequence_has_one_outcome(exchange: &Exchange) {
    let operator = exchange.operator().await;
    let info = stream_info(&operator, "IN_IT_MOI").await;
    let last = info["state"]["last_seq"].as_u64().expect("a sequence");
    let shown = until("every sequence in the archive", async || {
        let show =
            liaison().args(["archive", "show", "--limit", "10000", "--data"]).arg(&exchange.data).output();
        let text = String::from_utf8(show.expect("runs").stdout).expect("UTF-8");
        let records: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let records: Vec<_> = records.into_iter().filter(|record| record["party"] == "it-moi").collect();
        (records.len() as u64 >= last).then_some(records)
    })
    .await;
    let mut sequences: Vec<u64> =
        shown.iter().map(|record| record["stream_sequence"].as_u64().expect("a sequence")).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>(), "each stream sequence has exactly one outcome");
    let quarantined = shown.iter().filter(|record| record["outcome"] == "quarantined").count();
    assert!(quarantined >= 5, "{quarantined} frames were put aside");
}
