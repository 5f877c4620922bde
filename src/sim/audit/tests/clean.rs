//! A broker that is as it should be is found to be so.

use super::log::Play;

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for (seed, fresh) in [(1, true), (2, false), (3, true)] {
        let play = Play::new(seed, 400, fresh);
        let found = play.audit(&[]);
        assert!(found.is_clean(), "seed {seed}: {:?} {:#?}", found.counts, found.examples);
        assert_eq!(found.attempts, 400);
        assert_eq!(found.outcomes.values().sum::<u64>(), 400);
        assert!(found.letters > 1_000 && found.replayed > 1_000, "{} {}", found.letters, found.replayed);
        assert!(found.redelivered > 0);
        assert_eq!(found.foreign > 0, !fresh);
        for outcome in ["accepted", "duplicate", "quarantined", "rejected"] {
            assert!(found.outcomes.contains_key(outcome), "seed {seed}: no {outcome}");
        }
    }
}
