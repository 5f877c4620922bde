//! What the machine itself does: it loses its power, with everything on it or with nats-server's disk alone, or gives only so much
//! memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::auditor::{Expect, audit, audit_expecting, mailbox, taken};
use super::control::erase;
use super::crash::{FAST, free_port};
use super::harness::{
    Dice, Exchange, Letter, PATIENCE, REPORT_SUBJECT, api, audit_feed, few_parties, folder, setting, signal,
    stream, text, until,
};
use super::instances::Instances;
use super::load::{Load, message};
use super::mail::stored_receipt;
use super::mailboxes::send;
use super::proxy::{Proxy, Weather};
use super::strain;

/// A disk as a file: what was written to it, and not what the kernel still holds back, is what a power cut leaves.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        let (image, at) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::File::create(&image).and_then(|file| file.set_len(1 << 30)).expect("an image");
        std::fs::create_dir(&at).expect("a directory");
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &text(&image)]);
        let disk = Self { image, at };
        disk.mount();
        disk
    }

    /// Nothing goes to the disk by itself for five minutes: only what is synced does.
    fn mount(&self) {
        run("mount", &["-o", "loop,commit=300", &text(&self.image), &text(&self.at)]);
    }

    /// Ends the power: what was on its way to the disk is gone. Nobody writes any more, and those who had it open are dead when
    /// `off` returns.
    fn cut(&self, off: impl FnOnce()) {
        let picture = self.image.with_extension("cut");
        run("cp", &["--sparse=always", &text(&self.image), &text(&picture)]);
        // The kernel may have written by itself after all: then the picture would be of two moments.
        while !Command::new("cmp")
            .args(["-s", &text(&self.image), &text(&picture)])
            .status()
            .expect("compares")
            .success()
        {
            run("cp", &["--sparse=always", &text(&self.image), &text(&picture)]);
        }
        off();
        // A process that was killed holds its files until the kernel has cleared it away.
        let end = Instant::now() + PATIENCE;
        while !Command::new("umount").arg(&self.at).stderr(Stdio::null()).status().expect("runs").success() {
            assert!(Instant::now() < end, "somebody still has the disk");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::rename(picture, &self.image).expect("renamed");
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-l", &text(&self.at)]).status());
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("runs");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The machine with broker, archive and nats-server loses its power under load, again and again. Nothing that was receipted is missing
/// afterwards; what nats-server had not written is delivered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root and a loop device; scripts/chaos --cuts N runs it"]
async fn a_machine_that_loses_its_power_loses_nothing_that_was_receipted() {
    let mut dice = Dice::new("power cuts");
    let folder = folder();
    let disk = Disk::new(folder.path());
    let data = disk.at.join("data");
    std::fs::create_dir(&data).expect("a data directory");
    std::fs::write(data.join("network.toml"), few_parties()).expect("a registry");
    std::fs::write(data.join("liaison.toml"), FAST).expect("a configuration");
    let mut exchange = Exchange::at(&data, &["--nats-port", &free_port()]).await;
    run("sync", &["-f", &text(&data)]);
    let load = Load::begin(&exchange).await;
    for _ in 0..setting("LIAISON_CUTS", 3) {
        load.more(20).await;
        if dice.below(2) == 0 {
            run("sync", &["-f", &text(&data)]);
        }
        tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
        let pids = [exchange.pid(), exchange.nats_pid().expect("a nats-server")];
        pids.iter().for_each(|pid| signal(*pid, "STOP"));
        // What is in the kernel already ends before the power does.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = load.receipted();
        disk.cut(|| exchange.kill());
        let ready = exchange.again().await;
        load.more(20).await;
        println!("cut after {before} receipts, ready again after {ready:?}");
    }
    let books = load.end().await;
    audit_expecting(&exchange, &books, Expect { remade: true, server_lost: true, ..Expect::default() }).await;
    let verified = exchange.run(&["archive", "verify", &text(&data)]);
    assert!(verified.status.success(), "{verified:?}");
    exchange.kill();
}

/// One of three machines loses its power under load, again and again, with its nats-server and its instance: now the one that serves,
/// now the one that stands by. What that server had not written is gone; the others go on and have everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root and a loop device; scripts/chaos --cuts N runs it"]
async fn a_machine_of_a_cluster_that_loses_its_power_loses_nothing() {
    let mut dice = Dice::new("power cuts of one machine of three");
    let folder = folder();
    let disk = Disk::new(folder.path());
    let mut instances = Instances::on_three_servers_and_a_disk(&disk.at).await;
    run("sync", &["-f", &text(&disk.at)]);
    instances.stand_by("b").await;
    let load = Load::begin(&instances.exchange).await;
    for _ in 0..setting("LIAISON_CUTS", 3) {
        load.more(20).await;
        tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
        let serves = instances.exchange.data.ends_with("a");
        let instance = if serves { instances.exchange.pid() } else { instances.standby_pid() };
        [instance, instances.servers[0].pid()].iter().for_each(|pid| signal(*pid, "STOP"));
        // What is in the kernel already ends before the power does.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (before, since) = (load.receipted(), Instant::now());
        disk.cut(|| {
            instances.servers[0].kill();
            if serves { instances.exchange.kill() } else { instances.standby_dies() }
        });
        if serves {
            instances.taken_over().await;
        }
        load.more(20).await;
        println!("cut after {before} receipts, serving {serves}: 20 more after {:?}", since.elapsed());
        instances.servers[0].again();
        instances.stand_by("a").await;
        load.more(20).await;
        instances.replaced().await;
        if !serves && instances.exchange.data.ends_with("b") {
            // The machine serves again when it loses its power the next time.
            instances.exchange.signal("TERM");
            let (mut before, _) = instances.taken_over().await;
            assert_eq!(before.wait().expect("waits").code(), Some(0));
            instances.stand_by("b").await;
        }
    }
    let books = load.end().await;
    audit(&instances.exchange, &books).await;
    let verified = instances.exchange.run(&["archive", "verify", &text(&instances.exchange.data)]);
    assert!(verified.status.success(), "{verified:?}");
    drop(instances);
}

/// The kernel gives the broker no more than this on top of what an idle one has, its share of the page cache included.
const CAP: &str = "96M";

/// A group of processes that share a cap on memory.
struct Cap(PathBuf);

impl Cap {
    fn on(pid: u32) -> Self {
        let group = PathBuf::from(format!("/sys/fs/cgroup/memory/liaison-{pid}"));
        std::fs::create_dir(&group).expect("a group, as root, where the memory controller is mounted there");
        std::fs::write(group.join("memory.limit_in_bytes"), CAP).expect("a cap");
        std::fs::write(group.join("cgroup.procs"), pid.to_string()).expect("a member");
        Self(group)
    }

    fn told(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).expect("readable")
    }
}

impl Drop for Cap {
    fn drop(&mut self) {
        // It has no members when the broker is gone.
        drop(std::fs::remove_dir(&self.0));
    }
}

/// Under a cap of the kernel a backlog of large messages waits in its stream: the broker is not killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root and a memory controller of the first version; LIAISON_LARGE makes the backlog longer"]
async fn a_cap_on_memory_slows_the_broker_and_does_not_kill_it() {
    let exchange = Exchange::apart(strain::UNMETERED).await;
    let cap = Cap::on(exchange.pid());
    exchange.signal("STOP");
    let all = strain::backlog(&exchange).await;
    exchange.signal("CONT");
    until("a receipt for each", async || strain::has_receipted(&exchange, all).await.then_some(())).await;
    println!(
        "{all} messages, at the cap {} times, {}",
        cap.told("memory.failcnt").trim(),
        cap.told("memory.oom_control")
    );
    assert!(cap.told("memory.oom_control").contains("oom_kill 0"), "killed for its memory");
    drop(exchange);
}

/// A power cut may leave nats-server the file of how far a durable was and take the one that says that there is a durable, and the
/// stream's end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_that_nats_server_forgot_half_of_begins_anew() {
    let mut exchange = Exchange::apart("").await;
    for _ in 0..3 {
        send(&exchange, "fr-dnpaf").await;
    }
    let before = mailbox(&exchange, "fr-dnpaf", 3).await;
    exchange.kill();
    exchange.stop_server();
    for stream in ["IN_IT_MOI", "MBOX_FR_DNPAF"] {
        std::fs::remove_dir_all(exchange.stream_files(stream).join("msgs")).expect("lost");
    }
    // That of the intake is in memory and leaves nothing behind.
    let durables = exchange.stream_files("MBOX_FR_DNPAF").join("obs");
    std::fs::write(durables.join("main").join("meta.inf"), "").expect("emptied");
    exchange.start_server(&[]).await;
    exchange.again().await;
    let last = send(&exchange, "fr-dnpaf").await;
    let letters = mailbox(&exchange, "fr-dnpaf", 4).await;
    audit_feed(&letters);
    let ids = |letters: &[Letter]| letters.iter().map(Letter::id).collect::<Vec<_>>();
    assert_eq!(ids(&letters), [ids(&before), vec![last]].concat());
}

/// Messages of a party.
const MANY: usize = 120;

/// Waits until the broker has noted that everything up to a place in the intake of it-moi is receipted.
async fn is_noted(exchange: &Exchange, upto: usize) {
    let file = exchange.data.join("archive/receipted-upto");
    let end = format!(" {upto}");
    until("the note", async || {
        let noted = std::fs::read_to_string(&file).ok()?;
        noted.lines().any(|line| line.starts_with("it-moi ") && line.ends_with(&end)).then_some(())
    })
    .await;
}

/// nats-server forgets how far an intake was read; the archive knows, and not all of it is read and answered again. Neither what is
/// erased from the stream nor what never got a record is in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_again_is_read_on_from_where_it_was() {
    let mut exchange = Exchange::apart(FAST).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let mut sent = Vec::new();
    for _ in 0..MANY {
        let report = message("it-moi", "tn-01", "fr-dnpaf", true);
        let receipt = exchange.publish(&post, REPORT_SUBJECT, report.to_string().into()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        sent.push(report);
    }
    let repeated = sent[0].to_string().into_bytes();
    let receipt = exchange.publish(&post, REPORT_SUBJECT, repeated).await;
    assert_eq!(receipt["data"]["outcome"], "duplicate", "{receipt}");
    let admin = exchange.admin().await;
    let erased = json!({ "seq": MANY - 20, "no_erase": true });
    let call = format!("STREAM.MSG.DELETE.{}", stream("IN", "it-moi"));
    assert_eq!(api(&admin, &call, &erased).await["success"], true);
    let before = taken(&admin, "RCPT").await;
    is_noted(&exchange, MANY + 1).await;
    for (upto, broker_too) in [(MANY + 2, false), (MANY + 3, true)] {
        exchange.kill_server();
        if broker_too {
            exchange.kill();
        }
        exchange.start_server(&[]).await;
        if broker_too {
            exchange.again().await;
        }
        sent.push(send(&exchange, "fr-dnpaf").await.into());
        is_noted(&exchange, upto).await;
    }
    let told = taken(&exchange.admin().await, "RCPT").await - before;
    println!("{told} receipts told, two of them new");
    // Behind the last publication that has a record stands one that was only answered.
    assert!((2..=4).contains(&told), "{told}");
    let letters = mailbox(&exchange, "fr-dnpaf", sent.len()).await;
    audit_feed(&letters);
    assert_eq!(letters.len(), MANY + 2);
}

/// nats-server's disk loses the end of an intake stream, and before the broker sees it again the places are given to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_are_given_away_a_second_time_are_read_a_second_time() {
    let mut road = None;
    let way = async |url: &str| {
        let proxy = Proxy::start(url, 1).await;
        let url = proxy.url();
        road = Some(proxy);
        url
    };
    let mut exchange = Exchange::through("", |_| {}, way).await;
    let road = road.expect("a road was made");
    let (store, kept) = (exchange.data.join("nats/store"), exchange.data.join("kept"));
    let mut sent = vec![send(&exchange, "fr-dnpaf").await];
    exchange.kill_server();
    run("cp", &["-r", &text(&store), &text(&kept)]);
    exchange.start_server(&[]).await;
    for _ in 0..2 {
        sent.push(send(&exchange, "fr-dnpaf").await);
    }
    road.set(Weather::Silent);
    exchange.kill_server();
    std::fs::remove_dir_all(&store).expect("lost");
    std::fs::rename(&kept, &store).expect("as it was");
    exchange.start_server(&[]).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    for _ in 0..4 {
        let report = message("it-moi", "tn-01", "fr-dnpaf", true);
        let taken = post.request(REPORT_SUBJECT, report.to_string().into()).await.expect("an answer");
        assert!(!String::from_utf8_lossy(&taken.payload).contains("error"), "{taken:?}");
        sent.push(report["id"].as_str().expect("an id").to_owned());
    }
    road.set(Weather::Fair);
    for id in &sent[3..] {
        until("a receipt", async || stored_receipt(&post, REPORT_SUBJECT, id).await).await;
    }
    let letters = mailbox(&exchange, "fr-dnpaf", sent.len()).await;
    audit_feed(&letters);
    assert_eq!(letters.iter().map(Letter::id).collect::<Vec<_>>(), sent);
    erasure_leaves_the_other(&exchange, &letters[1]).await;
}

/// The same, and behind a place that was given to another the publisher has sent the same bytes again, to the same places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_at_the_same_place_do_not_hide_another_before_them() {
    let mut exchange = Exchange::apart(FAST).await;
    let (store, kept) = (exchange.data.join("nats/store"), exchange.data.join("kept"));
    send(&exchange, "fr-dnpaf").await;
    exchange.kill_server();
    run("cp", &["-r", &text(&store), &text(&kept)]);
    exchange.start_server(&[]).await;
    let reports: Vec<Value> = (0..40).map(|_| message("it-moi", "tn-01", "fr-dnpaf", true)).collect();
    let post = exchange.connect("it-moi", "tn-01").await;
    for report in &reports {
        exchange.publish(&post, REPORT_SUBJECT, report.to_string().into()).await;
    }
    exchange.kill();
    exchange.kill_server();
    std::fs::remove_dir_all(&store).expect("lost");
    std::fs::rename(&kept, &store).expect("as it was");
    exchange.start_server(&[]).await;
    let post = exchange.connect("it-moi", "tn-01").await;
    let other = message("it-moi", "tn-01", "fr-dnpaf", true);
    for report in std::iter::once(&other).chain(&reports[1..]) {
        let taken = post.request(REPORT_SUBJECT, report.to_string().into()).await.expect("an answer");
        assert!(!String::from_utf8_lossy(&taken.payload).contains("error"), "{taken:?}");
    }
    exchange.again().await;
    let id = other["id"].as_str().expect("an id");
    until("a receipt", async || stored_receipt(&post, REPORT_SUBJECT, id).await).await;
}

/// The second message of it-moi is erased. At its place in the intake stream stands another by now, which must stay.
async fn erasure_leaves_the_other(exchange: &Exchange, second: &Letter) {
    let event: Value = serde_json::from_slice(&second.payload).expect("JSON");
    let receipt = erase(exchange, &event, "fr-dnpaf").await;
    let ordered = receipt["seq"].as_u64().expect("an archive sequence");
    let mark = exchange.data.join("archive/withdrawn-upto");
    let done =
        || std::fs::read_to_string(&mark).ok()?.trim().parse::<u64>().ok().filter(|upto| *upto >= ordered);
    until("the order carried out", async || done()).await;
    let call = format!("STREAM.MSG.GET.{}", stream("IN", "it-moi"));
    let stands = api(&exchange.admin().await, &call, &json!({ "seq": 2 })).await;
    assert!(stands["message"]["data"].is_string(), "another message was taken for the erased one: {stands}");
}
