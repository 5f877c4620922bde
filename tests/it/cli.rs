//! The door, command by command: exit codes, data on stdout alone, words on stderr, environment, and broken pipes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::harness::{CLOCK, Exchange, api, example, folder, liaison, sha256, stream, until};
use super::load::message;

fn run(args: &[&str]) -> Output {
    liaison().args(args).output().expect("runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

/// The lines of stdout, each of which must be JSON.
fn lines(output: &Output) -> Vec<Value> {
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|_| panic!("no NDJSON: {output:?}")))
        .collect()
}

/// Runs with this on stdin.
fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("written");
    child.wait_with_output().expect("ends")
}

fn file(place: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = place.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn what_is_typed_wrong_is_a_usage_error() {
    for args in [
        &[] as &[&str],
        &["publsh"],
        &["publish", "--as", "it-moi"],
        &["publish", "--as", "Not A Party", "x.json"],
        &["subscribe", "--as", "it-moi", "--timeout", "soon"],
        &["validate", "--now", "yesterday", "x.json"],
        &["completion", "tcsh-ish"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}: words go to stderr");
    }
    for args in [["--help"], ["--version"]] {
        let output = run(&args);
        assert_eq!(code(&output), 0);
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn validate_gives_a_verdict_a_line() {
    let place = folder();
    let good = example("valid/01-flow-observation-mixed.json")["message"].clone();
    let mut bad = good.clone();
    bad["data"]["direction"] = "sideways".into();
    let one = file(place.path(), "good.json", &serde_json::to_string_pretty(&good).expect("JSON"));
    let two = file(place.path(), "two.ndjson", &format!("{good}\n\n{bad}\n"));
    let output = run(&["validate", "--now", CLOCK, &one]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let verdict = &lines(&output)[0];
    assert_eq!((&verdict["file"], &verdict["outcome"]), (&one.clone().into(), &"accepted".into()));
    assert!(verdict["recipients"].as_array().is_some_and(|list| list.len() > 20), "{verdict}");
    assert!(verdict["withheld"].is_array() && verdict["detail"].is_array());
    let output = run(&["validate", "--now", CLOCK, &one, &two]);
    assert_eq!(code(&output), 65, "one is refused");
    let verdicts = lines(&output);
    assert_eq!(verdicts.len(), 3);
    assert_eq!((&verdicts[2]["outcome"], &verdicts[2]["code"]), (&"rejected".into(), &"E-SCHEMA".into()));
    assert_eq!(verdicts[2]["file"], format!("{two}:3"));
    assert_eq!(verdicts[2]["detail"][0]["path"], "/data/direction");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sideways"), "no value is repeated");
    let output = run(&["validate", "--now", "2026-03-01T00:00:00Z", &one]);
    assert_eq!((code(&output), &lines(&output)[0]["code"]), (65, &"E-TIME".into()));
    let output = run(&["validate", "--as", "de-bpol", &one]);
    assert_eq!((code(&output), &lines(&output)[0]["code"]), (65, &"E-ORIGIN".into()));
    let output = run(&["validate", "--subject", "ilo.in.it-moi.tn-01.net.flow.route.tn", &one]);
    assert_eq!((code(&output), &lines(&output)[0]["code"]), (65, &"E-SUBJECT".into()));
    let output = fed(liaison().args(["validate", "-"]), good.to_string().as_bytes());
    assert_eq!((code(&output), &lines(&output)[0]["file"]), (0, &"-".into()));
}

#[test]
fn validate_knows_registry_and_case_plane() {
    let place = folder();
    let registry = file(place.path(), "network.toml", &super::harness::few_parties());
    let good = example("valid/01-flow-observation-mixed.json")["message"].to_string();
    let case = example("valid/07-case-identity-request.json")["message"].to_string();
    let (good, case) = (file(place.path(), "good.json", &good), file(place.path(), "case.json", &case));
    let output = run(&["validate", "--registry", &registry, "--now", CLOCK, &good]);
    let recipients = lines(&output)[0]["recipients"].as_array().expect("recipients").len();
    assert_eq!((code(&output), recipients), (0, 9), "{output:?}");
    let output = run(&["validate", "--now", CLOCK, &case]);
    assert_eq!((code(&output), &lines(&output)[0]["code"]), (65, &"E-PLANE".into()));
    let output = run(&["validate", "--enable-case-plane", "--now", CLOCK, &case]);
    assert_eq!(code(&output), 0, "{output:?}");
    for (value, ends) in [("yes", 0), ("1", 0), ("true", 0), ("no", 65), ("0", 65), ("", 65), ("perhaps", 2)]
    {
        let mut command = liaison();
        command.args(["validate", "--now", CLOCK, &case]).env("LIAISON_ENABLE_CASE_PLANE", value);
        assert_eq!(code(&command.output().expect("runs")), ends, "{value:?}");
    }
    let broken = file(place.path(), "broken.toml", "[[party]]\nid = \"X\"\n[[party]]\nid = \"Y\"\n");
    let output = run(&["validate", "--registry", &broken, &good]);
    assert_eq!(code(&output), 78, "{output:?}");
    assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).lines().count() >= 2);
    let output = run(&["validate", "/nowhere/message.json"]);
    assert_eq!(code(&output), 74, "{output:?}");
    let output = fed(liaison().args(["validate", "-"]), b"{\"a\":1,\"a\":2}");
    assert_eq!((code(&output), &lines(&output)[0]["code"]), (65, &"E-JSON".into()));
}

#[test]
fn schemas_are_listed_shown_and_compared() {
    let listed = run(&["schema", "list"]);
    assert_eq!(code(&listed), 0);
    let types = lines(&listed);
    assert_eq!(types.len(), 36);
    assert!(
        types.contains(
            &json!({ "type": "eu.ilonet.flow.observation.v1", "id": "flow.observation", "major": 1 })
        )
    );
    let shown = run(&["schema", "show", "eu.ilonet.flow.observation.v1"]);
    assert_eq!(code(&shown), 0);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(schema["$id"], "https://ilonet.example/schemas/v1/flow.observation.json");
    assert_eq!(code(&run(&["schema", "show", "flow.nothing"])), 1);
    let place = folder();
    let old = file(place.path(), "old.json", &text);
    let mut stricter = schema.clone();
    stricter["required"].as_array_mut().expect("a list").push("drivers".into());
    let new = file(place.path(), "new.json", &stricter.to_string());
    let same = run(&["schema", "diff", &old, &old]);
    assert_eq!((code(&same), lines(&same).len()), (0, 0));
    let breaking = run(&["schema", "diff", &old, &new]);
    assert_eq!(code(&breaking), 65, "{breaking:?}");
    assert!(lines(&breaking).iter().any(|difference| difference["breaks"] == true));
    let wider = run(&["schema", "diff", &new, &old]);
    assert_eq!(code(&wider), 0, "{wider:?}");
    assert_eq!(code(&run(&["schema", "diff", &old, "/nowhere.json"])), 74);
    let broken = file(place.path(), "broken.json", "{");
    assert_eq!(code(&run(&["schema", "diff", &old, &broken])), 65);
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert_eq!(code(&output), 0);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("subscribe") && text.contains("nats-config"), "{shell}");
        assert!(!text.contains("the program that ends with its parent"), "{shell}");
    }
    let output = run(&["man"]);
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains(".TH liaison"));
    let place = folder();
    let pages = place.path().join("man1");
    let output = run(&["man", pages.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(pages.join("liaison.1").exists() && pages.join("liaison-publish.1").exists());
    let mut plain = liaison();
    let output = plain.args(["--help"]).env("NO_COLOR", "1").output().expect("runs");
    assert!(!output.stdout.contains(&0x1b), "NO_COLOR");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let many = format!("{}\n", example("valid/01-flow-observation-mixed.json")["message"]).repeat(200);
    let place = folder();
    let many = file(place.path(), "many.ndjson", &many);
    for args in [vec!["schema", "list"], vec!["man"], vec!["completion", "bash"], vec!["validate", &many]] {
        let mut command = liaison();
        command.args(&args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(code(&output), 0, "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_prints_a_receipt_a_line() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let fresh = || message("it-moi", "tn-01", "fr-dnpaf", true);
    let (first, second, bad) = (fresh(), fresh(), message("it-moi", "tn-01", "fr-dnpaf", false));
    let pretty = file(place.path(), "one.json", &serde_json::to_string_pretty(&first).expect("JSON"));
    let output = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &pretty]);
    assert_eq!(code(&output), 0, "{output:?}");
    let receipt = &lines(&output)[0];
    assert_eq!(receipt["type"], "eu.ilonet.msg.receipt.v1");
    assert_eq!((&receipt["data"]["outcome"], &receipt["data"]["seq"]), (&"accepted".into(), &1.into()));
    let bytes = std::fs::read(&pretty).expect("the file");
    assert_eq!(receipt["data"]["sha256"], sha256(&bytes), "the file's bytes, untouched");
    let both = file(place.path(), "both.ndjson", &format!("{second}\n{bad}\n"));
    let output = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &both]);
    assert_eq!(code(&output), 65, "one was refused: {output:?}");
    let receipts = lines(&output);
    assert_eq!(receipts.len(), 2);
    assert_eq!(
        (&receipts[0]["data"]["outcome"], &receipts[1]["data"]["code"]),
        (&"accepted".into(), &"E-SCHEMA".into())
    );
    // As the authority's own system; from stdin; id and time filled in; all by the environment.
    let mut bare = message("it-moi", "tn-01", "fr-dnpaf", true);
    bare["source"] = "/authority/it-moi".into();
    let members = bare.as_object_mut().expect("an object");
    members.remove("id");
    members.remove("recordedtime");
    let mut command = liaison();
    command.args(["publish", "-"]).env("LIAISON_DATA", &exchange.data).env("LIAISON_AS", "it-moi");
    let output = fed(command.env("LIAISON_FILL", "true"), bare.to_string().as_bytes());
    assert_eq!(code(&output), 0, "{output:?}");
    let receipt = &lines(&output)[0]["data"];
    assert!(uuid::Uuid::parse_str(receipt["target"]["id"].as_str().expect("an id")).is_ok(), "{receipt}");
    command.env("LIAISON_AS", "de-bpol").env_remove("LIAISON_FILL").args(["--as", "it-moi"]);
    let output = fed(&mut command, bare.to_string().as_bytes());
    assert_eq!(code(&output), 65, "the flag wins over the environment: {output:?}");
    assert_eq!(lines(&output)[0]["data"]["code"], "E-ENVELOPE", "nothing is filled unless asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_say_why_they_cannot() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let message = file(place.path(), "one.json", &message("it-moi", "tn-01", "fr-dnpaf", true).to_string());
    let missing = place.path().to_str().expect("UTF-8");
    for client in
        [vec!["publish", "--as", "it-moi", &message], vec!["subscribe", "--as", "it-moi", "--count", "1"]]
    {
        let with = |more: &[&str]| exchange.run(&[client.as_slice(), more].concat());
        let output = with(&["--data", missing]);
        assert_eq!(code(&output), 77, "no key: {output:?}");
        let key = exchange.key("it-moi", "system");
        let key = key.to_str().expect("UTF-8");
        let output = with(&["--data", missing, "--key", key]);
        assert_eq!(code(&output), 69, "nothing runs there: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is `liaison up` running there?"));
        let output = with(&["--nats", "nats://127.0.0.1:9"]);
        assert_eq!(code(&output), 69, "nobody answers: {output:?}");
        let stranger = exchange.run(&["nats-config", "--keys", &format!("{missing}/other/keys")]);
        assert_eq!(code(&stranger), 0, "{stranger:?}");
        let output = with(&["--key", &format!("{missing}/other/keys/it-moi/system.nk")]);
        assert_eq!(code(&output), 77, "an unknown key: {output:?}");
        let other = exchange.key("de-bpol", "system");
        let output = with(&["--key", other.to_str().expect("UTF-8")]);
        assert_eq!(code(&output), 77, "another's key: {output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("this is not the key of it-moi system"), "{words}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_prints_and_then_acknowledges() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let sent: Vec<Value> = (0..3).map(|_| message("it-moi", "tn-01", "fr-dnpaf", true)).collect();
    let paths: Vec<String> = (0..3)
        .map(|at| {
            file(place.path(), &format!("{at}.json"), &serde_json::to_string_pretty(&sent[at]).expect("JSON"))
        })
        .collect();
    let publish = ["publish", "--as", "it-moi", "--post", "tn-01", &paths[0], &paths[1], &paths[2]];
    assert_eq!(code(&exchange.run(&publish)), 0);
    let output = exchange.run(&["subscribe", "--as", "fr-dnpaf", "--count", "2", "--timeout", "30s"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let letters = lines(&output);
    assert_eq!(letters.len(), 2);
    for (at, letter) in letters.iter().enumerate() {
        let members: Vec<&String> = letter.as_object().expect("an object").keys().collect();
        assert_eq!(members.len(), 4, "{members:?}");
        assert_eq!(letter["feed_seq"], at + 1);
        assert_eq!(letter["event"], sent[at]);
        let bytes = std::fs::read(&paths[at]).expect("the file");
        assert_eq!(letter["digest"], format!("sha256:{}", sha256(&bytes)));
        assert!(letter["archived_at"].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()));
    }
    // A reader that goes away before it has read the third: the letter is not acknowledged.
    let mut command = liaison();
    command.args(["subscribe", "--as", "fr-dnpaf", "--timeout", "30s"]).env("LIAISON_DATA", &exchange.data);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(0), "a broken pipe is no error");
    let admin = exchange.admin().await;
    let call = format!("CONSUMER.INFO.{}.main", stream("MBOX", "fr-dnpaf"));
    until("two acknowledged, the third not", async || {
        let info = api(&admin, &call, &json!({})).await;
        (info["ack_floor"]["stream_seq"] == 2 && info["num_ack_pending"] == 1).then_some(())
    })
    .await;
    let output = exchange.run(&["subscribe", "--as", "it-moi", "--timeout", "1s"]);
    assert_eq!((code(&output), output.stdout.len()), (0, 0), "nothing there: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_goes_on_over_what_was_withdrawn() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let ago = |seconds| format!("{:.3}", jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds));
    let mut gone = message("it-moi", "tn-01", "fr-dnpaf", true);
    for (member, seconds) in [("time", 30), ("recordedtime", 20), ("expirytime", 10)] {
        gone[member] = ago(seconds).into();
    }
    let next = message("it-moi", "tn-01", "fr-dnpaf", true);
    let both = file(place.path(), "both.ndjson", &format!("{gone}\n{next}\n"));
    let published = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &both]);
    assert_eq!(code(&published), 0, "{published:?}");
    let output = exchange.run(&["subscribe", "--as", "fr-dnpaf", "--count", "2", "--timeout", "30s"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let letters = lines(&output);
    let (notice, digest) = (&letters[0]["event"], sha256(gone.to_string().as_bytes()));
    assert_eq!(
        (&notice["type"], &notice["data"]["outcome"]),
        (&"eu.ilonet.msg.receipt.v1".into(), &"expired".into())
    );
    assert_eq!(notice["data"]["target"]["id"], gone["id"]);
    assert_eq!(letters[0]["digest"], format!("sha256:{digest}"), "of the message that it stands for");
    assert_eq!(notice["data"]["sha256"], digest);
    assert_eq!(letters[1]["event"], next);
    let output = exchange.run(&["subscribe", "--as", "fr-dnpaf", "--timeout", "1s"]);
    assert_eq!((code(&output), output.stdout.len()), (0, 0), "both were acknowledged: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_speaks_under_its_own_name_alone() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let own = |audience| message("it-moi", "tn-01", audience, true);
    let foreign = message("de-bpol", "tr-03", "fr-dnpaf", true);
    let two = file(place.path(), "two.ndjson", &format!("{foreign}\n{}\n", own("fr-dnpaf")));
    let whole = file(place.path(), "whole.json", &foreign.to_string());
    for user in [&["--as", "it-moi"] as &[&str], &["--as", "it-moi", "--post", "tn-01"]] {
        let output = exchange.run(&[&["publish"], user, &[&two]].concat());
        assert_eq!(code(&output), 65, "{output:?}");
        let receipts = lines(&output);
        assert_eq!(receipts.len(), 2, "what comes behind is sent too: {output:?}");
        assert_eq!(receipts[0]["data"]["code"], "E-ORIGIN", "{output:?}");
        assert!(matches!(receipts[1]["data"]["outcome"].as_str(), Some("accepted" | "duplicate")));
        for subject in ["de-bpol.tr-03.net.flow.observation.tn", "it-moi-x.system.net.flow.observation.tn"] {
            let begun = std::time::Instant::now();
            let subject = format!("ilo.in.{subject}");
            let output = exchange.run(&[&["publish"], user, &["--subject", &subject, &whole]].concat());
            assert_eq!(code(&output), 77, "{output:?}");
            assert!(begun.elapsed().as_secs() < 10, "nothing is waited for");
        }
    }
    let output = exchange.run(&[
        "publish",
        "--as",
        "it-moi",
        "--post",
        "tn-01",
        "--subject",
        "ilo.in.it-moi.system.net.flow.observation.tn",
        &whole,
    ]);
    assert_eq!(code(&output), 77, "a post is not its authority: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_read_as_flags_are() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let mut bare = message("it-moi", "tn-01", "fr-dnpaf", true);
    bare.as_object_mut().expect("an object").remove("id");
    let bare = file(place.path(), "bare.json", &bare.to_string());
    let publish = |fill: &str, timeout: &str| {
        let mut command = liaison();
        command.args(["publish", "--as", "it-moi", "--post", "tn-01", &bare]);
        command.env("LIAISON_DATA", &exchange.data).env("LIAISON_FILL", fill).env("LIAISON_LOG_JSON", "");
        command.env("LIAISON_TIMEOUT", timeout).env("LIAISON_SUBJECT", "").output().expect("runs")
    };
    for (fill, timeout, ends) in [
        ("1", "30s", 0),
        ("yes", "30", 0),
        ("on", "1m", 0),
        ("0", "30s", 65),
        ("", "", 65),
        ("maybe", "30s", 2),
        ("1", "soon", 2),
    ] {
        let output = publish(fill, timeout);
        assert_eq!(code(&output), ends, "{fill:?} {timeout:?}: {output:?}");
    }
    let mut command = liaison();
    command.args(["subscribe", "--as", "fr-dnpaf", "--count", "1"]).env("LIAISON_DATA", &exchange.data);
    let output = command.env("LIAISON_TIMEOUT", "30s").output().expect("runs");
    assert_eq!((code(&output), lines(&output).len()), (0, 1), "the same variable: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_is_shown_beside_the_broker() {
    let exchange = Exchange::small("").await;
    let place = folder();
    let messages: String =
        (0..5).map(|at| format!("{}\n", message("it-moi", "tn-01", "fr-dnpaf", at != 4))).collect();
    let messages = file(place.path(), "five.ndjson", &messages);
    assert_eq!(code(&exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &messages])), 65);
    let data = exchange.data.to_str().expect("UTF-8");
    let output = run(&["archive", "stats", data]);
    assert_eq!(code(&output), 0, "{output:?}");
    let stats = &lines(&output)[0];
    assert_eq!((&stats["records"], &stats["deliveries"]), (&5.into(), &4.into()), "{stats}");
    assert_eq!(stats["outcomes"], json!({ "accepted": 4, "rejected E-SCHEMA": 1 }));
    let output = exchange.run(&["archive", "show", "--from", "2", "--limit", "2"]);
    let shown = lines(&output);
    assert_eq!(shown.iter().map(|line| line["seq"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert!(shown[0].get("event").is_none(), "no content unless asked for");
    let output = exchange.run(&["archive", "show", "--content", "--limit", "1"]);
    assert!(lines(&output)[0]["event"]["data"].is_object());
    assert_eq!(code(&run(&["archive", "stats", "/nowhere"])), 74);
    assert_eq!(code(&run(&["archive", "show", "--data", "/nowhere"])), 74);
}
