//! Full disks: the broker stops taking messages before the archive's is full, goes on reading, and takes messages again when
//! there is room. A log that nobody can write any more stops nothing.

use std::path::Path;

use super::auditor::audit;
use super::crash::free_port;
use super::faults::{Fault, nothing_is_receipted};
use super::harness::{Dice, Exchange, FULL_LOG, SMALL_DISK, few_parties, signal, small_disks, until, word};
use super::load::Load;
use super::scene::{FAST, MORE, Scene};

/// An archive on a disk of 64 MiB, of which 24 are kept free.
const SMALL: &str = "[archive]\nreserve = 25165824\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserve_stops_receipts_and_not_reading() {
    let mut scene = Scene::begin("the reserve").await;
    Fault::DiskShort.strike(&mut scene).await;
    // It ends in order and starts while there is no room, and takes nothing.
    scene.arm("free", &(200_u64 << 20).to_string());
    scene.check("archive", false).await;
    nothing_is_receipted(&scene).await;
    scene.arm("free", "1000");
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(0), "{}", scene.exchange.log());
    let before = scene.receipted();
    scene.exchange.again().await;
    let (status, metrics) = scene.exchange.get("/readyz").await;
    assert_eq!(status, 503, "{metrics}");
    let (_, metrics) = scene.exchange.get("/metrics").await;
    assert!(metrics.contains("liaison_archive_short 1\n"), "{metrics}");
    assert!(metrics.contains("liaison_archive_free_bytes 1000\n"), "{metrics}");
    nothing_is_receipted(&scene).await;
    assert_eq!(scene.receipted(), before, "nothing is taken");
    // The operator may live with less.
    let file = scene.exchange.data.join("liaison.toml");
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, format!("{text}\n[archive]\nreserve = 500\n")).expect("written");
    assert!(scene.exchange.reload().await);
    scene.check("archive", true).await;
    scene.goes_on("a smaller reserve").await;
    scene.end().await;
}

/// With a real disk, which is really filled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_somebody_fills_stops_the_broker_before_it_is_full() {
    if small_disks().is_none() {
        assert!(word("CI").is_none(), "this machine cannot mount a small disk, and CI must");
        println!("skipped: no right to mount a small disk, neither as root nor in a user namespace");
        return;
    }
    let dice = Dice::new("a real full disk");
    let prepare = |data: &Path| std::fs::write(data.join(SMALL_DISK), "64m").expect("written");
    let mut scene = Scene::with(dice, &format!("{FAST}{SMALL}"), prepare).await;
    scene.more(20).await;
    // The broker's disk, seen from outside its namespace.
    let data = scene.exchange.data.clone();
    let inside = Path::new(&format!("/proc/{}/root", scene.exchange.pid()))
        .join(data.strip_prefix("/").expect("absolute"));
    let ballast = inside.join("archive/ballast");
    fill(&ballast, 12 << 20);
    scene.check("archive", false).await;
    nothing_is_receipted(&scene).await;
    assert!(scene.reads().await > 0, "reading goes on");
    // Whoever fills it goes on, down to the last byte. Nothing is written, so nothing fails.
    fill(&ballast, 0);
    nothing_is_receipted(&scene).await;
    assert_eq!(scene.exchange.get("/livez").await.0, 200);
    std::fs::remove_file(&ballast).expect("removed");
    scene.check("archive", true).await;
    scene.goes_on("a full disk").await;
    scene.exchange.data = inside;
    scene.end().await;
}

/// Fills a file until the disk has only this much left.
fn fill(file: &Path, left: u64) {
    use std::io::Write as _;
    let mut ballast = std::fs::File::options().create(true).append(true).open(file).expect("a file");
    let free = || {
        let found = rustix::fs::statvfs(file.parent().expect("a directory")).expect("looks");
        found.f_bavail * found.f_frsize
    };
    let piece = vec![1_u8; 64 << 10];
    while free() > left {
        // The last piece does not fit whole.
        if ballast.write_all(&piece).is_err() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_a_full_disk_stops_nothing() {
    let prepare = |data: &Path| {
        std::fs::write(data.join(FULL_LOG), []).expect("written");
        std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
        std::fs::write(data.join("liaison.toml"), FAST).expect("a configuration");
    };
    let mut exchange = Exchange::with(&["--nats-port", &free_port()], prepare).await;
    let load = Load::begin(&exchange).await;
    load.more(MORE).await;
    // Things that are logged, by every part of the house.
    let killed = exchange.nats_pid().expect("a nats-server");
    signal(killed, "KILL");
    until("another nats-server", async || exchange.nats_pid().filter(|pid| *pid != killed)).await;
    std::fs::write(exchange.data.join("network.toml"), "[[party]\n").expect("written");
    exchange.signal("HUP");
    load.more(MORE).await;
    std::fs::write(exchange.data.join("network.toml"), few_parties()).expect("written");
    exchange.signal("TERM");
    assert_eq!(exchange.wait(), Some(0));
    exchange.again().await;
    load.more(MORE).await;
    let books = load.end().await;
    audit(&exchange, &books).await;
}
