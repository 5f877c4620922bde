//! The faults: each one is made on a scene under load, ends, and the scene must go on. What was lost or doubled by it is the
//! auditor's to find, at the end of the scene.
//!
//! The tests in `stages.rs`, `full.rs`, `roads.rs` and `strain.rs` make them one after the other; `chaos.rs` throws them.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use super::harness::*;
use super::proxy::Weather;
use super::scene::Scene;

/// Places where the broker can be killed: between all stages of the way of a message.
pub const STAGES: [&str; 16] = [
    "fetched",
    "judged",
    "settled",
    "write",
    "half-written",
    "written",
    "synced",
    "sled-put",
    "sealed",
    "kept",
    "receipting",
    "receipted",
    "acknowledged",
    "delivered",
    "checkpoint",
    "logged",
];

/// How a disk fails under the journal.
pub const DISK: [(&str, &str); 4] =
    [("write", "EIO"), ("half-written", "ENOSPC"), ("sync", "EIO"), ("sync", "ENOSPC")];

/// Streams that somebody may delete.
pub const STREAMS: [&str; 3] = ["IN_IT_MOI", "RCPT", "MBOX_FR_DNPAF"];

/// The clock goes wrong by so many seconds.
pub const JUMPS: [i64; 4] = [-30 * YEAR, 3_600, -3_600, 30 * YEAR];
const YEAR: i64 = 365 * 24 * 3_600;

/// How a road is bad.
pub const ROADS: [Weather; 7] = [
    Weather::Slow(Duration::from_millis(20)),
    Weather::Sliced,
    Weather::Silent,
    Weather::SilentThere,
    Weather::SilentBack,
    Weather::Cut,
    Weather::Reset,
];

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    BrokerKilled,
    BrokerKilledAt(&'static str),
    BrokerTerminated,
    DiskFails(&'static str, &'static str),
    SledFails,
    AuditLogFails,
    DiskShort,
    ServerKilled,
    ServerStopped,
    ServerRenamed,
    ServerWiped,
    StreamDeleted(&'static str),
    IntakeFlipped,
    IntakeCut,
    MailboxFlipped,
    MailboxCut,
    BrokerRoad(Weather),
    BrokerRoadLost,
    PublishersRoad(Weather),
    DescriptorsGone,
    ClockJumps(i64),
    BadReloads,
    SlowReader,
}

impl Fault {
    /// Any of them.
    pub fn any(dice: &mut Dice) -> Self {
        match dice.below(24) {
            0 => Self::BrokerKilled,
            1 | 2 => Self::BrokerKilledAt(dice.pick(&STAGES)),
            3 => Self::BrokerTerminated,
            4 => {
                let (place, how) = dice.pick(&DISK);
                Self::DiskFails(place, how)
            }
            5 => Self::SledFails,
            6 => Self::AuditLogFails,
            7 => Self::DiskShort,
            8 => Self::ServerKilled,
            9 => Self::ServerStopped,
            10 => Self::ServerRenamed,
            11 => Self::ServerWiped,
            12 => Self::StreamDeleted(dice.pick(&STREAMS)),
            13 => Self::IntakeFlipped,
            14 => Self::IntakeCut,
            15 => Self::BrokerRoad(dice.pick(&ROADS)),
            16 => Self::BrokerRoadLost,
            17 => Self::PublishersRoad(dice.pick(&ROADS)),
            18 => Self::DescriptorsGone,
            19 => Self::ClockJumps(dice.pick(&JUMPS)),
            20 => Self::SlowReader,
            21 => Self::MailboxFlipped,
            22 => Self::MailboxCut,
            _ => Self::BadReloads,
        }
    }

    /// Its name in the table.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Makes it, ends it, and waits until the scene goes on.
    pub async fn strike(self, scene: &mut Scene) {
        match self {
            Self::BrokerKilled => {
                scene.hold(0, 400).await;
                scene.exchange.kill();
                scene.exchange.again().await;
            }
            Self::BrokerKilledAt(stage) => killed_at(scene, stage).await,
            Self::BrokerTerminated => {
                scene.exchange.signal("TERM");
                assert_eq!(scene.exchange.wait(), Some(0), "{}", scene.exchange.log());
                scene.exchange.again().await;
            }
            Self::DiskFails(place, how) => disk_fails(scene, place, &format!("{how} /journal/")).await,
            Self::SledFails => disk_fails(scene, "sled-put", "ENOSPC").await,
            Self::AuditLogFails => audit_log_fails(scene).await,
            Self::DiskShort => disk_short(scene).await,
            Self::ServerKilled => {
                scene.exchange.kill_server();
                scene.exchange.start_server(&[]).await;
            }
            Self::ServerStopped => {
                signal(scene.exchange.server_pid(), "STOP");
                scene.hold(500, 4_000).await;
                signal(scene.exchange.server_pid(), "CONT");
            }
            Self::ServerRenamed => {
                scene.exchange.kill_server();
                let name = format!("other-{}", scene.dice.below(1_000));
                scene.exchange.start_server(&["--name", &name]).await;
            }
            Self::ServerWiped => server_wiped(scene).await,
            Self::StreamDeleted(stream) => stream_deleted(scene, stream).await,
            Self::IntakeFlipped => stream_damaged(scene, &INTAKES, true).await,
            Self::IntakeCut => stream_damaged(scene, &INTAKES, false).await,
            Self::MailboxFlipped => stream_damaged(scene, &MAILBOXES, true).await,
            Self::MailboxCut => stream_damaged(scene, &MAILBOXES, false).await,
            Self::BrokerRoad(weather) => {
                scene.broker.set(weather);
                scene.hold(300, 2_500).await;
                scene.broker.set(Weather::Fair);
            }
            Self::BrokerRoadLost => {
                let before = scene.broker.roads();
                scene.broker.lose();
                let fresh = async || (scene.broker.roads() > before).then_some(());
                until("new roads in the place of the lost ones", fresh).await;
                scene.broker.set(Weather::Fair);
            }
            Self::PublishersRoad(weather) => {
                scene.posts.set(weather);
                scene.hold(300, 2_500).await;
                scene.posts.set(Weather::Fair);
            }
            Self::DescriptorsGone => descriptors_gone(scene).await,
            Self::ClockJumps(seconds) => clock_jumps(scene, seconds).await,
            Self::BadReloads => bad_reloads(scene).await,
            Self::SlowReader => slow_reader(scene).await,
        }
        scene.goes_on(&self.name()).await;
    }
}

async fn killed_at(scene: &mut Scene, stage: &str) {
    // Blocks of sled are rare, checkpoints too: the first one.
    let rare = ["sled-put", "sealed", "checkpoint", "logged"].contains(&stage);
    let passing = if rare { 1 } else { 1 + scene.dice.below(4) };
    scene.arm(stage, &format!("kill {passing}"));
    if ["checkpoint", "logged"].contains(&stage) {
        // A witness that asks has one signed.
        let client = scene.exchange.connect("de-bpol", "system").await;
        for _ in 0..200 {
            if scene.is_gone() {
                break;
            }
            let asked = client.request("ilo.svc.de-bpol.witness", "{\"old\":0}".into());
            drop(tokio::time::timeout(Duration::from_millis(300), asked).await);
        }
    }
    let status = scene.gone().await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{stage}: {status}");
    scene.disarm(stage);
    scene.exchange.again().await;
}

/// A write or sync fails: the process ends, and believes nothing afterwards.
async fn disk_fails(scene: &mut Scene, place: &str, how: &str) {
    let logged = scene.exchange.log().len();
    scene.arm(place, how);
    let status = scene.gone().await;
    assert_eq!(status.code(), Some(1), "{place} {how}: {status}");
    let log = scene.log_from(logged);
    assert!(log.contains("the archive cannot write; no more receipts"), "{place} {how}: {log}");
    scene.disarm(place);
    scene.exchange.again().await;
}

/// The audit log cannot be written: nothing is given out, and messages are taken. It is not believed again before a restart.
async fn audit_log_fails(scene: &mut Scene) {
    scene.arm("sync", "EIO /audit/");
    for _ in 0..2 {
        let refused = scene.ask("replay", &json!({ "limit": 1 })).await.expect_err("nothing is given out");
        assert_eq!(refused.1["code"], "E-AUDIT", "{refused:?}");
        scene.disarm("sync");
    }
    scene.check("audit", false).await;
    scene.more(super::scene::MORE).await;
    scene.exchange.signal("TERM");
    assert_eq!(scene.exchange.wait(), Some(1));
    scene.exchange.again().await;
    assert!(scene.reads().await > 0);
}

/// The disk has less room than the reserve: no message is taken, reading goes on, and so does the broker when there is room.
pub async fn disk_short(scene: &mut Scene) {
    let logged = scene.exchange.log().len();
    scene.arm("free", &(200_u64 << 20).to_string());
    let words = scene.check("archive", false).await;
    assert!(words.contains("200 MiB free in"), "{words}");
    scene.says(logged, "no more messages are taken").await;
    nothing_is_receipted(scene).await;
    assert!(scene.reads().await > 0, "reading goes on");
    // More than the reserve and less than a quarter above it: it does not flutter.
    scene.arm("free", &(300_u64 << 20).to_string());
    nothing_is_receipted(scene).await;
    scene.disarm("free");
    scene.check("archive", true).await;
}

/// What was on the way is done, and then nothing comes for a while.
pub async fn nothing_is_receipted(scene: &Scene) {
    let quiet = Duration::from_millis(1_500);
    let mut seen = (scene.receipted(), std::time::Instant::now());
    until("an end of receipts", async || {
        let now = scene.receipted();
        if now != seen.0 {
            seen = (now, std::time::Instant::now());
        }
        (seen.1.elapsed() >= quiet).then_some(())
    })
    .await;
}

/// Everything that nats-server held is gone. The broker says so; its next start makes the streams anew and fills the mailboxes.
async fn server_wiped(scene: &mut Scene) {
    let logged = scene.exchange.log().len();
    scene.exchange.kill_server();
    std::fs::remove_dir_all(scene.exchange.data.join("nats/store")).expect("wiped");
    scene.exchange.start_server(&[]).await;
    scene.expect.remade = true;
    scene.says(logged, "IN_IT_MOI").await;
    scene.exchange.kill();
    scene.exchange.again().await;
}

async fn stream_deleted(scene: &mut Scene, stream: &str) {
    let deleted = api(&scene.exchange.admin().await, &format!("STREAM.DELETE.{stream}"), &json!({})).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    scene.expect.remade = true;
    scene.hold(100, 1_000).await;
    scene.exchange.kill();
    scene.exchange.again().await;
}

/// Streams that can be damaged on disk.
const INTAKES: [&str; 4] = ["IN_IT_MOI", "IN_DE_BPOL", "IN_FR_DNPAF", "IN_ES_PN"];
const MAILBOXES: [&str; 3] = ["MBOX_EU_COM", "MBOX_NL_DTV", "MBOX_NO_PU"];

/// A bit in the last block of a stream is flipped on disk, or its end is cut off, while nats-server is down.
async fn stream_damaged(scene: &mut Scene, which: &[&'static str], flip: bool) {
    let party = scene.dice.pick(which);
    let admin = scene.exchange.admin().await;
    let info = format!("STREAM.INFO.{party}");
    // Another fault may have emptied it a moment ago.
    until("something to be damaged", async || {
        let stands = api(&admin, &info, &json!({})).await;
        (stands["state"]["messages"].as_u64()? > 0).then_some(())
    })
    .await;
    scene.exchange.kill_server();
    let block = scene.exchange.last_block(party);
    let mut bytes = std::fs::read(&block).expect("a block");
    assert!(!bytes.is_empty(), "{party} holds something");
    let at = usize::try_from(scene.dice.below(bytes.len() as u64)).expect("small");
    if flip {
        bytes[at] ^= 1 << scene.dice.below(8);
    } else {
        bytes.truncate(bytes.len().saturating_sub(1 + at % 20_000));
    }
    std::fs::write(&block, bytes).expect("written");
    println!("{party}: byte {at}, flipped: {flip}");
    scene.expect.server_lost = true;
    scene.exchange.start_server(&[]).await;
}

/// No descriptor can be had any more. The broker may bear it or end; what it does not do is lose a receipted message.
async fn descriptors_gone(scene: &mut Scene) {
    let pid = i32::try_from(scene.exchange.pid()).ok().and_then(Pid::from_raw);
    let open = std::fs::read_dir(format!("/proc/{}/fd", scene.exchange.pid())).expect("lists").count() as u64;
    // The hard limit of the broker is ours.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let none = Rlimit { current: Some(open.saturating_sub(2)), maximum };
    let before = prlimit(pid, Resource::Nofile, none).expect("limits");
    // It needs new ones only where roads break.
    scene.broker.set(Weather::Cut);
    scene.hold(500, 1_500).await;
    scene.broker.set(Weather::Fair);
    scene.hold(500, 1_500).await;
    if scene.is_gone() {
        println!("the broker ended without descriptors: {:?}", scene.gone().await);
        scene.exchange.again().await;
    } else {
        prlimit(pid, Resource::Nofile, before).expect("limits");
    }
}

/// A clock that goes ahead a little changes nothing here; one that is behind, or leaps, stops the judging until it is right.
async fn clock_jumps(scene: &mut Scene, seconds: i64) {
    scene.arm("clock", &seconds.to_string());
    if !(0..YEAR).contains(&seconds) {
        let words = scene.check("clock", false).await;
        let wrong = if seconds < 0 { "s behind that of NATS" } else { "ahead of what was known" };
        assert!(words.contains(wrong), "{words}");
        nothing_is_receipted(scene).await;
        // Signed by the wrong clock: that must close nothing afterwards.
        scene.ask("witness", &serde_json::json!({ "old": 0 })).await.expect("a checkpoint");
    } else {
        scene.more(super::scene::MORE).await;
    }
    scene.disarm("clock");
    scene.check("clock", true).await;
}

/// Bad files again and again under load: the old ones stay in force.
async fn bad_reloads(scene: &mut Scene) {
    let network = std::fs::read_to_string(scene.exchange.data.join("network.toml")).expect("readable");
    let config = std::fs::read_to_string(scene.exchange.data.join("liaison.toml")).expect("readable");
    let bad = [
        ("network.toml", "[[party]\n".to_owned()),
        ("network.toml", network.replace("country = \"IT\"", "county = \"IT\"")),
        ("liaison.toml", format!("{config}\n[planes]\ncases = true\n")),
        ("liaison.toml", "\u{0}\u{1}".to_owned()),
    ];
    for _ in 0..4 {
        let (file, text) = &bad[usize::try_from(scene.dice.below(bad.len() as u64)).expect("small")];
        std::fs::write(scene.exchange.data.join(file), text).expect("written");
        assert!(!scene.exchange.reload().await, "{file} is bad");
        let good = if *file == "network.toml" { &network } else { &config };
        std::fs::write(scene.exchange.data.join(file), good).expect("written");
        scene.more(5).await;
    }
    assert!(scene.exchange.reload().await);
}

/// An authority reads a letter now and then, the others nothing: nobody waits for them.
async fn slow_reader(scene: &mut Scene) {
    let client = scene.exchange.connect("fr-dnpaf", "system").await;
    for _ in 0..5 {
        if let Some(letter) = next_letter(&client, "fr-dnpaf", Duration::from_secs(5)).await {
            scene.expect.read.entry("fr-dnpaf".to_owned()).or_default().push(letter);
        }
        scene.hold(50, 200).await;
    }
}
