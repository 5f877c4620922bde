//! `liaison doctor`, as an operator sees it: silent where nothing is wrong, and naming what is wrong, with the broker alive or dead.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, api, is_alive, liaison, report, text, until};

/// How full the disk under the tests is must not be what the doctor finds: it warns below forty times this.
pub const LITTLE_RESERVE: &str = "[archive]\nreserve = 1048576\n";

/// Exit code and document.
fn doctor(args: &[&str]) -> (Option<i32>, Value) {
    let output = liaison().arg("doctor").arg("--json").args(args).output().expect("runs");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code(), document)
}

/// Severity and runbook of every finding.
fn told(document: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    let findings = document["findings"].as_array().expect("findings");
    for finding in findings {
        for name in ["what", "why", "action"] {
            assert!(!text(finding, name).is_empty(), "{finding}");
        }
    }
    findings.iter().map(|finding| (text(finding, "severity"), text(finding, "runbook"))).collect()
}

fn has(document: &Value, severity: &str, runbook: &str) -> bool {
    told(document).iter().any(|(found, of)| found == severity && of == runbook)
}

/// Every file below a directory, its bytes and mode: to see that nothing was changed.
fn state(directory: &Path, found: &mut Vec<(String, u32, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            state(&path, found);
        } else {
            let mode = path.metadata().expect("there").permissions().mode();
            found.push((text(&path), mode, std::fs::read(&path).expect("readable")));
        }
    }
    found.sort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_where_nothing_is_wrong_and_a_dead_broker_is() {
    let mut exchange = Exchange::small(LITTLE_RESERVE).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    exchange.publish(&post, REPORT_SUBJECT, report().to_string().into_bytes()).await;
    let data = text(&exchange.data);
    let (code, document) = doctor(&["--data", &data]);
    assert_eq!((code, &document["wrong"]), (Some(0), &json!(false)), "{document}");
    assert!(told(&document).iter().all(|(severity, _)| severity == "notice"), "{document}");
    assert!(has(&document, "notice", "Sync interval"), "the server's own words are seen: {document}");
    let plain = exchange.run(&["doctor", "--data", &data]);
    assert!(
        plain.status.success() && String::from_utf8_lossy(&plain.stderr).contains("nothing wrong"),
        "{plain:?}"
    );

    let nats = exchange.nats_pid().expect("a nats-server");
    exchange.kill();
    until("the end of nats-server", async || (!is_alive(nats)).then_some(())).await;
    let mut before = Vec::new();
    state(&exchange.data, &mut before);
    let (code, document) = doctor(&["--data", &data]);
    let mut after = Vec::new();
    state(&exchange.data, &mut after);
    assert!(before == after, "the doctor changed something");
    assert_eq!(code, Some(1));
    assert!(has(&document, "critical", "LiaisonDown"), "{document}");
    assert_eq!(told(&document).iter().filter(|(severity, _)| severity != "notice").count(), 1, "{document}");
    let plain = exchange.run(&["doctor", "--data", &data]);
    let words = String::from_utf8_lossy(&plain.stdout).into_owned();
    for part in ["critical", "no broker runs", "why:", "do:", "runbook: LiaisonDown"] {
        assert!(words.contains(part), "{part} is missing in {words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_files_is_named() {
    let mut exchange = Exchange::small("").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    exchange.publish(&post, REPORT_SUBJECT, report().to_string().into_bytes()).await;
    exchange.signal("TERM");
    exchange.wait();
    let data = text(&exchange.data);
    let chmod = |path: &str, mode| {
        let file = exchange.data.join(path);
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let look = |severity: &str, runbook: &str, words: &str| {
        let (code, document) = doctor(&["--data", &data]);
        assert_eq!(code, Some(1), "{document}");
        assert!(
            has(&document, severity, runbook) && document.to_string().contains(words),
            "{words}: {document}"
        );
    };
    chmod("keys/broker/intake.nk", 0o644);
    look("critical", "Keys", "others may read it");
    chmod("keys/broker/intake.nk", 0o600);
    chmod("network.toml", 0o666);
    look("critical", "Configuration", "network.toml: mode 666");
    chmod("network.toml", 0o644);
    let registry = exchange.data.join("network.toml");
    let good = std::fs::read_to_string(&registry).expect("a registry");
    std::fs::write(&registry, format!("{good}\n[[party]]\nid = \"x\"\n")).expect("writes");
    look("critical", "Configuration", "network.toml");
    std::fs::write(&registry, good).expect("writes");
    // The last frame was there when the journal was closed: a journal without it is not a torn one.
    let segment = exchange.data.join("archive/journal/seg-00000000000000000001.liaj");
    let whole = std::fs::read(&segment).expect("a segment");
    std::fs::write(&segment, &whole[..whole.len() - 1]).expect("writes");
    look("critical", "Archive damaged", "is damaged at byte");
    std::fs::write(&segment, whole).expect("writes");
    let (_, document) = doctor(&["--data", &data]);
    assert!(!has(&document, "critical", "Archive damaged"), "{document}");
    let root_key = exchange.data.with_extension("root-key");
    std::fs::rename(&root_key, root_key.with_extension("away")).expect("moves");
    look("critical", "Keys", "is missing");
    assert!(!root_key.exists(), "none is made in its place");
    let (code, document) = doctor(&["--config", "/nonexistent/liaison.toml"]);
    assert_eq!(code, Some(1));
    assert!(has(&document, "critical", "Configuration"), "{document}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_at_nats_is_named_beside_the_running_broker() {
    let exchange = Exchange::apart(LITTLE_RESERVE).await;
    let config = text(&exchange.data.join("liaison.toml"));
    let (code, document) = doctor(&["--config", &config]);
    assert_eq!(code, Some(0), "{document}");
    let admin = exchange.admin().await;
    let info = api(&admin, "STREAM.INFO.IN_IT_MOI", &json!({})).await;
    let mut changed = info["config"].clone();
    changed["allow_rollup_hdrs"] = true.into();
    changed["deny_purge"] = false.into();
    let answer = api(&admin, "STREAM.UPDATE.IN_IT_MOI", &changed).await;
    assert!(answer["error"].is_null(), "{answer}");
    let deleted = api(&admin, "STREAM.DELETE.MBOX_DE_BPOL", &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    let (code, document) = doctor(&["--config", &config]);
    assert_eq!(code, Some(1));
    let words = document.to_string();
    assert!(has(&document, "critical", "Streams differ"), "{document}");
    for part in ["IN_IT_MOI: allow_rollup_hdrs is true, must be false", "MBOX_DE_BPOL: is missing"] {
        assert!(words.contains(part), "{part}: {document}");
    }
}
