//! The way back: replay through NATS to one client, alone, and beside a full intake: `cargo bench --bench replay`.
//!
//! First the archive is filled and drained; then one party replays its whole feed with our client, which fetches the next page
//! while it reads the last. Then the intake is drained twice more, once alone and once with a party that replays without a
//! pause: the ratio says what replay costs the intake. The client parses every event and runs on the same two cores.
//! Argument: messages in a round.
#![allow(clippy::disallowed_methods, reason = "a measurement stands outside: it has a clock of its own")]

#[allow(dead_code, unused_imports, reason = "no benchmark needs all of it")]
mod support;

use std::time::{Duration, Instant};

use liaison::client::Address;
use liaison::client::replay::{Place, Replay, Wanted};
use support::{Exchange, median};

/// Messages in one round.
const MESSAGES: usize = 60_000;
/// Rounds of each kind.
const ROUNDS: usize = 3;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test --benches` passes arguments of the test harness; a benchmark is only run when asked for.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let messages = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime must start").block_on(run(messages));
}

async fn run(messages: usize) {
    let exchange = Exchange::start(1).await;
    let filled = exchange.fill(messages).await;
    let broker = exchange.broker().await;
    exchange.drained(&filled).await;
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let count = replay(&exchange).await;
        alone.push(count / started.elapsed().as_secs_f64());
        println!("replayed {count} messages: {:.0} messages/s", alone[alone.len() - 1]);
    }
    println!("replay to one client, median: {:.0} messages/s", median(&mut alone));
    broker.stop().await.expect("the broker must drain");
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(Box::pin(drain(messages, false)).await);
        beside.push(Box::pin(drain(messages, true)).await);
    }
    let (quiet, beside) = (median(&mut quiet), median(&mut beside));
    println!(
        "intake alone {quiet:.0} messages/s, beside a replay without pause {beside:.0}: {:.2}",
        beside / quiet
    );
}

/// Drains an exchange, with or without one who replays all the while.
async fn drain(messages: usize, replays: bool) -> f64 {
    let exchange = Exchange::start(1).await;
    let first = exchange.fill(messages / 4).await;
    let broker = exchange.broker().await;
    exchange.drained(&first).await;
    broker.stop().await.expect("the broker must drain");
    let filled = exchange.fill(messages).await.and(&first);
    let broker = exchange.broker().await;
    let reading = async {
        loop {
            replay(&exchange).await;
        }
    };
    let rate = tokio::select! {
        rate = exchange.drained(&filled) => rate,
        () = async { if replays { reading.await } else { std::future::pending().await } } => 0.0,
    };
    broker.stop().await.expect("the broker must drain");
    rate
}

/// Reads the whole feed of the first reader; how many messages.
#[expect(clippy::cast_precision_loss, reason = "figures to be read")]
async fn replay(exchange: &Exchange) -> f64 {
    let (party, seed) = exchange.reader();
    let wanted = Wanted {
        from: None,
        to: None,
        filters: Vec::new(),
        condition: None,
        limit: None,
        follow: false,
        patience: Duration::from_secs(10),
    };
    let connected =
        Replay::connect(&Address::plain(exchange.url()), &seed, &party, wanted, Place::default()).await;
    let mut pages = connected.expect("connects");
    let mut count = 0_u64;
    while let Some(page) = pages.next().await {
        count += page.expect("a page").messages.len() as u64;
    }
    count as f64
}
