//! Spoils what a good broker would have left in the log: one thing for each bug that does not change what is routed.

use super::bugs::Bug;
use super::deal;
use super::double::Double;
use super::log::{Play, letter};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::sim::log::{Analysed, Read, Replayed, Stray, Tried};

pub(super) fn spoil_receipts(tries: &mut [Tried], play: &Play, bugs: &[Bug]) {
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
pub(super) fn strays(play: &Play, tries: &[Tried], bugs: &[Bug]) -> Vec<Stray> {
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
pub(super) fn analysed(letters: &[Read], bugs: &[Bug]) -> Vec<Analysed> {
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

pub(super) fn spoil_letters(letters: &mut Vec<Read>, bugs: &[Bug]) {
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
            Bug::StoresLettersTwice => store_twice(letters, at),
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

/// Puts a letter under its number again, at the next place of the stream.
fn store_twice(letters: &mut Vec<Read>, at: usize) {
    letters.insert(at + 1, letters[at].clone());
    let behind = letters[at + 1..].iter_mut().filter_map(|letter| letter.stream_seq.as_mut());
    behind.for_each(|place| *place += 1);
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

pub(super) fn spoil_replay(lines: &mut Vec<Replayed>, double: &Double, bugs: &[Bug]) {
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
