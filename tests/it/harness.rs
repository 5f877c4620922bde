//! A whole exchange for a test: the real binary, a real nats-server on a free port, real files in a temp folder.
//!
//! It knows the broker only from outside: key files, subjects, HTTP. Nothing here calls into the crate's rooms.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use super::mail::*;

pub use super::processes::*;
pub use super::samples::*;

/// Exchanges that run at once. One starts three processes' worth of work; more of them on a small machine only make
/// every wait longer. A test must hold one at a time: two that each wait for a second one would wait for ever.
static ROOM: Semaphore = Semaphore::const_new(2);

/// A running broker: `liaison up`, or `liaison serve` beside a nats-server of its own.
pub struct Exchange {
    pub(super) child: Child,
    /// The nats-server, where it is not the broker's child.
    pub(super) server: Option<Child>,
    pub data: PathBuf,
    pub nats: String,
    pub http: String,
    args: Vec<String>,
    _folder: Option<tempfile::TempDir>,
    _room: SemaphorePermit<'static>,
}

impl Exchange {
    /// Starts one in a folder of its own, with the case plane on.
    pub async fn start() -> Self {
        Self::with(&["--enable-case-plane"], |_| {}).await
    }

    /// Starts one with few parties and this `liaison.toml`: it is ready sooner.
    pub async fn small(config: &str) -> Self {
        Self::with(&[], |data| {
            std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
            std::fs::write(data.join("liaison.toml"), config).expect("a configuration");
        })
        .await
    }

    /// Starts one with these arguments, after `prepare` has seen the (empty) data directory.
    pub async fn with(args: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a data directory");
        prepare(&data);
        let mut exchange = Self::at(&data, args).await;
        exchange._folder = Some(folder);
        exchange
    }

    /// Starts one on this data directory.
    pub async fn at(data: &Path, args: &[&str]) -> Self {
        let given = args.iter().map(|arg| (*arg).to_owned());
        let args: Vec<String> =
            ["up", "--data"].map(str::to_owned).into_iter().chain([text(data)]).chain(given).collect();
        let room = ROOM.acquire().await.expect("never closed");
        let (child, nats, http) = launch(data, &args).await;
        Self { child, server: None, data: data.to_owned(), nats, http, args, _folder: None, _room: room }
    }

    /// Starts `liaison serve` beside a nats-server that outlives it, with few parties and this in `liaison.toml`.
    pub async fn apart(config: &str) -> Self {
        Self::through(config, |_| {}, async |url| url.to_owned()).await
    }

    /// The same, after `prepare` has seen the data directory; the broker goes to nats-server by the road that `road` makes of its
    /// address.
    pub async fn through(
        config: &str,
        prepare: impl FnOnce(&Path),
        road: impl AsyncFnOnce(&str) -> String,
    ) -> Self {
        let room = ROOM.acquire().await.expect("never closed");
        let folder = folder();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a data directory");
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        prepare(&data);
        let (server, url) = server_apart(&data).await;
        let config = format!("{config}\n[nats]\nurl = \"{}\"\n", road(&url).await);
        std::fs::write(data.join("liaison.toml"), config).expect("a configuration");
        let args = vec!["serve".to_owned(), "--config".to_owned(), text(&data.join("liaison.toml"))];
        let (child, _, http) = launch(&data, &args).await;
        Self { child, server: Some(server), data, nats: url, http, args, _folder: Some(folder), _room: room }
    }

    /// Starts `liaison serve` on this directory, beside servers that others look after.
    pub async fn serving(data: &Path, nats: &str) -> Self {
        let room = ROOM.acquire().await.expect("never closed");
        let args = super::instances::serve(data);
        let (child, _, http) = launch(data, &args).await;
        let (data, nats) = (data.to_owned(), nats.to_owned());
        Self { child, server: None, data, nats, http, args, _folder: None, _room: room }
    }

    /// Another process on another directory serves from now on; gives the one that did before.
    pub fn moved(&mut self, child: Child, data: PathBuf, http: String) -> Child {
        (self.args, self.data, self.http) = (super::instances::serve(&data), data, http);
        std::mem::replace(&mut self.child, child)
    }

    /// Kills the broker as a power cut of the process would; its nats-server goes with it.
    pub fn kill(&mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("waits");
    }

    /// Starts again after a kill or stop, on the same data; gives the time until it was ready.
    pub async fn again(&mut self) -> Duration {
        let started = Instant::now();
        let (child, nats, http) = launch(&self.data, &self.args).await;
        (self.child, self.http) = (child, http);
        if self.server.is_none() {
            self.nats = nats;
        }
        started.elapsed()
    }

    /// The same with one argument more.
    pub async fn again_with(&mut self, arg: &str) -> Duration {
        self.args.push(arg.to_owned());
        let ready = self.again().await;
        self.args.pop();
        ready
    }

    /// Starts again and kills it before it can be ready, after this long.
    pub async fn stumble(&mut self, after: Duration) {
        self.child = spawn(&self.data, &self.args);
        tokio::time::sleep(after).await;
        self.kill();
    }

    /// The process id of the broker.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process id of the nats-server that is the broker's child.
    pub fn nats_pid(&self) -> Option<u32> {
        children(self.pid()).into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "nats-server")
        })
    }

    /// Writes the configuration of the nats-server beside the broker anew and lets it reload, twice as it must be.
    pub async fn reload_server(&self) {
        let server = self.server.as_ref().expect("a nats-server apart").id();
        write_nats_config(&self.data);
        let log = || std::fs::read_to_string(self.data.join("nats/nats-server.log")).unwrap_or_default();
        for _ in 0..2 {
            let before = log().matches("Reloaded server configuration").count();
            signal(server, "HUP");
            let more =
                async || (log().matches("Reloaded server configuration").count() > before).then_some(());
            until("the reload of nats-server", more).await;
        }
    }

    /// Runs a client command of ours on this exchange's data directory.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = liaison();
        command.args(args).env("LIAISON_DATA", &self.data);
        command.output().expect("runs")
    }

    /// Connects as the broker's administrator: the one who may change streams.
    pub async fn admin(&self) -> Client {
        self.connect_with(&self.key("broker", "admin"), "_INBOX_admin").await
    }

    /// Sends SIGHUP and waits for the verdict: true if the new configuration was taken.
    pub async fn reload(&self) -> bool {
        let told = |log: &str| (log.matches(" reloaded").count(), log.matches("not reloaded").count());
        let before = told(&self.log());
        self.signal("HUP");
        let after =
            until("the reload", async || Some(told(&self.log())).filter(|after| *after != before)).await;
        after.1 == before.1
    }

    /// Sends a signal (`TERM`, `HUP`, …).
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end; the exit code, or none if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let status = self.child.wait().expect("waits");
        assert!(status.signal().is_none(), "ended by {:?}", status.signal());
        status.code()
    }

    /// Starts it again if it has ended, and waits for nothing; true then.
    pub fn revive(&mut self) -> bool {
        let ended = self.child.try_wait().expect("is asked").is_some();
        if ended {
            self.child = spawn(&self.data, &self.args);
        }
        ended
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        log_of(&self.data)
    }

    /// The key file of a user.
    pub fn key(&self, party: &str, user: &str) -> PathBuf {
        self.data.join("keys").join(party).join(format!("{user}.nk"))
    }

    /// Connects as a user of a party, as any NATS client would.
    pub async fn connect(&self, party: &str, user: &str) -> Client {
        self.connect_with(&self.key(party, user), &format!("_INBOX_{party}-{user}")).await
    }

    /// Connects with this key and inbox prefix.
    pub async fn connect_with(&self, key: &Path, inbox: &str) -> Client {
        let seed = std::fs::read_to_string(key).expect("a key file");
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(inbox)
            .request_timeout(Some(Duration::from_secs(5)));
        options.connect(self.nats.split(',').collect::<Vec<_>>()).await.expect("connects")
    }

    /// Connects as the operator's observer in `CORE`, which may look at streams and ping the service.
    pub async fn operator(&self) -> Client {
        self.connect_with(&self.key("broker", "operator"), "_INBOX_operator").await
    }

    /// Publishes and waits for the receipt of this very publication, also when the same bytes were published before.
    pub async fn publish(&self, client: &Client, subject: &str, payload: Vec<u8>) -> Value {
        let id = readable_id(&payload);
        let before = match &id {
            Some(id) => stored_receipt(client, subject, id).await.map_or(0, |(sequence, _)| sequence),
            None => 0,
        };
        let sequence = queue(client, subject, payload.clone()).await;
        // Bytes that a lenient reader reads an id from may be no JSON to the broker.
        let tokens: Vec<String> = id.into_iter().chain([format!("unreadable-{sequence}")]).collect();
        receipt_after(client, subject, &tokens, &payload, before).await
    }

    /// Everything in a party's mailbox: pulled, acknowledged, in order.
    pub async fn letters(&self, party: &str) -> Vec<Letter> {
        self.mailboxes(&[party]).await.remove(party).expect("was asked for")
    }

    /// Everything in these mailboxes. Ends at a message that is sent to all of them now: a mailbox keeps the order of
    /// the archive, so what was accepted before stands before it, and what does not stand there was not sent.
    pub async fn mailboxes(&self, parties: &[&str]) -> BTreeMap<String, Vec<Letter>> {
        let mut last = BTreeMap::new();
        for sender in ["it-moi", "de-bpol"] {
            // Nobody gets what he sent himself, so there are two senders.
            let to: Vec<&str> = parties
                .iter()
                .copied()
                .filter(|party| (*party == "it-moi") != (sender == "it-moi"))
                .collect();
            if to.is_empty() {
                continue;
            }
            let mut message = report();
            message["source"] = format!("/authority/{sender}").into();
            message["originator"] = sender.into();
            message["audience"] = to.join(",").into();
            let client = self.connect(sender, "system").await;
            let subject = format!("ilo.in.{sender}.system.net.flow.observation.tn");
            let receipt = self.publish(&client, &subject, message.to_string().into_bytes()).await;
            assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
            last.extend(to.into_iter().map(|party| (party, message["id"].clone())));
        }
        let read = futures_util::stream::iter(last).map(|(party, last)| async move {
            let client = self.connect(party, "system").await;
            let mut letters = Vec::new();
            loop {
                let letter = next_letter(&client, party, PATIENCE).await;
                let letter = letter.unwrap_or_else(|| panic!("the last letter to {party} did not come"));
                if letter.event()["id"] == last {
                    return (party.to_owned(), letters);
                }
                letters.push(letter);
            }
        });
        read.buffer_unordered(8).collect().await
    }

    /// What `liaison archive stats` counts in this data directory.
    pub fn stats(&self) -> Value {
        let output = liaison().args(["archive", "stats"]).arg(&self.data).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// `GET` on the operators' window: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = self.http.trim_start_matches("http://");
        let mut socket = tokio::net::TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("reads");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    /// Asks a service of a party.
    pub async fn ask(
        &self,
        client: &Client,
        party: &str,
        verb: &str,
        body: &Value,
    ) -> Result<Value, (String, Value)> {
        let answer = client
            .request(format!("ilo.svc.{party}.{verb}"), body.to_string().into())
            .await
            .expect("answers");
        let code = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error-Code"));
        let value = serde_json::from_slice(&answer.payload).expect("an answer in JSON");
        match code {
            Some(code) => Err((code.to_string(), value)),
            None => Ok(value),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.data.display(), self.log());
        }
        for child in std::iter::once(&mut self.child).chain(self.server.as_mut()) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A plain JetStream publish; the stream sequence of the PubAck.
pub async fn queue(client: &Client, subject: &str, payload: Vec<u8>) -> u64 {
    queue_with(client, subject, HeaderMap::new(), payload).await
}

/// The stored receipt for these bytes, by direct get on the publisher's own subject.
pub async fn receipt(client: &Client, published: &str, token: &str, payload: &[u8]) -> Value {
    receipt_after(client, published, &[token.to_owned()], payload, 0).await
}

/// A delivered message as it came over the wire.
#[derive(Debug, Clone)]
pub struct Letter {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Letter {
    /// What came over the wire.
    pub fn of(message: &async_nats::Message) -> Self {
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let pairs = headers
            .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())));
        Self {
            subject: message.subject.to_string(),
            headers: pairs.collect(),
            payload: message.payload.to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no header {name}"), |(_, value)| value.as_str())
    }

    pub fn feed_seq(&self) -> u64 {
        self.header("Ilo-Feed-Seq").parse().expect("a number")
    }

    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }

    pub fn id(&self) -> String {
        self.event()["id"].as_str().expect("an id").to_owned()
    }
}

/// Pulls and acknowledges one letter; none if nothing comes within `wait`.
pub async fn next_letter(client: &Client, party: &str, wait: Duration) -> Option<Letter> {
    let stream = stream("MBOX", party);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribes");
    let pull = json!({ "batch": 1, "expires": u64::try_from(wait.as_nanos()).expect("short") }).to_string();
    client
        .publish_with_reply(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.main"), inbox, pull.into())
        .await
        .expect("asks");
    let message =
        tokio::time::timeout(wait + PATIENCE, answers.next()).await.expect("an answer").expect("an answer");
    if message.status.is_some() {
        return None;
    }
    let reply = message.reply.clone().expect("a reply subject");
    client.request(reply, "+ACK".into()).await.expect("acknowledged");
    Some(Letter::of(&message))
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&sha256_raw(bytes))
}

pub fn sha256_raw(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a whole feed: dense from 1, every digest and the running digest recomputed, no message id of NATS twice.
pub fn audit_feed(letters: &[Letter]) {
    let mut running = [0_u8; 32];
    let mut ids = std::collections::HashSet::new();
    for (at, letter) in (1_u64..).zip(letters) {
        assert_eq!(letter.feed_seq(), at, "the feed is dense");
        let digest = sha256_raw(&letter.payload);
        assert_eq!(letter.header("Ilo-Digest"), format!("sha256:{}", hex(&digest)));
        running = sha256_raw(&[running, digest].concat());
        assert_eq!(letter.header("Ilo-Feed-Digest"), hex(&running));
        assert!(
            ids.insert(letter.header("Nats-Msg-Id").to_owned()),
            "delivered twice: {}",
            letter.header("Nats-Msg-Id")
        );
    }
}

/// Waits until something holds.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
