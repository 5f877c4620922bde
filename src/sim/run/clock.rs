//! The clock of a run: microseconds from the moment at which the first message could be due.

use std::time::{Duration, Instant};

use crate::message::time;

/// When the run starts.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A run that starts so much later than now.
    #[must_use]
    pub fn starting_in(wait: Duration) -> Self {
        Self { start: time::stopwatch() + wait }
    }

    /// Microseconds from the start; 0 before it.
    #[must_use]
    pub fn now(&self) -> u64 {
        micros(time::stopwatch().saturating_duration_since(self.start))
    }

    /// The moment so much after the start.
    #[must_use]
    pub fn moment(&self, at: u64) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + Duration::from_micros(at))
    }
}

/// A duration in microseconds.
#[must_use]
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
