//! Sweeping over a feed past blocks: what may be skipped, and what never.

use super::*;

/// Skipping blocks changes neither the numbers of the feed nor what stands in the blocks that are wanted.
#[test]
fn a_sweep_past_blocks_gives_the_feed_without_them() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    let countries = ["TN", "LY", "NE", "TN"];
    for n in 1..=900 {
        let mut draft = draft(n);
        let summary = draft.summary.as_mut().expect("accepted");
        summary.country = Some(countries[(n as usize - 1) / BLOCK].into());
        archive.commit(vec![draft]).expect("commits");
    }
    archive.close().expect("closes");
    let (archive, _) = open(directory.path());
    let reader = archive.reader();
    for name in ["fr-dnpaf", "it-moi", "eu-frontex"] {
        let party = party(name);
        let feed = reader.feed(&party, 0, usize::MAX, usize::MAX).expect("reads");
        for (wanted, from) in [("TN", 0), ("LY", 0), ("LY", 100), ("NE", 3), ("??", 0), ("TN", 290)] {
            let mut found = Vec::new();
            let mut upto = from;
            loop {
                let wants = |block: &Sketch<'_>| block.countries().contains(&wanted);
                let stretch = reader.stretch(&party, upto, wants).expect("reads");
                if stretch.upto == upto {
                    break;
                }
                assert!(stretch.items.iter().all(|item| (upto + 1..=stretch.upto).contains(&item.feed_seq)));
                upto = stretch.upto;
                found.extend(stretch.items);
            }
            assert_eq!(upto, reader.feed_head(&party), "to the end");
            // The last 132 records are in no block.
            let expected = feed.iter().filter(|item| {
                let country = item.record.summary.as_ref().and_then(|summary| summary.country.as_deref());
                item.feed_seq > from && (country == Some(wanted) || item.record.seq > 3 * BLOCK as u64)
            });
            let pair = |item: &FeedItem| (item.feed_seq, item.feed_digest, item.record.seq);
            let (found, expected): (Vec<_>, Vec<_>) =
                (found.iter().map(pair).collect(), expected.map(pair).collect());
            assert_eq!(found, expected, "{name} {wanted} {from}");
        }
    }
}

/// The sketch of a block knows nothing of older messages that its records release: it must be read all the same.
#[test]
fn a_sweep_never_skips_what_was_released() {
    let directory = tempfile::tempdir().expect("temp dir");
    let (mut archive, _) = open(directory.path());
    let reader = party("es-pn");
    for n in 1..=2 * BLOCK as u64 {
        let mut draft = draft(n);
        if n == 300 {
            let to = vec![Entry { party: reader.clone(), why: Why::Named }];
            let (digest, sealed) = (self::draft(7).digest, self::draft(7).seal);
            let act = Act::Release { digest, sealed, to, withheld: Vec::new() };
            draft.effects.push(Effect { target: 7, act });
        }
        archive.commit(vec![draft]).expect("commits");
    }
    archive.close().expect("closes");
    let (archive, _) = open(directory.path());
    let stretch = archive.reader().stretch(&reader, 0, |_| false).expect("reads");
    assert_eq!(stretch.items.iter().map(|item| item.record.seq).collect::<Vec<_>>(), [7]);
}
