//! Time: RFC 3339 instants, and the only place in the house that reads the clock.

use std::sync::OnceLock;
use std::time::Instant;

use super::fault::{self, Spot};

/// An instant.
pub use jiff::Timestamp;

/// The wall clock. Rules take `now` as an argument; only the broker and the command line call this.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    match fault::number(Spot::Clock) {
        Some(wrong) => now.checked_add(jiff::SignedDuration::from_secs(wrong)).unwrap_or(now),
        None => now,
    }
}

/// An RFC 3339 text with seconds and offset, as the `timestamp` definition of the schemas asks. A leap second is
/// refused (`domain.md` 3.6).
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[10] != b'T' || bytes.get(17..19) == Some(b"60") {
        return None;
    }
    text.parse().ok()
}

/// RFC 3339 in UTC with milliseconds, `2026-03-02T10:00:00.000Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A stopwatch that no clock change can fool.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// A time that was believed in, and the stopwatch at that moment.
static BELIEVED: OnceLock<(Timestamp, Instant)> = OnceLock::new();
/// So far the clock may be ahead of what it must be: further than anybody sets it by, and longer than a broker mostly stands still.
const LEAP: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// Notes that this is the time. Only the first one counts.
pub fn believe(time: Timestamp) {
    BELIEVED.get_or_init(|| (time, stopwatch()));
}

/// True if a clock that shows `to` where it must be `from` is wrong, unless everything stood still in between.
#[must_use]
pub fn is_leap(from: Timestamp, to: Timestamp) -> bool {
    to.duration_since(from) > LEAP
}

/// By how many seconds the clock is ahead of the time that was believed in and what has passed since, if that is so far that it must be
/// wrong: nothing may be judged by it, and nothing erased, for every date would have come.
#[must_use]
pub fn leapt() -> Option<i64> {
    let (time, watch) = BELIEVED.get()?;
    let (must_be, now) = (time.checked_add(watch.elapsed()).ok()?, now());
    is_leap(must_be, now).then(|| now.duration_since(must_be).as_secs())
}
