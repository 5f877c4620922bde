//! TLS between everybody and nats-server, as `liaison up --tls` and `liaison nats-config --tls` set it up: the whole way goes over it,
//! nobody comes in without a certificate, and nobody of ours talks to a stranger.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use async_nats::{ConnectOptions, Event};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::harness::*;

/// Goes as far as the handshake with nats-server, in at most this version; prints the digest of the server's certificate.
const HANDSHAKE: &str = "
import hashlib, socket, ssl, sys
host, port, version, ca, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
context.maximum_version = ssl.TLSVersion[version]
plain = socket.create_connection((host, int(port)), 20)
plain.settimeout(20)
assert plain.recv(4096).startswith(b'INFO')
try:
    line = context.wrap_socket(plain, server_hostname=host)
except ssl.SSLError as error:
    sys.exit('refused: %s' % error.reason)
print(line.version(), hashlib.sha256(line.getpeercert(True)).hexdigest())
";

async fn small() -> Exchange {
    let prepare = |data: &Path| {
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        std::fs::write(data.join("liaison.toml"), super::doctor::LITTLE_RESERVE).expect("a configuration");
    };
    Exchange::with(&["--tls"], prepare).await
}

fn address(exchange: &Exchange) -> String {
    exchange.nats.strip_prefix("tls://").expect("an address that asks for TLS").to_owned()
}

/// Version and digest of the server's certificate, or why there was no handshake.
fn handshake(exchange: &Exchange, version: &str) -> Result<String, String> {
    let address = address(exchange);
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let keys = exchange.data.join("keys");
    let mut command = Command::new("python3");
    command.args(["-c", HANDSHAKE, host, port, version]).arg(keys.join("tls/ca.crt"));
    let output = command.args([keys.join("it-moi/tls.crt"), keys.join("it-moi/tls.key")]).output();
    let Output { status, stdout, stderr } = output.expect("python3 runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8").trim().to_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

/// How any client connects as the system user of it-moi, with this authority and these certificates.
fn options(exchange: &Exchange, ca: &Path, own: Option<(&Path, &Path)>) -> ConnectOptions {
    let seed = std::fs::read_to_string(exchange.key("it-moi", "system")).expect("a key");
    let options = ConnectOptions::with_nkey(seed.trim().to_owned())
        .custom_inbox_prefix("_INBOX_it-moi-system")
        .require_tls(true)
        .add_root_certificates(ca.to_owned());
    match own {
        Some((certificate, key)) => options.add_client_certificate(certificate.to_owned(), key.to_owned()),
        None => options,
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A certificate that certifies itself, valid until this year, and its key.
fn stranger(place: &Path, name: &str, until: i32) -> (PathBuf, PathBuf) {
    let pair = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let made = params.self_signed(&pair).expect("signs");
    let (certificate, key) = (place.join(format!("{name}.crt")), place.join(format!("{name}.key")));
    std::fs::write(&certificate, pem("CERTIFICATE", made.der())).expect("written");
    std::fs::write(&key, pem("PRIVATE KEY", pair.serialized_der())).expect("written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    (certificate, key)
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A report in a file; its path and id.
fn message(exchange: &Exchange) -> (String, Value) {
    let message = report();
    let file = exchange.data.join("message.json");
    std::fs::write(&file, message.to_string()).expect("written");
    (text(&file), message["id"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_goes_over_tls() {
    let exchange = small().await;
    let (file, id) = message(&exchange);
    let published = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &file]);
    assert_eq!(said(&published).0, Some(0), "{published:?}");
    let receipt: Value = serde_json::from_slice(&published.stdout).expect("a receipt");
    assert_eq!((&receipt["data"]["outcome"], &receipt["data"]["target"]["id"]), (&json!("accepted"), &id));
    for command in [
        &["subscribe", "--as", "fr-dnpaf", "--count", "1", "--timeout", "30s"] as &[&str],
        &["replay", "--as", "fr-dnpaf"],
    ] {
        let read = exchange.run(command);
        assert_eq!(said(&read).0, Some(0), "{read:?}");
        let line = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(line.contains(id.as_str().expect("an id")), "{command:?}: {line}");
    }
    // Nor is anything of ours needed for it.
    if let Some(mut python) = super::foreign::python() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        python.arg(root.join("examples/publish.py")).args(["it-moi", "tn-01"]);
        python.arg(root.join("examples/flow-observation.json")).env("DATA", &exchange.data);
        let published = python.output().expect("runs");
        assert!(String::from_utf8_lossy(&published.stdout).contains("accepted"), "{published:?}");
    }
    let config = text(&exchange.data.join("liaison.toml"));
    let checked = exchange.run(&["check", "--config", &config]);
    assert_eq!(said(&checked).0, Some(0), "{checked:?}");
    let looked = exchange.run(&["doctor"]);
    assert_eq!(said(&looked).0, Some(0), "{looked:?}");
    // What is told of an open line is told of none: everything that is connected is so by TLS 1.3.
    assert!(handshake(&exchange, "TLSv1_3").is_ok_and(|told| told.starts_with("TLSv1.3 ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_without_a_certificate_of_our_authority() {
    let exchange = small().await;
    let keys = exchange.data.join("keys");
    let (ca, own) = (keys.join("tls/ca.crt"), (keys.join("it-moi/tls.crt"), keys.join("it-moi/tls.key")));
    let (foreign, foreign_key) = stranger(&exchange.data, "stranger", 2099);
    let good = options(&exchange, &ca, Some((&own.0, &own.1)));
    good.connect(&exchange.nats).await.expect("who has everything is let in");
    // The key of it-moi opens nothing without a certificate, or with one of another authority.
    for own in [None, Some((foreign.as_path(), foreign_key.as_path()))] {
        let let_in = options(&exchange, &ca, own).connect(&exchange.nats).await;
        assert!(let_in.is_err(), "{own:?} was let in");
    }
    let old = handshake(&exchange, "TLSv1_2").expect_err("TLS 1.2");
    assert!(old.starts_with("refused: ") && old.contains("VERSION"), "{old}");

    let mut plain =
        BufReader::new(tokio::net::TcpStream::connect(address(&exchange)).await.expect("connects"));
    let mut line = String::new();
    plain.read_line(&mut line).await.expect("INFO");
    let info: Value = serde_json::from_str(line.trim_start_matches("INFO ").trim()).expect("JSON");
    assert_eq!((&info["tls_required"], &info["tls_verify"]), (&json!(true), &json!(true)), "{info}");
    let seed = std::fs::read_to_string(exchange.key("it-moi", "system")).expect("a key");
    let pair = nkeys::KeyPair::from_seed(seed.trim()).expect("a seed");
    let signature = pair.sign(info["nonce"].as_str().expect("a nonce").as_bytes()).expect("signs");
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
    let connect = json!({ "verbose": false, "nkey": pair.public_key(), "sig": signature });
    plain.write_all(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, plain.read_until(b'\n', &mut answer)).await.expect("an end");
    assert!(read.is_err() || !answer.starts_with(b"PONG"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_itself_is_told_in_one_line() {
    let exchange = small().await;
    let (file, _) = message(&exchange);
    let (foreign, foreign_key) = stranger(&exchange.data, "stranger", 2099);
    let (expired, expired_key) = stranger(&exchange.data, "expired", 2020);
    let (foreign, foreign_key) = (text(&foreign), text(&foreign_key));
    let (expired, expired_key) = (text(&expired), text(&expired_key));
    let own_key = text(&exchange.data.join("keys/it-moi/tls.key"));
    let open = exchange.data.join("open.key");
    std::fs::copy(&own_key, &open).expect("copied");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let (open, plain) = (text(&open), format!("nats://{}", address(&exchange)));
    let cases: [(&[&str], i32, &str); 8] = [
        // A server that another authority certified is not spoken to.
        (&["--tls-ca", &foreign], 69, "another authority"),
        (&["--nats", &plain], 69, "wants TLS"),
        (&["--tls-cert", &foreign, "--tls-key", &foreign_key], 77, "does not take the certificate"),
        (&["--tls-cert", &expired, "--tls-key", &expired_key], 77, "expired.crt: has run out on 2020-01-01"),
        (&["--tls-key", &foreign_key], 77, "stranger.key: is not the key of"),
        (&["--tls-key", &open], 77, "open.key: others may read it"),
        (&["--tls-cert", "/nowhere/tls.crt"], 77, "/nowhere/tls.crt: No such file"),
        (&["--tls-ca", &own_key], 77, "tls.key: holds"),
    ];
    for (flags, code, words) in cases {
        let output =
            exchange.run(&[&["publish", "--as", "it-moi", "--post", "tn-01", &file], flags].concat());
        let (ended, told) = said(&output);
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("liaison: ")).collect();
        // Its refusal may come too late to be read: then the line is just closed, and that is told with the same words.
        let late = ended == Some(69) && lines[0].contains("perhaps it does not take");
        assert!((ended == Some(code) || late) && lines.len() == 1, "{flags:?}: {told}");
        assert!(lines[0].contains(words), "{flags:?}: {told}");
        assert!(!told.contains("PRIVATE"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_bad_file_for_tls_is_refused_in_one_line() {
    let mut exchange = small().await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let keys = exchange.data.join("keys");
    let refused = async |file: &Path, words: &str| {
        let (code, told) = ends(&["up", "--tls", "--data", &text(&exchange.data)]).await;
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("liaison: ")).collect();
        assert_eq!((code, lines.len()), (Some(77), 1), "{}: {told}", file.display());
        assert!(lines[0].contains(&format!("{}: {words}", text(file))), "{told}");
    };
    for secret in ["tls/ca.key", "tls/server.key", "broker/tls.key", "it-moi/tls.key"] {
        let secret = keys.join(secret);
        for mode in [0o644, 0o640, 0o660] {
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("chmod");
            refused(&secret, "others may read it").await;
        }
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    let (expired, key) = stranger(&exchange.data, "expired", 2020);
    for (owner, place) in [("broker", "broker/tls"), ("the server", "tls/server")] {
        let (own, own_key) = (keys.join(format!("{place}.crt")), keys.join(format!("{place}.key")));
        let kept = [&own, &own_key].map(|file| std::fs::read(file).expect("there"));
        std::fs::copy(&expired, &own).expect("copied");
        refused(&own_key, "is not the key of").await;
        std::fs::copy(&key, &own_key).expect("copied");
        refused(&own, "has run out on 2020-01-01").await;
        assert_eq!(std::fs::read(&own).expect("there"), std::fs::read(&expired).expect("there"), "{owner}");
        for (file, bytes) in [&own, &own_key].into_iter().zip(kept) {
            std::fs::write(file, bytes).expect("put back");
        }
    }
    exchange.again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_without_cutting_anybody_off() {
    let exchange = small().await;
    let keys = exchange.data.join("keys");
    let (ca, own) = (keys.join("tls/ca.crt"), (keys.join("it-moi/tls.crt"), keys.join("it-moi/tls.key")));
    let (cut, mut heard) = tokio::sync::mpsc::channel(8);
    let client = options(&exchange, &ca, Some((&own.0, &own.1))).event_callback(move |event| {
        let cut = cut.clone();
        async move {
            if matches!(event, Event::Disconnected) {
                cut.try_send(()).expect("few losses");
            }
        }
    });
    let client = client.connect(&exchange.nats).await.expect("connects");
    let publish = async || {
        let mut message = report();
        message["source"] = "/authority/it-moi".into();
        let subject = "ilo.in.it-moi.system.net.flow.observation.tn";
        exchange.publish(&client, subject, message.to_string().into_bytes()).await["data"]["outcome"].clone()
    };
    assert_eq!(publish().await, "accepted");
    let before = handshake(&exchange, "TLSv1_3").expect("a handshake");
    for file in ["tls/server.crt", "tls/server.key", "broker/tls.crt", "broker/tls.key"] {
        std::fs::remove_file(keys.join(file)).expect("removed");
    }
    assert!(exchange.reload().await, "{}", exchange.log());
    let after = handshake(&exchange, "TLSv1_3").expect("a handshake");
    assert_ne!(before, after, "new lines get the new certificate");
    assert_eq!(publish().await, "accepted");
    assert!(heard.try_recv().is_err(), "the open line was cut");
    // Whoever is cut off comes back by TLS, the broker with its new certificate.
    signal(exchange.nats_pid().expect("a nats-server"), "KILL");
    until("the loss of the line", async || heard.try_recv().ok()).await;
    let (file, _) = message(&exchange);
    // Not by `/readyz`: it may not have heard of the loss yet.
    until("the way back", async || {
        let published = exchange.run(&["publish", "--as", "it-moi", "--post", "tn-01", &file]);
        (said(&published).0 == Some(0)).then_some(())
    })
    .await;
}

#[test]
fn the_configuration_names_the_files_and_makes_what_is_missing_once() {
    let place = folder();
    let registry = place.path().join("network.toml");
    std::fs::write(&registry, few_parties()).expect("a registry");
    let keys = place.path().join("keys");
    let write = |flags: &[&str]| {
        let mut command = liaison();
        command.args(["nats-config", "--registry"]).arg(&registry).arg("--keys").arg(&keys).args(flags);
        command.output().expect("runs")
    };
    assert_eq!(said(&write(&["--tls", "--listen", "0.0.0.0:4222"])).0, Some(2), "nobody knows its name");
    let own =
        ["--tls-server-cert", "/c/a.crt", "--tls-server-key", "/c/a.key", "--tls-client-ca", "/c/ca.crt"];
    let named = write(&[&["--tls"], &own as &[&str]].concat());
    let config = String::from_utf8(named.stdout).expect("UTF-8");
    for line in ["\"/c/a.crt\"", "\"/c/a.key\"", "\"/c/ca.crt\"", "verify: true", "min_version: \"1.3\""] {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert!(!keys.join("tls").exists(), "nothing is made beside files of the operator's own");

    let flags = ["--tls", "--listen", "0.0.0.0:4222", "--tls-host", "nats.example.org"];
    let first = write(&flags);
    assert_eq!(said(&first).0, Some(0), "{first:?}");
    let file = place.path().join("nats.conf");
    std::fs::write(&file, &first.stdout).expect("written");
    let program = word("LIAISON_NATS_SERVER").unwrap_or_else(|| "target/tools/nats-server".to_owned());
    let checked = Command::new(program).args(["-t", "-c"]).arg(&file).output().expect("runs");
    assert!(checked.status.success(), "{checked:?}");
    let made = |name: &str| std::fs::read(keys.join(name)).expect("was made");
    let names = ["tls/ca.crt", "tls/ca.key", "tls/server.crt", "broker/tls.key", "it-moi/tls.crt"];
    let before = names.map(made);
    assert_eq!(write(&flags).stdout, first.stdout);
    assert_eq!(names.map(made), before, "what is there is not written over");
    for (name, mode) in
        [("tls/ca.key", 0o600), ("tls/server.key", 0o600), ("it-moi/tls.key", 0o600), ("tls", 0o700)]
    {
        let found = std::fs::metadata(keys.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    // Another name needs another certificate, and the operator is told.
    let (code, told) = said(&write(&["--tls", "--tls-host", "other.example.org"]));
    assert!(code == Some(77) && told.contains("server.crt: is not for other.example.org"), "{code:?} {told}");
    // Without the authority's key nothing can be made, and what is there is enough.
    std::fs::remove_file(keys.join("tls/ca.key")).expect("kept elsewhere");
    assert_eq!(said(&write(&flags)).0, Some(0));
    for file in ["it-moi/tls.crt", "it-moi/tls.key"] {
        std::fs::remove_file(keys.join(file)).expect("removed");
    }
    let (code, told) = said(&write(&flags));
    assert!(code == Some(77) && told.contains("it-moi/tls.crt: is missing"), "{code:?} {told}");
}
