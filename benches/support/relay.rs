//! The null relay: the same NATS operations as the broker's, and nothing else.

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use liaison::message::raw::Position;
use liaison::message::subject;
use liaison::wire::acker::Acker;
use liaison::wire::connect::Road;
use liaison::wire::egress::Publisher;
use liaison::wire::intake::{Memory, Puller};
use liaison::wire::keys;
use liaison::wire::tls::Address;

use super::{Exchange, Filled, WINDOW};

/// Size of a receipt.
const RECEIPT: usize = 560;

/// Drains what was filled; messages a second as [`Exchange::drained`] counts them.
pub async fn relay(exchange: &Exchange, filled: &Filled, fan_out: usize, headers: bool) -> f64 {
    let road = |user: &str| {
        let seed = keys::read_seed(&exchange.key("broker", user)).expect("a key");
        Road { to: Address::plain(&exchange.url), seed }
    };
    let acker = Acker::default();
    let publisher = Publisher::open(road("egress"), None).await.expect("connects");
    let parties = filled.counts.iter().map(|(party, count)| {
        let puller = Puller::new(road("intake"), party.clone(), acker.clone(), nothing());
        one(puller, acker.clone(), publisher.clone(), exchange, *count, fan_out, headers)
    });
    let relays = futures_util::future::join_all(parties);
    tokio::join!(exchange.drained(filled), relays).0
}

/// It keeps nothing.
fn nothing() -> Memory {
    Memory { last: Box::new(|| None), nearest: Box::new(|_| None) }
}

async fn one(
    mut puller: Puller,
    acker: Acker,
    publisher: Publisher,
    exchange: &Exchange,
    count: u64,
    fan_out: usize,
    headers: bool,
) {
    let receipt = Bytes::from(vec![b'x'; RECEIPT]);
    let mut flying = FuturesUnordered::new();
    let mut last = Position::default();
    while last.sequence < count {
        let batch = puller.next().await.expect("the stream can be read");
        for raw in batch {
            last = raw.position;
            let id = uuid::Uuid::now_v7();
            let to = subject::receipt(&raw.party, "system", &id.to_string());
            let with = if headers {
                vec![
                    ("Content-Type", "application/cloudevents+json".to_owned()),
                    ("Nats-Msg-Id", id.to_string()),
                ]
            } else {
                Vec::new()
            };
            flying.push(publisher.publish(to, with, receipt.clone()).await);
            for party in &exchange.readers[..fan_out] {
                let to = format!("ilo.out.{party}.net.flow.observation.tn");
                let with = if headers {
                    letter(&format!("{}-{}-{party}", raw.party, last.sequence))
                } else {
                    Vec::new()
                };
                flying.push(publisher.publish(to, with, raw.payload.clone()).await);
            }
            while flying.len() >= WINDOW {
                flying.next().await.expect("one flies").expect("stored");
            }
            while let Some(Some(answer)) = flying.next().now_or_never() {
                answer.expect("stored");
            }
        }
        acker.acknowledge(puller.party(), last).await;
    }
    while let Some(answer) = flying.next().await {
        answer.expect("stored");
    }
}

/// Headers as long as the broker's.
fn letter(id: &str) -> liaison::wire::egress::Headers {
    vec![
        ("Content-Type", "application/cloudevents+json".to_owned()),
        ("Nats-Msg-Id", id.to_owned()),
        ("Ilo-Digest", format!("sha256:{}", "0".repeat(64))),
        ("Ilo-Feed-Seq", "100000".to_owned()),
        ("Ilo-Feed-Digest", "0".repeat(64)),
        ("Ilo-Archived-At", "2026-03-02T10:00:00.000Z".to_owned()),
    ]
}
