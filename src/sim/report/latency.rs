//! How long things took: a histogram of microseconds with three significant digits, and a sparing one for an interval.
//!
//! It counts and says percentiles. It does not know what was measured.

use hdrhistogram::Histogram;

/// Longest latency that is told apart, an hour; what took longer counts as this.
pub const LONGEST: u64 = 3_600_000_000;
/// Significant digits.
const DIGITS: u8 = 3;
/// So many values of an interval are kept as they are; from then on a histogram takes less room.
const FEW: usize = 4096;

/// The percentiles that are told everywhere, with the end of their member names.
pub const TOLD: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9), ("p99_99", 99.99)];

/// Latencies of one kind.
#[derive(Debug, Clone)]
pub struct Latencies {
    counted: Histogram<u64>,
    /// Those of them that never came.
    missing: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        // It grows with what it sees, so that one that sees little takes little.
        Self { counted: Histogram::new(DIGITS).expect("three digits are allowed"), missing: 0 }
    }
}

impl Latencies {
    /// Counts one, in microseconds.
    pub fn note(&mut self, micros: u64) {
        self.counted.record(micros.min(LONGEST)).expect("it grows with its values");
    }

    /// Counts one that never came, with the time for which it was waited: percentiles without it would be those of the
    /// lucky ones only.
    pub fn note_missing(&mut self, waited: u64) {
        self.note(waited);
        self.missing += 1;
    }

    /// How many came.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counted.len() - self.missing
    }

    /// How many never came. They are in the percentiles, the mean and the longest.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The value, in microseconds, that so many per cent did not exceed; none if nothing was counted.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        self.some(|counted| counted.value_at_quantile(percent / 100.0).min(counted.max()))
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Option<u64> {
        self.some(Histogram::max)
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.some(Histogram::mean)
    }

    fn some<T>(&self, of: impl FnOnce(&Histogram<u64>) -> T) -> Option<T> {
        (!self.counted.is_empty()).then(|| of(&self.counted))
    }
}

/// Latencies within one interval. There may be thousands of these, so that few values are kept as a list.
#[derive(Debug, Clone)]
pub enum Spread {
    /// As they came.
    Few(Vec<u64>),
    /// Counted.
    Many(Box<Latencies>),
}

impl Default for Spread {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Spread {
    /// Counts one, in microseconds.
    pub fn note(&mut self, micros: u64) {
        match self {
            Self::Few(values) if values.len() < FEW => values.push(micros),
            Self::Few(values) => {
                let mut many = Latencies::default();
                values.iter().chain([&micros]).for_each(|value| many.note(*value));
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => many.note(micros),
        }
    }

    /// As a histogram.
    #[must_use]
    pub fn counted(&self) -> Latencies {
        match self {
            Self::Many(many) => (**many).clone(),
            Self::Few(values) => {
                let mut counted = Latencies::default();
                values.iter().for_each(|value| counted.note(*value));
                counted
            }
        }
    }
}

/// The histogram within, for those who write it down.
impl AsRef<Histogram<u64>> for Latencies {
    fn as_ref(&self) -> &Histogram<u64> {
        &self.counted
    }
}
