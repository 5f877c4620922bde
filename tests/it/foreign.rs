//! A client in another language, with nothing of ours: the protocol is NATS, and these are its witnesses.
//!
//! `scripts/setup --tests` puts the Python client into `target/tools/python`; the tests fail without it, because a
//! protocol that was only tried with our own client was not tried. `LIAISON_SKIP_FOREIGN=1` leaves them out knowingly.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::harness::{Exchange, example, report, run, shifted};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the set-up puts the Python client, before whatever the environment names.
pub fn packages() -> OsString {
    let mut all = root().join("target/tools/python").into_os_string();
    if let Some(more) = std::env::var_os("PYTHONPATH") {
        all.push(":");
        all.push(more);
    }
    all
}

/// Python with the client on its path; none if the tests are left out.
pub fn python() -> Option<Command> {
    if std::env::var_os("LIAISON_SKIP_FOREIGN").is_some_and(|value| value == "1") {
        eprintln!("left out: LIAISON_SKIP_FOREIGN=1");
        return None;
    }
    let command = || {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", packages());
        command
    };
    let found = command().args(["-c", "import nats, nkeys"]).output().map(|output| output.status.success());
    assert!(
        found.unwrap_or(false),
        "python3 with nats-py[nkeys] is missing: run scripts/setup --tests, or set LIAISON_SKIP_FOREIGN=1"
    );
    Some(command())
}

/// Runs it off the runtime, which must go on serving the test's own connections.
async fn finish(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || run(&mut command, b"")).await.expect("runs")
}

fn good(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}{}", output.status, String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_nats_client_publishes_reads_and_is_stopped() {
    let Some(mut command) = python() else { return };
    let exchange = Exchange::start().await;
    let message = report();
    let file = exchange.data.join("message.json");
    std::fs::write(&file, format!("{message:#}")).expect("writes");
    command.arg(root().join("tests/it/foreign_client.py")).arg(&exchange.nats);
    command.arg(exchange.data.join("keys")).arg(&file);
    let said: Value = serde_json::from_str(&good(&finish(command).await)).expect("JSON");
    assert_eq!(said["receipt"]["data"]["target"]["id"], message["id"]);
    assert_eq!(said["receipt"]["data"]["seq"], 1);
    assert_eq!(said["stopped"], 9);
    assert_eq!(exchange.stats()["records"], 1, "nothing else came in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_for_integrators_run() {
    let Some(mut publish) = python() else { return };
    let exchange = Exchange::start().await;
    publish.arg(root().join("examples/publish.py")).args(["it-moi", "tn-01"]);
    publish.arg(root().join("examples/flow-observation.json")).env("DATA", &exchange.data);
    let receipt: Value = serde_json::from_str(&good(&finish(publish).await)).expect("a receipt");
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let file = exchange.data.join("modus.json");
    let mut modus = shifted(example("valid/03-smuggling-modus.json")["message"].clone());
    modus["audience"] = "es-pn".into();
    std::fs::write(&file, modus.to_string()).expect("writes");
    let mut second = python().expect("as before");
    second
        .arg(root().join("examples/publish.py"))
        .args(["de-bpol", "tr-03"])
        .arg(&file)
        .env("DATA", &exchange.data);
    good(&finish(second).await);
    // One that expired on its way: the broker's word stands in its place, and the feed goes on over it.
    let mut gone = report();
    let ago = |seconds| format!("{:.3}", jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds));
    for (member, seconds) in [("time", 30), ("recordedtime", 20), ("expirytime", 10)] {
        gone[member] = ago(seconds).into();
    }
    gone["audience"] = "es-pn".into();
    std::fs::write(&file, gone.to_string()).expect("writes");
    let mut third = python().expect("as before");
    third.arg(root().join("examples/publish.py")).args(["it-moi", "tn-01"]).arg(&file);
    third.env("DATA", &exchange.data);
    good(&finish(third).await);

    let mut subscribe = python().expect("as before");
    subscribe.arg(root().join("examples/subscribe.py")).args(["es-pn", "3"]).env("DATA", &exchange.data);
    let read = good(&finish(subscribe).await);
    let lines: Vec<(&str, Value)> = read
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(number, event)| (number, serde_json::from_str(event).expect("an event")))
        .collect();
    let found: Vec<(&str, &Value)> = lines.iter().map(|(number, event)| (*number, &event["id"])).collect();
    assert_eq!(found[..2], [("1", &receipt["data"]["target"]["id"]), ("2", &modus["id"])]);
    let notice = &lines[2].1["data"];
    assert_eq!((&notice["target"]["id"], &notice["outcome"]), (&gone["id"], &json!("expired")));

    let mut refused = python().expect("as before");
    refused.arg(root().join("examples/publish.py")).args(["de-bpol", "tr-03"]);
    refused.arg(root().join("examples/refused-phone.json")).env("DATA", &exchange.data);
    let receipt: Value = serde_json::from_str(&good(&finish(refused).await)).expect("a receipt");
    assert_eq!(
        (&receipt["data"]["outcome"], &receipt["data"]["code"]),
        (&json!("rejected"), &json!("E-PERSONAL"))
    );
}
