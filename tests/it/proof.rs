//! The proof from outside: checkpoints of a running broker, a witness, a proof in one file, and what tampering gives.
//!
//! The formats are read by another implementation than ours.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::harness::{Exchange, REPORT_SUBJECT, folder, liaison, report, text, until};

const CONFIG: &str = "[archive]\ndirectory = \"archive\"\n";

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

fn run(args: &[&str]) -> Output {
    liaison().args(args).output().expect("runs")
}

/// Publishes so many reports; gives them as they were sent.
async fn publish(exchange: &Exchange, count: usize) -> Vec<Value> {
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut sent = Vec::new();
    for _ in 0..count {
        let message = report();
        let receipt = exchange.publish(&post, REPORT_SUBJECT, message.to_string().into_bytes()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        sent.push(message);
    }
    sent
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry").path();
        let to = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).expect("copies");
        }
    }
}

/// A witness's round, as `de-bpol`.
fn witness(exchange: &Exchange, place: &Path) -> Output {
    let (key, state) = (text(&place.join("witness.key")), text(&place.join("witness.state")));
    exchange.run(&["witness", "--as", "de-bpol", "--witness-key", &key, "--state", &state])
}

fn latest(data: &Path) -> signed_note::Note {
    let note = std::fs::read(data.join("archive/checkpoints/latest")).expect("a checkpoint");
    signed_note::Note::from_bytes(&note).expect("a note")
}

/// Makes the witness's key and puts it into the registry.
async fn register(exchange: &Exchange, place: &Path) {
    let output = witness(exchange, place);
    assert_eq!(code(&output), 77, "the registry does not know the key yet: {output:?}");
    let key = std::fs::read_to_string(place.join("witness.pub")).expect("made");
    let file = exchange.data.join("network.toml");
    let registry = std::fs::read_to_string(&file).expect("a registry");
    let id = "id = \"de-bpol\"\n";
    std::fs::write(&file, registry.replace(id, &format!("{id}witness = \"nonsense\"\n"))).expect("written");
    assert!(!exchange.reload().await, "a key that is none is no key");
    std::fs::write(&file, registry.replace(id, &format!("{id}witness = \"{}\"\n", key.trim())))
        .expect("written");
    assert!(exchange.reload().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_bears_witness_and_finds_out_a_rollback() {
    let mut exchange = Exchange::small(CONFIG).await;
    let place = folder();
    publish(&exchange, 3).await;
    register(&exchange, place.path()).await;
    let output = witness(&exchange, place.path());
    assert_eq!(code(&output), 0, "{output:?}");
    let told = json_of(&output);
    assert_eq!((&told["origin"], &told["size"]), (&json!("liaison-1"), &json!(3)));
    // Another implementation reads the checkpoint and verifies the log's signature; the witness's stands beside it.
    let public = std::fs::read_to_string(exchange.data.join("keys/broker/checkpoint.pub")).expect("made");
    let verifier = signed_note::StandardVerifier::new(public.trim()).expect("a verifier key");
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let note = latest(&exchange.data);
    let (log, others) = note.verify(&known).expect("verifies");
    assert_eq!((log.len(), others.len(), others[0].name()), (1, 1, "de-bpol"));
    let body = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("a checkpoint");
    assert_eq!((body.origin(), body.size()), ("liaison-1", 3));

    // A proof made now shows the witness's signature too, to who has its key.
    let (file, log, seen) = (
        text(&place.path().join("proof")),
        text(&exchange.data.join("keys/broker/checkpoint.pub")),
        text(&place.path().join("witness.pub")),
    );
    assert_eq!(code(&exchange.run(&["archive", "prove", "--seq", "2", "--out", &file])), 0);
    let proven =
        |witness: &str| run(&["archive", "verify", "--proof", &file, "--key", &log, "--witness", witness]);
    let output = proven(&seen);
    assert_eq!(
        (code(&output), &json_of(&output)["witnesses"][0]["witness"]),
        (0, &json!("de-bpol")),
        "{output:?}"
    );
    assert_eq!(code(&proven(signed_note_key().trim())), 65, "nobody has seen it for this witness");

    let output = exchange.run(&["audit"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("witness-cosigned"), "{output:?}");
    let system = exchange.connect("fr-dnpaf", "system").await;
    let line = told["cosignature"].as_str().expect("a line");
    let stolen = json!({"cosignature": line, "size": 3});
    let (status, refused) =
        exchange.ask(&system, "fr-dnpaf", "witness", &stolen).await.expect_err("is refused");
    assert_eq!((status.as_str(), &refused["code"]), ("403", &json!("E-WITNESS")));
    let (status, _) = exchange.ask(&system, "fr-dnpaf", "witness", &json!({})).await.expect_err("is refused");
    assert_eq!(status, "400");

    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let old = place.path().join("old");
    copy(&exchange.data.join("archive"), &old);
    exchange.again().await;
    publish(&exchange, 2).await;
    let output = witness(&exchange, place.path());
    assert_eq!(
        (code(&output), &json_of(&output)["before"], &json_of(&output)["size"]),
        (0, &json!(3), &json!(5))
    );

    // Somebody puts the old copy in the place of the archive: by itself it is whole, and the broker signs on.
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let held = place.path().join("held");
    std::fs::copy(exchange.data.join("archive/checkpoints/latest"), &held).expect("copies");
    std::fs::remove_dir_all(exchange.data.join("archive")).expect("removed");
    copy(&old, &exchange.data.join("archive"));
    let output = run(&["archive", "verify", &text(&exchange.data)]);
    assert_eq!(code(&output), 0, "{output:?}");
    let output = run(&["archive", "verify", &text(&exchange.data), "--checkpoint", &text(&held)]);
    assert_eq!((code(&output), &json_of(&output)["first_bad"]), (65, &json!(4)), "{output:?}");
    exchange.again().await;
    let output = witness(&exchange, place.path());
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 65, "{output:?}");
    assert!(words.contains("SPLIT VIEW") && words.contains('5'), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_in_one_file_needs_no_archive() {
    let exchange = Exchange::small(CONFIG).await;
    let sent = publish(&exchange, 5).await;
    let place = folder();
    let (data, file) = (text(&exchange.data), text(&place.path().join("third.tlog-proof")));
    let key = text(&exchange.data.join("keys/broker/checkpoint.pub"));
    // A witness's question makes a checkpoint on demand; the next would come within a minute.
    let system = exchange.connect("fr-dnpaf", "system").await;
    let shown = exchange.ask(&system, "fr-dnpaf", "witness", &json!({"old": 0})).await.expect("answers");
    assert!(shown["checkpoint"].as_str().is_some_and(|note| note.starts_with("liaison-1\n")), "{shown}");
    let all = until("a checkpoint over all", async || {
        let shown = exchange.ask(&system, "fr-dnpaf", "witness", &json!({"old": 1})).await.expect("answers");
        (shown["size"] == 5).then_some(shown)
    })
    .await;
    assert_eq!(all["consistency"].as_array().map(Vec::len), Some(3));

    let id = sent[2]["id"].as_str().expect("an id");
    let output = run(&["archive", "prove", id, "--data", &data, "--with-content", "--out", &file]);
    assert_eq!(code(&output), 0, "{output:?}");
    let output = run(&["archive", "verify", "--proof", &file, "--key", &key]);
    assert_eq!(code(&output), 0, "{output:?}");
    let proven = json_of(&output);
    assert_eq!(
        (&proven["seq"], &proven["id"], &proven["checkpoint"]["size"]),
        (&json!(3), &json!(id), &json!(5))
    );
    assert_eq!(proven["content"], sent[2].to_string());
    assert_eq!(proven["sha256"], super::harness::sha256(sent[2].to_string().as_bytes()));
    let output = run(&["archive", "prove", "--seq", "1", "--data", &data]);
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("extra eyJib2R5"),
        "without content unless asked for"
    );
    assert_eq!(code(&run(&["archive", "prove", "--seq", "9", "--data", &data])), 1);

    let other = place.path().join("other");
    std::fs::write(&other, signed_note_key()).expect("written");
    let output = run(&["archive", "verify", "--proof", &file, "--key", &text(&other)]);
    assert_eq!(code(&output), 65, "{output:?}");
    let proof = std::fs::read_to_string(&file).expect("a proof");
    std::fs::write(&file, proof.replace("index 2", "index 3")).expect("written");
    assert_eq!(code(&run(&["archive", "verify", "--proof", &file, "--key", &key])), 65);
    assert_eq!(code(&run(&["archive", "verify", "--proof", &file])), 2, "a proof needs the key");
}

/// An exchange with five records under a checkpoint, and a party that asks.
async fn five() -> (Exchange, async_nats::Client) {
    let exchange = Exchange::small(CONFIG).await;
    publish(&exchange, 5).await;
    let system = exchange.connect("fr-dnpaf", "system").await;
    until("a checkpoint over all", async || {
        let shown = exchange.ask(&system, "fr-dnpaf", "witness", &json!({"old": 0})).await.expect("answers");
        (shown["size"] == 5).then_some(())
    })
    .await;
    (exchange, system)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_held_against_its_manifest() {
    let (exchange, _) = five().await;
    let place = folder();
    let export = text(&place.path().join("export.ndjson"));
    assert_eq!(code(&run(&["archive", "export", "--data", &text(&exchange.data), &export])), 0);
    let output = run(&["archive", "verify", &export]);
    assert_eq!((code(&output), &json_of(&output)["lines"]), (0, &json!(5)), "{output:?}");
    let lines = std::fs::read_to_string(&export).expect("an export");
    std::fs::write(&export, lines.replacen("\"seq\":4", "\"seq\":3", 1)).expect("written");
    let output = run(&["archive", "verify", &export]);
    assert_eq!((code(&output), &json_of(&output)["first_bad"]), (65, &json!(3)), "{output:?}");
    std::fs::write(&export, lines.lines().take(4).map(|line| format!("{line}\n")).collect::<String>())
        .expect("written");
    let output = run(&["archive", "verify", &export]);
    assert_eq!((code(&output), &json_of(&output)["first_bad"]), (65, &json!(5)), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_checkpoints_and_a_disk_that_takes_none() {
    let (exchange, system) = five().await;
    let place = folder();
    let data = text(&exchange.data);
    let key = text(&exchange.data.join("keys/broker/checkpoint.pub"));
    // Beside the running broker, and what operators see of it.
    let output = run(&["archive", "verify", &data, "--key", &key]);
    let report = json_of(&output);
    assert_eq!(
        (code(&output), &report["ok"], &report["records"]),
        (0, &json!(true), &json!(5)),
        "{output:?}"
    );
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(metrics.contains("liaison_checkpoint_size 5"), "{metrics}");
    let (status, ready) = exchange.get("/readyz").await;
    assert!(status == 200 && ready.contains("\"checkpoint\""), "{ready}");
    let output = run(&["archive", "checkpoint", "--data", &data]);
    assert_eq!(
        output.stdout,
        std::fs::read(exchange.data.join("archive/checkpoints/latest")).expect("there")
    );

    // A disk that takes no checkpoint: nothing is shown that was not written down, and the operator sees why.
    let (checkpoints, aside) = (exchange.data.join("archive/checkpoints"), place.path().join("aside"));
    std::fs::rename(&checkpoints, &aside).expect("moved");
    std::fs::write(&checkpoints, "in the way").expect("written");
    publish(&exchange, 1).await;
    let (status, refused) = until("a refusal", async || {
        exchange.ask(&system, "fr-dnpaf", "witness", &json!({"old": 0})).await.err()
    })
    .await;
    assert_eq!((status.as_str(), &refused["code"]), ("503", &json!("E-ARCHIVE")));
    let (status, ready) = exchange.get("/readyz").await;
    assert!(status == 200 && ready.contains("none could be written"), "{ready}");
    std::fs::remove_file(&checkpoints).expect("removed");
    std::fs::rename(&aside, &checkpoints).expect("moved back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_in_a_data_directory_is_named() {
    let (mut exchange, _) = five().await;
    let data = text(&exchange.data);
    publish(&exchange, 1).await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    // At the end everything is under a checkpoint, the audit log too.
    let output = run(&["archive", "verify", &data]);
    let report = json_of(&output);
    assert_eq!((code(&output), &report["checkpoints"]["largest"]), (0, &json!(6)), "{report}");
    let audit = &report["audit"];
    assert_eq!(
        (&audit["ok"], &audit["checkpoints"]["largest"]),
        (&json!(true), &audit["records"]),
        "{report}"
    );
    assert!(audit["records"].as_u64() > Some(1), "{report}");
    let log = exchange.data.join("archive/audit/seg-00000000000000000001.liaj");
    let noted = std::fs::read(&log).expect("an audit log");
    std::fs::write(&log, &noted[..noted.len() - 1]).expect("written");
    let output = run(&["archive", "verify", &data]);
    let report = json_of(&output);
    assert_eq!((code(&output), &report["ok"], &report["audit"]["ok"]), (65, &json!(false), &json!(false)));
    assert!(report["audit"]["first_bad"].is_u64() && report["first_bad"].is_null(), "{report}");
    std::fs::write(&log, noted).expect("written");

    let segment = exchange.data.join("archive/journal/seg-00000000000000000001.liaj");
    let whole = std::fs::read(&segment).expect("a segment");
    std::fs::write(&segment, &whole[..whole.len() - 1]).expect("written");
    let output = run(&["archive", "verify", &data]);
    assert_eq!((code(&output), &json_of(&output)["first_bad"]), (65, &json!(6)), "{output:?}");
    let mut flipped = whole.clone();
    flipped[200] ^= 1;
    std::fs::write(&segment, flipped).expect("written");
    let output = run(&["archive", "verify", &data]);
    assert_eq!((code(&output), &json_of(&output)["first_bad"]), (65, &json!(1)), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("from sequence 1 on"), "{output:?}");
}

/// A well-formed verifier key that has signed nothing here: that of the C2SP example.
fn signed_note_key() -> &'static str {
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_busy_broker_becomes_an_exchange_again() {
    let mut exchange = Exchange::small(CONFIG).await;
    let place = folder();
    publish(&exchange, 4).await;
    let data = text(&exchange.data);
    // While messages come in, again and again: each copy is whole, and holds all that was receipted before it began.
    let busy = async { publish(&exchange, 60).await };
    let copies = async {
        let mut sizes = Vec::new();
        for number in 0..4 {
            let to = text(&place.path().join(format!("backup-{number}")));
            let args = ["archive", "backup", "--data", &data, &to].map(str::to_owned);
            let output = tokio::task::spawn_blocking(move || liaison().args(args).output().expect("runs"));
            let output = output.await.expect("joins");
            assert_eq!(code(&output), 0, "{output:?}");
            sizes.push(json_of(&output)["records"].as_u64().expect("a count"));
        }
        sizes
    };
    let (_, sizes) = tokio::join!(busy, copies);
    let system = exchange.connect("fr-dnpaf", "system").await;
    let shown = exchange.ask(&system, "fr-dnpaf", "witness", &json!({"old": 0})).await.expect("answers");
    assert!(shown["size"].as_u64() >= Some(4), "{shown}");
    assert!(sizes.is_sorted() && sizes[0] >= 4, "{sizes:?}");
    for (number, size) in sizes.iter().enumerate() {
        let (from, to) =
            (place.path().join(format!("backup-{number}")), place.path().join(format!("new-{number}")));
        let output = run(&["archive", "restore", &text(&from), "--data", &text(&to)]);
        assert_eq!(
            (code(&output), &json_of(&output)["messages"]["records"]),
            (0, &json!(size)),
            "{output:?}"
        );
    }
    let output = run(&["archive", "backup", "--data", &data, "-"]);
    let tar = place.path().join("backup.tar");
    std::fs::write(&tar, &output.stdout).expect("written");
    let restored = place.path().join("restored");
    let output = run(&["archive", "restore", &text(&tar), "--data", &text(&restored)]);
    assert_eq!((code(&output), &json_of(&output)["messages"]["records"]), (0, &json!(64)), "{output:?}");
    let output = run(&["archive", "restore", &text(&tar), "--data", &text(&restored)]);
    assert_eq!(code(&output), 74, "nothing is written over: {output:?}");

    // The operator puts back what only he has, and the house goes on where it was.
    exchange.kill();
    let show =
        |data: &Path| run(&["archive", "show", "--limit", "100", "--content", "--data", &text(data)]).stdout;
    assert_eq!(show(&restored), show(&exchange.data));
    std::fs::copy(exchange.data.join("keys/broker/checkpoint.key"), place.path().join("kept.key"))
        .expect("kept");
    std::fs::remove_dir_all(&exchange.data).expect("removed");
    let secret = exchange.data.with_extension("root-key");
    assert!(secret.is_file(), "the root key lies outside of what was lost");
    std::fs::rename(&restored, &exchange.data).expect("moved");
    let config = std::fs::read_to_string(exchange.data.join("liaison.toml")).expect("restored");
    assert_eq!(config, CONFIG);
    std::fs::copy(place.path().join("kept.key"), exchange.data.join("keys/broker/checkpoint.key"))
        .expect("put back");
    exchange.again().await;
    publish(&exchange, 1).await;
    assert_eq!(exchange.stats()["records"], 65);
}
