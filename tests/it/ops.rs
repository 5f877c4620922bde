//! What is written for operators agrees with what the broker tells: alerts and dashboard name metrics that exist, every alert has its
//! runbook, `SECURITY.md` names tests that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::harness::{Exchange, REPORT_SUBJECT, report, until};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Alert and expression, as `alerts.yml` is written: one rule of fixed lines after the other.
fn alerts() -> Vec<(String, String, String)> {
    let text = read("docs/ops/alerts.yml");
    let quoted = |line: &str| {
        let inner =
            line.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).expect("in single quotes");
        assert!(!inner.contains('\''), "YAML would end here: {line}");
        inner.to_owned()
    };
    let rules: Vec<_> = text
        .split("- alert: ")
        .skip(1)
        .map(|rule| {
            let line = |name: &str| {
                let found = rule.lines().find_map(|line| line.trim().strip_prefix(name));
                found.unwrap_or_else(|| panic!("no {name} in {rule}")).trim().to_owned()
            };
            for name in ["for:", "labels: {severity:"] {
                line(name);
            }
            quoted(&line("summary:"));
            (rule.lines().next().expect("a name").to_owned(), quoted(&line("expr:")), line("runbook:"))
        })
        .collect();
    assert!(rules.len() > 20);
    rules
}

/// The names of metrics of ours in an expression.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("liaison_")).map(str::to_owned).collect()
}

/// The names of all samples that a broker tells after it has taken, refused and replayed something.
async fn told() -> BTreeSet<String> {
    let exchange = Exchange::small("").await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let receipt = exchange.publish(&post, REPORT_SUBJECT, report().to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    let mut bad = report();
    bad["data"]["narrative"] = "Call +90 555 010 20 30".into();
    exchange.publish(&post, REPORT_SUBJECT, bad.to_string().into_bytes()).await;
    let system = exchange.connect("de-bpol", "system").await;
    exchange.ask(&system, "de-bpol", "replay", &serde_json::json!({})).await.expect("a page");
    let text = until("a delivery, and what was replayed", async || {
        let (_, text) = exchange.get("/metrics").await;
        let there = ["liaison_deliveries_total{", "liaison_replayed_messages_total{"];
        there.iter().all(|name| text.contains(name)).then_some(text)
    });
    let text = text.await;
    for (name, least) in [
        ("liaison_ready", 1.0),
        ("liaison_audit_writing", 1.0),
        ("liaison_nats_connected", 1.0),
        ("liaison_process_resident_memory_bytes", 1e6),
        ("liaison_process_open_fds", 10.0),
        ("liaison_process_max_fds", 64.0),
        ("liaison_archive_journal_bytes", 500.0),
        ("liaison_archive_free_bytes", 1e6),
        ("liaison_archive_filesystem_bytes", 1e6),
        ("liaison_queue_limit{stage=\"keeper\"}", 4.0),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number");
        assert!(value >= least, "{name} {value}");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_dashboard_name_metrics_that_a_broker_tells() {
    let told = told().await;
    for (alert, expression, _) in alerts() {
        let named = metrics_in(&expression);
        assert!(!named.is_empty(), "{alert} asks for nothing of ours");
        for metric in named {
            assert!(told.contains(&metric), "{alert} asks for {metric}, which the broker does not tell");
        }
    }
    // What is written about metrics is of metrics that exist, and each of them is written about.
    let manual = metrics_in(&read("docs/OPERATING.md"));
    for metric in manual.iter().chain(&metrics_in(&read("docs/ops/RUNBOOKS.md"))) {
        let histogram = format!("{metric}_bucket");
        assert!(
            told.contains(metric) || told.contains(&histogram),
            "the documents name {metric}, which there is not"
        );
    }
    for metric in &told {
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric);
        assert!(manual.contains(base), "OPERATING.md says nothing of {metric}");
    }
    let dashboard: Value = serde_json::from_str(&read("docs/ops/dashboard.json")).expect("JSON");
    assert!(
        dashboard["__inputs"].is_array() && dashboard["uid"].is_string(),
        "what Grafana wants for an import"
    );
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 15);
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let named = metrics_in(target["expr"].as_str().expect("a query"));
            assert!(!named.is_empty(), "{panel}");
            for metric in named {
                assert!(
                    told.contains(&metric),
                    "the dashboard asks for {metric}, which the broker does not tell"
                );
            }
        }
    }
}

#[test]
fn every_alert_has_its_runbook() {
    let runbooks = read("docs/ops/RUNBOOKS.md");
    let sections: Vec<&str> = runbooks.split("\n## ").skip(1).collect();
    for section in &sections {
        let title = section.lines().next().unwrap_or_default();
        for part in ["**Seen:**", "**Means:**", "**Look first:**", "**Do:**", "**Over when:**"] {
            assert!(section.contains(part), "the runbook {title} lacks {part}");
        }
    }
    for (alert, _, runbook) in alerts() {
        let title = |section: &&&str| section.lines().next() == Some(alert.as_str());
        assert_eq!(sections.iter().filter(title).count(), 1, "{alert} has no runbook");
        assert_eq!(runbook, format!("docs/ops/RUNBOOKS.md#{}", alert.to_lowercase()));
    }
}

/// The names of all tests in a directory of sources.
fn tests_in(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            for block in text.split("#[test]").chain(text.split("#[tokio::test")).skip(1) {
                let name = block.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn security_names_every_threat_and_only_tests_that_exist() {
    let text = read("SECURITY.md");
    let mut tests = BTreeSet::new();
    tests_in(&root().join("tests/it"), &mut tests);
    tests_in(&root().join("src"), &mut tests);
    // Those of fuzz targets are named by a macro.
    let fuzz = read("tests/it/fuzz.rs");
    let table = fuzz.split("each! {").nth(1).and_then(|rest| rest.split('}').next()).expect("the table");
    tests.extend(table.lines().filter_map(|line| Some(line.trim().split_once(": \"")?.0.to_owned())));
    for number in 1..=30 {
        let row = text.lines().find(|line| line.starts_with(&format!("| T{number} |")));
        let row = row.unwrap_or_else(|| panic!("SECURITY.md has no row T{number}"));
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let proof = cells[3];
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || proof.contains("not yet"), "T{number} has neither a test nor says so");
        for name in named {
            assert!(tests.contains(name), "T{number} names the test {name}, which does not exist");
        }
    }
}
