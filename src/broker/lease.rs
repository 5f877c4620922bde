//! What an instance makes of the lease that it sees: wait, or try to take it. Pure: what is seen and the time come in.
//!
//! Clocks of different machines are never compared. Whoever waits counts, by its own clock, from when it saw a renewal
//! first, which is later than its holder began it; so it takes a lease only after the holder stopped to believe in it.

use std::time::{Duration, Instant};

use crate::wire::lease::{HOLD, Holder};

/// How long a lease must have stood without renewal until another instance takes it.
pub const TAKE_AFTER: Duration = Duration::from_secs(HOLD.as_secs() + 1);

/// What to do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Somebody holds it.
    Wait,
    /// Try to take it, if its revision is still this one.
    Take {
        /// Revision; 0 if there is no lease yet.
        revision: u64,
        /// The epoch that begins then.
        epoch: u64,
    },
}

/// What was seen of the lease so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// The last revision, and when it was seen first.
    seen: Option<(u64, Instant)>,
}

impl Watch {
    /// One look.
    pub fn look(&mut self, found: Option<&(u64, Holder)>, now: Instant) -> Step {
        let Some((revision, holder)) = found else { return Step::Take { revision: 0, epoch: 1 } };
        let take = Step::Take { revision: *revision, epoch: holder.epoch + 1 };
        if holder.released {
            return take;
        }
        match self.seen {
            Some((seen, since)) if seen == *revision => {
                if now.saturating_duration_since(since) >= TAKE_AFTER { take } else { Step::Wait }
            }
            _ => {
                self.seen = Some((*revision, now));
                Step::Wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::time;

    fn held(revision: u64, released: bool) -> (u64, Holder) {
        (revision, Holder { instance: "a".to_owned(), epoch: 7, released })
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_given_back_or_not_renewed_for_long_enough() {
        let mut watch = Watch::default();
        let start = time::stopwatch();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(watch.look(None, at(0)), Step::Take { revision: 0, epoch: 1 });
        assert_eq!(watch.look(Some(&held(3, false)), at(0)), Step::Wait);
        assert_eq!(watch.look(Some(&held(3, false)), at(TAKE_AFTER.as_secs() - 1)), Step::Wait);
        // Renewed at the last moment: the waiting begins anew.
        assert_eq!(watch.look(Some(&held(4, false)), at(TAKE_AFTER.as_secs())), Step::Wait);
        assert_eq!(watch.look(Some(&held(4, false)), at(2 * TAKE_AFTER.as_secs() - 1)), Step::Wait);
        let take = Step::Take { revision: 4, epoch: 8 };
        assert_eq!(watch.look(Some(&held(4, false)), at(2 * TAKE_AFTER.as_secs())), take);
        assert_eq!(Watch::default().look(Some(&held(9, true)), at(0)), Step::Take { revision: 9, epoch: 8 });
    }

    #[test]
    fn the_holder_stops_to_believe_before_another_may_take_it() {
        // The renewal begins, is stored, and is seen, in this order; the other counts from the last, the holder from the
        // first.
        assert!(HOLD < TAKE_AFTER);
    }
}
