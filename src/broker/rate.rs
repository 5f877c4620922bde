//! S-23: a token bucket a party, on the clock of the intake stream.
//!
//! The clock is the arrival time that the stream stamped, not the time of judging: a backlog that piled up while the
//! broker was away was not a flood when it was sent, and must not become one.

use std::collections::HashMap;
use std::time::Duration;

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

/// Longest wait that is told: nobody is asked to come again next year because a rate is set next to nothing.
const LONGEST: f64 = 86_400.0;

impl Buckets {
    /// Takes one token.
    ///
    /// # Errors
    /// There is none; when there will be one, counted from the arrival. Never none, so that nobody comes again at once.
    pub fn take(&mut self, rate: Rate, party: &PartyId, arrived: Timestamp) -> Result<(), Duration> {
        let (tokens, last) = self.full.entry(party.clone()).or_insert((rate.burst, arrived));
        let elapsed = arrived.duration_since(*last).as_secs_f64();
        if elapsed > 0.0 {
            *tokens = rate.burst.min(*tokens + elapsed * rate.per_second);
            *last = arrived;
        }
        if *tokens < 1.0 {
            let seconds = ((1.0 - *tokens) / rate.per_second).clamp(1.0, LONGEST);
            return Err(Duration::from_secs_f64(seconds.ceil()));
        }
        *tokens -= 1.0;
        Ok(())
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
        assert_eq!((0..10).filter(|_| buckets.take(rate, &party, at(0)).is_ok()).count(), 5);
        assert_eq!((0..10).filter(|_| buckets.take(rate, &party, at(300)).is_ok()).count(), 3);
        assert!(buckets.take(rate, &party, at(100)).is_err(), "a clock that goes back gives nothing");
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let party = PartyId::parse("de-bpol").expect("well formed");
        let at = |seconds: u64| {
            let seconds = i64::try_from(seconds).expect("few");
            Timestamp::from_second(1_000_000 + seconds).expect("in range")
        };
        for (per_second, wait) in [(50.0, 1), (0.25, 4), (0.01, 100), (0.0, 86_400), (1e-9, 86_400)] {
            let rate = Rate { per_second, burst: 1.0 };
            let mut buckets = Buckets::default();
            assert_eq!(buckets.take(rate, &party, at(0)), Ok(()));
            assert_eq!(buckets.take(rate, &party, at(0)), Err(Duration::from_secs(wait)), "{per_second}");
            if per_second > 0.001 {
                assert_eq!(buckets.take(rate, &party, at(wait)), Ok(()), "{per_second}: as it was told");
            }
        }
    }
}
