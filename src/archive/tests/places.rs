//! Places of an intake stream that the archive knows.

use super::*;

/// What `fill` writes comes from one party, and its places are the archive's sequences. What lies behind the end was only answered.
#[test]
fn the_nearest_publication_that_has_a_record_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut archive, _) = open(folder.path());
    fill(&mut archive, 1, 600, 3);
    for reopened in [false, true] {
        let reader = archive.reader();
        let head = reader.get(600).expect("readable").expect("there");
        let nearest = |upto: u64| {
            let found = reader.at_or_before(&head.party, Position { sequence: upto, ..head.position });
            found.expect("readable").map_or(0, |record| record.position.sequence)
        };
        // Looked at are 0, 1, 2, 4, 7, 11, 17 places back, and so on.
        for (upto, place) in [(600, 600), (601, 600), (605, 598), (617, 600), (300, 300), (1, 1), (0, 0)] {
            assert_eq!(nearest(upto), place, "{upto}, reopened: {reopened}");
        }
        let other = Position { epoch: head.position.epoch + 1, ..head.position };
        assert!(reader.at_or_before(&head.party, other).expect("readable").is_none(), "another life");
        if !reopened {
            archive.close().expect("closes");
            archive = open(folder.path()).0;
        }
    }
}
