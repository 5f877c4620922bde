//! S-23: a token bucket a party, on the clock of the intake stream.
//!
//! The clock is the arrival time that the stream stamped, not the time of judging: a backlog that piled up while the
//! broker was away was not a flood when it was sent, and must not become one.

use std::collections::HashMap;

use crate::message::names::PartyId;
use crate::message::time::Timestamp;

/// How many messages one authority may send.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Messages a second in the long run.
    pub per_second: f64,
    /// Messages at once after a pause.
    pub burst: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 50.0, burst: 500.0 }
    }
}

/// The buckets of all parties.
#[derive(Debug, Default)]
pub struct Buckets {
    full: HashMap<PartyId, (f64, Timestamp)>,
}

impl Buckets {
    /// Takes one token; false if there is none.
    pub fn take(&mut self, rate: Rate, party: &PartyId, arrived: Timestamp) -> bool {
        let (tokens, last) = self.full.entry(party.clone()).or_insert((rate.burst, arrived));
        let elapsed = arrived.duration_since(*last).as_secs_f64();
        if elapsed > 0.0 {
            *tokens = rate.burst.min(*tokens + elapsed * rate.per_second);
            *last = arrived;
        }
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let party = PartyId::parse("de-bpol").expect("well formed");
        let rate = Rate { per_second: 10.0, burst: 5.0 };
        let mut buckets = Buckets::default();
        let at = |ms: i64| Timestamp::from_millisecond(1_000_000 + ms).expect("in range");
        assert_eq!((0..10).filter(|_| buckets.take(rate, &party, at(0))).count(), 5);
        assert_eq!((0..10).filter(|_| buckets.take(rate, &party, at(300))).count(), 3);
        assert!(!buckets.take(rate, &party, at(100)), "a clock that goes back gives nothing");
    }
}
