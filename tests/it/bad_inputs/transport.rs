//! Rows 75 to 90: subjects, sizes and headers, by a client library and by raw frames.

use std::time::Instant;

use super::super::harness::{Exchange, REPORT_SUBJECT, report, stream_info};
use super::super::rawlink::{Raw, frame};
use super::{Refused, Row, Taken, row};

const SUBJECT: &[u8] = REPORT_SUBJECT.as_bytes();

fn good(number: u8, name: &'static str, wants: super::Wants) -> Row {
    row(number, name, report().to_string(), wants)
}

pub fn rows() -> Vec<Row> {
    let subject = Refused("E-SUBJECT", "");
    let envelope = Refused("E-ENVELOPE", "");
    vec![
        // Wildcards are literal in a publication. Refused, not put aside: the rule table says so, and nothing breaks.
        good(75, "a star for a token", subject).on("ilo.in.it-moi.tn-01.net.flow.*.tn"),
        good(75, "everything below", subject).on("ilo.in.it-moi.tn-01.net.flow.>"),
        good(75, "everything of the post", subject).on("ilo.in.it-moi.tn-01.>"),
        good(75, "a subject that goes on", subject).on("ilo.in.it-moi.tn-01.net.flow.observation.tn.x"),
        good(75, "a subject that is cut", subject).on("ilo.in.it-moi.tn-01.net.flow.observation"),
        good(75, "capitals", subject).on("ilo.in.it-moi.tn-01.net.flow.observation.TN"),
        good(75, "another country", Refused("E-SUBJECT", "/subject"))
            .on("ilo.in.it-moi.tn-01.net.flow.observation.ly"),
        good(84, "the content type twice", Taken).with(&[
            ("Content-Type", "application/cloudevents+json"),
            ("Content-Type", "application/cloudevents+json"),
        ]),
        good(84, "headers that mean nothing here", Taken).with(&[
            ("Nats-Sequence", "1"),
            ("Ilo-Feed-Seq", "7"),
            ("Ilo-Digest", "sha256:00"),
            ("X-Party", "de-bpol"),
            ("X-Party", "fr-dnpaf"),
        ]),
        good(84, "another case of letters", Taken)
            .with(&[("CONTENT-TYPE", "Application/CloudEvents+JSON; charset=UTF-8")]),
        good(84, "another content type", envelope).with(&[("Content-Type", "application/json")]),
        good(84, "binary mode by content type", envelope)
            .with(&[("Content-Type", "text/xml"), ("ce-id", "1")]),
        good(84, "binary mode", envelope).with(&[("ce-id", "1"), ("ce-source", "/authority/de-bpol")]),
        good(84, "a batch", envelope).with(&[("Content-Type", "application/cloudevents-batch+json")]),
        good(84, "another charset", envelope)
            .with(&[("content-type", "application/cloudevents+json; charset=latin1")]),
        // Nothing is ever unpacked: compressed bytes are no text. A header that claims it is passed over like all others.
        row(88, "gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), Refused("E-JSON", "")),
        row(88, "zstd", b"\x28\xb5\x2f\xfd\x04\x58".as_slice(), Refused("E-JSON", "")),
        row(88, "deflate", b"\x78\x9c\x03\x00\x00\x00\x00\x01".as_slice(), Refused("E-JSON", "")),
        good(88, "a claim of gzip", Taken).with(&[("Content-Encoding", "gzip")]),
    ]
}

/// The server's own answers: none of these frames is ever seen by the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_itself_refuses() {
    let exchange = Exchange::small("").await;
    let operator = exchange.operator().await;
    let long = [SUBJECT, b".", "x".repeat(5_000).as_bytes()].concat();
    let megabytes = vec![b' '; (1 << 20) + 1];
    for (number, sent, words) in [
        (77, frame(&long, b"", None, b"{}"), "maximum control line exceeded"),
        (78, frame(b"ilo.in.it-moi.tn-01.net..observation.tn", b"", None, b"{}"), "permissions violation"),
        (79, frame(SUBJECT, b"", None, &megabytes), "maximum payload violation"),
        (80, [&b"PUB "[..], SUBJECT, b" -1\r\n{}\r\n"].concat(), ""),
        (80, [&b"PUB "[..], SUBJECT, b" x\r\n{}\r\n"].concat(), ""),
        (80, [&b"PUB "[..], SUBJECT, b" 1\r\n{}\r\n"].concat(), ""),
        (80, [&b"HPUB "[..], SUBJECT, b" 12 2\r\nNATS/1.0\r\n\r\n\r\n"].concat(), ""),
    ] {
        let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
        raw.send(&sent).await;
        let said = raw.fence().await.join(" ").to_lowercase();
        println!("row {number}: {said:?}");
        assert!(said.contains(words), "row {number}: {said:?}");
    }
    // Half a payload, and gone.
    let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
    raw.send(&[&b"PUB "[..], SUBJECT, b" 10\r\n{}"].concat()).await;
    drop(raw);
    assert_eq!(stream_info(&operator, "IN_IT_MOI").await["state"]["last_seq"], 0, "nothing was stored");
    // What the server takes and the stream does not is answered with an error, not with silence.
    let client = exchange.connect("it-moi", "tn-01").await;
    let answer = client.request(REPORT_SUBJECT, vec![b' '; 600 * 1024].into()).await.expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(answer["error"]["description"].as_str().is_some_and(|words| words.contains("size")), "{answer}");
    let receipt = exchange.publish(&client, REPORT_SUBJECT, report().to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
}

/// Row 83: the stream does not store it, or the broker answers it; either way what stands behind goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_beyond_all_measure() {
    let exchange = Exchange::small("").await;
    let client = exchange.connect("it-moi", "tn-01").await;
    let name = format!("NATS/1.0\r\n{}: b\r\n\r\n", "a".repeat(200 * 1024));
    let many: String = (0..50_000).map(|at| format!("h{at}: b\r\n")).collect();
    let many = format!("NATS/1.0\r\n{many}\r\n");
    for block in [name, many] {
        let mut raw = Raw::connect(&exchange, "it-moi", "tn-01").await;
        raw.publish(SUBJECT, Some(block.as_bytes()), report().to_string().as_bytes()).await;
        println!("{} bytes of headers: {:?}", block.len(), raw.fence().await);
        let began = Instant::now();
        let receipt = exchange.publish(&client, REPORT_SUBJECT, report().to_string().into_bytes()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        println!("behind it: {:?}", began.elapsed());
        assert!(began.elapsed().as_secs() < 10);
    }
    let operator = exchange.operator().await;
    let last = stream_info(&operator, "IN_IT_MOI").await["state"]["last_seq"].as_u64();
    println!("{last:?} stored");
    assert_eq!(exchange.stats()["records"].as_u64(), last, "each stored one has its outcome");
}
