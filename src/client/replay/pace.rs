//! The pace of a replay: messages come as far apart as they were archived, or a number of times closer.
//!
//! No clock here: how long it has taken so far comes in, how long to wait goes out. Each message is due counted from the
//! first one, not from the one before, so waits that last too long do not add up.

use std::time::Duration;

use crate::message::time::Timestamp;

/// How many times faster than it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times.
    Times(f64),
    /// As fast as it goes.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: Option<f64> = text.strip_suffix('x').and_then(|times| times.parse().ok());
        let fits = |times: &f64| (0.01..=100_000.0).contains(times);
        times.filter(fits).map(Self::Times).ok_or("is max, or a number with x: 1x, 10x, 60x, 0.5x")
    }
}

/// Keeps the pace of one replay.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    began: Option<(Timestamp, Duration)>,
}

impl Pace {
    /// Begins with the first message.
    #[must_use]
    pub fn new(speed: Speed) -> Self {
        Self { speed, began: None }
    }

    /// How long to wait with the message archived at this time, when `elapsed` has gone by on any stopwatch.
    pub fn wait(&mut self, archived_at: Timestamp, elapsed: Duration) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        let (first, began) = *self.began.get_or_insert((archived_at, elapsed));
        // The archive's clock may have been set back: then it is due at once.
        let apart = Duration::try_from(archived_at.duration_since(first)).unwrap_or_default();
        (began + apart.div_f64(times)).saturating_sub(elapsed)
    }
}
