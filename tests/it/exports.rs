//! Searching and exporting an archive beside its running broker: what the flags mean, that personal data stays inside
//! unless asked for, that a repetition is byte-identical, and that an export can be published again.

use std::process::Output;

use serde_json::{Value, json};

use super::control::{control, reference};
use super::harness::{Exchange, example, folder, fresh_id, liaison, report, sha256, shifted};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("NDJSON")).collect()
}

fn seqs(output: &Output) -> Vec<u64> {
    assert_eq!(code(output), 0, "{output:?}");
    lines(&output.stdout).iter().map(|line| line["seq"].as_u64().expect("a sequence")).collect()
}

/// An exchange with five records: three reports (the second names Libya and is pretty-printed), one of the case plane, one
/// refused.
async fn filled() -> (Exchange, Vec<Vec<u8>>) {
    let exchange = Exchange::start().await;
    let mut kept = Vec::new();
    let publish = |name: &str, party: &str, post: Option<&str>, bytes: &[u8]| {
        let file = exchange.data.join(name);
        std::fs::write(&file, bytes).expect("written");
        let file = file.to_str().expect("UTF-8");
        let mut args = vec!["publish", "--as", party, file];
        args.extend(post.into_iter().flat_map(|post| ["--post", post]));
        code(&exchange.run(&args))
    };
    for at in 0..3 {
        let mut message = report();
        if at == 1 {
            message["data"]["places"][1] = json!({ "country": "LY", "name": "Zuwara" });
        }
        let bytes = if at == 1 { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) };
        kept.push(bytes.expect("JSON"));
        assert_eq!(publish("one.json", "it-moi", Some("tn-01"), kept.last().expect("one")), 0);
    }
    let mut case = shifted(example("valid/07-case-identity-request.json")["message"].clone());
    case["id"] = fresh_id().into();
    assert_eq!(publish("one.json", "nl-dtv", None, case.to_string().as_bytes()), 0);
    let mut bad = report();
    bad["data"]["direction"] = "sideways".into();
    assert_eq!(publish("one.json", "it-moi", Some("tn-01"), bad.to_string().as_bytes()), 65);
    (exchange, kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_found_and_nothing_else() {
    let (exchange, kept) = filled().await;
    let show = |more: &[&str]| exchange.run(&[["archive", "show"].as_slice(), more].concat());
    let third: Value = serde_json::from_slice(&kept[2]).expect("JSON");
    let third_id = third["id"].as_str().expect("an id");
    let all = lines(&show(&[]).stdout);
    let (second_at, last_at) = (all[1]["archived"].as_str().expect("a time"), all[4]["archived"].as_str());
    for (asked, found) in [
        (vec![], vec![1, 2, 3, 4, 5]),
        (vec!["--from", "2", "--limit", "2"], vec![2, 3]),
        (vec!["--after", "3"], vec![4, 5]),
        (vec!["--from", second_at, "--to", last_at.expect("a time")], vec![2, 3, 4]),
        (vec!["--type", "flow.observation"], vec![1, 2, 3, 5]),
        (vec!["--type", "flow.*,case.*", "--outcome", "accepted"], vec![1, 2, 3, 4]),
        (vec!["--type", "flow.obs"], vec![]),
        (vec!["--country", "ly"], vec![2]),
        (vec!["--country", "TN"], vec![1, 2, 3]),
        (vec!["--originator", "nl-dtv"], vec![4]),
        (vec!["--source", "/authority/it-moi/post/tn-01", "--outcome", "rejected"], vec![5]),
        (vec!["--id", third_id], vec![3]),
        (vec!["--plane", "case"], vec![4]),
        (vec!["--where", "data.count.value > 1000 && 'CMED' in data.routes"], vec![1, 2, 3]),
        (vec!["--where", "event.datacategory != 'none'"], vec![]),
        (vec!["--where", "event.datacategory != 'none'", "--personal"], vec![4]),
        (vec!["--filter", r#"{"exact":{"country":"LY"}}"#], vec![2]),
        (vec!["--filter", r#"[{"exact":{"country":"LY"}},{"exact":{"transport":"foot"}}]"#], vec![]),
    ] {
        let output = show(&asked);
        assert_eq!(seqs(&output), found, "{asked:?}");
    }
    for bad in [
        ["--where", "data.count.value +"],
        ["--filter", r#"{"exact":{"nosuch":"x"}}"#],
        ["--filter", "{"],
        ["--from", "yesterday"],
        ["--type", "Flow"],
        ["--country", "TUN"],
        ["--plane", "x"],
        ["--outcome", "lost"],
    ] {
        let output = show(&bad);
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{bad:?}: {output:?}");
    }
    let content = lines(&show(&["--content", "--from", "4"]).stdout);
    assert_eq!((&content[0]["sealed"], content[0].get("event")), (&true.into(), None));
    assert_eq!(content[0]["sha256"], Value::Null, "masked: without the key it is not known, and so not told");
    assert_eq!(content[1]["tombstone"], json!({ "why": "rejected", "code": "E-SCHEMA" }));
    let content = lines(&show(&["--content", "--personal", "--plane", "case"]).stdout);
    assert_eq!(content[0]["event"]["data"]["person"]["familyName"], "EXEMPLAR");
    assert!(content[0]["sha256"].is_string());
    let data = exchange.data.to_str().expect("UTF-8");
    let stats = exchange.run(&["archive", "stats", data, "--country", "LY"]);
    let stats = &lines(&stats.stdout)[0];
    assert_eq!(
        (&stats["records"], &stats["types"]),
        (&1.into(), &json!({ "flow.observation": 1 })),
        "{stats}"
    );
    assert_eq!(stats["left_out"], json!({ "sealed, not looked into": 1 }), "{stats}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_repeat_and_can_be_published_again() {
    let (exchange, kept) = filled().await;
    let place = folder();
    let at = |name: &str| place.path().join(name).to_str().expect("UTF-8").to_owned();
    let export = |more: &[&str]| exchange.run(&[["archive", "export"].as_slice(), more].concat());
    for end in ["ndjson", "csv", "geojson", "parquet"] {
        let (one, two) = (at(&format!("one.{end}")), at(&format!("two.{end}")));
        for file in [&one, &two] {
            let output = export(&[file]);
            assert_eq!((code(&output), output.stdout.len(), output.stderr.len()), (0, 0, 0), "{output:?}");
        }
        let read = |file: &str| std::fs::read(file).expect("a file");
        let manifest = |file: &str| read(&format!("{file}.manifest.json"));
        assert_eq!((read(&one), manifest(&one)), (read(&two), manifest(&two)), "{end}");
        assert!(!std::path::Path::new(&format!("{one}.part")).exists());
        let bytes = read(&one);
        assert!(!String::from_utf8_lossy(&bytes).contains("EXEMPLAR"), "{end}: the case plane stays inside");
        let told: Value = serde_json::from_slice(&manifest(&one)).expect("JSON");
        assert_eq!(told["sha256"], sha256(&bytes), "{told}");
        assert_eq!((&told["format"], &told["count"], &told["last_seq"]), (&end.into(), &3.into(), &3.into()));
        assert_eq!(told["left_out"], json!({ "sealed": 1 }), "{told}");
        assert_eq!(told["query"], json!({ "outcome": ["accepted"], "personal": false }), "{told}");
        assert_eq!(told["complete"], true);
        // To stdout: the same bytes, and the manifest on stderr.
        let output = export(&["--output", end]);
        assert_eq!((code(&output), &output.stdout), (0, &bytes), "{end}");
        assert_eq!(output.stderr, manifest(&one), "{end}");
    }
    let written = std::fs::read(at("one.ndjson")).expect("a file");
    let written = lines(&written);
    for (line, bytes) in written.iter().zip(&kept) {
        assert_eq!(line["digest"], format!("sha256:{}", sha256(bytes)));
        assert_eq!(line["event"], serde_json::from_slice::<Value>(bytes).expect("JSON"));
    }
    // The same bytes as before, or they would be refused: the id is taken.
    let output = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &at("one.ndjson")]);
    assert_eq!(code(&output), 0, "{output:?}");
    let receipts = lines(&output.stdout);
    let outcomes: Vec<&Value> = receipts.iter().map(|receipt| &receipt["data"]["outcome"]).collect();
    assert_eq!(outcomes, ["duplicate", "duplicate", "duplicate"]);
    let output = export(&["--personal", "--plane", "case", "--manifest", &at("case.json")]);
    assert_eq!(lines(&output.stdout)[0]["event"]["data"]["person"]["familyName"], "EXEMPLAR");
    let told: Value = serde_json::from_slice(&std::fs::read(at("case.json")).expect("a file")).expect("JSON");
    assert_eq!((&told["left_out"], &told["query"]["personal"]), (&json!({}), &true.into()));
    let output = export(&["--outcome", "rejected"]);
    let refused = &lines(&output.stdout)[0];
    assert_eq!((&refused["tombstone"]["code"], refused.get("event")), (&"E-SCHEMA".into(), None));
    assert_eq!(code(&export(&["/nowhere/file.csv"])), 74);
    assert_eq!(code(&export(&["--output", "xml"])), 2);
    let missing = liaison().args(["archive", "export", "--data", "/nowhere"]).output().expect("runs");
    assert_eq!(code(&missing), 74, "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_withdrawn_is_a_tombstone_and_the_sealed_needs_the_root_key() {
    let (exchange, kept) = filled().await;
    let publish = |message: &Value| {
        let file = exchange.data.join("control.json");
        std::fs::write(&file, message.to_string()).expect("written");
        let output = exchange.run(&["publish", "--as", "it-moi", file.to_str().expect("UTF-8")]);
        assert_eq!(code(&output), 0, "{output:?}");
    };
    let target = |at: usize| reference(&serde_json::from_slice(&kept[at]).expect("JSON"));
    let data = json!({ "target": target(0), "reason": "source-unreliable" });
    publish(&control("msg.retraction", "it-moi", "de-bpol", data));
    let data = json!({ "targets": [target(2)], "ground": "unlawful", "attest": false, "dueBy": in_a_week() });
    publish(&control("msg.erasure", "it-moi", "de-bpol", data));
    let export = |more: &[&str]| exchange.run(&[["archive", "export"].as_slice(), more].concat());
    let output = export(&["--type", "flow.*"]);
    let lines = lines(&output.stdout);
    let tombstones: Vec<(&Value, &Value)> =
        lines.iter().map(|line| (&line["seq"], &line["tombstone"])).collect();
    let gone = |why: &str, by: u64| json!({ "why": why, "by": by });
    let expected = [gone("retracted", 6), Value::Null, gone("erased", 7)];
    assert_eq!(tombstones, [(&1.into(), &expected[0]), (&2.into(), &expected[1]), (&3.into(), &expected[2])]);
    let second = export(&["--country", "TN", "--type", "flow.*"]);
    assert_eq!(seqs(&second), [1, 2, 3], "what the head says of them is still known");
    let second = export(&["--where", "data.count.value > 0"]);
    assert_eq!(seqs(&second), [2], "what was withdrawn is not looked into");
    // Without the root key nothing sealed is opened, and nothing is begun anew in its place.
    let key = exchange.data.with_extension("root-key");
    let aside = exchange.data.with_extension("aside");
    std::fs::rename(&key, &aside).expect("moves");
    let output = export(&["--personal"]);
    assert_eq!((code(&output), output.stdout.len()), (78, 0), "{output:?}");
    assert!(!key.exists());
    let output =
        export(&["--personal", "--plane", "case", "--root-key-file", aside.to_str().expect("UTF-8")]);
    assert_eq!(seqs(&output), [4], "{output:?}");
    std::fs::write(&key, format!("{}\n", "5".repeat(64))).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("set");
    assert_eq!(code(&export(&["--personal"])), 78, "another root key");
    std::fs::rename(&aside, &key).expect("moves");
}

fn in_a_week() -> String {
    format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24))
}
