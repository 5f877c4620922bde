//! Numbers as they are typed: rates, spans, bursts.

use std::str::FromStr;
use std::time::Duration;

use crate::sim::plan::{self, Burst};

/// Messages a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

/// A duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate such as 500/s");
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return Err(wrong()),
        };
        Ok(Self(number / seconds))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        span.or_else(|| plan::span(text)).map(Self).ok_or_else(|| format!("{text:?} is no span such as 10m"))
    }
}

/// `20000/10s@2m`; without `@` it begins in the middle.
///
/// # Errors
/// What it must look like.
pub fn burst(text: &str, duration: Duration) -> Result<Burst, String> {
    let wrong = || format!("--burst {text}: must look like 20000/10s@2m");
    let (what, at) = match text.split_once('@') {
        Some((what, at)) => (what, at.parse::<Span>().map_err(|_| wrong())?.0),
        None => (text, duration / 2),
    };
    let (messages, within) = what.split_once('/').ok_or_else(wrong)?;
    let messages = messages.trim().parse().map_err(|_| wrong())?;
    let within = within.parse::<Span>().map_err(|_| wrong())?.0;
    Ok(Burst { at, messages, within })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_spans_and_bursts_are_read_as_they_are_typed() {
        for (text, rate) in [("500/s", 500.0), ("500", 500.0), ("30/m", 0.5), ("7200/h", 2.0)] {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        assert!("500/d".parse::<Rate>().is_err() && "fast".parse::<Rate>().is_err());
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5_400)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        assert!("-1".parse::<Span>().is_err() && "soon".parse::<Span>().is_err());
        let minutes = |count: u64| Duration::from_mins(count);
        let made = |at| Ok(Burst { at, messages: 20_000, within: Duration::from_secs(10) });
        assert_eq!(burst("20000/10s@2m", minutes(10)), made(minutes(2)));
        assert_eq!(burst("20000/10s", minutes(10)), made(minutes(5)));
        for bad in ["20000", "x/10s", "20000/10s@", "20000/soon"] {
            assert!(burst(bad, minutes(10)).is_err(), "{bad}");
        }
    }
}
