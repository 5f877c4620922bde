//! What can be seen of a run while it runs: counters, and percentiles of the last seconds.
//!
//! For people who watch; the report is made from the log, not from this.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::clock::Clock;

/// Seconds that the percentiles look back.
const WINDOW: u64 = 5;
/// Attempts whose due times are kept for the percentiles of deliveries.
const DUES: usize = 1 << 16;
/// Bits of a due time in microseconds: three days.
const DUE_BITS: u32 = 38;

/// Everything that counts, shared by all tasks of a run.
#[derive(Debug)]
pub struct Live {
    /// Publications, re-sends among them.
    pub sent: AtomicU64,
    /// Attempts that have their receipt.
    pub receipted: AtomicU64,
    /// Attempts sent that have none.
    pub open: AtomicU64,
    /// Attempts that were given up.
    pub given_up: AtomicU64,
    /// Deliveries that receipts promised.
    pub promised: AtomicU64,
    /// Letters read.
    pub letters: AtomicU64,
    /// Messages that analysts got.
    pub analysed: AtomicU64,
    /// Messages replayed at the end.
    pub replayed: AtomicU64,
    /// How much later than due the last attempt was handed to its connection, in microseconds.
    pub slip: AtomicU64,
    /// Number and due time of the latest attempts, by number: `no << DUE_BITS | due`.
    dues: Box<[AtomicU64]>,
    receipts: Mutex<Recent>,
    deliveries: Mutex<Recent>,
}

impl Default for Live {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            sent: zero(),
            receipted: zero(),
            open: zero(),
            given_up: zero(),
            promised: zero(),
            letters: zero(),
            analysed: zero(),
            replayed: zero(),
            slip: zero(),
            dues: (0..DUES).map(|_| AtomicU64::new(u64::MAX)).collect(),
            receipts: Mutex::default(),
            deliveries: Mutex::default(),
        }
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: u64,
    /// All but one of a hundred took no longer.
    pub p99: u64,
}

impl Live {
    /// Notes that an attempt is under way.
    pub fn due(&self, no: u32, due: u64) {
        let mixed = (u64::from(no) << DUE_BITS) | (due & ((1 << DUE_BITS) - 1));
        self.dues[no as usize % DUES].store(mixed, Ordering::Relaxed);
    }

    /// Notes a receipt.
    pub fn receipt(&self, clock: &Clock, took: u64) {
        self.receipted.fetch_add(1, Ordering::Relaxed);
        self.receipts.lock().note(clock.now(), took);
    }

    /// Notes letters of these attempts, read at that moment.
    pub fn deliveries(&self, of: impl Iterator<Item = u32>, at: u64) {
        let mut recent = self.deliveries.lock();
        for no in of {
            let mixed = self.dues[no as usize % DUES].load(Ordering::Relaxed);
            // The number is cut to what fits beside the due time.
            if mixed >> DUE_BITS == (u64::from(no) & (u64::MAX >> DUE_BITS)) {
                recent.note(at, at.saturating_sub(mixed & ((1 << DUE_BITS) - 1)));
            }
        }
    }

    /// From due to receipt, in the last seconds.
    #[must_use]
    pub fn receipt_percentiles(&self, clock: &Clock) -> Percentiles {
        self.receipts.lock().percentiles(clock.now())
    }

    /// From due to mailbox, in the last seconds.
    #[must_use]
    pub fn delivery_percentiles(&self, clock: &Clock) -> Percentiles {
        self.deliveries.lock().percentiles(clock.now())
    }
}

/// A histogram a second.
#[derive(Debug)]
struct Recent {
    seconds: Vec<(u64, Histogram<u32>)>,
}

impl Default for Recent {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, 600_000_000, 2).expect("bounds must be in order");
        Self { seconds: (0..WINDOW).map(|_| (u64::MAX, empty())).collect() }
    }
}

impl Recent {
    fn note(&mut self, at: u64, took: u64) {
        let second = at / 1_000_000;
        let place = usize::try_from(second % WINDOW).unwrap_or_default();
        let (of, histogram) = &mut self.seconds[place];
        if *of != second {
            *of = second;
            histogram.reset();
        }
        histogram.saturating_record(took);
    }

    fn percentiles(&self, now: u64) -> Percentiles {
        let second = now / 1_000_000;
        let mut all = self.seconds[0].1.clone();
        all.reset();
        for (of, histogram) in &self.seconds {
            if of.saturating_add(WINDOW) > second && *of <= second {
                all.add(histogram).expect("all have the same bounds");
            }
        }
        Percentiles { p50: all.value_at_quantile(0.5), p99: all.value_at_quantile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_forget_what_is_older_than_the_window() {
        let mut recent = Recent::default();
        recent.note(0, 9_000_000);
        recent.note(4_000_000, 1_000);
        assert!(recent.percentiles(4_000_000).p99 >= 9_000_000);
        assert!(recent.percentiles(5_000_000).p99 < 1_100);
        assert_eq!(recent.percentiles(60_000_000), Percentiles::default());
    }

    #[test]
    fn a_delivery_is_measured_from_the_due_time_of_its_own_attempt_only() {
        let live = Live::default();
        let clock = Clock::starting_in(std::time::Duration::ZERO);
        live.due(70_000, 1_000);
        live.deliveries([70_000, 70_000 - 65_536, 3].into_iter(), 5_000);
        let seen = live.deliveries.lock().percentiles(5_000);
        assert!((3_900..4_100).contains(&seen.p50) && seen.p50 == seen.p99, "{seen:?} {clock:?}");
    }
}
