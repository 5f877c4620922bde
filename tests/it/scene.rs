//! A scene for faults: an exchange under load, with a road of its own for the broker and one for the publishers, and places
//! in the broker where a test can make it fail. It ends in the auditor.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auditor::{Audited, Expect, audit_expecting};
use super::harness::*;
use super::load::Load;
use super::proxy::Proxy;

/// So many messages a second that no publisher is ever refused for its rate; a drain that cannot end is short.
pub const FAST: &str = "[rate]\nper_second = 100000\nburst = 100000\n[drain]\nseconds = 3\n";
/// Receipts that must come after a fault is over.
pub const MORE: usize = 20;

/// Everything that faults are made on.
pub struct Scene {
    pub exchange: Exchange,
    pub dice: Dice,
    /// The broker's road to nats-server.
    pub broker: Proxy,
    /// The publishers' road.
    pub posts: Proxy,
    pub expect: Expect,
    load: Load,
}

impl Scene {
    /// Starts one; the seed is printed.
    pub async fn begin(what: &str) -> Self {
        Self::with(Dice::new(what), FAST, |_| {}).await
    }

    /// Starts one with these dice and this `liaison.toml`, after `prepare` has seen the data directory.
    pub async fn with(mut dice: Dice, config: &str, prepare: impl FnOnce(&std::path::Path)) -> Self {
        let (seed, mut broker) = (dice.seed(), None);
        let prepare = |data: &std::path::Path| {
            std::fs::create_dir(data.join("faults")).expect("a directory of faults");
            prepare(data);
        };
        let road = async |url: &str| {
            let proxy = Proxy::start(url, seed).await;
            let url = proxy.url();
            broker = Some(proxy);
            url
        };
        let mut exchange = Exchange::through(config, prepare, road).await;
        let posts = Proxy::start(&exchange.nats, dice.seed()).await;
        let direct = std::mem::replace(&mut exchange.nats, posts.url());
        let load = Load::begin(&exchange).await;
        exchange.nats = direct;
        let broker = broker.expect("a road was made");
        Self { exchange, dice, broker, posts, expect: Expect::default(), load }
    }

    /// Lets the broker fail at a place, from its next passing on. See `src/message/fault.rs`.
    pub fn arm(&self, place: &str, wish: &str) {
        let file = self.exchange.data.join("faults").join(place);
        std::fs::write(file.with_extension("new"), wish).expect("written");
        std::fs::rename(file.with_extension("new"), file).expect("renamed");
    }

    /// Ends that.
    pub fn disarm(&self, place: &str) {
        // Removed already by who disarmed before is as good.
        drop(std::fs::remove_file(self.exchange.data.join("faults").join(place)));
    }

    /// Waits until more messages have their receipt; says how long after the fault that was.
    pub async fn goes_on(&self, after: &str) {
        let healed = Instant::now();
        self.load.more(MORE).await;
        println!("{after}: {MORE} receipts {:?} after it was over", healed.elapsed());
    }

    /// Waits for receipts.
    pub async fn more(&self, count: usize) {
        self.load.more(count).await;
    }

    /// How many messages have their receipt by now.
    pub fn receipted(&self) -> usize {
        self.load.receipted()
    }

    /// The length of a fault: what is thrown is waited through, for that is the fault.
    pub async fn hold(&mut self, from: u64, to: u64) {
        let time = from + self.dice.below(to - from);
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    /// Waits until the broker has ended by itself.
    pub async fn gone(&mut self) -> ExitStatus {
        let child = &mut self.exchange.child;
        until("the end of the broker", async || child.try_wait().expect("waits")).await
    }

    /// True if the broker has ended.
    pub fn is_gone(&mut self) -> bool {
        self.exchange.child.try_wait().expect("waits").is_some()
    }

    /// What was logged from a place on.
    pub fn log_from(&self, from: usize) -> String {
        self.exchange.log()[from..].to_owned()
    }

    /// Waits until the log says this behind a place.
    pub async fn says(&self, from: usize, words: &str) {
        until(words, async || self.log_from(from).contains(words).then_some(())).await;
    }

    /// See [`check`].
    pub async fn check(&self, name: &str, ok: bool) -> String {
        check(&self.exchange, name, ok).await
    }

    /// Asks a service of the German police, as it would.
    pub async fn ask(&self, verb: &str, body: &Value) -> Result<Value, (String, Value)> {
        let client = self.exchange.connect("de-bpol", "system").await;
        // After a road that was lost without a word they take up to twenty seconds to be there again.
        let there = async || client.request("ilo.svc.de-bpol.schema.list", "{}".into()).await.ok();
        until("the services", there).await;
        self.exchange.ask(&client, "de-bpol", verb, body).await
    }

    /// Replays what there is, one page: reading works.
    pub async fn reads(&self) -> usize {
        let page = self.ask("replay", &json!({ "limit": 10 })).await.expect("a page");
        page["messages"].as_array().expect("messages").len()
    }

    /// No more publishing; everything sent is compared with everything that became of it.
    pub async fn end(self) -> Audited {
        let books = self.load.end().await;
        audit_expecting(&self.exchange, &books, self.expect).await
    }
}

/// Waits until a line of `/readyz` is as wanted; its words.
pub async fn check(exchange: &Exchange, name: &str, ok: bool) -> String {
    until("a line of /readyz", async || {
        let (_, body) = exchange.get("/readyz").await;
        let body: Value = serde_json::from_str(&body).ok()?;
        let line = body["checks"].as_array()?.iter().find(|check| check["check"] == name)?.clone();
        (line["ok"] == ok).then(|| line["detail"].as_str().map(str::to_owned))?
    })
    .await
}
