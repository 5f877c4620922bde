//! How much may be replayed: pages at once, for a party and for all, and bytes a second for a party.
//!
//! Bytes count when they were read: a page may go over what is left, and the next one waits until that is paid.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::message::names::PartyId;

/// `[replay]` in `liaison.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Pages of one party at once.
    pub concurrent: usize,
    /// Pages of all parties at once.
    pub concurrent_all: usize,
    /// Bytes of one party a second, given out or read for a filter. As much may be saved up by not reading.
    pub bytes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrent: 2, concurrent_all: 4, bytes_per_second: 128 << 20 }
    }
}

/// Why a page is not read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Too many at once.
    Busy,
    /// Too much read; there is something again after this long.
    Quota(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    bytes: f64,
    at: Instant,
}

impl Bucket {
    /// What is in it now.
    fn fill(&mut self, limits: Limits, now: Instant) -> f64 {
        let rate = f64::from(limits.bytes_per_second);
        let more = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.bytes = rate.min(self.bytes + more);
        self.at = now;
        self.bytes
    }
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<PartyId, usize>,
    buckets: HashMap<PartyId, Bucket>,
}

/// Lets pages in. The parties are those of the registry, so what it remembers is bounded.
#[derive(Debug, Default)]
pub(in crate::broker) struct Gate {
    state: Mutex<State>,
}

impl Gate {
    /// Lets one page in, or says why not.
    pub(super) fn enter(
        self: &Arc<Self>,
        limits: Limits,
        party: &PartyId,
        now: Instant,
    ) -> Result<Pass, Denied> {
        let mut state = self.state.lock();
        let own = state.running.get(party).copied().unwrap_or_default();
        let all: usize = state.running.values().sum();
        if own >= limits.concurrent || all >= limits.concurrent_all {
            return Err(Denied::Busy);
        }
        let full = Bucket { bytes: f64::from(limits.bytes_per_second), at: now };
        let left = state.buckets.entry(party.clone()).or_insert(full).fill(limits, now);
        if left <= 0.0 {
            let rate = f64::from(limits.bytes_per_second.max(1));
            return Err(Denied::Quota(Duration::from_secs_f64(-left / rate)));
        }
        *state.running.entry(party.clone()).or_default() += 1;
        Ok(Pass { gate: Arc::clone(self), party: party.clone() })
    }
}

/// The right to read one page; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    party: PartyId,
}

impl Pass {
    /// Takes what was read from the party's quota.
    pub(super) fn charge(&self, bytes: usize, limits: Limits, now: Instant) {
        if let Some(bucket) = self.gate.state.lock().buckets.get_mut(&self.party) {
            bucket.fill(limits, now);
            #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
            let bytes = bytes as f64;
            bucket.bytes -= bytes;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(running) = self.gate.state.lock().running.get_mut(&self.party) {
            *running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(id: &str) -> PartyId {
        PartyId::parse(id).expect("well formed")
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        let limits = Limits { concurrent: 2, concurrent_all: 3, bytes_per_second: 100 };
        let gate = Arc::<Gate>::default();
        let now = crate::message::time::stopwatch();
        let enter = |id: &str| gate.enter(limits, &party(id), now);
        let first = enter("de-bpol").expect("free");
        let second = enter("de-bpol").expect("free");
        assert_eq!(enter("de-bpol").expect_err("full"), Denied::Busy);
        let third = enter("fr-dnpaf").expect("free");
        assert_eq!(enter("fr-dnpaf").expect_err("all together"), Denied::Busy);
        drop(first);
        let fourth = enter("fr-dnpaf").expect("free again");
        drop((second, third, fourth));
        assert!(enter("de-bpol").is_ok() && enter("it-moi").is_ok());
    }

    #[test]
    fn what_was_read_is_paid_before_more_is_read() {
        let limits = Limits { bytes_per_second: 1_000, ..Limits::default() };
        let gate = Arc::<Gate>::default();
        let start = crate::message::time::stopwatch();
        let after = |ms| start + Duration::from_millis(ms);
        let ours = party("de-bpol");
        gate.enter(limits, &ours, start).expect("full").charge(1_500, limits, start);
        let denied = gate.enter(limits, &ours, after(100)).expect_err("500 over, 100 paid");
        assert_eq!(denied, Denied::Quota(Duration::from_millis(400)));
        assert!(gate.enter(limits, &party("fr-dnpaf"), after(100)).is_ok(), "each has its own");
        assert!(gate.enter(limits, &ours, after(501)).is_ok());
        let pass = gate.enter(limits, &ours, after(60_000)).expect("full");
        pass.charge(1_001, limits, after(60_000));
        drop(pass);
        assert!(gate.enter(limits, &ours, after(60_000)).is_err(), "no more than a second is saved up");
    }
}
