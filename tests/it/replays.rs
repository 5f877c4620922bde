//! `liaison replay` against a broker made of a list, over a real nats-server and the real rights: output, resuming,
//! following, refusals, signals. What the real broker answers is another matter.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_nats::{ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{few_parties, folder, liaison, report, server_apart, sha256, signal};

/// A nats-server with the accounts of the broker, and in its place a task that answers from a list.
struct Fake {
    server: Child,
    url: String,
    data: PathBuf,
    /// Messages there are.
    head: Arc<AtomicU64>,
    /// How many questions are refused before one is answered.
    busy: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.kill().expect("kills");
        self.server.wait().expect("waits");
    }
}

/// A message of the list: an hour apart, every fourth is gone.
fn told(seq: u64, event: &Value) -> Value {
    let at = jiff::Timestamp::from_second(1_700_000_000 + 3_600 * i64::try_from(seq).expect("small"));
    let mut told = json!({ "seq": seq, "archived_at": format!("{:.3}", at.expect("a time")) });
    let mut event = event.clone();
    event["data"]["title"] = format!("number {seq}").into();
    told["digest"] = format!("sha256:{}", sha256(event.to_string().as_bytes())).into();
    if seq.is_multiple_of(4) {
        told["tombstone"] = json!({ "why": "retracted" });
    } else {
        told["event"] = event;
    }
    told
}

fn page(asked: &Value, head: u64, event: &Value) -> Value {
    let after: u64 =
        asked["after"].as_str().map_or(0, |text| text.trim_start_matches("c.").parse().expect("mine"));
    // Pages are smaller than what is asked for, as they may be.
    let last = head.min(after + asked["limit"].as_u64().expect("a limit").min(3));
    let messages: Vec<Value> = (after + 1..=last).map(|seq| told(seq, event)).collect();
    json!({ "messages": messages, "cursor": format!("c.{last}"), "done": last == head, "head": head })
}

impl Fake {
    async fn start(head: u64) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a data directory");
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        let (server, url) = server_apart(&data).await;
        let (head, busy) = (Arc::new(AtomicU64::new(head)), Arc::new(AtomicUsize::new(0)));
        let seed = std::fs::read_to_string(data.join("keys/broker/control.nk")).expect("a key");
        let options = ConnectOptions::with_nkey(seed.trim().to_owned()).custom_inbox_prefix("_INBOX_control");
        let client = options.connect(&url).await.expect("connects");
        let mut asked = client.subscribe("ilo.svc.*.replay").await.expect("listens");
        client.flush().await.expect("flushes");
        let (shown, refusing, event) = (Arc::clone(&head), Arc::clone(&busy), report());
        tokio::spawn(async move {
            while let Some(request) = asked.next().await {
                let reply = request.reply.clone().expect("a reply subject");
                let body: Value = serde_json::from_slice(&request.payload).expect("JSON");
                let refused = match body["where"].as_str() {
                    Some("data.refuse == 400") => Some(400),
                    Some("data.refuse == 403") => Some(403),
                    _ if refusing.load(Ordering::Relaxed) > 0 => {
                        refusing.fetch_sub(1, Ordering::Relaxed);
                        Some(503)
                    }
                    _ => None,
                };
                let sent = match refused {
                    None => {
                        let page = page(&body, shown.load(Ordering::Relaxed), &event).to_string();
                        client.publish(reply, page.into()).await
                    }
                    Some(status) => {
                        let mut headers = HeaderMap::new();
                        headers.insert("Nats-Service-Error-Code", status.to_string().as_str());
                        headers.insert("Nats-Service-Error", "E-TEST");
                        let detail = json!([{ "path": "/after", "message": "is not to be" }]);
                        let body = json!({ "code": "E-TEST", "detail": detail }).to_string();
                        client.publish_with_headers(reply, headers, body.into()).await
                    }
                };
                sent.expect("answers");
            }
        });
        Self { server, url, data, head, busy, _folder: folder }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = liaison();
        command.args(["replay", "--as", "de-bpol", "--nats", &self.url]).args(args);
        command.env("LIAISON_DATA", &self.data).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("runs")
    }

    fn file(&self, name: &str) -> String {
        self.data.join(name).to_str().expect("UTF-8").to_owned()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("NDJSON")).collect()
}

fn seqs(bytes: &[u8]) -> Vec<u64> {
    lines(bytes).iter().map(|line| line["seq"].as_u64().expect("a sequence")).collect()
}

/// The cursor that was printed.
fn cursor(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words).into_owned();
    let last = words.lines().last().unwrap_or_default();
    last.strip_prefix("cursor ").unwrap_or_else(|| panic!("no cursor: {words}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_read_to_its_end_and_gone_on_with() {
    let fake = Fake::start(8).await;
    let whole = fake.run(&[]);
    assert_eq!((code(&whole), seqs(&whole.stdout)), (0, (1..=8).collect()), "{whole:?}");
    let read = lines(&whole.stdout);
    assert_eq!(read[3]["tombstone"], json!({ "why": "retracted" }));
    assert_eq!(read[0]["event"]["data"]["title"], "number 1");
    assert_eq!(read[0]["digest"], format!("sha256:{}", sha256(read[0]["event"].to_string().as_bytes())));
    assert!(
        whole.stderr.starts_with(b"cursor "),
        "nothing else is said, and no bar but on a terminal: {whole:?}"
    );
    let first = fake.run(&["--limit", "5"]);
    let second = fake.run(&["--after", &cursor(&first.stderr)]);
    assert_eq!([first.stdout, second.stdout].concat(), whole.stdout);
    let kept = fake.file("cursor");
    for (head, expected) in [(8, (1..=8).collect::<Vec<_>>()), (8, vec![]), (10, vec![9, 10])] {
        fake.head.store(head, Ordering::Relaxed);
        let output = fake.run(&["--cursor-file", &kept]);
        assert_eq!((code(&output), seqs(&output.stdout)), (0, expected), "{output:?}");
        assert_eq!(std::fs::read_to_string(&kept).expect("a cursor").trim(), cursor(&output.stderr));
    }
    fake.head.store(8, Ordering::Relaxed);
    for end in ["csv", "geojson", "parquet"] {
        let made = [fake.file(&format!("one.{end}")), fake.file(&format!("two.{end}"))].map(|file| {
            let output = fake.run(&["--to-file", &file, "--country", "TN", "--type", "flow.*"]);
            assert_eq!((code(&output), output.stdout.len()), (0, 0), "{output:?}");
            let manifest = std::fs::read(format!("{file}.manifest.json")).expect("a manifest");
            (std::fs::read(&file).expect("a file"), manifest)
        });
        assert_eq!(made[0], made[1], "{end}");
        let told: Value = serde_json::from_slice(&made[0].1).expect("JSON");
        assert_eq!(
            (&told["format"], &told["count"], &told["tombstones"]),
            (&end.into(), &6.into(), &2.into())
        );
        assert_eq!((&told["complete"], &told["sha256"]), (&true.into(), &sha256(&made[0].0).into()));
        let query = json!({ "feed": "de-bpol", "country": ["TN"], "type": ["flow.*"] });
        assert_eq!((&told["query"], &told["cursor"]), (&query, &"c.8".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_their_exit_codes_and_a_busy_broker_is_asked_again() {
    let fake = Fake::start(2).await;
    fake.busy.store(2, Ordering::Relaxed);
    let output = fake.run(&[]);
    assert_eq!((code(&output), seqs(&output.stdout)), (0, vec![1, 2]), "{output:?}");
    for (args, expected) in [
        (vec!["--where", "data.refuse == 400"], 65),
        (vec!["--where", "data.refuse == 403"], 77),
        (vec!["--where", "data.refuse"], 2),
        (vec!["--speed", "fast"], 2),
        (vec!["--from", "12"], 2),
        (vec!["--after", "x~y"], 2),
        (vec!["--follow", "--output", "geojson"], 2),
        (vec!["--key", "/nowhere"], 77),
        (vec!["--to-file", "/nowhere/file.csv"], 74),
    ] {
        let output = fake.run(&args);
        assert_eq!((code(&output), output.stdout.len()), (expected, 0), "{args:?}: {output:?}");
    }
    fake.busy.store(usize::MAX, Ordering::Relaxed);
    let output = fake.run(&["--timeout", "0"]);
    assert_eq!(code(&output), 69, "{output:?}");
}

fn next_line(reader: &mut BufReader<ChildStdout>) -> u64 {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).expect("reads");
    lines(&line)[0]["seq"].as_u64().expect("a sequence")
}

/// Sends Ctrl-C; what else was written, the exit code, and the cursor.
fn interrupt(mut child: Child, mut reader: BufReader<ChildStdout>) -> (Vec<u8>, Option<i32>, String) {
    signal(child.id(), "INT");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("reads");
    let mut words = Vec::new();
    child.stderr.take().expect("a pipe").read_to_end(&mut words).expect("reads");
    (rest, child.wait().expect("waits").code(), cursor(&words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_over_to_what_arrives_and_ends_with_a_signal() {
    let fake = Fake::start(5).await;
    let mut child = fake.command(&["--follow"]).spawn().expect("starts");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let archived: Vec<u64> = (0..5).map(|_| next_line(&mut reader)).collect();
    fake.head.store(9, Ordering::Relaxed);
    let arrived: Vec<u64> = (0..4).map(|_| next_line(&mut reader)).collect();
    assert_eq!([archived, arrived].concat(), (1..=9).collect::<Vec<_>>());
    let (rest, code, cursor) = interrupt(child, reader);
    assert_eq!((rest.len(), code), (0, Some(0)), "a signal is how following ends");
    let output = fake.run(&["--after", &cursor]);
    assert_eq!(seqs(&output.stdout), [] as [u64; 0], "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_off_in_the_middle_goes_on_there() {
    let fake = Fake::start(8).await;
    let whole = fake.run(&[]).stdout;
    // An hour between two messages: one in a third of a second, then it is broken off.
    let mut child = fake.command(&["--speed", "10000x"]).spawn().expect("starts");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut read = vec![next_line(&mut reader), next_line(&mut reader)];
    let (rest, code, cursor) = interrupt(child, reader);
    read.extend(seqs(&rest));
    assert_eq!(code, Some(1), "not all of it");
    let output = fake.run(&["--after", &cursor]);
    read.extend(seqs(&output.stdout));
    assert_eq!(read, (1..=8).collect::<Vec<_>>(), "{cursor}");
    // A reader that goes away is no failure, and a file is there whole or not at all.
    let mut child = fake.command(&[]).spawn().expect("starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("waits").code(), Some(0));
    let file = fake.file("whole.ndjson");
    assert_eq!(code_of(&fake, &["--to-file", &file]), 0);
    assert_eq!(std::fs::read(&file).expect("a file"), whole);
}

fn code_of(fake: &Fake, args: &[&str]) -> i32 {
    code(&fake.run(args))
}
