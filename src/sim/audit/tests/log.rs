//! Plays attempts against the copy of the broker and writes the log that a run would have written, spoilt where asked for.

use std::path::Path;

use super::bugs::Bug;
use super::deal;
use super::double::{Double, House, Kept};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::time::Timestamp;
use crate::sim::audit::{Findings, compare};
use crate::sim::cast::Cast;
use crate::sim::log::{Analysed, Read, Reader, Replayed, Run, Stray, Tried, Writer};
use crate::sim::plan::Plan;
use crate::sim::script::Attempt;

/// What is played.
pub(super) struct Play {
    pub(super) cast: Cast,
    pub(super) attempts: Vec<Attempt>,
    fresh: bool,
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

fn letter(party: &PartyId, feed_seq: u64, tail: &str, digest: Digest, running: Digest, id: &str) -> Read {
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

fn spoil_receipts(tries: &mut [Tried], play: &Play, bugs: &[Bug]) {
    let is = |tried: &Tried, outcome: &str| tried.outcome.as_deref() == Some(outcome);
    // A receipt that was lost on the way: the same bytes again are a duplicate of themselves.
    for tried in tries.iter_mut().filter(|tried| tried.no % 31 == 5 && is(tried, "accepted")) {
        tried.sends = 2;
        tried.outcome = Some("duplicate".to_owned());
        tried.resent = 1;
        tried.sequences = vec![tried.stream_seq.expect("a place"), 1_000_000 + u64::from(tried.no)];
        tried.receipts = Some(2);
    }
    for bug in bugs {
        let of = |outcome: &str| {
            tries.iter().position(|tried| is(tried, outcome) && tried.sends == 1).expect("one")
        };
        match bug {
            Bug::SaysAnotherCode => tries[of("rejected")].code = Some("E-TIME".to_owned()),
            Bug::AcceptsWhatIsWrong => {
                let at = of("rejected");
                (tries[at].outcome, tries[at].code) = (Some("accepted".to_owned()), None);
                (tries[at].seq, tries[at].recipients) = (Some(1_000_000), Some(0));
            }
            Bug::RefusesWhatIsRight => {
                let at = of("accepted");
                (tries[at].outcome, tries[at].code) =
                    (Some("rejected".to_owned()), Some("E-SCHEMA".to_owned()));
                (tries[at].seq, tries[at].recipients) = (None, None);
            }
            Bug::NeverAnswers => {
                let at = of("accepted");
                (tries[at].receipted, tries[at].outcome) = (None, None);
            }
            Bug::ArchivesTwice => tries[of("duplicate")].seq = Some(1_000_001),
            Bug::CountsWrongly => {
                let at = of("accepted");
                tries[at].recipients = tries[at].recipients.map(|count| count + 1);
            }
            Bug::AnswersForOthers => {
                let at = of("accepted");
                tries[at].sha256 = Some(Digest::of(b"other").hex());
            }
            Bug::GivesOnePlaceTwice => {
                let at = of("accepted");
                let seq = tries[at].seq;
                let other = tries.iter().rposition(|tried| is(tried, "accepted")).expect("two");
                tries[other].seq = seq;
            }
            Bug::ArchivesOutOfOrder => out_of_order(tries, play),
            Bug::SwallowsASending => {
                let at = of("accepted");
                (tries[at].sends, tries[at].resent, tries[at].receipts) = (2, 1, Some(1));
                tries[at].sequences = vec![tries[at].stream_seq.expect("a place"), 2_000_000];
            }
            Bug::QueuesTwoInOnePlace => {
                let (first, second) = of_one_officer(tries, play);
                tries[second].stream_seq = tries[first].stream_seq;
            }
            Bug::AnswersElsewhere => tries[of("rejected")].token = Some(deal::id(3)),
            Bug::NamesAnotherTarget => tries[of("duplicate")].target = Some(deal::id(3)),
            Bug::EchoesWhatItRefuses => tries[of("rejected")].echoes = 1,
            _ => {}
        }
    }
}

/// Exchanges the places of two messages of one officer.
fn out_of_order(tries: &mut [Tried], play: &Play) {
    let (first, second) = of_one_officer(tries, play);
    let seq = tries[first].seq;
    tries[first].seq = tries[second].seq;
    tries[second].seq = seq;
}

/// Two accepted messages of one officer.
fn of_one_officer(tries: &[Tried], play: &Play) -> (usize, usize) {
    let accepted = |tried: &Tried| tried.outcome.as_deref() == Some("accepted");
    let pair = (0..tries.len()).find_map(|first| {
        let same =
            |at: &usize| play.attempts[*at].officer == play.attempts[first].officer && accepted(&tries[*at]);
        let second = (first + 1..tries.len()).find(same)?;
        accepted(&tries[first]).then_some((first, second))
    });
    pair.expect("two of one officer")
}

/// Receipts that answer nothing.
fn strays(play: &Play, tries: &[Tried], bugs: &[Bug]) -> Vec<Stray> {
    let stray = |token: &str| Stray {
        party: "it-moi".to_owned(),
        post: "tn-01".to_owned(),
        token: token.to_owned(),
        outcome: "rejected".to_owned(),
        sha256: None,
        at: 1,
    };
    // What an earlier run left; on a fresh archive there was none.
    let mut strays = Vec::new();
    if !play.fresh {
        strays.push(stray("0195c3a1-0000-7000-8000-0000000000aa"));
    }
    for bug in bugs {
        match bug {
            Bug::SaysTwoOutcomes => strays.push(stray(tries[0].id.as_deref().unwrap_or_default())),
            Bug::TellsOthers => strays.push(stray("unreadable-77")),
            _ => {}
        }
    }
    strays
}

/// What an analyst saw of a feed up to its middle, twice, and one who saw nothing.
fn analysed(letters: &[Read], bugs: &[Bug]) -> Vec<Analysed> {
    let Some(at) = middle(letters) else { return Vec::new() };
    let up_to = &letters[at];
    let wrong = bugs.contains(&Bug::ShowsAnalystsAnother);
    let running = if wrong { Digest::of(b"other").hex() } else { up_to.feed_digest.clone() };
    let line = Analysed {
        party: up_to.party.clone(),
        pages: 1,
        messages: up_to.feed_seq,
        last: up_to.feed_seq,
        running: Some(running),
        ..Analysed::default()
    };
    let failed = Analysed { failed: true, running: None, last: 0, ..line.clone() };
    vec![line.clone(), line, failed]
}

/// A place in the middle of a feed with letters of the run on both sides, where there is one.
fn middle(letters: &[Read]) -> Option<usize> {
    let own = |read: &Read| read.source.starts_with("/authority/");
    (letters.len() / 2..letters.len().checked_sub(1)?).find(|at| {
        own(&letters[*at])
            && own(&letters[at + 1])
            && letters[*at].feed_seq + 1 == letters[at + 1].feed_seq
            && !letters[*at].feed_seq.is_multiple_of(37)
            && !letters[at + 1].feed_seq.is_multiple_of(37)
    })
}

fn spoil_letters(letters: &mut Vec<Read>, bugs: &[Bug]) {
    for bug in bugs {
        let Some(at) = middle(letters) else { continue };
        let next = letters[at].feed_seq + 1;
        match bug {
            Bug::SwapsLetters => {
                let (one, two) = (letters[at].clone(), letters[at + 1].clone());
                let places = (one.feed_seq, two.feed_seq);
                (letters[at], letters[at + 1]) = (two, one);
                (letters[at].feed_seq, letters[at + 1].feed_seq) = places;
                rechain(letters);
            }
            Bug::LeavesAGap => drop(letters.remove(at)),
            Bug::DeliversLettersTwice => {
                let again = letters[at].clone();
                letters.insert(at + 1, again);
                letters[at + 1..].iter_mut().for_each(|letter| letter.feed_seq += 1);
                rechain(letters);
            }
            // Under its number again, at the next place of the stream, or behind all others.
            Bug::StoresLettersTwice => {
                let again = letters[at].clone();
                letters.insert(at + 1, again);
                letters[at + 1..]
                    .iter_mut()
                    .for_each(|letter| letter.stream_seq = letter.stream_seq.map(|place| place + 1));
            }
            Bug::StoresLettersTwiceLater => {
                let place = letters.iter().filter_map(|letter| letter.stream_seq).max();
                letters.push(Read { stream_seq: place.map(|place| place + 1), ..letters[at].clone() });
            }
            Bug::AddsAHeader => letters[at].odd_headers = true,
            Bug::WritesAnotherDigest => letters[at].digest = Digest::of(b"other").hex(),
            Bug::FlipsAByte => letters[at].sha256 = Digest::of(b"flipped").hex(),
            Bug::ChangesTheMessage => {
                letters[at].sha256 = Digest::of(b"changed").hex();
                letters[at].digest = Digest::of(b"changed").hex();
                rechain(letters);
            }
            Bug::BreaksTheFeedDigest => letters[at].feed_digest = Digest::of(b"other").hex(),
            Bug::UsesAnotherSubject => letters[at].subject.push('x'),
            Bug::TellsOfItself => {
                let party = PartyId::parse(&letters[at].party).expect("a party");
                let digest = Digest::of(b"the broker's own");
                let mut own = letter(
                    &party,
                    next,
                    "ctl.msg.receipt.zz",
                    digest,
                    digest,
                    "0a0a0a0a-0000-8000-8000-00000000000a",
                );
                own.source = "/broker/demo".to_owned();
                insert(letters, at + 1, own);
            }
            Bug::InventsAttempts => {
                let mut own = letters[at].clone();
                own.id = deal::id(900_000);
                own.feed_seq = next;
                (own.sha256, own.digest) = (Digest::of(b"invented").hex(), Digest::of(b"invented").hex());
                insert(letters, at + 1, own);
            }
            Bug::HidesTheLiving => {
                letters[at].source = "/broker/demo".to_owned();
                letters[at].id = "0a0a0a0a-0000-8000-8000-00000000000b".to_owned();
                letters[at].subject = format!("ilo.out.{}.ctl.msg.receipt.zz", letters[at].party);
                letters[at].sha256 = Digest::of(b"a tombstone").hex();
            }
            _ => {}
        }
    }
}

/// Puts one letter more into a feed.
fn insert(letters: &mut Vec<Read>, at: usize, more: Read) {
    letters.insert(at, more);
    letters[at + 1..].iter_mut().for_each(|letter| letter.feed_seq += 1);
    rechain(letters);
}

/// Makes the running digests right again, as a broker that is wrong elsewhere would; gaps of erased letters keep theirs.
fn rechain(letters: &mut [Read]) {
    let digest = |text: &str| Digest::parse(text).expect("a digest");
    for at in 1..letters.len() {
        if letters[at].feed_seq == letters[at - 1].feed_seq + 1 {
            letters[at].feed_digest =
                digest(&letters[at - 1].feed_digest).feed(digest(&letters[at].digest)).hex();
        }
    }
}

fn spoil_replay(lines: &mut Vec<Replayed>, double: &Double, bugs: &[Bug]) {
    if lines.len() < 20 {
        return;
    }
    for bug in bugs {
        let at = lines.len() - 5;
        match bug {
            Bug::ReplaysWithAGap => drop(lines.remove(at)),
            Bug::EndsReplaysEarly => lines.truncate(at),
            Bug::ReplaysMore => {
                let digest = double.kept[0].digest.hex();
                let feed_seq = lines.last().expect("some").feed_seq + 1;
                lines.push(Replayed { feed_seq, sha256: Some(digest.clone()), digest, ..lines[0].clone() });
            }
            Bug::ReplaysWhatIsGone => {
                lines.iter_mut().for_each(|line| line.sha256 = Some(line.digest.clone()));
            }
            Bug::ReplaysTombstonesOnly => lines[at].sha256 = None,
            Bug::ReplaysOtherBytes => lines[at].sha256 = Some(Digest::of(b"other").hex()),
            Bug::ReplaysOutOfOrder => lines.reverse(),
            _ => {}
        }
    }
}
