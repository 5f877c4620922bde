//! What the benchmarks share: an exchange with filled streams, and the null relay that is compared with.
//!
//! nats-server runs as a child of the benchmark with the configuration that `liaison nats-config` writes; the broker
//! runs in this process.

mod relay;

pub use self::relay::relay;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use liaison::broker::Broker;
use liaison::broker::config::Config;
use liaison::broker::rate::Rate;
use liaison::message::names::{PartyId, PostId};
use liaison::message::time;
use liaison::rules::registry::{Group, Registry};
use liaison::wire::accounts::{self, Member};
use liaison::wire::connect::{self, Client, Role};
use liaison::wire::tls::Address;
use liaison::wire::{keys, server, streams};
use serde_json::{Value, json};

/// Who publishes: party, post, example file.
const PUBLISHERS: [(&str, &str, &str); 4] = [
    ("it-moi", "tn-01", include_str!("../../tests/examples/valid/01-flow-observation-mixed.json")),
    ("fr-dnpaf", "ne-02", include_str!("../../tests/examples/valid/02-flow-route-geojson.json")),
    ("gr-hp", "ly-01", include_str!("../../tests/examples/valid/04-event-incident-24h.json")),
    ("no-pu", "jo-01", include_str!("../../tests/examples/valid/05-document-fraud.json")),
];
/// The clock of the examples.
const CLOCK: &str = "2026-03-02T10:00:00Z";
/// Publishes in flight while filling, and in the relay.
const WINDOW: usize = 1_024;

/// A nats-server with all streams, and what is needed to run a broker or a relay on it.
pub struct Exchange {
    server: Child,
    folder: tempfile::TempDir,
    url: String,
    readers: Vec<PartyId>,
}

/// What was put into the intake streams.
pub struct Filled {
    /// Messages in each publisher's stream.
    counts: Vec<(PartyId, u64)>,
}

/// The middle of several rates.
pub fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("a literal id must be well formed")
}

impl Filled {
    /// Together with what was put there before.
    pub fn and(self, before: &Self) -> Self {
        let counts = self.counts.into_iter().zip(&before.counts);
        Self { counts: counts.map(|((party, count), (_, more))| (party, count + more)).collect() }
    }
}

impl Exchange {
    /// Where NATS is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first of those that get everything, and its seed.
    pub fn reader(&self) -> (PartyId, String) {
        let party = self.readers.first().expect("a reader").clone();
        let seed = keys::read_seed(&self.key(party.as_str(), "system")).expect("a key");
        (party, seed.to_string())
    }

    /// Starts one in which exactly `fan_out` authorities have a subscription that matches the messages.
    pub async fn start(fan_out: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temp folder");
        let registry = Registry::demo();
        let members: Vec<Member> = registry
            .parties()
            .map(|party| Member { party: party.id.clone(), posts: party.posts.clone() })
            .collect();
        let keys = keys::ensure(&folder.path().join("keys"), &members).expect("keys must be made");
        let options = accounts::Options {
            listen: "127.0.0.1:-1".to_owned(),
            store: folder.path().join("store"),
            ..accounts::Options::default()
        };
        let config = folder.path().join("nats.conf");
        std::fs::write(&config, accounts::configuration(&members, &keys, &options)).expect("writes");
        std::fs::write(folder.path().join("network.toml"), liaison::rules::registry::DEMO).expect("writes");
        let program = server::find(None).expect("scripts/setup fetches nats-server");
        let server = Command::new(program)
            .arg("-c")
            .arg(&config)
            .arg("--ports_file_dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server must start");
        let url = url(folder.path()).await;
        let publishers: Vec<&str> = PUBLISHERS.iter().map(|(id, _, _)| *id).collect();
        let readers: Vec<PartyId> = registry
            .parties()
            .filter(|party| party.is_in(Group::Network) && !publishers.contains(&party.id.as_str()))
            .map(|party| party.id.clone())
            .take(fan_out)
            .collect();
        assert_eq!(readers.len(), fan_out, "the registry must have enough parties");
        let exchange = Self { server, folder, url, readers };
        exchange.prepare(&registry).await;
        exchange
    }

    async fn admin(&self) -> Client {
        let seed = keys::read_seed(&self.key("broker", "admin")).expect("a key");
        connect::connect(&Address::plain(&self.url), &seed, Role::Admin).await.expect("connects")
    }

    fn key(&self, owner: &str, user: &str) -> PathBuf {
        self.folder.path().join("keys").join(owner).join(format!("{user}.nk"))
    }

    /// Streams, and a subscription for every party: the readers' matches, the others' does not.
    async fn prepare(&self, registry: &Registry) {
        let admin = self.admin().await;
        let parties: Vec<PartyId> = registry.parties().map(|party| party.id.clone()).collect();
        let options = streams::Options {
            intake_bytes: 4 << 30,
            mailbox_bytes: 4 << 30,
            replicas: 1,
            replicated: false,
        };
        streams::ensure(&admin, &parties, options).await.expect("streams must be made");
        let seed = keys::read_seed(&self.key("broker", "control")).expect("a key");
        let control =
            connect::connect(&Address::plain(&self.url), &seed, Role::Control).await.expect("connects");
        let bucket = liaison::wire::subscriptions::Bucket::open(control).await.expect("a bucket");
        for party in parties {
            let country = if self.readers.contains(&party) { "any" } else { "none" };
            let list = json!([
                {"name": "types", "filters": [{"any": [
                    {"exact": {"country": if country == "any" { "TN" } else { "FJ" }}},
                    {"exact": {"country": if country == "any" { "NE" } else { "KI" }}},
                    {"exact": {"country": if country == "any" { "LY" } else { "TO" }}},
                    {"exact": {"country": if country == "any" { "JO" } else { "WS" }}},
                ]}]},
            ]);
            bucket.put(&party, &list, 0).await.expect("stored");
        }
    }

    /// Puts messages into the intake streams, evenly.
    pub async fn fill(&self, messages: usize) -> Filled {
        let mut counts = Vec::new();
        let share = messages / PUBLISHERS.len();
        for (id, post, example) in PUBLISHERS {
            let client = self.publisher(id, post).await;
            let maker = Maker::of(example);
            let mut flying = FuturesUnordered::new();
            for _ in 0..share {
                let (subject, body) = maker.message();
                flying.push(client.request(subject, body));
                if flying.len() >= WINDOW {
                    flying.next().await.expect("one flies").expect("a PubAck");
                }
            }
            while let Some(answer) = flying.next().await {
                answer.expect("a PubAck");
            }
            counts.push((party(id), share as u64));
        }
        Filled { counts }
    }

    async fn publisher(&self, id: &str, post: &str) -> Client {
        let seed = keys::read_seed(&self.key(id, post)).expect("a key");
        let post = PostId::parse(post).expect("a literal id must be well formed");
        connect::connect_party(&Address::plain(&self.url), &seed, &party(id), Some(&post))
            .await
            .expect("connects")
    }

    /// A broker in this process.
    pub async fn broker(&self) -> Broker {
        let mut config = Config::default();
        config.nats.url.clone_from(&self.url);
        config.nats.keys = self.folder.path().join("keys");
        (config.nats.intake_bytes, config.nats.mailbox_bytes) = (4 << 30, 4 << 30);
        config.archive.directory = self.folder.path().join("archive");
        config.archive.root_key = self.folder.path().join("root-key");
        config.replay.bytes_per_second = u32::MAX;
        config.registry.file = self.folder.path().join("network.toml");
        config.rate = Rate { per_second: 1e9, burst: 1e9 };
        Box::pin(Broker::start(config, || ())).await.expect("the broker must start")
    }

    /// Waits until every intake is acknowledged and every reader's mailbox holds everything; gives messages a second
    /// from the moment at which a fifth was through, so that starting does not count.
    pub async fn drained(&self, filled: &Filled) -> f64 {
        let admin = self.admin().await;
        let total: u64 = filled.counts.iter().map(|(_, count)| count).sum();
        let through = self.through(&admin, filled, total / 5).await;
        let started = Instant::now();
        self.through(&admin, filled, total).await;
        for party in &self.readers {
            let call = format!("$JS.API.STREAM.INFO.{}", liaison::wire::mailbox_stream(party));
            until(&admin, &call, |answer| {
                answer["state"]["last_seq"].as_u64().is_some_and(|last| last >= total)
            })
            .await;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rest = (total - through) as f64;
        rest / started.elapsed().as_secs_f64()
    }

    /// Waits until this many messages are acknowledged in all; gives how many are.
    async fn through(&self, admin: &Client, filled: &Filled, wanted: u64) -> u64 {
        loop {
            let mut sum = 0;
            for (party, _) in &filled.counts {
                let call = format!("$JS.API.CONSUMER.INFO.{}.intake", liaison::wire::intake_stream(party));
                let answer = admin.request(call, Bytes::new()).await.expect("an answer");
                let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
                sum += answer["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
            }
            if sum >= wanted {
                return sum;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes on a fixed schedule and waits for each live receipt; microseconds from the intended send time.
    pub async fn publish_at(&self, rate: u32, length: Duration) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three digits must be possible");
        let (id, post, example) = PUBLISHERS[0];
        let client = self.publisher(id, post).await;
        let mut receipts = client.subscribe(format!("ilo.rcpt.{id}.{post}.>")).await.expect("subscribes");
        client.flush().await.expect("flushes");
        let maker = Maker::of(example);
        let count = u64::from(rate) * length.as_secs();
        let started = Instant::now() + Duration::from_millis(100);
        let due = move |n: u64| started + Duration::from_micros(n * 1_000_000 / u64::from(rate));
        let (told, mut expected) = tokio::sync::mpsc::unbounded_channel::<(String, Instant)>();
        tokio::spawn(async move {
            for n in 0..count {
                tokio::time::sleep_until(due(n).into()).await;
                let (subject, body) = maker.message();
                let event: Value = serde_json::from_slice(&body).expect("our own JSON");
                told.send((event["id"].as_str().expect("an id").to_owned(), due(n)))
                    .expect("the counter listens");
                client.publish(subject, body).await.expect("publishes");
            }
        });
        let mut open = std::collections::HashMap::new();
        while histogram.len() < count {
            let receipt = tokio::time::timeout(Duration::from_secs(30), receipts.next())
                .await
                .expect("a receipt comes");
            let now = Instant::now();
            while let Ok((id, at)) = expected.try_recv() {
                open.insert(id, at);
            }
            let receipt = receipt.expect("the subscription lives");
            let token = receipt.subject.rsplit('.').next().expect("a token");
            let at: Instant = open.remove(token).expect("a receipt for what was sent");
            let micros = u64::try_from(now.saturating_duration_since(at).as_micros()).expect("short");
            histogram.record(micros).expect("in range");
        }
        histogram
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

async fn url(folder: &std::path::Path) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
        let ports =
            entries.filter(|path| path.extension().is_some_and(|end| end == "ports")).find_map(|path| {
                let value: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
                value["nats"][0].as_str().map(str::to_owned)
            });
        if let Some(url) = ports {
            return url;
        }
        assert!(Instant::now() < until, "nats-server must write its ports");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until(admin: &Client, call: &str, holds: impl Fn(&Value) -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let answer = admin.request(call.to_owned(), Bytes::new()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        if holds(&answer) {
            return;
        }
        assert!(Instant::now() < end, "{call} did not come so far: {answer}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Makes messages of one example: fresh ids, times moved to now, addressed to the whole network.
struct Maker {
    subject: String,
    event: Value,
}

impl Maker {
    fn of(example: &str) -> Self {
        let example: Value = serde_json::from_str(example).expect("an example in JSON");
        let mut event = example["message"].clone();
        let clock: time::Timestamp = CLOCK.parse().expect("a time");
        shift(&mut event, time::now().duration_since(clock));
        event["audience"] = "@network".into();
        event["tlp"] = "TLP:GREEN".into();
        Self { subject: example["natsSubject"].as_str().expect("a subject").to_owned(), event }
    }

    fn message(&self) -> (String, Bytes) {
        let mut event = self.event.clone();
        event["id"] = uuid::Uuid::now_v7().to_string().into();
        (self.subject.clone(), Bytes::from(event.to_string()))
    }
}

fn shift(value: &mut Value, by: jiff::SignedDuration) {
    match value {
        Value::String(text) => {
            if let Some(at) = time::parse(text).and_then(|at| at.checked_add(by).ok()) {
                *text = time::rfc3339(at);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(members) => members.values_mut().for_each(|member| shift(member, by)),
        _ => {}
    }
}
