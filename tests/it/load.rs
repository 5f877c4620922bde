//! Publishers that behave as the contract asks: the same bytes again and again until the receipt comes.
//!
//! Four posts of four parties, each with a few messages on the way, valid and invalid ones, to groups and to named
//! parties, now and then one sent twice although its receipt came. All that they see goes into the auditor's books.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::auditor::{Attempt, Books, oracle};
use super::harness::{Exchange, PATIENCE, report, sha256};

const POSTS: [(&str, &str); 4] =
    [("it-moi", "tn-01"), ("de-bpol", "tr-03"), ("fr-dnpaf", "ne-02"), ("es-pn", "sn-02")];
const AUDIENCES: [&str; 4] = ["@ms,@sac,eu-com", "de-bpol,fr-dnpaf,gr-hp", "eu-frontex", "@agencies,no-pu"];
/// Messages that a post has on the way at once.
const AT_ONCE: usize = 2;
/// How long a publisher waits for PubAck and receipt until it sends again. Short: that makes more trouble.
const AGAIN: Duration = Duration::from_millis(700);

/// Publishers at work.
pub struct Load {
    books: Arc<Mutex<Books>>,
    stop: CancellationToken,
    publishers: JoinSet<()>,
    listeners: JoinSet<()>,
}

impl Load {
    /// Begins to publish. The exchange must keep its address when it is started again.
    pub async fn begin(exchange: &Exchange) -> Self {
        let (books, stop) = (Arc::<Mutex<Books>>::default(), CancellationToken::new());
        let (mut publishers, mut listeners) = (JoinSet::new(), JoinSet::new());
        for (party, post) in POSTS {
            let client = connect(exchange, party, post).await;
            for _ in 0..AT_ONCE {
                publishers.spawn(publish(client.clone(), party, post, Arc::clone(&books), stop.clone()));
            }
            let client = connect(exchange, party, "system").await;
            let mut live = client.subscribe(format!("ilo.rcpt.{party}.>")).await.expect("subscribes");
            let books = Arc::clone(&books);
            listeners.spawn(async move {
                while let Some(message) = live.next().await {
                    let event: Value = serde_json::from_slice(&message.payload).expect("a receipt is JSON");
                    let id = event["id"].as_str().expect("a receipt has an id");
                    books.lock().hear(id, &message.payload);
                }
                drop(client);
            });
        }
        Self { books, stop, publishers, listeners }
    }

    /// How many messages have their receipt by now.
    pub fn receipted(&self) -> usize {
        self.books.lock().receipts.len()
    }

    /// Waits until this many more messages have their receipt.
    pub async fn more(&self, count: usize) {
        let wanted = self.receipted() + count;
        super::harness::until("more receipts", async || (self.receipted() >= wanted).then_some(())).await;
    }

    /// No new messages; what is on the way gets its receipt.
    pub async fn end(mut self) -> Books {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(ended) = self.publishers.join_next().await {
                ended.expect("a publisher must not fail");
            }
        });
        ended.await.expect("every message gets its receipt");
        self.listeners.shutdown().await;
        std::mem::take(&mut *self.books.lock())
    }
}

async fn connect(exchange: &Exchange, party: &str, user: &str) -> Client {
    let seed = std::fs::read_to_string(exchange.key(party, user)).expect("a key file");
    let options = ConnectOptions::with_nkey(seed.trim().to_owned())
        .custom_inbox_prefix(format!("_INBOX_{party}-{user}"))
        .reconnect_delay_callback(|_| Duration::from_millis(30))
        // A road that is lost without a word is found out by it.
        .ping_interval(Duration::from_secs(1))
        .request_timeout(Some(AGAIN));
    options.connect(exchange.nats.split(',').collect::<Vec<_>>()).await.expect("connects")
}

async fn publish(
    client: Client,
    party: &'static str,
    post: &'static str,
    books: Arc<Mutex<Books>>,
    stop: CancellationToken,
) {
    let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
    for round in 0_usize.. {
        if stop.is_cancelled() {
            return;
        }
        let audience = AUDIENCES[round % AUDIENCES.len()];
        let valid = round % 7 != 6;
        let message = message(party, post, audience, valid);
        let id = message["id"].as_str().expect("an id").to_owned();
        let bytes = message.to_string().into_bytes();
        let attempt = Attempt { bytes: bytes.clone(), valid, recipients: oracle(audience, party) };
        books.lock().attempts.insert(id.clone(), attempt);
        let receipt = receipted(&client, &subject, &id, &bytes).await;
        books.lock().receipts.insert(id.clone(), receipt);
        if round % 5 == 4 {
            let again = receipted(&client, &subject, &id, &bytes).await;
            books.lock().receipts.insert(id, again);
        }
    }
}

/// A report of a post to an audience.
pub fn message(party: &str, post: &str, audience: &str, valid: bool) -> Value {
    let mut message = report();
    message["source"] = format!("/authority/{party}/post/{post}").into();
    message["originator"] = party.into();
    message["audience"] = audience.into();
    if !valid {
        message["data"]["direction"] = "sideways".into();
    }
    message
}

/// Sends the same bytes until their receipt is stored.
async fn receipted(client: &Client, subject: &str, id: &str, bytes: &[u8]) -> Value {
    loop {
        if let Ok(Some(receipt)) = tokio::time::timeout(AGAIN, once(client, subject, id, bytes)).await {
            return receipt;
        }
        // Nobody there says so at once: no reason to ask a thousand times a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn once(client: &Client, subject: &str, id: &str, bytes: &[u8]) -> Option<Value> {
    let queued = client.request(subject.to_owned(), bytes.to_vec().into()).await.ok()?;
    let queued: Value = serde_json::from_slice(&queued.payload).ok()?;
    queued["seq"].as_u64()?;
    let mut parts = subject.split('.').skip(2);
    let call = format!("$JS.API.DIRECT.GET.RCPT.ilo.rcpt.{}.{}.{id}", parts.next()?, parts.next()?);
    loop {
        let answer = client.request(call.clone(), "".into()).await.ok()?;
        let event = serde_json::from_slice::<Value>(&answer.payload).unwrap_or_default();
        if event["data"]["sha256"] == sha256(bytes).as_str() {
            return Some(event);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
