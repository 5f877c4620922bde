//! Damage on disk: sled is made anew from the journal, a torn tail is cut, and a damaged journal is refused untouched.

use std::path::{Path, PathBuf};

use async_nats::Client;
use serde_json::Value;

use super::auditor::{archived, mailbox};
use super::control::send;
use super::harness::{
    Dice, Exchange, REPORT_SUBJECT, audit_feed, ends, example, fresh_id, queue, receipt, sha256, shifted,
    until,
};
use super::load::message;

/// More than one block of the archive, so that sled holds something.
const MANY: usize = 300;

struct House {
    exchange: Exchange,
    post: Client,
    sent: Vec<(String, Vec<u8>)>,
}

impl House {
    /// An exchange that has receipted [`MANY`] messages.
    async fn filled() -> Self {
        let exchange = Exchange::small("[rate]\nper_second = 100000\nburst = 100000\n").await;
        let post = exchange.connect("it-moi", "tn-01").await;
        let mut house = Self { exchange, post, sent: Vec::new() };
        for _ in 0..MANY {
            let message = message("it-moi", "tn-01", "fr-dnpaf", true);
            let bytes = message.to_string().into_bytes();
            queue(&house.post, REPORT_SUBJECT, bytes.clone()).await;
            house.sent.push((message["id"].as_str().expect("an id").to_owned(), bytes));
        }
        for (id, bytes) in &house.sent {
            let receipt = receipt(&house.post, REPORT_SUBJECT, id, bytes).await;
            assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        }
        house
    }

    fn archive(&self) -> PathBuf {
        self.exchange.data.join("archive")
    }

    async fn again(&mut self) {
        self.exchange.again().await;
        self.post = self.exchange.connect("it-moi", "tn-01").await;
    }

    /// What was receipted is there: known as a duplicate, shown byte for byte, and a new message follows.
    async fn whole(&mut self) {
        for (id, bytes) in self.sent.iter().step_by(29) {
            queue(&self.post, REPORT_SUBJECT, bytes.clone()).await;
            until("the answer to a duplicate", async || {
                let receipt = receipt(&self.post, REPORT_SUBJECT, id, bytes).await;
                (receipt["data"]["outcome"] == "duplicate").then_some(())
            })
            .await;
        }
        let message = message("it-moi", "tn-01", "fr-dnpaf", true);
        let bytes = message.to_string().into_bytes();
        let receipt = self.exchange.publish(&self.post, REPORT_SUBJECT, bytes.clone()).await;
        assert_eq!(receipt["data"]["outcome"], "accepted", "{receipt}");
        self.sent.push((message["id"].as_str().expect("an id").to_owned(), bytes));
        assert_eq!(receipt["data"]["seq"], self.sent.len());
        let records = archived(&self.exchange);
        let accepted: Vec<&Value> = records.iter().filter(|record| record["outcome"] == "accepted").collect();
        assert_eq!(accepted.len(), self.sent.len());
        for (record, (id, bytes)) in accepted.into_iter().zip(&self.sent) {
            assert_eq!(record["id"], id.as_str());
            assert_eq!(record["sha256"], sha256(bytes));
        }
    }

    /// The mailbox of the recipient, from the first letter to the last.
    async fn delivered(&self) {
        let letters = mailbox(&self.exchange, "fr-dnpaf", self.sent.len()).await;
        audit_feed(&letters);
        assert_eq!(letters.len(), self.sent.len());
        for (letter, (_, bytes)) in letters.iter().zip(&self.sent) {
            assert!(letter.payload == *bytes);
        }
    }
}

fn last_segment(archive: &Path) -> PathBuf {
    let entries = std::fs::read_dir(archive.join("journal")).expect("a journal").flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "liaj"))
        .max()
        .expect("one")
}

/// Every file below, with its content's digest.
fn picture(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(picture(&path));
        } else {
            let digest = sha256(&std::fs::read(&path).expect("readable"));
            found.push((path, digest));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_deleted_cut_short_or_flipped_is_made_good() {
    let mut dice = Dice::new("sled damaged");
    let mut house = House::filled().await;
    house.exchange.signal("TERM");
    assert_eq!(house.exchange.wait(), Some(0));
    std::fs::remove_dir_all(house.archive().join("sled")).expect("deleted");
    house.again().await;
    assert!(house.exchange.log().contains("rebuilt=true"), "{}", house.exchange.log());
    house.whole().await;
    house.exchange.kill();
    std::fs::write(house.archive().join("sled/snap.0000000000000001.generating"), b"half").expect("written");
    house.again().await;
    assert!(house.exchange.log().contains("removed the unfinished snapshot"), "{}", house.exchange.log());
    house.whole().await;
    let mut rebuilt = 0;
    for round in 0..6 {
        if round % 2 == 0 {
            house.exchange.kill();
        } else {
            house.exchange.signal("TERM");
            assert_eq!(house.exchange.wait(), Some(0));
        }
        let file = house.archive().join("sled/db");
        let mut bytes = std::fs::read(&file).expect("sled's file");
        // The file is mostly zeros behind what was written; a flip there would prove nothing.
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("something written") as u64;
        let at = usize::try_from(dice.below(used)).expect("small");
        bytes[at] ^= 1 << dice.below(8);
        std::fs::write(&file, bytes).expect("written");
        let before = house.exchange.log().matches("rebuilt=true").count();
        house.again().await;
        rebuilt += usize::from(house.exchange.log().matches("rebuilt=true").count() > before);
        house.whole().await;
    }
    println!("6 flipped bits in sled: {rebuilt} rebuilds, no loss");
    house.delivered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_told() {
    let mut house = House::filled().await;
    for torn in ["garbage", "half a header", "half a frame"] {
        house.exchange.kill();
        let file = last_segment(&house.archive());
        let good = std::fs::read(&file).expect("the journal");
        let tail: Vec<u8> = match torn {
            "garbage" => (0..=255).cycle().take(1_000).collect(),
            "half a header" => good[..50].to_vec(),
            _ => good[..300].to_vec(),
        };
        std::fs::write(&file, [good.as_slice(), &tail].concat()).expect("written");
        house.again().await;
        let words = format!("cut_bytes={}", tail.len());
        assert!(house.exchange.log().contains(&words), "{torn}: {}", house.exchange.log());
        let kept = std::fs::read(&file).expect("the journal");
        assert!(kept.starts_with(&good), "nothing that was receipted is touched");
        house.whole().await;
    }
    house.delivered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_damaged_in_the_middle_is_refused_and_left_as_evidence() {
    let mut house = House::filled().await;
    house.whole().await;
    house.exchange.kill();
    let archive = house.archive();
    let file = last_segment(&archive);
    let mut bytes = std::fs::read(&file).expect("the journal");
    // In the payload of the first frame; others follow.
    bytes[200] ^= 0x10;
    std::fs::write(&file, &bytes).expect("written");
    let before = picture(&archive);
    let data = house.exchange.data.to_str().expect("UTF-8").to_owned();
    let (code, words) = ends(&["up", "--data", &data]).await;
    assert_eq!(code, Some(74), "{words}");
    let lines: Vec<&str> = words.lines().filter(|line| line.starts_with("liaison: ")).collect();
    assert_eq!(lines.len(), 1, "{words}");
    let name = file.file_name().expect("a name").to_str().expect("UTF-8");
    for part in [name, "is damaged at byte 0", "from archive sequence 1 on"] {
        assert!(lines[0].contains(part), "{words}");
    }
    assert_eq!(picture(&archive), before, "the evidence is untouched");
    let (code, words) = ends(&["archive", "stats", &data]).await;
    assert_eq!(code, Some(74), "{words}");
    bytes[200] ^= 0x10;
    std::fs::write(&file, &bytes).expect("restored from the backup");
    house.again().await;
    house.whole().await;
    house.delivered().await;
}

/// One key of many: its message is lost, a notice of a deployment at that, which every start reads. Everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_key_loses_its_message_and_stops_nothing() {
    let mut exchange = Exchange::small("").await;
    let mut notice = shifted(example("valid/08-deployment-notice-contact.json")["message"].clone());
    notice["id"] = fresh_id().into();
    notice["source"] = "/authority/nl-dtv".into();
    notice["originator"] = "nl-dtv".into();
    notice["audience"] = "fr-dnpaf".into();
    let system = exchange.connect("nl-dtv", "system").await;
    let subject = "ilo.in.nl-dtv.system.coord.deployment.notice.pk";
    let sent = send(&exchange, &system, subject, &notice).await;
    assert_eq!(sent["outcome"], "accepted", "{sent}");
    exchange.kill();
    let keys = exchange.data.join("archive/keys/messages.liak");
    let mut bytes = std::fs::read(&keys).expect("keys");
    assert_eq!(bytes.len(), 128, "one key");
    bytes[64 + 30] ^= 1;
    std::fs::write(&keys, bytes).expect("damaged");
    exchange.again().await;
    let log = exchange.log();
    assert!(log.contains("a deployment is left out") && log.contains("1 message keys are damaged"), "{log}");
    // A replay has something else in its place, and goes on.
    let post = exchange.connect("it-moi", "tn-01").await;
    let more = message("it-moi", "tn-01", "fr-dnpaf", true);
    assert_eq!(send(&exchange, &post, REPORT_SUBJECT, &more).await["outcome"], "accepted");
    let replayed = exchange.run(&["replay", "--as", "fr-dnpaf"]);
    let lines = String::from_utf8_lossy(&replayed.stdout).into_owned();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{replayed:?}");
    assert_eq!(lines[0]["tombstone"]["id"], notice["id"]);
    assert_eq!(lines[1]["event"]["id"], more["id"]);
}
