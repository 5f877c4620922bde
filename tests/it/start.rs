//! What keeps the house closed: each refusal to start has one clear reason, its exit code, and changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::harness::{
    Dice, Exchange, api, ends, example, few_parties, folder, liaison, setting, shifted, stream,
    write_nats_config,
};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A directory with few parties and this configuration.
fn prepared(config: &str) -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("network.toml"), few_parties()).expect("a registry");
    std::fs::write(folder.path().join("liaison.toml"), config).expect("a configuration");
    folder
}

/// What `liaison` itself says, without the log.
fn said(words: &str) -> Vec<&str> {
    words.lines().filter(|line| line.starts_with("liaison: ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_one_on_the_same_data_is_refused_in_one_line() {
    let exchange = Exchange::small("").await;
    let (code, words) = ends(&["up", "--data", text(&exchange.data)]).await;
    assert_eq!(code, Some(1), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains("is in use by another liaison"), "{words}");
    let endpoints = std::fs::read_to_string(exchange.data.join("endpoints.json")).expect("still there");
    assert!(endpoints.contains(&exchange.nats), "the first is left alone");
    let (status, words) = exchange.get("/readyz").await;
    assert_eq!(status, 200, "{words}");
}

/// `launch` has looked at the process id already: it is the one that was started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_gives_freed_memory_back_soon() {
    for exchange in [Exchange::small("").await, Exchange::apart("").await] {
        let environment = std::fs::read(format!("/proc/{}/environ", exchange.pid())).expect("ours");
        let set =
            environment.split(|byte| *byte == 0).filter(|pair| pair.starts_with(b"MIMALLOC_PURGE_DELAY="));
        assert_eq!(set.count(), 1, "of `up` and of `serve`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_the_same_archive_is_refused() {
    let exchange = Exchange::apart("").await;
    let (code, words) = ends(&["serve", "--config", text(&exchange.data.join("liaison.toml"))]).await;
    assert_eq!(code, Some(1), "{words}");
    assert!(said(&words)[0].contains("is in use by another liaison"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_registry_are_told_at_once() {
    let place = prepared("");
    let registry = few_parties()
        .replace("participation = \"commission\"", "participation = \"observer\"")
        .replace("id = \"gr-hp\"", "id = \"it-moi\"")
        .replace("\"ne-02\"", "\"ne-02\", \"ne-02\"");
    let three = registry
        + "\n[[party]]\nid = \"de-bpol\"\nname = \"x\"\ncountry = \"Germany\"\nparticipation = \"agency\"\n";
    std::fs::write(place.path().join("network.toml"), three).expect("written");
    let (code, words) = ends(&["up", "--data", text(place.path())]).await;
    assert_eq!(code, Some(78), "{words}");
    for part in ["it-moi: given twice", "de-bpol: country must be", "fr-dnpaf: a post is given twice"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words.lines().count() >= 3, "{words}");
    assert!(!place.path().join("keys").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_were_changed_are_refused_by_name_and_setting() {
    let mut exchange = Exchange::small("").await;
    let admin = exchange.admin().await;
    let (mailbox, intake) = (stream("MBOX", "fr-dnpaf"), stream("IN", "it-moi"));
    let subs = "KV_SUBS".to_owned();
    for (name, setting, value) in [
        (&mailbox, "max_age", json!(3_600_000_000_000_u64)),
        (&intake, "allow_rollup_hdrs", json!(true)),
        (&intake, "allow_msg_ttl", json!(true)),
        (&intake, "duplicate_window", json!(120_000_000_000_u64)),
        (&subs, "max_age", json!(3_600_000_000_000_u64)),
    ] {
        let info = api(&admin, &format!("STREAM.INFO.{name}"), &json!({})).await;
        let mut config = info["config"].clone();
        config[setting] = value;
        let updated = api(&admin, &format!("STREAM.UPDATE.{name}"), &config).await;
        assert!(updated["error"].is_null(), "{updated}");
    }
    let info = api(&admin, &format!("CONSUMER.INFO.{mailbox}.main"), &json!({})).await;
    let mut config = info["config"].clone();
    config["max_deliver"] = 5.into();
    let asked = json!({ "stream_name": mailbox, "config": config, "action": "update" });
    let updated = api(&admin, &format!("CONSUMER.DURABLE.CREATE.{mailbox}.main"), &asked).await;
    assert!(updated["error"].is_null(), "{updated}");
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let (code, words) = ends(&["up", "--data", text(&exchange.data)]).await;
    assert_eq!(code, Some(78), "{words}");
    let found = said(&words).join("\n");
    for line in [
        format!("{mailbox}: max_age is 3600s, must be 0ns"),
        format!("{mailbox}/main: max_deliver is 5, must be -1"),
        format!("{intake}: allow_rollup_hdrs is true, must be false"),
        format!("{intake}: allow_msg_ttl is true, must be false"),
        format!("{intake}: duplicate_window is 120s, must be 100ms"),
        format!("{subs}: max_age is 3600s, must be 0ns"),
    ] {
        assert_eq!(words.matches(&line).count(), 1, "{line}: {words}");
        assert!(found.contains(&line) || words.lines().any(|all| all.trim_end() == line), "{line}: {words}");
    }
}

/// A nats-server of another version, as far as a client sees before it asks for anything.
async fn server_that_says(version: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer_pings(socket, version));
        }
    });
    format!("nats://{address}")
}

async fn answer_pings(socket: tokio::net::TcpStream, version: &str) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
    let info = json!({
        "server_id": "OLD", "server_name": "old", "version": version, "go": "go1", "host": "127.0.0.1", "port": 4222,
        "headers": true, "auth_required": true, "nonce": "abcdefghijklmnop", "max_payload": 1_048_576, "proto": 1,
    });
    let (read, mut write) = socket.into_split();
    drop(write.write_all(format!("INFO {info}\r\n").as_bytes()).await);
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("PING") {
            drop(write.write_all(b"PONG\r\n").await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_that_is_too_old_is_refused_in_one_line() {
    for version in ["2.9.10", "2.12.6", "2.13.0"] {
        let url = server_that_says(version).await;
        let place = prepared(&format!("[nats]\nurl = \"{url}\"\n"));
        std::fs::create_dir(place.path().join("nats")).expect("a directory");
        write_nats_config(place.path());
        let config = place.path().join("liaison.toml");
        let (code, words) = ends(&["serve", "--config", text(&config)]).await;
        assert_eq!(code, Some(78), "{version}: {words}");
        let lines = said(&words);
        assert_eq!(lines.len(), 1, "{words}");
        assert!(lines[0].contains(version) && lines[0].contains("2.12.7"), "{words}");
    }
}

/// Every secret there is, one after the other: keys of the broker and of parties, of messages and of checkpoints, and the
/// root key. One line names the file; nothing is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_secret_that_others_may_read_is_refused_in_one_line() {
    let mut exchange = Exchange::small("").await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let mut secrets: Vec<PathBuf> = std::fs::read_dir(exchange.data.join("keys/broker"))
        .expect("keys")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("checkpoint.pub"))
        .collect();
    assert!(secrets.len() >= 6, "{secrets:?}");
    secrets.push(exchange.key("it-moi", "tn-01"));
    secrets.push(exchange.data.join("archive/keys/messages.liak"));
    secrets.push(exchange.data.with_extension("root-key"));
    for secret in secrets {
        for mode in [0o644, 0o640, 0o660] {
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("chmod");
            let (code, words) = ends(&["up", "--data", text(&exchange.data)]).await;
            let lines = said(&words);
            let name = secret.file_name().expect("a name").to_str().expect("UTF-8");
            assert!(matches!(code, Some(74 | 77 | 78)), "{name} {mode:o}: {code:?} {words}");
            assert_eq!(lines.len(), 1, "{name} {mode:o}: {words}");
            assert!(lines[0].contains(name) && lines[0].contains("others may read it"), "{mode:o}: {words}");
        }
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    exchange.again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_or_missing_nats_server_is_refused() {
    let place = prepared("");
    let program = place.path().join("old-nats-server");
    std::fs::write(&program, "#!/bin/sh\necho nats-server: v2.9.10\n").expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let (code, words) = ends(&["up", "--data", text(place.path()), "--nats-server", text(&program)]).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("is 2.9.10") && words.contains("2.12.7"), "{words}");
    let (code, words) =
        ends(&["up", "--data", text(place.path()), "--nats-server", "/nowhere/nats-server"]).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("/nowhere/nats-server does not run"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_others_may_read_is_refused() {
    let mut exchange = Exchange::apart("").await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let key = exchange.key("broker", "egress");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let config = exchange.data.join("liaison.toml");
    for args in [vec!["serve", "--config", text(&config)], vec!["up", "--data", text(&exchange.data)]] {
        let (code, words) = ends(&args).await;
        assert_eq!(code, Some(77), "{args:?}: {words}");
        assert!(words.contains("egress.nk: others may read it"), "{words}");
    }
    let (code, words) = ends(&["check", "--config", text(&config)]).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("egress.nk: others may read it"), "{words}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    exchange.again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_finds_nothing_where_nothing_is_wrong() {
    for exchange in [Exchange::apart("").await, Exchange::small("").await] {
        let config = exchange.data.join("liaison.toml");
        let checked = exchange.run(&["check", "--config", text(&config)]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert!(checked.stdout.is_empty());
        let words = String::from_utf8_lossy(&checked.stderr);
        assert!(words.contains("archive, NATS: no fault found"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_all_faults_at_once() {
    let place = prepared(
        "[nats]\nurl = \"nats://127.0.0.1:9\"\n[schemas]\ndirectory = \"types\"\n[policy]\nceiling = \"SECRET-ISH\"\n",
    );
    std::fs::create_dir_all(place.path().join("types")).expect("a directory");
    std::fs::write(place.path().join("types/bad.json"), "[]").expect("written");
    std::fs::create_dir_all(place.path().join("archive/journal")).expect("a directory");
    let segment = place.path().join("archive/journal/seg-00000000000000000001.liaj");
    std::fs::create_dir(&segment).expect("a directory where a file must be");
    let registry = few_parties().replace("id = \"gr-hp\"", "id = \"it-moi\"");
    std::fs::write(place.path().join("network.toml"), registry).expect("written");
    let config = place.path().join("liaison.toml");
    let (code, words) = ends(&["check", "--config", text(&config)]).await;
    assert_eq!(code, Some(78), "{words}");
    for part in ["it-moi", "bad.json", "policy.ceiling", "archive: ", "(admin)"] {
        assert!(words.contains(part), "{part} is missing in: {words}");
    }
    assert!(said(&words).len() >= 5, "a line a fault: {words}");
    let (code, words) = ends(&["check", "--no-environment", "--config", text(&config)]).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(!words.contains("(admin)"), "{words}");
    std::fs::write(&config, "[planes]\ncases = true\n[http]\nlisten = 1\n[nats]\nreplicas = 2\n")
        .expect("written");
    let (code, words) = ends(&["check", "--no-environment", "--config", text(&config)]).await;
    assert_eq!(code, Some(78), "{words}");
    for part in ["cases", "line 4, column 10", "nats.replicas is 2", "it-moi", "archive: "] {
        assert!(words.contains(part), "{part} is missing in: {words}");
    }
    std::fs::write(&config, "[nats]\nurl = true\n").expect("written");
    let (code, words) = ends(&["check", "--config", text(&config)]).await;
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("NATS was not asked") && !words.contains("(admin)"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_goes_before_the_file_and_the_file_before_a_default() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let exchange = Exchange::with(&["--enable-case-plane=false"], |data| {
        let config = format!("[http]\nlisten = \"{free}\"\n[planes]\ncase = true\n");
        std::fs::write(data.join("liaison.toml"), config).expect("a configuration");
    })
    .await;
    assert_eq!(exchange.http, format!("http://{free}"), "the file goes before the default");
    let case = shifted(example("valid/07-case-identity-request.json")["message"].clone());
    let file = exchange.data.join("case.json");
    std::fs::write(&file, case.to_string()).expect("written");
    let party = case["originator"].as_str().expect("an originator");
    let published = exchange.run(&["publish", "--as", party, text(&file)]);
    assert_eq!(published.status.code(), Some(65), "{published:?}");
    let receipt: serde_json::Value = serde_json::from_slice(&published.stdout).expect("a receipt");
    assert_eq!(receipt["data"]["code"], "E-PLANE", "the flag goes before the file: {receipt}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_cannot_be_read_is_an_io_fault() {
    let place = prepared("");
    std::fs::write(place.path().join("archive"), "a file where a directory must be").expect("written");
    let (code, words) = ends(&["up", "--data", text(place.path())]).await;
    assert_eq!(code, Some(74), "{words}");
    assert!(said(&words)[0].contains("archive"), "{words}");
    assert!(!place.path().join("endpoints.json").exists());
}

/// A first start that was cut short while it wrote its files is made good by the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_first_start_left_is_no_obstacle() {
    let place = prepared("");
    let keys = place.path().join("keys/broker");
    std::fs::create_dir_all(&keys).expect("a directory");
    std::fs::write(keys.join("admin.new"), "SUA").expect("half a key");
    std::fs::set_permissions(keys.join("admin.new"), std::fs::Permissions::from_mode(0o600)).expect("chmod");
    for name in ["endpoints.json.new", "network.toml.new", "liaison.toml.new", "endpoints.json"] {
        std::fs::write(place.path().join(name), "{").expect("half a file");
    }
    let exchange = Exchange::at(place.path(), &[]).await;
    let (status, words) = exchange.get("/readyz").await;
    assert_eq!(status, 200, "{words}");
}

/// Killed at many moments of its very first start, it always comes up whole at the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_may_be_killed_at_any_moment() {
    let mut dice = Dice::new("first starts");
    for _ in 0..setting("LIAISON_KILLS", 8) {
        let place = folder();
        let mut command = liaison();
        command.args(["up", "--data", text(place.path())]).stderr(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().expect("starts");
        // The moment of the kill is what is thrown.
        tokio::time::sleep(Duration::from_millis(dice.below(120))).await;
        child.kill().expect("kills");
        child.wait().expect("waits");
        let (code, words) =
            ends(&["check", "--no-environment", "--config", text(&place.path().join("liaison.toml"))]).await;
        let begun = place.path().join("liaison.toml").exists();
        assert!(!begun || code == Some(0), "{words}");
        if begun {
            let registry = std::fs::read_to_string(place.path().join("network.toml")).expect("written first");
            assert!(registry.matches("[[party]]").count() > 50, "a whole registry");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_root_key_of_its_archive_nothing_starts() {
    let mut exchange = Exchange::small("").await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let key = exchange.data.with_extension("root-key");
    let whole = std::fs::read_to_string(&key).expect("beside the data directory");
    let refused = |words: &str| {
        let up = exchange.run(&["up"]);
        let said = String::from_utf8_lossy(&up.stderr).into_owned();
        assert_eq!((up.status.code(), said.contains(words)), (Some(78), true), "{said}");
        let config = exchange.data.join("liaison.toml");
        let check = exchange.run(&["check", "--no-environment", "--config", &config.display().to_string()]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!((check.status.code(), said.contains(words)), (Some(78), true), "{said}");
    };
    std::fs::write(&key, "5a".repeat(32)).expect("writes");
    refused("belongs to another root key");
    std::fs::remove_file(&key).expect("removes");
    refused("restore it");
    std::fs::write(&key, &whole).expect("writes");
    refused("others may read it");
    assert!(!whole.trim().is_empty());
}
