//! `liaison simulate` from outside: the same seed gives the same bytes, a small run against a real exchange is found clean,
//! and whatever is not as it must be is said with its exit code.

use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use super::harness::*;

/// A run that is over in a few seconds.
const SMALL: [&str; 6] = ["--officers", "60", "--rate", "30/s", "--duration", "5s"];

fn simulate(args: &[&str]) -> Output {
    liaison().arg("simulate").args(args).output().expect("runs")
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let empty = folder();
    let data = text(empty.path());
    let script = |seed: &str| {
        let fixed = ["--dry-run", "--clock", "2026-03-02T00:00:00Z", "--data", &data, "--seed", seed];
        let output = simulate(&[&fixed, &SMALL[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output.stdout
    };
    let (first, again, other) = (script("1"), script("1"), script("2"));
    assert!(first == again, "two dry runs of one seed differ");
    assert!(first != other, "two seeds give the same");
    let lines: Vec<Value> = first
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert!(lines.len() > 100, "{} lines", lines.len());
    for (no, line) in (0_u64..).zip(&lines) {
        assert_eq!(line["no"], no);
        let party = line["party"].as_str().expect("a party");
        assert!(
            line["subject"].as_str().is_some_and(|subject| subject.starts_with(&format!("ilo.in.{party}.")))
        );
        assert!(line["payload"].is_string() || line["payload_base64"].is_string());
    }
}

#[test]
fn what_is_not_as_it_must_be_is_said_with_its_exit_code() {
    let folder = folder();
    let data = text(folder.path());
    let (code, words) = told(&simulate(&["--data", &data]));
    assert_eq!(code, Some(69), "{words}");
    assert!(words.contains(&format!("liaison up --data {data}")), "{words}");
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "officers = 0\nrate = -1.0\n[readers]\nslow_rate = 0.0\n").expect("writes");
    let (code, words) = told(&simulate(&["--plan", &text(&plan), "--dry-run"]));
    assert_eq!(code, Some(78), "{words}");
    for fault in ["officers", "rate must", "slow_rate"] {
        assert!(words.contains(fault), "{fault}: {words}");
    }
    std::fs::write(&plan, "oficers = 5\n").expect("writes");
    assert_eq!(simulate(&["--plan", &text(&plan), "--dry-run"]).status.code(), Some(78));
    for wrong in [
        &["--assert", "speed=fast"][..],
        &["--rate", "quick"],
        &["--burst", "many"],
        &["--officers", "0"],
        &["--nats", "nats://127.0.0.1:1", "--keys", ".", "--registry", "."],
        // What would mean nothing is not passed over in silence.
        &["--dry-run", "--assert", "lost=0"],
        &["--dry-run", "--out", "x"],
        &["--audit", "x", "--seed", "2"],
        &["--certify", "de-bpol", "--publisher", "true", "--seed", "2"],
        &["--certify", "de-bpol", "--publisher", "true", "--assert", "lost=0"],
        &["--certify", "de-bpol", "--publisher", "true", "--registry", "x"],
        &["--certify", "de-bpol", "--publisher", "true", "--plan", "x"],
    ] {
        let (code, words) = told(&simulate(&[wrong, &["--data", &data]].concat()));
        assert_eq!(code, Some(2), "{wrong:?}: {words}");
    }
    let (code, words) = told(&simulate(&["--audit", &data]));
    assert_eq!(code, Some(74), "{words}");
}

/// Kills what a failed test left.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Begins a simulation and goes on beside it.
fn begin(args: &[&str], log: &Path) -> Running {
    let file = std::fs::File::create(log).expect("a log");
    let mut command = liaison();
    Running(command.arg("simulate").args(args).stdout(Stdio::null()).stderr(file).spawn().expect("starts"))
}

fn report(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).expect("a report")).expect("JSON")
}

#[tokio::test]
async fn a_small_run_is_found_clean_and_can_be_audited_again_but_not_played_again() {
    let exchange = Exchange::with(&[], |_| {}).await;
    let data = text(&exchange.data);
    let out = exchange.data.join("run");
    let place = ["--data", &data, "--out", &text(&out), "--quiet"].map(str::to_owned);
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let more = ["--slow", "1", "--absent", "1", "--analysts", "1", "--burst", "40/1s@2s", "--seed", "11"];
    let output = simulate(&[&place, &SMALL[..], &more].concat());
    let (code, words) = told(&output);
    assert_eq!(code, Some(0), "{words}\n{}", String::from_utf8_lossy(&output.stdout));
    for file in ["run.json", "report.json", "report.html", "series.csv", "latency.hlog"] {
        assert!(std::fs::metadata(out.join(file)).is_ok_and(|file| file.len() > 0), "{file}");
    }
    let first = report(&out);
    assert!(
        words.contains("refusals that are not played: E-RATE (") && !words.contains("E-PLANE ("),
        "{words}"
    );
    assert!(first["analysts"]["messages"].as_u64().is_some_and(|count| count > 0), "{first}");
    assert_eq!(first["findings"]["resent"], 0, "{first}");
    assert!(first["refusals"].as_object().is_some_and(|codes| !codes.is_empty()), "{first}");
    // The rate and the burst are whole.
    assert!(first["attempts"].as_u64().is_some_and(|count| (180..=200).contains(&count)), "{first}");

    // The registry that was there is kept.
    let before = std::fs::read_to_string(exchange.data.join("network.toml.before-simulation")).expect("kept");
    assert!(!before.contains("(simulated)"));

    let again = simulate(&["--audit", &text(&out), "--json"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["findings"], first["findings"]);

    // The log may lie where nothing can be written.
    std::fs::remove_file(out.join("report.json")).expect("removes");
    let other = exchange.data.join("elsewhere/again");
    let apart = simulate(&["--audit", &text(&out), "--out", &text(&other)]);
    assert_eq!(apart.status.code(), Some(0), "{apart:?}");
    assert_eq!(report(&other)["findings"], first["findings"]);
    assert!(!out.join("report.json").exists() && other.join("report.html").exists());

    // What cannot hold is told, and so is what does.
    let held = simulate(&["--audit", &text(&out), "--assert", "lost=0", "--assert", "receipt.p99<1us"]);
    let (code, words) = told(&held);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("lost=0") && words.contains("receipt.p99<1us"), "{words}");
    assert_eq!(simulate(&["--audit", &text(&out), "--assert", "lost=0"]).status.code(), Some(0));

    // A plan with messages of the case plane is not played with others in their place.
    let plan = exchange.data.join("case.toml");
    std::fs::write(&plan, "officers = 5\nseed = 12\n[mix]\ncase = 0.5\n").expect("writes");
    let (code, words) = told(&simulate(&["--data", &data, "--plan", &text(&plan), "--out", &text(&other)]));
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("--enable-case-plane"), "{words}");

    let second = text(&exchange.data.join("second"));
    let repeated = simulate(&[&["--data", &data, "--out", &second, "--seed", "11"], &SMALL[..]].concat());
    let (code, words) = told(&repeated);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("published there before"), "{words}");
}

#[tokio::test]
async fn a_broker_that_is_killed_and_started_again_in_the_middle_loses_nothing() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let port = port.port().to_string();
    let mut exchange = Exchange::with(&["--nats-port", &port], |_| {}).await;
    let (data, out) = (text(&exchange.data), exchange.data.join("run"));
    let args = [
        "--data",
        &data,
        "--out",
        &text(&out),
        "--quiet",
        "--officers",
        "30",
        "--rate",
        "20",
        "--duration",
        "20s",
    ]
    .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let log = exchange.data.join("simulate.log");
    let mut running = begin(&args, &log);
    let before = until("archived messages", async || {
        let (_, metrics) = exchange.get("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("liaison_archive_last_sequence "))?;
        line.parse::<u64>().ok().filter(|last| *last > 50)
    })
    .await;
    assert!(before > 50);
    exchange.kill();
    exchange.again().await;
    let code = until("the end of the run", async || running.0.try_wait().expect("waits")).await.code();
    let words = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(code, Some(0), "{words}");
    let report = report(&out);
    assert!(report["attempts"].as_u64().is_some_and(|count| count > 350), "{report}");
}
