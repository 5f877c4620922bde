//! Strain: no descriptors, no core to spare, a clock that jumps, hundreds that come back at once or come and go, and bad files at
//! every reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::connection::State;

use super::auditor::archived;
use super::faults::{Fault, JUMPS};
use super::harness::{Exchange, FEW, api, example, few_parties, fresh_id, setting, shifted, stream, until};
use super::load::message;
use super::scene::{Scene, check};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_descriptors_breaks_no_promise() {
    let mut scene = Scene::begin("no descriptors").await;
    Fault::DescriptorsGone.strike(&mut scene).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_refuses_nobody_wrongly() {
    let mut scene = Scene::begin("the clock").await;
    for seconds in JUMPS {
        Fault::ClockJumps(seconds).strike(&mut scene).await;
    }
    scene.end().await;
}

/// A broker that looks every second for what falls due, and has one message with a day on which it is to be erased.
async fn with_an_identity_request() -> Exchange {
    let exchange = Exchange::with(&["--enable-case-plane"], |data| {
        std::fs::create_dir(data.join("faults")).expect("a directory of faults");
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        std::fs::write(data.join("liaison.toml"), "[retention]\nevery_seconds = 1\n")
            .expect("a configuration");
    })
    .await;
    let case = example("valid/07-case-identity-request.json");
    let mut message = shifted(case["message"].clone());
    message["id"] = fresh_id().into();
    let system = exchange.connect("nl-dtv", "system").await;
    let subject = case["natsSubject"].as_str().expect("a subject");
    let receipt = exchange.publish(&system, subject, message.to_string().into_bytes()).await;
    assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
    exchange
}

/// Thirty years ahead, every date has come. Gives the file that makes it so.
fn leap(exchange: &Exchange) -> PathBuf {
    set_clock(exchange, 30 * 365 * 24 * 3_600)
}

/// Makes the clock wrong by so many seconds. Gives the file that makes it so.
fn set_clock(exchange: &Exchange, seconds: i64) -> PathBuf {
    let clock = exchange.data.join("faults/clock");
    std::fs::write(clock.with_extension("new"), seconds.to_string()).expect("written");
    std::fs::rename(clock.with_extension("new"), &clock).expect("renamed");
    clock
}

/// Nothing is erased by this clock, nor when it is right again.
async fn nothing_is_erased(exchange: &Exchange, clock: &Path) {
    let words = check(exchange, "clock", false).await;
    assert!(words.contains("nothing is erased"), "{words}");
    // Three looks at what is due.
    tokio::time::sleep(Duration::from_secs(3)).await;
    std::fs::remove_file(clock).expect("removed");
    check(exchange, "clock", true).await;
    // An erasure is a record of its own.
    let records = archived(exchange);
    assert_eq!(records.len(), 1, "something was done: {records:?}");
}

/// In a quiet hour the clock leaps. Nobody sends anything afterwards either, and the broker is well again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_leaps_ahead_erases_nothing() {
    let exchange = with_an_identity_request().await;
    let clock = leap(&exchange);
    nothing_is_erased(&exchange, &clock).await;
}

/// A machine comes up with a clock of its own making, and the broker with it. Only when the operator says that the clock is right is
/// done what has fallen due by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_at_the_start_erases_nothing() {
    let mut exchange = with_an_identity_request().await;
    exchange.kill();
    let clock = leap(&exchange);
    exchange.again().await;
    nothing_is_erased(&exchange, &clock).await;
    exchange.kill();
    leap(&exchange);
    exchange.again_with("--trust-clock").await;
    check(&exchange, "clock", true).await;
    until("the erasure", async || (archived(&exchange).len() > 1).then_some(())).await;
}

/// A machine comes up with a clock that stands still since its battery died, is set right, and then leaps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_behind_at_the_start_erases_nothing_when_it_leaps() {
    let mut exchange = with_an_identity_request().await;
    exchange.kill();
    let clock = set_clock(&exchange, -10 * 365 * 24 * 3_600);
    exchange.again().await;
    std::fs::remove_file(&clock).expect("removed");
    check(&exchange, "clock", true).await;
    let clock = leap(&exchange);
    nothing_is_erased(&exchange, &clock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_at_every_reload_under_load_change_nothing() {
    let mut scene = Scene::begin("bad reloads").await;
    Fault::BadReloads.strike(&mut scene).await;
    scene.end().await;
}

/// `LIAISON_STORM` says how many clients come back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reconnecting_clients_passes() {
    let mut scene = Scene::begin("a storm").await;
    let many = usize::try_from(setting("LIAISON_STORM", 500)).expect("small");
    let mut clients = Vec::new();
    for at in 0..many {
        let party = FEW[at % FEW.len()];
        let seed = std::fs::read_to_string(scene.exchange.key(party, "system")).expect("a key");
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(format!("_INBOX_{party}-system"))
            .reconnect_delay_callback(|attempts| Duration::from_millis(20 * attempts.min(25) as u64));
        clients.push(options.connect(&scene.exchange.nats).await.expect("connects"));
    }
    scene.exchange.kill_server();
    let gone =
        async || clients.iter().all(|client| client.connection_state() != State::Connected).then_some(());
    until("the end of all connections", gone).await;
    let started = Instant::now();
    scene.exchange.start_server(&[]).await;
    let back =
        async || clients.iter().all(|client| client.connection_state() == State::Connected).then_some(());
    until("all connections again", back).await;
    println!("{many} clients are back after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    scene.goes_on("a storm").await;
    drop(clients);
    scene.end().await;
}

/// More threads that compute than there are cores, beside broker, server and load: everything is late, nothing is wrong, and
/// nobody takes the other for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_core_to_spare_makes_nothing_wrong() {
    let mut scene = Scene::begin("no core to spare").await;
    let begun = scene.exchange.log().len();
    let over = Arc::new(AtomicBool::new(false));
    let burners: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    scene.hold(3_000, 5_000).await;
    scene.goes_on("still burning").await;
    over.store(true, Ordering::Relaxed);
    for burner in burners {
        burner.join().expect("ends");
    }
    let told = scene.log_from(begun);
    assert!(!told.contains("taking a new one") && !told.contains("half open"), "{told}");
    scene.end().await;
}

/// Five hundred connections that come and go again at once, in twenty waves: nothing of them stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_come_and_go_leave_nothing_behind() {
    let scene = Scene::begin("flapping").await;
    let open = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).expect("lists").count();
    let server = scene.exchange.server.as_ref().expect("a nats-server apart").id();
    let (broker_before, server_before) = (open(scene.exchange.pid()), open(server));
    for _ in 0..20 {
        let wave = (0..25).map(|at| scene.exchange.connect(FEW[at % FEW.len()], "system"));
        for client in futures_util::future::join_all(wave).await {
            // Dropped without a word, as a program that is killed does.
            drop(client);
        }
    }
    until("the end of all descriptors of the server", async || {
        (open(server) <= server_before + 2).then_some(())
    })
    .await;
    assert!(open(scene.exchange.pid()) <= broker_before + 4, "of the broker");
    scene.goes_on("flapping").await;
    scene.end().await;
}

/// How large the messages are.
const LARGE_BYTES: usize = 200 * 1024;
/// What they may cost. All at once would be 312 MiB, and copies on the way.
const MOST_KIB: u64 = 220 * 1024;

pub const UNMETERED: &str = "[rate]\nper_second = 1e6\nburst = 1e6\n";

/// Large messages of four posts, which nobody reads yet; how many. `LIAISON_LARGE` says how many a post sends.
pub async fn backlog(exchange: &Exchange) -> usize {
    let large = usize::try_from(setting("LIAISON_LARGE", 400)).expect("small");
    let posts = [("it-moi", "tn-01"), ("de-bpol", "tr-03"), ("fr-dnpaf", "ne-02"), ("es-pn", "sn-02")];
    for (party, post) in posts {
        let client = exchange.connect(party, post).await;
        let subject = format!("ilo.in.{party}.{post}.net.flow.observation.tn");
        for _ in 0..large {
            let mut bytes = message(party, post, "eu-com", true).to_string();
            bytes.push_str(&" ".repeat(LARGE_BYTES - bytes.len()));
            client.publish(subject.clone(), bytes.into()).await.expect("publishes");
        }
        client.flush().await.expect("flushes");
        until("a backlog", async || {
            let call = format!("STREAM.INFO.{}", stream("IN", party));
            let info = api(&exchange.admin().await, &call, &serde_json::json!({})).await;
            (info["state"]["messages"] == large).then_some(())
        })
        .await;
    }
    posts.len() * large
}

/// True if the broker says that so many receipts are stored.
pub async fn has_receipted(exchange: &Exchange, count: usize) -> bool {
    exchange.get("/metrics").await.1.contains(&format!("liaison_receipts_total {count}\n"))
}

/// The largest memory that the broker ever had, in KiB.
fn peak(exchange: &Exchange) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exchange.pid())).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A backlog of large messages is taken as fast as it is archived, and no faster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_large_messages_does_not_fill_the_memory() {
    let mut exchange = Exchange::apart(UNMETERED).await;
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    let all = backlog(&exchange).await;
    exchange.again().await;
    until("a receipt for each", async || has_receipted(&exchange, all).await.then_some(())).await;
    println!("{} KiB at most", peak(&exchange));
    assert!(peak(&exchange) < MOST_KIB, "{} KiB", peak(&exchange));
}
