//! What the scenarios stand on: the proxy, the keys, other parties that send, and what the broker says of a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::altering::Orders;
use super::driven::Driven;
use super::messages::{Message, Sender};
use super::proxy::{Proxy, Way};
use super::tap::Tap;
use super::{CertifyError, Options};
use crate::client::exchange::{ENDPOINTS, Endpoints};
use crate::client::{Address, Asker, Publisher, Subscriber};
use crate::message::names::{PartyId, PostId};
use crate::wire::between::Between;
use crate::wire::keys;
use crate::wire::tls::{Tls, is_secured};

/// Other parties that send; with several, the rate that each may have is no hindrance.
const SENDERS: usize = 3;
/// How long a receipt for the certifier's own messages may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a message that came too fast waits before it is sent again.
const TOO_FAST: Duration = Duration::from_millis(250);

/// Another party.
pub struct Other {
    /// Who.
    pub sender: Sender,
    publisher: Publisher,
    asker: Asker,
}

/// Everything that scenarios need.
pub struct Stage {
    /// What was asked for.
    pub options: Options,
    /// The road of the foreign system.
    pub proxy: Proxy,
    /// What it published.
    pub tap: Arc<Tap>,
    /// What of its letters is changed.
    pub orders: Arc<Orders>,
    /// Its files for TLS, if NATS wants that.
    tls: Option<Tls>,
    /// Parties that send to it.
    pub others: Vec<Other>,
    asker: Asker,
    mailbox: Subscriber,
}

impl Stage {
    /// Connects.
    pub async fn set(options: Options) -> Result<Self, CertifyError> {
        let url = address(&options.data)?;
        let party = options.party.clone();
        let keys = options.data.join("keys");
        let seed = keys::read_seed(&key(&options.data, &party, None))?;
        if options.publisher.is_some() && options.post.is_some() {
            // A post that does not exist would only be seen as a publisher that says nothing.
            keys::read_seed(&key(&options.data, &party, options.post.as_ref()))?;
        }
        let (tap, orders) = (Arc::new(Tap::default()), Arc::new(Orders::default()));
        let server = url.trim_start_matches("nats://").trim_start_matches("tls://").to_owned();
        let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
        let between = is_secured(&url).then(|| Between::of(&keys, host, party.as_str())).transpose()?;
        let way = Way { server, between, tap: Arc::clone(&tap), orders: Arc::clone(&orders) };
        let proxy = Proxy::start(way).await.map_err(|error| CertifyError::Start("the proxy", error))?;
        let own = Address::with_keys(url.clone(), &keys, party.as_str());
        let others = others(&url, &options).await?;
        Ok(Self {
            asker: Asker::connect(&own, &seed, &party).await?,
            mailbox: Subscriber::connect(&own, &seed, &party).await?,
            options,
            proxy,
            tap,
            orders,
            tls: own.tls,
            others,
        })
    }

    /// Forgets what earlier scenarios did.
    pub fn clear(&self) {
        self.proxy.set(super::proxy::Weather::Fair);
        self.tap.clear();
        self.orders.clear();
    }

    /// Who the foreign publisher is.
    pub fn own(&self) -> Sender {
        Sender { party: self.options.party.clone(), post: self.options.post.clone() }
    }

    /// Starts the foreign publisher.
    pub fn publisher(&self) -> Result<Driven, CertifyError> {
        self.start(self.options.publisher.as_deref(), self.options.post.as_ref(), "the publisher")
    }

    /// Starts the foreign subscriber.
    pub fn subscriber(&self) -> Result<Driven, CertifyError> {
        self.start(self.options.subscriber.as_deref(), None, "the subscriber")
    }

    fn start(
        &self,
        command: Option<&str>,
        post: Option<&PostId>,
        what: &'static str,
    ) -> Result<Driven, CertifyError> {
        let key = key(&self.options.data, &self.options.party, post);
        let environment = [
            ("LIAISON_NATS", self.proxy.url()),
            ("LIAISON_KEY", key.to_string_lossy().into_owned()),
            ("LIAISON_PARTY", self.options.party.to_string()),
        ];
        let post = post.map(|post| ("LIAISON_POST", post.to_string()));
        let named = |name, file: &Path| (name, file.to_string_lossy().into_owned());
        let tls = self.tls.iter().flat_map(|tls| {
            [
                named("LIAISON_TLS_CA", &tls.ca),
                named("LIAISON_TLS_CERT", &tls.certificate),
                named("LIAISON_TLS_KEY", &tls.key),
            ]
        });
        let environment: Vec<_> = environment.into_iter().chain(post).chain(tls).collect();
        Driven::start(command.unwrap_or("false"), &environment)
            .map_err(|error| CertifyError::Start(what, error))
    }

    /// The outcome that the broker knows for a message of the foreign system; none if it has none to tell.
    pub async fn outcome(&self, id: &str) -> Option<String> {
        let answer = self.asker.ask("status", &json!({ "id": id })).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        let receipt = &answer["receipt"];
        let outcome = receipt["outcome"].as_str().or_else(|| receipt["data"]["outcome"].as_str());
        outcome.map(str::to_owned)
    }

    /// How many messages of the mailbox were not read yet, and how many were read and not acknowledged.
    pub async fn left(&self) -> Result<(u64, u64), CertifyError> {
        Ok(self.mailbox.left().await?)
    }

    /// Waits until nothing is left in the mailbox; how much was, if it did not come to that.
    pub async fn emptied(&self, limit: Duration) -> Result<(u64, u64), CertifyError> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let left = self.mailbox.left().await?;
            if left == (0, 0) || tokio::time::Instant::now() >= end {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Reads what is left in the mailbox, so that a scenario begins with an empty one.
    pub async fn drain(&mut self) -> Result<(), CertifyError> {
        loop {
            let letters = self.mailbox.next(256, Duration::from_millis(500)).await?;
            if letters.is_empty() {
                self.mailbox.rest();
                return Ok(());
            }
            for letter in &letters {
                self.mailbox.acknowledge(letter).await?;
            }
            self.mailbox.flush().await?;
        }
    }

    /// Sends so many messages to the foreign system, from all others at once.
    pub async fn send(&mut self, count: usize) -> Result<Vec<Message>, CertifyError> {
        let party = self.options.party.clone();
        let senders = self.others.len();
        let shares = self.others.iter_mut().enumerate().map(|(place, other)| {
            let messages = (place..count).step_by(senders).map(|_| Message::report(&other.sender, &party));
            let messages: Vec<Message> = messages.collect();
            async move {
                for message in &messages {
                    other.send(message).await?;
                }
                Ok::<_, CertifyError>(messages)
            }
        });
        let sent = futures_util::future::try_join_all(shares).await?;
        Ok(sent.into_iter().flatten().collect())
    }
}

impl Other {
    /// Sends a message, which must be accepted.
    pub async fn send(&mut self, message: &Message) -> Result<(), CertifyError> {
        loop {
            let receipt = self.publish(message).await?;
            match (receipt["outcome"].as_str(), receipt["code"].as_str()) {
                (Some("accepted" | "duplicate"), _) => return Ok(()),
                (_, Some("E-RATE")) => tokio::time::sleep(TOO_FAST).await,
                (outcome, code) => {
                    let words = code.or(outcome).unwrap_or("no outcome").to_owned();
                    return Err(CertifyError::Own(words));
                }
            }
        }
    }

    async fn publish(&mut self, message: &Message) -> Result<Value, CertifyError> {
        let sent =
            self.publisher.publish(&message.subject, Some(&message.id), message.payload.clone(), PATIENCE);
        Ok(sent.await?["data"].clone())
    }

    /// What the broker's ledger says of a message that it sent.
    pub async fn ledger(&self, id: &str) -> Option<Value> {
        let answer = self.asker.ask("ledger", &json!({ "id": id })).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }
}

fn address(data: &Path) -> Result<String, CertifyError> {
    let file = data.join(ENDPOINTS);
    let fault = |words: String| CertifyError::Data(file.clone(), words);
    let running = Endpoints::read(&file)
        .ok_or_else(|| fault("cannot be read; is `liaison up` running there?".to_owned()));
    Ok(running?.nats)
}

fn key(data: &Path, party: &PartyId, post: Option<&PostId>) -> std::path::PathBuf {
    let user = post.map_or("system", PostId::as_str);
    data.join("keys").join(party.as_str()).join(format!("{user}.nk"))
}

/// The first parties whose messages to the foreign system are accepted.
async fn others(url: &str, options: &Options) -> Result<Vec<Other>, CertifyError> {
    let folder = options.data.join("keys");
    let fault = |error: std::io::Error| CertifyError::Data(folder.clone(), error.to_string());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(fault)? {
        names.extend(entry.map_err(fault)?.file_name().to_str().map(str::to_owned));
    }
    names.sort();
    let mut others = Vec::new();
    for party in names.iter().filter_map(|name| PartyId::parse(name).ok()) {
        if party == options.party || others.len() == SENDERS {
            continue;
        }
        let Ok(seed) = keys::read_seed(&key(&options.data, &party, None)) else { continue };
        let to = Address::with_keys(url, &folder, party.as_str());
        let Ok(publisher) = Publisher::connect(&to, &seed, party.clone(), None).await else { continue };
        let asker = Asker::connect(&to, &seed, &party).await?;
        let mut other = Other { sender: Sender { party, post: None }, publisher, asker };
        let probe = Message::report(&other.sender, &options.party);
        if other.publish(&probe).await?["outcome"] == "accepted" {
            others.push(other);
        }
    }
    if others.is_empty() { Err(CertifyError::NoSender(options.party.clone())) } else { Ok(others) }
}
