//! `liaison keys`: a key is replaced and refused while everybody else stays connected and nothing is lost; what was refused never
//! comes back; no secret is told or open to others.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::auditor::{Attempt, Books, audit, oracle};
use super::harness::{Exchange, PATIENCE, few_parties, folder, liaison, text, until, write_nats_config};
use super::load::message;

const AUDIENCE: &str = "fr-dnpaf,gr-hp";

/// Publishes and waits for the receipt, which must say accepted. While nats-server takes a new configuration it answers *no
/// responders* for some milliseconds: then the same bytes are sent again, as the contract asks. How often that was.
async fn send(client: &Client, party: &'static str, post: &str, books: &mut Books) -> usize {
    let message = message(party, post, AUDIENCE, true);
    let id = message["id"].as_str().expect("an id").to_owned();
    let bytes = message.to_string().into_bytes();
    let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
    let call = format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{party}.{post}.{id}");
    let (mut queued, mut turned_away, end) = (false, 0, Instant::now() + PATIENCE);
    let receipt = loop {
        assert!(Instant::now() < end, "no receipt for {id}");
        let (to, what) = if queued { (&call, Vec::new()) } else { (&subject, bytes.clone()) };
        match client.request(to.clone(), what.into()).await {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => turned_away += 1,
            answer if !queued => {
                let answer = answer.expect("a PubAck").payload;
                queued = serde_json::from_slice::<Value>(&answer).expect("JSON")["seq"].is_u64();
                assert!(queued, "{answer:?}");
            }
            answer => match serde_json::from_slice::<Value>(&answer.expect("an answer").payload) {
                Ok(receipt) => break receipt,
                Err(_) => tokio::time::sleep(Duration::from_millis(3)).await,
            },
        }
    };
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    books.attempts.insert(id.clone(), Attempt { bytes, valid: true, recipients: oracle(AUDIENCE, party) });
    books.receipts.insert(id, receipt);
    turned_away
}

/// Somebody who has nothing to do with it and publishes all the time.
struct Bystander {
    stop: CancellationToken,
    client: Client,
    work: JoinHandle<Books>,
}

impl Bystander {
    async fn begin(exchange: &Exchange) -> Self {
        let (client, stop) = (exchange.connect("de-bpol", "tr-03").await, CancellationToken::new());
        let (publisher, until) = (client.clone(), stop.clone());
        let work = tokio::spawn(async move {
            let (mut books, mut turned_away) = (Books::default(), 0);
            while !until.is_cancelled() {
                turned_away += send(&publisher, "de-bpol", "tr-03", &mut books).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            println!("{} publications, {turned_away} requests sent again", books.attempts.len());
            books
        });
        Self { stop, client, work }
    }

    /// What was published; the connection must be the first one still.
    async fn end(self) -> Books {
        self.stop.cancel();
        let books = self.work.await.expect("each publication was queued and receipted");
        never_broke(&self.client);
        books
    }
}

fn never_broke(client: &Client) {
    assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1, "the connection never broke");
    assert_eq!(client.connection_state(), State::Connected);
}

/// A connection that tries to come back at once, and for ever.
async fn stubborn(exchange: &Exchange, party: &str, post: &str) -> (Client, String) {
    let seed = std::fs::read_to_string(exchange.key(party, post)).expect("a key file").trim().to_owned();
    let options = ConnectOptions::with_nkey(seed.clone())
        .custom_inbox_prefix(format!("_INBOX_{party}-{post}"))
        .reconnect_delay_callback(|_| Duration::from_millis(20));
    (options.connect(&exchange.nats).await.expect("connects"), seed)
}

async fn is_cut_off(exchange: &Exchange, client: &Client, seed: &str) {
    until("the end of the connection", async || {
        (client.connection_state() != State::Connected).then_some(())
    })
    .await;
    let again = ConnectOptions::with_nkey(seed.to_owned()).connect(&exchange.nats).await;
    let error = again.expect_err("must not be let in").to_string();
    assert!(error.contains("authorization violation"), "{error}");
    assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1, "it never came back");
}

/// Runs `liaison keys` on this exchange's data: exit code, lines of stdout, words. No secret may be in either.
fn keys(exchange: &Exchange, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    told(&exchange.run(&[&["keys"], args].concat()))
}

fn told(output: &std::process::Output) -> (Option<i32>, Vec<Value>, String) {
    let (data, words) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for said in [&data, &words] {
        let mut all = said.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(!all.any(|word| word.len() == 58 && word.starts_with("SU")), "a seed: {said}");
    }
    let lines = data.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output.status.code(), lines, words.into_owned())
}

/// Whose keys the server's configuration has, as the public halves.
fn server_has(data: &Path, public: &Value) -> bool {
    let text = std::fs::read_to_string(data.join("nats/nats-server.conf")).expect("a configuration");
    text.contains(public.as_str().expect("a public key"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_gets_another_key_and_nobody_else_notices() {
    let mut exchange = Exchange::small("").await;
    let mut books = Books::default();
    let bystander = Bystander::begin(&exchange).await;
    let (old, old_seed) = stubborn(&exchange, "it-moi", "tn-01").await;
    send(&old, "it-moi", "tn-01", &mut books).await;

    let (code, lines, words) = keys(&exchange, &["rotate", "it-moi", "--post", "tn-01"]);
    assert_eq!((code, lines.len()), (Some(0), 1), "{words}");
    assert!(words.contains("liaison keys revoke it-moi --post tn-01 --old"), "{words}");
    let doctor = exchange.run(&["doctor", "--json"]);
    assert!(
        String::from_utf8_lossy(&doctor.stdout).contains("two keys of it-moi tn-01 are let in"),
        "{doctor:?}"
    );
    let (new, new_seed) = stubborn(&exchange, "it-moi", "tn-01").await;
    assert_ne!(old_seed, new_seed, "the file has the new key");
    send(&new, "it-moi", "tn-01", &mut books).await;
    send(&old, "it-moi", "tn-01", &mut books).await;
    never_broke(&old);
    let (code, _, words) = keys(&exchange, &["rotate", "it-moi", "--post", "tn-01"]);
    assert!(code == Some(65) && words.contains("two keys"), "{words}");

    let (code, ended, words) = keys(&exchange, &["revoke", "it-moi", "--post", "tn-01", "--old"]);
    assert_eq!((code, ended.len()), (Some(0), 1), "{words}");
    assert!(ended[0]["until"].is_string() && ended[0]["let_in"] == false, "{ended:?}");
    is_cut_off(&exchange, &old, &old_seed).await;
    send(&new, "it-moi", "tn-01", &mut books).await;
    never_broke(&new);
    let others = bystander.end().await;
    assert!(others.attempts.len() > 20, "{} is no trickle", others.attempts.len());
    books.attempts.extend(others.attempts);
    books.receipts.extend(others.receipts);

    // It stays so: after a restart, and in a configuration that is written anew.
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    exchange.again().await;
    assert!(server_has(&exchange.data, &lines[0]["public_key"]));
    assert!(!server_has(&exchange.data, &ended[0]["public_key"]), "the old one came back");
    let (new, _) = stubborn(&exchange, "it-moi", "tn-01").await;
    send(&new, "it-moi", "tn-01", &mut books).await;
    audit(&exchange, &books).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_whose_machine_was_stolen_is_refused_and_comes_back() {
    let exchange = Exchange::small("").await;
    let mut books = Books::default();
    let bystander = Bystander::begin(&exchange).await;
    let mut stolen = Vec::new();
    for user in ["system", "tn-01"] {
        stolen.push(stubborn(&exchange, "it-moi", user).await);
    }
    let (code, ended, words) = keys(&exchange, &["revoke", "it-moi", "--all"]);
    assert!(code == Some(0) && ended.len() >= 2, "{ended:?} {words}");
    assert!(ended.iter().all(|key| key["revoked"].is_string()), "{ended:?}");
    for (client, seed) in &stolen {
        is_cut_off(&exchange, client, seed).await;
    }
    assert!(!exchange.key("it-moi", "tn-01").exists(), "a seed that opens nothing is no use here");
    // No reload, whatever it is for, gives it a key.
    assert!(exchange.reload().await);
    assert!(!exchange.key("it-moi", "tn-01").exists());
    let (_, listed, _) = keys(&exchange, &["list", "it-moi", "--json"]);
    assert!(listed.len() == ended.len() && listed.iter().all(|key| key["let_in"] == false), "{listed:?}");

    // A key that was made at home: its secret half is never here.
    let home = nkeys::KeyPair::new_user();
    let public = home.public_key();
    let (code, made, words) = keys(&exchange, &["new", "it-moi", "--post", "tn-01", "--public-key", &public]);
    assert_eq!((code, made[0]["seed"].is_null()), (Some(0), true), "{words}");
    let options = ConnectOptions::with_nkey(home.seed().expect("a seed"));
    let options = options.custom_inbox_prefix("_INBOX_it-moi-tn-01");
    let client = options.connect(&exchange.nats).await.expect("is let in");
    send(&client, "it-moi", "tn-01", &mut books).await;
    let (code, made, words) = keys(&exchange, &["new", "it-moi", "--all"]);
    assert_eq!((code, made.len()), (Some(0), ended.len() - 1), "{words}");
    assert!(words.contains("left as it is: it-moi tn-01 has a key since"), "{words}");
    for (client, seed) in &stolen {
        is_cut_off(&exchange, client, seed).await;
    }
    never_broke(&client);
    let others = bystander.end().await;
    books.attempts.extend(others.attempts);
    books.receipts.extend(others.receipts);
    audit(&exchange, &books).await;
}

/// A broker that starts has read the list of keys long before anybody can tell it that the list was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_while_the_broker_starts_is_refused_all_the_same() {
    let mut exchange = Exchange::small("").await;
    let (_, seed) = stubborn(&exchange, "it-moi", "tn-01").await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    // Written from the list, before nats-server is started.
    let from_the_list = exchange.data.join("nats/nats-server.conf");
    std::fs::remove_file(&from_the_list).expect("was there");
    let data = exchange.data.clone();
    let revoking = tokio::task::spawn_blocking(move || {
        let end = Instant::now() + PATIENCE;
        while !from_the_list.exists() {
            assert!(Instant::now() < end, "the broker does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut command = liaison();
        command.args(["keys", "revoke", "it-moi", "--post", "tn-01"]).env("LIAISON_DATA", &data);
        command.output().expect("runs")
    });
    exchange.again().await;
    let (code, ended, words) = told(&revoking.await.expect("no panic"));
    assert_eq!((code, ended.len()), (Some(0), 1), "{words}");
    assert!(words.contains("nats-server has it: done"), "{words}");
    let error = ConnectOptions::with_nkey(seed).connect(&exchange.nats).await.expect_err("is refused");
    assert!(error.to_string().contains("authorization violation"), "{error}");
}

/// Beside a nats-server of the operator's own the command says what is left to do, and that is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_ones_own_follows_when_it_is_reloaded() {
    let exchange = Exchange::apart("").await;
    let mut books = Books::default();
    let bystander = Bystander::begin(&exchange).await;
    let (old, old_seed) = stubborn(&exchange, "it-moi", "tn-01").await;
    let (place, registry) = (text(&exchange.data.join("keys")), text(&exchange.data.join("network.toml")));
    let args =
        ["rotate", "it-moi", "--post", "tn-01", "--revoke-old", "--keys", &place, "--registry", &registry];
    let (code, lines, words) = keys(&exchange, &args);
    assert_eq!((code, lines.len()), (Some(0), 2), "one refused, one made: {words}");
    for part in ["liaison nats-config", "systemctl reload nats-server"] {
        assert!(words.contains(part), "{words}");
    }
    send(&old, "it-moi", "tn-01", &mut books).await;
    exchange.reload_server().await;
    is_cut_off(&exchange, &old, &old_seed).await;
    let new = exchange.connect("it-moi", "tn-01").await;
    send(&new, "it-moi", "tn-01", &mut books).await;
    let others = bystander.end().await;
    books.attempts.extend(others.attempts);
    books.receipts.extend(others.receipts);
    audit(&exchange, &books).await;
}

/// If the files that a running `liaison up` reads are bad, nothing is changed and the line says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_registry_is_told_before_anything_is_changed() {
    let exchange = Exchange::small("").await;
    let before = std::fs::read(exchange.data.join("keys/keys.toml")).expect("a list");
    std::fs::write(exchange.data.join("network.toml"), "[[party]\n").expect("written");
    let (code, lines, words) = keys(&exchange, &["rotate", "it-moi", "--post", "tn-01"]);
    assert_eq!((code, lines.len()), (Some(78), 0), "{words}");
    assert!(words.contains("network.toml"), "{words}");
    assert_eq!(std::fs::read(exchange.data.join("keys/keys.toml")).expect("a list"), before);
    exchange.connect("it-moi", "tn-01").await;
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line_and_changes_nothing() {
    let place = folder();
    let data = place.path();
    std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
    std::fs::create_dir(data.join("nats")).expect("a directory");
    write_nats_config(data);
    let run = |args: &[&str]| {
        told(&liaison().arg("keys").args(args).env("LIAISON_DATA", data).output().expect("runs"))
    };
    let list = data.join("keys/keys.toml");
    let before = std::fs::read(&list).expect("a list");
    let seed_of = |user: &str| std::fs::read_to_string(data.join(format!("keys/{user}.nk"))).expect("a seed");
    let public_of =
        |user: &str| nkeys::KeyPair::from_seed(seed_of(user).trim()).expect("a seed").public_key();
    let (theirs, brokers) = (public_of("de-bpol/system"), public_of("broker/intake"));
    let secret = seed_of("de-bpol/system").trim().to_owned();
    for (args, words) in [
        (vec!["new", "it-moi"], "it-moi system has a key since"),
        (vec!["new", "xx-none"], "xx-none is not in the registry"),
        (vec!["rotate", "it-moi", "--post", "xx-99"], "it-moi has no such post"),
        (vec!["revoke", "it-moi", "--old"], "has no older key"),
        (vec!["revoke", "it-moi", "--public-key", &theirs], "has no such key"),
        (vec!["rotate", "it-moi", "--public-key", &theirs], "is that of de-bpol system"),
        (vec!["rotate", "it-moi", "--public-key", &brokers], "one of the broker's own"),
        (vec!["rotate", "it-moi", "--public-key", &secret], "not the public nkey of a user"),
    ] {
        let (code, lines, said) = run(&args);
        assert_eq!((code, lines.len(), said.lines().count()), (Some(65), 0, 1), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert_eq!(std::fs::read(&list).expect("a list"), before, "{args:?}");
    }
    let (code, lines, words) = run(&["rotate", "it-moi", "--all"]);
    assert!(code == Some(0) && words.contains("no `liaison up` runs"), "{words}");
    assert!(lines.iter().all(|key| key["seed"].is_string()), "{lines:?}");
    for file in lines.iter().filter_map(|key| key["seed"].as_str()).chain([list.to_str().expect("UTF-8")]) {
        let mode = std::fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    write_nats_config(data);
    assert!(lines.iter().all(|key| server_has(data, &key["public_key"])), "both are let in");
    let listed = liaison().args(["keys", "list", "it-moi"]).env("LIAISON_DATA", data).output().expect("runs");
    let table = String::from_utf8(listed.stdout).expect("UTF-8");
    assert_eq!(table.lines().count(), 1 + 2 * lines.len(), "{table}");
    std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o662)).expect("chmod");
    let (code, _, words) = run(&["list"]);
    assert!(code == Some(77) && words.contains("others may write it"), "{words}");
}
