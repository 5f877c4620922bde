//! What happened when: how many a second, and the latencies of each interval.
//!
//! Counts go by the second in which a thing happened. Latencies go by when the message was *due*: a broker that stops for
//! ten seconds then shows ten bad seconds, not one. Intervals are a second long as long as there are not too many.

use super::latency::Spread;

/// Most intervals; a longer run has longer ones.
const MOST: u64 = 2_000;
/// Lengths that intervals may have, in seconds.
const LENGTHS: [u64; 8] = [1, 2, 5, 10, 30, 60, 300, 600];
/// Nothing is told apart after so many seconds: three days, more than any plan may last.
const LAST: u64 = 3 * 24 * 3_600;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// What happened within a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// Attempts sent.
    pub sent: u64,
    /// Receipts.
    pub receipted: u64,
    /// Letters read.
    pub delivered: u64,
}

impl Happened {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.receipted += other.receipted;
        self.delivered += other.delivered;
    }
}

/// Latencies of what was due within an interval.
#[derive(Debug, Clone, Default)]
pub struct Spreads {
    /// To the PubAck.
    pub puback: Spread,
    /// To the receipt.
    pub receipt: Spread,
    /// To the delivery.
    pub delivery: Spread,
}

/// Everything by time.
#[derive(Debug, Clone)]
pub struct Series {
    length: u64,
    seconds: Vec<Happened>,
    intervals: Vec<Spreads>,
}

/// One interval, put together.
#[derive(Debug)]
pub struct Interval<'a> {
    /// When it begins, in seconds from the start.
    pub at: u64,
    /// What happened in it, in all.
    pub happened: Happened,
    /// Latencies of what was due in it.
    pub spreads: &'a Spreads,
}

/// The place of a moment in a list that grows up to it.
fn grown<T: Default + Clone>(list: &mut Vec<T>, place: u64) -> &mut T {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    if list.len() <= place {
        list.resize(place + 1, T::default());
    }
    &mut list[place]
}

impl Series {
    /// Of a run that sends for so many seconds.
    #[must_use]
    pub fn new(seconds: u64) -> Self {
        let fits = |length: &u64| seconds / length <= MOST;
        let length = LENGTHS.into_iter().find(fits).unwrap_or(LENGTHS[LENGTHS.len() - 1]);
        Self { length, seconds: Vec::new(), intervals: Vec::new() }
    }

    /// Notes that something happened, in microseconds from the start.
    pub fn happened(&mut self, at: u64, what: Happened) {
        grown(&mut self.seconds, (at / SECOND).min(LAST)).add(what);
    }

    /// The latencies of what was due at a moment.
    pub fn due(&mut self, at: u64) -> &mut Spreads {
        let place = (at / SECOND).min(LAST) / self.length;
        grown(&mut self.intervals, place)
    }

    /// How long an interval is, in seconds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What happened before a second, in all.
    #[must_use]
    pub fn before(&self, second: u64) -> Happened {
        let end = usize::try_from(second).unwrap_or(usize::MAX).min(self.seconds.len());
        Self::sum(&self.seconds[..end])
    }

    /// The most that happened within one second, each for itself.
    #[must_use]
    pub fn highest(&self) -> Happened {
        let most = |of: fn(&Happened) -> u64| self.seconds.iter().map(of).max().unwrap_or_default();
        Happened {
            sent: most(|second| second.sent),
            receipted: most(|second| second.receipted),
            delivered: most(|second| second.delivered),
        }
    }

    /// All intervals, in order, none left out.
    pub fn intervals(&self) -> impl Iterator<Item = Interval<'_>> {
        static NONE: Spreads = Spreads {
            puback: Spread::Few(Vec::new()),
            receipt: Spread::Few(Vec::new()),
            delivery: Spread::Few(Vec::new()),
        };
        let length = usize::try_from(self.length).unwrap_or(1);
        let count = self.intervals.len().max(self.seconds.len().div_ceil(length));
        (0..count).map(move |place| {
            let from = (place * length).min(self.seconds.len());
            let to = (from + length).min(self.seconds.len());
            Interval {
                at: place as u64 * self.length,
                happened: Self::sum(&self.seconds[from..to]),
                spreads: self.intervals.get(place).unwrap_or(&NONE),
            }
        })
    }

    fn sum(seconds: &[Happened]) -> Happened {
        let mut sum = Happened::default();
        seconds.iter().for_each(|second| sum.add(*second));
        sum
    }
}
