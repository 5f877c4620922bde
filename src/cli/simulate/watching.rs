//! What is shown while a simulation runs, and the signals that end it.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::cli::exit::words;
use crate::cli::{Exit, Failure};
use crate::sim::run::{Clock, Live, Percentiles, Stop};

/// How often it is told where a terminal is, and where none is.
const EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The first Ctrl-C ends the sending, and is told with these words; the second ends everything.
pub fn obey_signals(stop: Stop, told: &'static str) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let io = |error: std::io::Error| Failure::new(Exit::Io, format!("signals: {error}"));
    let mut interrupted = signal(SignalKind::interrupt()).map_err(io)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(io)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            if stop.sending.is_cancelled() {
                stop.all.cancel();
                return;
            }
            words(told);
            stop.sending.cancel();
        }
    });
    Ok(())
}

/// Whoever shows the progress.
#[derive(Debug)]
pub struct Watch {
    over: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Shows it no more.
    pub async fn end(self) {
        self.over.cancel();
        // It cannot fail but by a panic, which has been told already.
        self.task.await.unwrap_or_default();
    }
}

/// Shows the progress on stderr until it is over.
pub fn watch(live: Arc<Live>, clock: Clock) -> Watch {
    let over = CancellationToken::new();
    let ended = over.clone();
    let task = tokio::spawn(async move {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = if on_terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let mut tick = tokio::time::interval(if on_terminal { EVERY.0 } else { EVERY.1 });
        let mut before = Counted::of(&live, &clock);
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                _ = tick.tick() => {}
            }
            let now = Counted::of(&live, &clock);
            let told = told(&live, &clock, &before, &now);
            if on_terminal {
                bar.set_message(told);
                bar.tick();
            } else if now.at > 0 {
                words(&format!("{told}\n"));
            }
            before = now;
        }
        bar.finish_and_clear();
    });
    Watch { over, task }
}

/// Counters at a moment.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: u64,
    sent: u64,
    receipted: u64,
    letters: u64,
    analysed: u64,
    replayed: u64,
}

impl Counted {
    fn of(live: &Live, clock: &Clock) -> Self {
        Self {
            at: clock.now(),
            sent: live.sent.load(Relaxed),
            receipted: live.receipted.load(Relaxed),
            letters: live.letters.load(Relaxed),
            analysed: live.analysed.load(Relaxed),
            replayed: live.replayed.load(Relaxed),
        }
    }
}

fn told(live: &Live, clock: &Clock, before: &Counted, now: &Counted) -> String {
    let span = now.at.saturating_sub(before.at).max(1);
    let rate = |then: u64, now: u64| (now - then) * 1_000_000 / span;
    let receipt = live.receipt_percentiles(clock);
    let delivery = live.delivery_percentiles(clock);
    let mut text = format!(
        "{} s  sent {}/s  receipts {}/s {}  deliveries {}/s {}  open {}  slip {}",
        now.at / 1_000_000,
        rate(before.sent, now.sent),
        rate(before.receipted, now.receipted),
        pair(receipt),
        rate(before.letters, now.letters),
        pair(delivery),
        live.open.load(Relaxed),
        milliseconds(live.slip.load(Relaxed)),
    );
    if now.analysed > 0 {
        text.push_str(&format!("  analysts {}/s", rate(before.analysed, now.analysed)));
    }
    if now.replayed > 0 {
        text.push_str(&format!("  replayed {}", now.replayed));
    }
    let given_up = live.given_up.load(Relaxed);
    if given_up > 0 {
        text.push_str(&format!("  given up {given_up}"));
    }
    text
}

/// p50/p99
fn pair(percentiles: Percentiles) -> String {
    format!("{}/{}", milliseconds(percentiles.p50), milliseconds(percentiles.p99))
}

fn milliseconds(micros: u64) -> String {
    if micros < 10_000 {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    } else {
        format!("{} ms", micros / 1_000)
    }
}
