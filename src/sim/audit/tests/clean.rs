//! A broker that is as it should be is found to be so.

use super::log::Play;
use crate::sim::audit::Kind;

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for (seed, fresh) in [(1, true), (2, false), (3, true)] {
        let play = Play::new(seed, 400, fresh);
        let found = play.audit(&[]);
        assert!(found.is_clean(), "seed {seed}: {:?} {:#?}", found.counts, found.examples);
        assert_eq!(found.attempts, 400);
        assert_eq!(found.outcomes.values().sum::<u64>(), 400);
        assert!(found.letters > 1_000 && found.replayed > 1_000, "{} {}", found.letters, found.replayed);
        assert!(found.redelivered > 0 && found.resent > 0);
        assert_eq!(found.foreign > 0, !fresh);
        for outcome in ["accepted", "duplicate", "quarantined", "rejected"] {
            assert!(found.outcomes.contains_key(outcome), "seed {seed}: no {outcome}");
        }
    }
}

#[test]
fn what_was_not_sent_is_no_fault_of_a_run_that_was_broken_off_and_of_no_other() {
    let play = Play::new(4, 400, true);
    let found = play.broken_off(300, true);
    assert!(found.is_clean(), "{:?} {:#?}", found.counts, found.examples);
    assert_eq!((found.attempts, found.unsent, found.outcomes.values().sum::<u64>()), (400, 100, 300));
    let found = play.broken_off(300, false);
    assert_eq!((found.count(Kind::Unanswered), found.unsent), (100, 0));
}
