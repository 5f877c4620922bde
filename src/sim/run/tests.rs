//! The desk: which receipt is whose, and what happens to those that get none.

use std::time::Duration;

use bytes::Bytes;

use super::desk::{Came, Desk, Due, mark};
use super::station::Receipt;
use crate::message::digest::Digest;
use crate::sim::log::Tried;
use crate::sim::script::{Attempt, Expect};

const SECOND: u64 = 1_000_000;

fn attempt(no: u32, id: Option<&str>, expect: Expect) -> Attempt {
    Attempt {
        no,
        due: Duration::from_secs(1),
        officer: 0,
        subject: "ilo.in.it-moi.tn-01.net.flow.observation.tn".to_owned(),
        id: id.map(str::to_owned),
        payload: Bytes::new(),
        expect,
        after: None,
    }
}

fn receipt(token: &str, outcome: &str, bytes: Option<&[u8]>) -> Receipt {
    Receipt {
        token: token.to_owned(),
        id: format!("{token} {outcome}"),
        outcome: outcome.to_owned(),
        code: None,
        seq: Some(1),
        recipients: Some(2),
        digest: bytes.map(Digest::of),
        target: token.to_owned(),
        detail: Vec::new(),
    }
}

/// Looks after what is due until something is given up, sending again what must be; `look` answers the look-ups.
fn until_closed(desk: &mut Desk, mut look: impl FnMut(&mut Desk, u64, u64) -> Came) -> Vec<Tried> {
    let (mut given_up, mut finished) = (Vec::new(), Vec::new());
    while given_up.is_empty() && finished.is_empty() {
        let now = desk.next_deadline().expect("there is a next look");
        for due in desk.due(now, &mut given_up) {
            match due {
                Due::Ask { mark, .. } => finished.extend(look(desk, mark, now).finished),
                Due::Again { no } => desk.sent(no, now),
            }
        }
    }
    given_up.extend(finished);
    given_up
}

/// Takes an attempt and sends it at once.
fn send(desk: &mut Desk, attempt: Attempt, bytes: &[u8]) {
    let no = attempt.no;
    desk.take(attempt, Digest::of(bytes), SECOND);
    desk.sent(no, SECOND);
}

fn finished(came: Came) -> Tried {
    came.finished.expect("nothing more is expected of it")
}

#[test]
fn an_attempt_is_finished_when_it_has_puback_and_receipt_in_whatever_order() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    assert!(desk.queued(mark(0, 0), 7, 2 * SECOND).finished.is_none());
    let came = desk.receipt(0, receipt("a", "accepted", Some(b"0")), 3 * SECOND);
    assert_eq!(came.receipted.map(|settled| (settled.no, settled.took)), Some((0, 2 * SECOND)));
    let tried = finished(came);
    assert_eq!(
        (tried.acked, tried.stream_seq, tried.receipted),
        (Some(2 * SECOND), Some(7), Some(3 * SECOND))
    );
    send(&mut desk, attempt(1, Some("b"), Expect::Accepted), b"1");
    let came = desk.receipt(0, receipt("b", "accepted", Some(b"1")), 3 * SECOND);
    assert!(came.receipted.is_some() && came.finished.is_none());
    assert_eq!(desk.of_officer(0), 0);
    assert_eq!(finished(desk.queued(mark(1, 0), 8, 4 * SECOND)).sends, 1);
    assert_eq!(desk.len(), 0);
}

#[test]
fn the_same_bytes_twice_get_their_receipts_in_the_order_in_which_they_were_sent() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"same");
    send(&mut desk, attempt(1, Some("a"), Expect::Duplicate(0)), b"same");
    let first = desk.receipt(0, receipt("a", "accepted", Some(b"same")), SECOND);
    let second = desk.receipt(0, receipt("a", "duplicate", Some(b"same")), SECOND);
    let echo = desk.receipt(0, receipt("a", "duplicate", Some(b"same")), SECOND);
    assert_eq!(first.receipted.map(|settled| settled.no), Some(0));
    assert_eq!(second.receipted.map(|settled| (settled.no, settled.is_known)), Some((1, false)));
    assert!(echo.receipted.is_none() && echo.finished.is_none());
}

#[test]
fn a_receipt_of_another_officer_or_other_bytes_answers_nothing() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    assert!(desk.receipt(1, receipt("a", "accepted", Some(b"0")), SECOND).receipted.is_none());
    assert!(desk.receipt(0, receipt("a", "rejected", Some(b"x")), SECOND).receipted.is_none());
    assert!(desk.stored(mark(0, 0), Some(receipt("", "rejected", Some(b"x"))), SECOND).receipted.is_none());
    assert_eq!(desk.of_officer(0), 1);
}

#[test]
fn a_receipt_without_a_digest_is_found_by_stream_sequence_even_before_the_puback() {
    for early in [true, false] {
        let mut desk = Desk::default();
        send(&mut desk, attempt(0, None, Expect::Accepted), b"0");
        let told = || receipt("unreadable-7", "rejected", None);
        let came = if early {
            assert!(desk.receipt(0, told(), 2 * SECOND).receipted.is_none());
            desk.queued(mark(0, 0), 7, 3 * SECOND)
        } else {
            desk.queued(mark(0, 0), 7, 3 * SECOND);
            desk.receipt(0, told(), 2 * SECOND)
        };
        assert_eq!(finished(came).receipted, Some(2 * SECOND), "early: {early}");
    }
}

#[test]
fn known_already_is_told_of_what_was_to_be_accepted_and_was_sent_once() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    let came = desk.receipt(0, receipt("a", "duplicate", Some(b"0")), SECOND);
    assert!(came.receipted.is_some_and(|settled| settled.is_known));
    // On an archive on which nothing was, that is a wrong verdict and no fault of whoever plays.
    let mut fresh = Desk::on(true);
    send(&mut fresh, attempt(0, Some("a"), Expect::Accepted), b"0");
    let came = fresh.receipt(0, receipt("a", "duplicate", Some(b"0")), SECOND);
    assert!(came.receipted.is_some_and(|settled| !settled.is_known));
    send(&mut desk, attempt(1, Some("b"), Expect::Accepted), b"1");
    desk.sent(1, 12 * SECOND);
    let came = desk.receipt(0, receipt("b", "duplicate", Some(b"1")), 13 * SECOND);
    assert!(came.receipted.is_some_and(|settled| !settled.is_known));
}

#[test]
fn without_a_receipt_it_is_looked_up_then_sent_again_and_given_up_after_the_fifth() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    let (mut now, mut sends, mut given_up) = (SECOND, 1, Vec::new());
    while given_up.is_empty() {
        now = desk.next_deadline().expect("there is a next look");
        for due in desk.due(now, &mut given_up) {
            match due {
                Due::Ask { token, .. } => assert_eq!(token, "a"),
                Due::Again { no } => {
                    sends += 1;
                    desk.sent(no, now);
                }
            }
        }
        assert!(sends < 10);
    }
    assert_eq!((sends, given_up[0].sends, given_up[0].receipted), (6, 6, None));
    assert_eq!(now, SECOND + 6 * 11 * SECOND);
    assert_eq!((desk.len(), desk.of_officer(0)), (0, 0));
}

#[test]
fn a_resend_is_not_looked_up_because_there_stands_the_receipt_of_the_first() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(1, Some("a"), Expect::Duplicate(0)), b"0");
    let due = desk.due(11 * SECOND, &mut Vec::new());
    assert!(matches!(due[..], [Due::Again { no: 1 }]), "{due:?}");
}

#[test]
fn a_missing_puback_alone_is_not_waited_for_for_ever() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    desk.receipt(0, receipt("a", "accepted", Some(b"0")), 2 * SECOND);
    let mut given_up = Vec::new();
    assert!(desk.due(11 * SECOND, &mut given_up).is_empty());
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].outcome.as_deref(), Some("accepted"));
}

#[test]
fn a_receipt_that_was_looked_up_does_not_answer_the_next_sending_when_it_comes_late() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"same");
    let _ = desk.queued(mark(0, 0), 7, 2 * SECOND);
    let looked_up = desk.stored(mark(0, 0), Some(receipt("a", "accepted", Some(b"same"))), 12 * SECOND);
    assert_eq!(finished(looked_up).no, 0);
    send(&mut desk, attempt(1, Some("a"), Expect::Duplicate(0)), b"same");
    let _ = desk.queued(mark(1, 0), 8, 13 * SECOND);
    let echo = desk.receipt(0, receipt("a", "accepted", Some(b"same")), 14 * SECOND);
    assert!(echo.receipted.is_none(), "it is that of the first");
    let tried = finished(desk.receipt(0, receipt("a", "duplicate", Some(b"same")), 15 * SECOND));
    assert_eq!((tried.no, tried.outcome.as_deref()), (1, Some("duplicate")));
}

/// A broker that takes over tells receipts again that its predecessor had sent and not yet acknowledged.
#[test]
fn a_receipt_that_is_told_again_does_not_answer_the_next_sending_of_the_same_bytes() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"same");
    let _ = desk.queued(mark(0, 0), 7, 2 * SECOND);
    assert_eq!(finished(desk.receipt(0, receipt("a", "accepted", Some(b"same")), 3 * SECOND)).no, 0);
    send(&mut desk, attempt(1, Some("a"), Expect::Duplicate(0)), b"same");
    let _ = desk.queued(mark(1, 0), 8, 13 * SECOND);
    for _ in 0..2 {
        let again = desk.receipt(0, receipt("a", "accepted", Some(b"same")), 14 * SECOND);
        assert!(again.receipted.is_none(), "it is that of the first");
    }
    let tried = finished(desk.receipt(0, receipt("a", "duplicate", Some(b"same")), 15 * SECOND));
    assert_eq!((tried.no, tried.outcome.as_deref()), (1, Some("duplicate")));
}

/// The first sending was queued and swallowed: its bytes sent once more are accepted, and nothing else ever comes.
#[test]
fn a_sending_that_was_swallowed_is_told_by_the_receipts_that_came() {
    for stored in ["accepted", "duplicate"] {
        let mut desk = Desk::default();
        send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
        let _ = desk.queued(mark(0, 0), 7, 2 * SECOND);
        let mut given_up = Vec::new();
        assert!(matches!(desk.due(11 * SECOND, &mut given_up)[..], [Due::Ask { .. }]));
        assert!(matches!(desk.due(12 * SECOND, &mut given_up)[..], [Due::Again { no: 0 }]));
        desk.sent(0, 12 * SECOND);
        assert!(desk.queued(mark(0, 1), 8, 12 * SECOND).finished.is_none());
        let came = desk.receipt(0, receipt("a", "accepted", Some(b"0")), 13 * SECOND);
        assert!(came.receipted.is_some() && came.finished.is_none(), "another receipt may come");
        assert_eq!(desk.of_officer(0), 0, "and nobody waits for it");
        let closed = until_closed(&mut desk, |desk, mark, now| {
            assert!(now > 70 * SECOND);
            desk.stored(mark, Some(receipt("a", stored, Some(b"0"))), now)
        });
        let receipts = if stored == "accepted" { 1 } else { 2 };
        assert_eq!((closed[0].resent, closed[0].receipts), (1, Some(receipts)));
        assert_eq!(closed[0].sequences, [7, 8]);
        assert_eq!(closed[0].outcome.as_deref(), Some("accepted"), "the first stands");
        assert_eq!(desk.len(), 0);
    }
}

#[test]
fn an_attempt_that_was_sent_again_is_over_when_each_sending_has_its_receipt() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    desk.sent(0, 12 * SECOND);
    let _ = (desk.queued(mark(0, 0), 7, 13 * SECOND), desk.queued(mark(0, 1), 8, 13 * SECOND));
    assert!(desk.receipt(0, receipt("a", "accepted", Some(b"0")), 14 * SECOND).finished.is_none());
    let tried = finished(desk.receipt(0, receipt("a", "duplicate", Some(b"0")), 14 * SECOND));
    // The first PubAck came after the bytes had been sent again.
    assert_eq!((tried.resent, tried.receipts, tried.sends), (0, Some(2), 2));
    assert!(desk.receipt(0, receipt("a", "x", Some(b"0")), 15 * SECOND).stray.is_none(), "it was sent again");
}

/// The first receipt got lost with the connection, or the first PubAck did: nothing is waited for that cannot come.
#[test]
fn what_got_lost_with_a_connection_is_not_waited_for() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    let _ = desk.queued(mark(0, 0), 7, 2 * SECOND);
    desk.sent(0, 12 * SECOND);
    let _ = desk.queued(mark(0, 1), 8, 13 * SECOND);
    let tried = finished(desk.receipt(0, receipt("a", "duplicate", Some(b"0")), 14 * SECOND));
    assert_eq!((tried.resent, tried.receipts, tried.sequences.len()), (1, None, 2));
    send(&mut desk, attempt(1, Some("b"), Expect::Accepted), b"1");
    desk.sent(1, 12 * SECOND);
    let _ = desk.queued(mark(1, 1), 9, 13 * SECOND);
    let tried = finished(desk.receipt(0, receipt("b", "accepted", Some(b"1")), 14 * SECOND));
    assert_eq!((tried.receipts, tried.sequences.as_slice()), (Some(1), &[9][..]));
}

/// What stands is the last that was told: of three sendings the one in the middle may have been answered while the officer was away.
#[test]
fn a_receipt_in_the_middle_is_not_missed_where_it_may_have_got_lost() {
    for (stored, receipts) in [("accepted", Some(1)), ("duplicate", None)] {
        let mut desk = Desk::default();
        send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
        desk.sent(0, 12 * SECOND);
        desk.sent(0, 23 * SECOND);
        for (sending, sequence) in [(0, 7), (1, 8), (2, 9)] {
            let _ = desk.queued(mark(0, sending), sequence, 24 * SECOND);
        }
        let _ = desk.receipt(0, receipt("a", "accepted", Some(b"0")), 25 * SECOND);
        let closed = until_closed(&mut desk, |desk, mark, now| {
            desk.stored(mark, Some(receipt("a", stored, Some(b"0"))), now)
        });
        assert_eq!((closed[0].receipts, closed[0].sequences.len()), (receipts, 3), "{stored}");
    }
}

/// Nothing answered the look-up: then nobody knows whether another receipt came.
#[test]
fn without_an_answer_to_the_look_up_receipts_are_not_counted() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    desk.sent(0, 12 * SECOND);
    let _ = (desk.queued(mark(0, 0), 7, 13 * SECOND), desk.queued(mark(0, 1), 8, 13 * SECOND));
    let _ = desk.receipt(0, receipt("a", "accepted", Some(b"0")), 14 * SECOND);
    let closed = until_closed(&mut desk, |_, _, _| Came::default());
    assert_eq!((closed[0].receipts, closed[0].sequences.len()), (None, 2));
}

#[test]
fn a_receipt_that_belongs_to_nothing_is_stray_and_one_that_is_told_again_is_not() {
    let mut desk = Desk::default();
    send(&mut desk, attempt(0, Some("a"), Expect::Accepted), b"0");
    let _ = desk.queued(mark(0, 0), 7, 2 * SECOND);
    assert!(desk.receipt(0, receipt("a", "accepted", Some(b"0")), 3 * SECOND).stray.is_none());
    assert!(desk.receipt(0, receipt("a", "accepted", Some(b"0")), 4 * SECOND).stray.is_none(), "told again");
    let second = desk.receipt(0, receipt("a", "rejected", Some(b"0")), 4 * SECOND);
    assert_eq!(second.stray.map(|stray| stray.outcome).as_deref(), Some("rejected"));
    assert!(desk.receipt(1, receipt("a", "duplicate", Some(b"0")), 4 * SECOND).stray.is_some(), "another's");
    // One without a digest may be ahead of its PubAck, and is stray if that never comes.
    assert!(desk.receipt(0, receipt("unreadable-9", "rejected", None), 4 * SECOND).stray.is_none());
    let (open, strays) = desk.abandon();
    assert_eq!((open.len(), strays.len()), (0, 1));
    assert_eq!((strays[0].0, strays[0].1, strays[0].2.token.as_str()), (0, 4 * SECOND, "unreadable-9"));
}

#[test]
fn what_a_receipt_names_that_is_not_its_message_is_written_down() {
    let mut desk = Desk::default();
    let payload = Bytes::from_static(br#"{"data":{"title":"A name"}}"#);
    let detail = vec![("/data/title".to_owned(), "A name is no title".to_owned())];
    for (no, token, target, astray) in
        [(0, "a", "a", (None, None)), (1, "b", "a", (Some("b"), None)), (2, "a", "b", (None, Some("b")))]
    {
        let bytes = [u8::try_from(no).expect("small")];
        send(
            &mut desk,
            Attempt { payload: payload.clone(), ..attempt(no, Some("a"), Expect::Accepted) },
            &bytes,
        );
        let _ = desk.queued(mark(no, 0), 7 + u64::from(no), 2 * SECOND);
        let told = receipt(token, &format!("{no}"), Some(&bytes));
        let told = Receipt { target: target.to_owned(), detail: detail.clone(), ..told };
        let tried = finished(desk.receipt(0, told, 3 * SECOND));
        assert_eq!((tried.token.as_deref(), tried.target.as_deref()), astray);
        assert_eq!(tried.echoes, 1);
    }
}
