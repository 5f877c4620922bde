//! Files, pipes and places that are not what a command hoped for: nothing is lost, replaced or believed because of them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::harness::{Exchange, folder, liaison, text};
use super::load::message;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn fed(command: &mut Command, input: &[u8]) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("written");
    child.wait_with_output().expect("ends")
}

fn publish(exchange: &Exchange) -> Command {
    let mut command = liaison();
    command.args(["publish", "--nats", &exchange.nats, "--as", "it-moi", "--post", "tn-01"]);
    command.env("LIAISON_DATA", &exchange.data);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_sent_is_sent_or_kept() {
    let mut exchange = Exchange::apart("").await;
    let many: String =
        (0..5).map(|_| format!("{}\n", message("it-moi", "tn-01", "fr-dnpaf", true))).collect();
    let file = exchange.data.join("many.ndjson");
    std::fs::write(&file, &many).expect("written");
    let mut child = publish(&exchange).arg(&file).stdout(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    assert_eq!(exchange.stats()["records"], 5, "whoever reads no receipts has sent all the same");
    let nothing = fed(publish(&exchange).arg("-"), b"\n");
    assert_eq!((code(&nothing), nothing.stdout.len()), (0, 0), "{nothing:?}");
    assert_eq!(exchange.stats()["records"], 5, "nothing came, and nothing was sent");
    let empty = exchange.data.join("empty.json");
    std::fs::write(&empty, "").expect("written");
    assert_eq!(code(&publish(&exchange).arg(&empty).output().expect("runs")), 65, "it was to hold a message");

    exchange.kill();
    let mut bare = message("it-moi", "tn-01", "fr-dnpaf", true);
    bare.as_object_mut().expect("an object").remove("id");
    std::fs::write(&file, bare.to_string()).expect("written");
    let output = publish(&exchange).args(["--fill", "--timeout", "1s"]).arg(&file).output().expect("runs");
    assert_eq!(code(&output), 69, "{output:?}");
    let words = stderr(&output);
    let kept = words.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()).expect("the message");
    assert!(kept["id"].is_string(), "{words}");
    bare["id"] = kept["id"].clone();
    assert_eq!(kept, bare, "as it was sent, to be sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let exchange = Exchange::small("").await;
    let sent = fed(
        liaison()
            .args(["publish", "--as", "it-moi", "--post", "tn-01", "-"])
            .env("LIAISON_DATA", &exchange.data),
        message("it-moi", "tn-01", "fr-dnpaf", true).to_string().as_bytes(),
    );
    assert_eq!(code(&sent), 0, "{sent:?}");
    let place = folder();
    let at = |name: &str| place.path().join(name);
    for name in ["export", "cursor"] {
        std::fs::write(at(name), "").expect("written");
        std::os::unix::fs::symlink(at(name), at(&format!("{name}-link"))).expect("a link");
    }
    let export = exchange.run(&["archive", "export", &text(&at("export-link"))]);
    assert_eq!(code(&export), 0, "{export:?}");
    let cursor = text(&at("cursor-link"));
    // An empty file is no cursor, so it begins with one.
    std::fs::remove_file(at("cursor")).expect("removed");
    let replay = exchange.run(&["replay", "--as", "fr-dnpaf", "--cursor-file", &cursor]);
    assert_eq!(code(&replay), 74, "a link that leads nowhere: {replay:?}");
    let first = exchange.run(&["replay", "--as", "fr-dnpaf", "--cursor-file", &text(&at("cursor"))]);
    assert_eq!(code(&first), 0, "{first:?}");
    let replay = exchange.run(&["replay", "--as", "fr-dnpaf", "--cursor-file", &cursor]);
    assert_eq!((code(&replay), replay.stdout.len()), (0, 0), "{replay:?}");
    for name in ["export", "cursor"] {
        assert!(at(&format!("{name}-link")).is_symlink(), "{name}");
        assert!(std::fs::metadata(at(name)).expect("there").len() > 10, "{name}");
    }
    let pipe = exchange.run(&["archive", "export", "/dev/stdout"]);
    assert!(code(&pipe) == 0 && pipe.stdout.starts_with(b"{"), "a pipe is written to: {pipe:?}");
}

/// An archive in service: configuration here, archive and keys there.
fn in_service(exchange: &Exchange, etc: &Path) -> String {
    let data = text(&exchange.data);
    let config = format!(
        "[archive]\ndirectory = \"{data}/archive\"\n[nats]\nkeys = \"{data}/keys\"\n[registry]\nfile = \"parties.toml\"\n"
    );
    std::fs::write(etc.join("service.toml"), config).expect("written");
    std::fs::copy(exchange.data.join("network.toml"), etc.join("parties.toml")).expect("copied");
    text(&etc.join("service.toml"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_holds_what_it_says_or_is_none() {
    let exchange = Exchange::small("").await;
    let sent = fed(
        liaison()
            .args(["publish", "--as", "it-moi", "--post", "tn-01", "-"])
            .env("LIAISON_DATA", &exchange.data),
        message("it-moi", "tn-01", "fr-dnpaf", true).to_string().as_bytes(),
    );
    assert_eq!(code(&sent), 0, "{sent:?}");
    let place = folder();
    let at = |name: &str| text(&place.path().join(name));
    let config = in_service(&exchange, place.path());
    let made = exchange.run(&["archive", "backup", "--config", &config, &at("whole")]);
    assert!(code(&made) == 0 && made.stderr.is_empty(), "{made:?}");
    for name in ["network.toml", "liaison.toml", "keys/broker/checkpoint.pub"] {
        assert!(place.path().join("whole").join(name).is_file(), "{name}");
    }
    let made =
        exchange.run(&["archive", "backup", "--data", &text(&exchange.data.join("archive")), &at("bare")]);
    assert_eq!((code(&made), stderr(&made).lines().count()), (0, 3), "{made:?}");
    let drill = exchange.run(&["archive", "restore", &at("bare"), "--data", &at("new")]);
    assert!(code(&drill) == 0 && stderr(&drill).contains("signatures were not verified"), "{drill:?}");

    let nowhere = exchange.run(&["archive", "backup", "--data", "/nowhere", &at("nothing")]);
    assert!(code(&nowhere) == 74 && stderr(&nowhere).contains("no journal here"), "{nowhere:?}");
    std::fs::create_dir_all(at("nothing")).expect("a directory");
    let manifest = json!({ "version": 1, "made": "2026-11-28T12:00:00.000Z", "records": 0, "chain_head": null,
        "audit_entries": 0, "checkpoint": 0, "files": [] });
    std::fs::write(place.path().join("nothing/manifest.json"), manifest.to_string()).expect("written");
    let drill = exchange.run(&["archive", "restore", &at("nothing"), "--data", &at("other")]);
    assert!(code(&drill) == 65 && stderr(&drill).contains("holds no journal"), "{drill:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_for_other_commands_do_not_stop_this_one() {
    let exchange = Exchange::small("").await;
    let with = |name: &str, value: &str, args: &[&str]| {
        let mut command = liaison();
        command.args(args).env("LIAISON_DATA", &exchange.data).env(name, value);
        command.output().expect("runs")
    };
    let subscribe = ["subscribe", "--as", "fr-dnpaf", "--timeout", "1s"];
    for (name, value, args) in [
        ("LIAISON_REGISTRY", "/nowhere/network.toml", &subscribe as &[&str]),
        ("LIAISON_AS", "de-bpol", &["audit", "--verify"]),
        ("LIAISON_ALL", "false", &["keys", "list"]),
        ("LIAISON_SIGNING", "0", &["keys", "rotate", "it-moi", "--all"]),
    ] {
        let output = with(name, value, args);
        assert_eq!(code(&output), 0, "{name} {args:?}: {output:?}");
    }
    let output = with("LIAISON_AS", "de-bpol", &["audit", "--verify", "--data", "/nowhere"]);
    assert!(code(&output) == 74 && stderr(&output).contains("no audit log here"), "{output:?}");
}
