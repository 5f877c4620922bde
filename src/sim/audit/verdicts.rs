//! Receipts against the script: every attempt answered, with the verdict that it must get, once, in order.
//!
//! A wrong number of recipients in a receipt is a wrong verdict, whatever the mailboxes say. That a PubAck did not come is no fault:
//! it may get lost with the connection, and an officer that drops off waits for receipts only.

use super::Kind;
use super::answers::{Answer, Answers, Coded, Said};
use super::book::Book;
use super::ledger::{Fact, Ledger, Standing};
use crate::sim::script::Expect;

/// Compares all of them; in a run that was broken off it is no fault that some were not sent.
///
/// `parties` tells the place of each officer's party in the registry.
pub(super) fn check(
    ledger: &Ledger,
    answers: &Answers,
    (parties, interrupted): (&[usize], bool),
    book: &mut Book,
) {
    for (no, fact) in (0..).zip(&ledger.facts) {
        match answers.of(no) {
            None if interrupted => book.found.unsent += 1,
            None => {
                book.note(Kind::Unanswered, Some(no), None, || format!("attempt {no} was never sent"));
            }
            Some(answer) => match answer.said {
                None => book.note(Kind::Unanswered, Some(no), None, || {
                    format!("attempt {no} was sent and got no receipt")
                }),
                Some(said) => {
                    // One that was receipted as a duplicate was known: the receipt of the sending before got lost on the way.
                    if answer.swallowed && said == Said::Accepted {
                        book.note(Kind::Unanswered, Some(no), None, || {
                            format!("attempt {no} was queued more than once, and not every time receipted")
                        });
                    }
                    one(no, fact, answer, said, answers, book);
                }
            },
        }
    }
    for no in answers.beyond(ledger.facts.len()) {
        book.note(Kind::Unexpected, Some(no), None, || {
            format!("the log tells of attempt {no}, which is not in the script")
        });
    }
    twice(ledger, answers, book);
    in_one_place(ledger, answers, parties, book);
    in_order(ledger, answers, book);
}

fn one(no: u32, fact: &Fact, answer: &Answer, said: Said, answers: &Answers, book: &mut Book) {
    let mut wrong = |words: String| {
        book.note(Kind::WrongVerdict, Some(no), None, || format!("attempt {no}: the receipt {words}"));
    };
    if answer.misaddressed {
        wrong("came on the subject of another message, or names another one".to_owned());
    }
    if answer.echoes {
        wrong("repeats in its detail what stands in the message".to_owned());
    }
    let (wanted, code) = match fact.expect {
        Expect::Accepted if answer.is_kept() => (said, Coded::None),
        Expect::Accepted => (Said::Accepted, Coded::None),
        Expect::Duplicate(_) => (Said::Duplicate, Coded::None),
        Expect::Quarantined(code) => (Said::Quarantined, Coded::Known(code)),
        Expect::Rejected(code) => (Said::Rejected, Coded::Known(code)),
    };
    if said != wanted {
        return wrong(format!("says {}, must say {}", said.word(), wanted.word()));
    }
    if answer.code != code {
        return wrong(match code {
            Coded::Known(code) => format!("has another code than {code}"),
            _ => "has a code".to_owned(),
        });
    }
    if answer.sha256 != Some(fact.digest) {
        wrong("has the digest of other bytes".to_owned());
    }
    let (seq, recipients) = match fact.expect {
        Expect::Accepted if answer.seq == 0 => return wrong("tells no place in the archive".to_owned()),
        Expect::Accepted => (answer.seq, Some(u32::from(fact.own))),
        // The outcome of the first stands; where that is not known, another finding says so.
        Expect::Duplicate(first) => match answers.place(first) {
            Some(place) => (place, answers.of(first).and_then(|first| first.recipients)),
            None => return,
        },
        Expect::Quarantined(_) | Expect::Rejected(_) => (0, None),
    };
    if answer.recipients != recipients {
        wrong(format!(
            "tells {} recipients, must tell {}",
            answer.recipients.map_or_else(|| "no".to_owned(), |count| count.to_string()),
            recipients.map_or_else(|| "none".to_owned(), |count| count.to_string()),
        ));
    }
    if answer.seq == seq {
        return;
    }
    if let Expect::Duplicate(first) = fact.expect {
        book.note(Kind::Doubled, Some(no), None, || {
            format!(
                "attempt {no} has the bytes of {first}, and its receipt tells another place in the archive"
            )
        });
    } else {
        wrong("tells a place in the archive".to_owned());
    }
}

/// Two attempts in one place of an intake stream.
fn in_one_place(ledger: &Ledger, answers: &Answers, parties: &[usize], book: &mut Book) {
    let mut places: Vec<(usize, u64, u32)> = (0..)
        .zip(&ledger.facts)
        .filter_map(|(no, fact)| {
            let place = answers.of(no).map(|answer| answer.stream).filter(|place| *place > 0)?;
            Some((parties.get(fact.officer as usize).copied()?, place, no))
        })
        .collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        let [(party, before, first), (same, place, second)] = pair else { continue };
        if (party, before) == (same, place) {
            book.note(Kind::Doubled, Some(*second), None, || {
                format!("attempts {first} and {second} are told to stand in one place of an intake stream")
            });
        }
    }
}

/// Two attempts in one place of the archive.
fn twice(ledger: &Ledger, answers: &Answers, book: &mut Book) {
    let kept = (0..).zip(&ledger.facts).filter(|(_, fact)| fact.standing == Standing::Kept);
    let mut places: Vec<(u64, u32)> =
        kept.filter_map(|(no, _)| answers.place(no).map(|place| (place, no))).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        if let [(before, first), (place, second)] = pair
            && before == place
        {
            book.note(Kind::Doubled, Some(*second), None, || {
                format!("attempts {first} and {second} are told to stand in one place of the archive")
            });
        }
    }
}

/// What one officer sends on its connection is archived in that order.
fn in_order(ledger: &Ledger, answers: &Answers, book: &mut Book) {
    let mut sent: Vec<(u32, u64, u64, u32, u64)> = Vec::new();
    for (no, fact) in (0..).zip(&ledger.facts) {
        let (Standing::Kept, Some(answer)) = (fact.standing, answers.of(no)) else { continue };
        // Of one that was sent again nobody knows which sending was archived.
        if !answer.again && answer.seq > 0 {
            sent.push((fact.officer, answer.sent, answer.stream, no, answer.seq));
        }
    }
    sent.sort_unstable();
    for pair in sent.windows(2) {
        let [(officer, at, stream, before, first), (same, again, after, no, second)] = pair else { continue };
        // Sent in the same microsecond: only the intake stream knows.
        let known = at < again || (*stream > 0 && stream < after);
        if officer == same && known && first > second {
            book.note(Kind::Misordered, Some(*no), None, || {
                format!("attempt {no} was sent after {before} by the same officer, and archived before it")
            });
        }
    }
}
