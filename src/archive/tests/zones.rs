//! What is read of zones when it is asked for: bad ones are made good from the journal, and dates are found and let go.

use super::*;

/// Feeds, deliveries and dates do not depend on whether sled's zones can be read.
#[test]
fn zones_that_are_bad_while_it_runs_are_made_good_from_the_journal() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    for n in 1..=6 * BLOCK as u64 {
        let mut draft = draft(n);
        draft.summary.as_mut().expect("accepted").review_ms = n.is_multiple_of(100).then_some(7);
        if (257..=768).contains(&n) {
            draft.recipients.retain(|entry| entry.party == party("fr-dnpaf")); // the others' feeds pass two blocks by
        }
        archive.commit(vec![draft]).expect("commits");
    }
    archive.close().expect("closes");
    let (archive, _) = open(directory.path());
    let reader = archive.reader();
    let look = || {
        let names = ["fr-dnpaf", "it-moi", "eu-frontex"].map(party);
        let feeds = names.map(|party| {
            let items = reader.feed(&party, 0, usize::MAX, usize::MAX).expect("reads");
            items.iter().map(|item| (item.feed_seq, item.feed_digest, item.record.seq)).collect::<Vec<_>>()
        });
        let owed = [260_u64, 800, 1_100].map(|seq| reader.deliveries(seq).expect("reads"));
        (feeds, owed.map(|owed| format!("{owed:?}")), reader.due_at(7).expect("reads"))
    };
    let whole = look();
    assert!(whole.0.iter().all(|feed| feed.len() > 256) && whole.2.len() == 15);
    for bad in [&[1][..], &[769], &[257, 513, 769, 1025], &[1, 257, 513, 769, 1025, 1281]] {
        for first in bad {
            reader.store.spoil_zone(*first);
            reader.cache.forget(*first);
        }
        assert!(reader.store.zone(bad[0]).is_none());
        assert!(look() == whole, "{bad:?}");
    }
}

/// A block whose dates all have passed and are settled is not read for them any more; one with a date left is.
#[test]
fn dates_are_found_until_their_messages_are_erased() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    for n in 1..=BLOCK as u64 + 10 {
        let mut draft = draft(n);
        let summary = draft.summary.as_mut().expect("accepted");
        (summary.erase_ms, summary.review_ms) = match n {
            3 => (Some(50), None),
            5 => (Some(90), Some(20)),
            260 => (None, Some(40)),
            _ => (None, None),
        };
        archive.commit(vec![draft]).expect("commits");
    }
    archive.close().expect("closes");
    let (mut archive, _) = open(directory.path());
    let reader = archive.reader();
    let due = |now| reader.due_at(now).expect("reads");
    let first = |at: usize| reader.index.read().gists[at].due_ms;
    assert_eq!((due(19), due(20), due(39), due(1_000)), (vec![], vec![5], vec![5], vec![260, 3, 5]));
    assert_eq!(first(0), 20);
    let erase = |n, target| {
        let act = Act::Erase { ground: Ground::DataSubjectRequest, due_ms: 0, attest: false };
        Draft { effects: vec![Effect { target, act }], ..draft(n) }
    };
    archive.commit(vec![erase(1_000, 5)]).expect("commits");
    assert_eq!((due(1_000), first(0)), (vec![260, 3], 50));
    archive.commit(vec![erase(1_001, 3), erase(1_002, 260)]).expect("commits");
    assert_eq!((due(1_000), first(0)), (vec![], i64::MAX));
}
