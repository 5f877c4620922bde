//! The speed of the whole way, beside a null relay in the same run: `cargo bench --bench way`.
//!
//! Streams are filled first, then drained: by the broker (all rules, subscriptions, archive, receipts, mailboxes), and
//! by a relay that does the same NATS operations (pull with AckAll, the same number and size of receipts and copies,
//! a window a stream) and nothing else. The ratio says what judging, routing and keeping cost. Then publish-to-receipt
//! latency at a fixed rate, counted from the intended send time. The machine is noisy: medians of several rounds.
//! Arguments: messages in a round, one fan-out instead of all, and `broker`, `relay` or `headed` for one kind alone, once
//! and without latency: for a profiler.
#![allow(clippy::disallowed_methods, reason = "a measurement stands outside: it has a clock of its own")]

#[allow(dead_code, unused_imports, reason = "no benchmark needs all of it")]
mod support;

use std::time::Duration;

use support::{Exchange, median};

/// Messages in one draining.
const MESSAGES: usize = 60_000;
/// Drainings of each kind.
const ROUNDS: usize = 3;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test --benches` passes arguments of the test harness; a benchmark is only run when asked for.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let messages = numbers.next().unwrap_or(MESSAGES);
    let fan_outs = numbers.next().map_or_else(|| vec![0, 3, 25], |one| vec![one]);
    let only = std::env::args().skip(1).find_map(|argument| Drain::named(&argument));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime must start").block_on(async {
        match only {
            Some(how) => println!("{:.0} messages/s", rate(messages, how, fan_outs[0]).await),
            None => run(messages, &fan_outs).await,
        }
    });
}

async fn run(messages: usize, fan_outs: &[usize]) {
    println!("| fan-out | broker msg/s | null relay msg/s | ratio | null relay with our headers | ratio |");
    println!("|---|---|---|---|---|---|");
    for fan_out in fan_outs.iter().copied() {
        let count = if fan_out == 25 { messages / 4 } else { messages };
        let (mut ours, mut null, mut headed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(rate(count, Drain::Broker, fan_out).await);
            null.push(rate(count, Drain::Relay { headers: false }, fan_out).await);
            headed.push(rate(count, Drain::Relay { headers: true }, fan_out).await);
        }
        let (ours, null, headed) = (median(&mut ours), median(&mut null), median(&mut headed));
        println!(
            "| {fan_out} | {ours:.0} | {null:.0} | {:.2} | {headed:.0} | {:.2} |",
            ours / null,
            ours / headed
        );
    }
    latency(500, Duration::from_secs(15)).await;
}

enum Drain {
    Broker,
    Relay { headers: bool },
}

impl Drain {
    fn named(name: &str) -> Option<Self> {
        match name {
            "broker" => Some(Self::Broker),
            "relay" => Some(Self::Relay { headers: false }),
            "headed" => Some(Self::Relay { headers: true }),
            _ => None,
        }
    }
}

/// Messages a second until everything is acknowledged, receipted and in the mailboxes.
async fn rate(messages: usize, how: Drain, fan_out: usize) -> f64 {
    let exchange = Exchange::start(fan_out).await;
    let filled = exchange.fill(messages).await;
    match how {
        Drain::Broker => {
            let broker = exchange.broker().await;
            let rate = exchange.drained(&filled).await;
            broker.stop().await.expect("the broker must drain");
            rate
        }
        Drain::Relay { headers } => support::relay(&exchange, &filled, fan_out, headers).await,
    }
}

/// Publish-to-receipt at a fixed rate, open loop.
async fn latency(rate: u32, length: Duration) {
    let exchange = Exchange::start(3).await;
    let broker = exchange.broker().await;
    let histogram = exchange.publish_at(rate, length).await;
    broker.stop().await.expect("the broker must drain");
    let at = |quantile: f64| {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds")]
        let ms = histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        ms
    };
    println!(
        "\npublish to receipt at {rate}/s over {} messages: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        histogram.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
