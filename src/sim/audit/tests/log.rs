//! Plays attempts against the copy of the broker and writes the log that a run would have written, spoilt where asked for.

use std::path::Path;

use super::bugs::Bug;
use super::deal;
use super::double::{Double, House, Kept};
use super::spoil::{analysed, spoil_letters, spoil_receipts, spoil_replay, strays};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::Timestamp;
use crate::sim::audit::{Findings, compare};
use crate::sim::cast::Cast;
use crate::sim::log::{Read, Reader, Replayed, Run, Tried, Writer};
use crate::sim::plan::Plan;
use crate::sim::script::Attempt;

/// What is played.
pub(super) struct Play {
    pub(super) cast: Cast,
    pub(super) attempts: Vec<Attempt>,
    pub(super) fresh: bool,
    plan: Plan,
    house: House,
    /// Played against the copy as it should be.
    well: (Double, Vec<Tried>),
}

fn played(house: House, cast: &Cast, attempts: &[Attempt], bugs: &[Bug]) -> (Double, Vec<Tried>) {
    let mut double = Double::new(house, cast, bugs);
    let tries = attempts.iter().map(|attempt| double.receive(attempt)).collect();
    (double, tries)
}

impl Play {
    /// A play from a seed.
    pub(super) fn new(seed: u64, count: u32, fresh: bool) -> Self {
        let cast = deal::cast(seed);
        let attempts = deal::attempts(seed, count, fresh, &cast);
        Self::of(House::usual(), Plan::default(), cast, attempts, fresh)
    }

    /// A play of these attempts.
    pub(super) fn of(house: House, plan: Plan, cast: Cast, attempts: Vec<Attempt>, fresh: bool) -> Self {
        Self { well: played(house, &cast, &attempts, &[]), attempts, cast, fresh, plan, house }
    }

    /// Plays it against a copy with these bugs, and audits the log.
    pub(super) fn audit(&self, bugs: &[Bug]) -> Findings {
        self.logged_at(self.house.now, bugs, |run, reader| {
            compare(self.attempts.iter().cloned(), deal::number, &self.cast, run, reader).expect("an audit")
        })
    }

    /// Sends only the first of the attempts, and audits the log as that of a run that was broken off, or of one that was not.
    pub(super) fn broken_off(&self, after: usize, interrupted: bool) -> Findings {
        let (first, cast) = (self.attempts[..after].to_vec(), self.cast.clone());
        let begun = Self::of(self.house, self.plan.clone(), cast, first, self.fresh);
        begun.logged_at(self.house.now, &[], |run, reader| {
            let run = Run { interrupted, ..run.clone() };
            compare(self.attempts.iter().cloned(), deal::number, &self.cast, &run, reader).expect("an audit")
        })
    }

    /// Plays it, and does something with the log; `clock` is what the messages call the start.
    pub(super) fn logged_at<T>(
        &self,
        clock: Timestamp,
        bugs: &[Bug],
        then: impl FnOnce(&Run, &Reader) -> T,
    ) -> T {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let run = self.write(&log, clock, bugs);
        then(&run, &Reader::of(&log))
    }

    fn write(&self, log: &Path, clock: Timestamp, bugs: &[Bug]) -> Run {
        let spoilt =
            bugs.iter().any(|bug| bug.routes()).then(|| played(self.house, &self.cast, &self.attempts, bugs));
        let (double, tries) = spoilt.as_ref().unwrap_or(&self.well);
        let hour = self.house.now.checked_add(jiff::SignedDuration::from_hours(1)).expect("an instant");
        let run = Run {
            version: "test".to_owned(),
            plan: self.plan.clone(),
            registry: self.house.registry.to_owned(),
            clock,
            started: self.house.now,
            ended: Some(hour),
            interrupted: false,
            case_plane: true,
            fresh: self.fresh,
        };
        let mut writer = Writer::create(log, &run).expect("a log");
        let mut tries = tries.clone();
        spoil_receipts(&mut tries, self, bugs);
        // Noted when nothing more is expected of them, so not in their order.
        tries.sort_by_key(|tried| (tried.no % 7, tried.no));
        tries.iter().for_each(|tried| writer.tried(tried).expect("written"));
        strays(self, &tries, bugs).iter().for_each(|stray| writer.stray(stray).expect("written"));
        for (place, (party, feed)) in double.feeds.iter().enumerate() {
            let mut letters = self.letters(double, (place, party), feed);
            spoil_letters(&mut letters, bugs);
            letters.iter().for_each(|letter| writer.read(letter).expect("written"));
            let mut replayed = self.replay(double, party, feed);
            spoil_replay(&mut replayed, double, bugs);
            replayed.iter().for_each(|line| writer.replayed(line).expect("written"));
            let shown = analysed(&letters, bugs);
            shown.iter().for_each(|line| writer.analysed(line).expect("written"));
        }
        writer.finish(&run).expect("written");
        run
    }

    /// How much was in a feed before.
    fn before(&self) -> u64 {
        if self.fresh { 0 } else { 40 }
    }

    fn letters(&self, double: &Double, (place, party): (usize, &PartyId), feed: &[usize]) -> Vec<Read> {
        let mut letters = Vec::new();
        let mut running = Digest::default();
        let mut feed_seq = self.before();
        if !self.fresh {
            // The last of what was there before still stands in the mailbox.
            let digest = Digest::of(b"another run");
            running = Digest::of(b"earlier").feed(digest);
            letters.push(letter(
                party,
                feed_seq,
                "net.flow.route.tn",
                digest,
                running,
                "0195c3a1-0000-7000-8000-0000000000aa",
            ));
        }
        for at in feed {
            let kept = &double.kept[*at];
            running = running.feed(kept.digest);
            feed_seq += 1;
            // Every third party reads only when everything is over; of others the erased letters are taken out in time.
            let read = match (kept.gone, place % 3) {
                (Some(_), 0) => {
                    let mut read = of(kept, party, feed_seq, running);
                    read.source = "/broker/demo".to_owned();
                    read.id = format!("0a0a0a0a-0000-8000-8000-{feed_seq:012x}");
                    read.subject = format!("ilo.out.{party}.ctl.msg.receipt.zz");
                    read.sha256 = Digest::of(b"a tombstone").hex();
                    read
                }
                (Some("erased"), 1) => continue,
                _ => of(kept, party, feed_seq, running),
            };
            letters.push(read.clone());
            if feed_seq.is_multiple_of(37) {
                letters.push(read); // it was not acknowledged in time
            }
        }
        letters
    }

    fn replay(&self, double: &Double, party: &PartyId, feed: &[usize]) -> Vec<Replayed> {
        let line = |feed_seq, digest: Digest, gone: bool| Replayed {
            party: party.to_string(),
            feed_seq,
            digest: digest.hex(),
            sha256: (!gone).then(|| digest.hex()),
        };
        let earlier = |feed_seq: u64| match feed_seq == self.before() {
            true => Digest::of(b"another run"),
            false => Digest::of(&feed_seq.to_be_bytes()),
        };
        let earlier = (1..=self.before()).map(|feed_seq| line(feed_seq, earlier(feed_seq), false));
        let own = (self.before() + 1..).zip(feed).map(|(feed_seq, at)| {
            let kept = &double.kept[*at];
            line(feed_seq, kept.digest, kept.gone.is_some())
        });
        earlier.chain(own).collect()
    }
}

pub(super) fn letter(
    party: &PartyId,
    feed_seq: u64,
    tail: &str,
    digest: Digest,
    running: Digest,
    id: &str,
) -> Read {
    Read {
        party: party.to_string(),
        subject: format!("ilo.out.{party}.{tail}"),
        feed_seq,
        id: id.to_owned(),
        source: "/authority/it-moi/post/tn-01".to_owned(),
        sha256: digest.hex(),
        digest: digest.hex(),
        feed_digest: running.hex(),
        stream_seq: Some(feed_seq + 100),
        odd_headers: false,
        at: feed_seq,
        held: false,
    }
}

fn of(kept: &Kept, party: &PartyId, feed_seq: u64, running: Digest) -> Read {
    let id = kept.event["id"].as_str().unwrap_or_default();
    letter(party, feed_seq, &kept.tail, kept.digest, running, id)
}
