//! `liaison replay` against the real broker: it gives what the mailbox gave, byte for byte; it follows over the seam between
//! archive and live while messages are published; what was withdrawn is a tombstone.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::control::{control, reference};
use super::harness::{Exchange, liaison, report, sha256, signal};
use super::samples::REPORT_SUBJECT;

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("NDJSON")).collect()
}

fn addressed(to: &str) -> Value {
    let mut message = report();
    message["audience"] = to.into();
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_gives_what_the_mailbox_gave() {
    let exchange = Exchange::small("").await;
    let it = exchange.connect("it-moi", "tn-01").await;
    let mut sent = Vec::new();
    for at in 0..7 {
        // The fifth is for somebody else; the third is not in one line.
        let message = addressed(if at == 4 { "fr-dnpaf" } else { "de-bpol" });
        let bytes = if at == 2 { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) };
        let receipt = exchange.publish(&it, REPORT_SUBJECT, bytes.expect("JSON")).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        sent.push(message);
    }
    let replayed = lines(&exchange.run(&["replay", "--as", "de-bpol"]));
    let mailbox = lines(&exchange.run(&["subscribe", "--as", "de-bpol", "--count", "6", "--timeout", "30s"]));
    assert_eq!((replayed.len(), mailbox.len()), (6, 6));
    for (replayed, delivered) in replayed.iter().zip(&mailbox) {
        assert_eq!(replayed["seq"], delivered["feed_seq"]);
        for name in ["archived_at", "digest", "event"] {
            assert_eq!(replayed[name], delivered[name], "{name}");
        }
    }
    let raw = replayed[2]["raw"].as_str().expect("not one line");
    let raw = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, raw).expect("base64");
    assert_eq!(replayed[2]["digest"], format!("sha256:{}", sha256(&raw)), "the received bytes");
    // In pieces, and only what is asked for.
    let mut pieces = Vec::new();
    let cursor = exchange.data.join("cursor");
    for _ in 0..4 {
        let cursor = cursor.to_str().expect("UTF-8");
        let args = ["replay", "--as", "de-bpol", "--cursor-file", cursor, "--limit", "2"];
        pieces.extend(lines(&exchange.run(&args)));
    }
    assert_eq!(pieces, replayed);
    let one =
        |more: &[&str]| lines(&exchange.run(&[["replay", "--as", "de-bpol"].as_slice(), more].concat()));
    assert_eq!(one(&["--country", "TN", "--type", "flow.observation", "--originator", "it-moi"]).len(), 6);
    assert_eq!(one(&["--country", "LY"]).len() + one(&["--type", "case.*"]).len(), 0);
    let wanted = format!("event.id == '{}'", sent[3]["id"].as_str().expect("an id"));
    assert_eq!(one(&["--where", &wanted]), [replayed[3].clone()]);
    let third = replayed[2]["archived_at"].as_str().expect("a time");
    let (before, after) = (one(&["--to", third]), one(&["--from", third]));
    assert_eq!([before, after].concat(), replayed);
    // Withdrawn: the same place, no content.
    let system = exchange.connect("it-moi", "system").await;
    let data = json!({ "target": reference(&sent[0]), "reason": "source-unreliable" });
    let retraction = control("msg.retraction", "it-moi", "de-bpol", data);
    let subject = "ilo.in.it-moi.system.ctl.msg.retraction.zz";
    let receipt = exchange.publish(&system, subject, retraction.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let again = one(&[]);
    assert_eq!((again.len(), &again[0]["tombstone"]["why"]), (7, &"retracted".into()));
    assert_eq!((&again[0]["digest"], again[0].get("event")), (&replayed[0]["digest"], None));
    assert_eq!(again[1..6], replayed[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_crosses_from_the_archive_to_what_arrives() {
    const BEFORE: u64 = 30;
    const ALL: u64 = 90;
    let exchange = Exchange::small("").await;
    let it = exchange.connect("it-moi", "tn-01").await;
    let publish = async || {
        let bytes = addressed("de-bpol").to_string().into_bytes();
        let receipt = exchange.publish(&it, REPORT_SUBJECT, bytes).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    };
    for _ in 0..BEFORE {
        publish().await;
    }
    let mut command = liaison();
    command.args(["replay", "--as", "de-bpol", "--follow"]).env("LIAISON_DATA", &exchange.data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let reading = std::thread::spawn(move || {
        let read = reader.lines().take(usize::try_from(ALL).expect("small"));
        read.map(|line| {
            let line: Value = serde_json::from_str(&line.expect("reads")).expect("JSON");
            line["seq"].as_u64().expect("a sequence")
        })
        .collect::<Vec<_>>()
    });
    // Published while the archive is being read, and after.
    for _ in BEFORE..ALL {
        publish().await;
    }
    let read = reading.join().expect("reads");
    assert_eq!(read, (1..=ALL).collect::<Vec<_>>(), "no gap and no double");
    signal(child.id(), "TERM");
    // Its stdout is gone by now: either way it ends well.
    assert_eq!(child.wait().expect("waits").code(), Some(0));
}
