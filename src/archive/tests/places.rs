//! Places of an intake stream that the archive knows.

use super::*;

/// What `fill` writes comes from one party, and its places are the archive's sequences.
#[test]
fn what_was_kept_before_the_last_commits_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut archive, _) = open(folder.path());
    fill(&mut archive, 1, 600, 3);
    for reopened in [false, true] {
        let reader = archive.reader();
        let head = reader.get(600).expect("readable").expect("there");
        let before = |upto: u64, commits: usize| {
            let upto = Position { sequence: upto, ..head.position };
            let found = reader.kept_before(&head.party, upto, commits).expect("readable");
            found.map_or(0, |record| record.position.sequence)
        };
        // The nearest of what is looked at: 0, 1, 2, 4, 7, 11, 17 places back.
        let expected =
            [(600, 0, 600), (600, 1, 596), (600, 2, 593), (600, 5, 583), (590, 1, 590), (590, 6, 579)];
        for (upto, commits, place) in expected {
            assert_eq!(before(upto, commits), place, "{upto} before {commits}, reopened: {reopened}");
        }
        assert_eq!((before(600, 200), before(600, 201), before(0, 0)), (0, 0, 0));
        let other = Position { epoch: head.position.epoch + 1, ..head.position };
        assert!(reader.kept_before(&head.party, other, 0).expect("readable").is_none(), "another life");
        if !reopened {
            archive.close().expect("closes");
            archive = open(folder.path()).0;
        }
    }
}
