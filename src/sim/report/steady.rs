//! Whether a broker stays as it was: the course of its memory, descriptors and queue, from one sample a second.
//!
//! Slopes are least squares over the time in which messages were sent, without the warm-up: the first fifth of it, and
//! at least thirty seconds, in which caches fill. Fewer than ten samples after that have no slope, rather than a wild one.

use crate::sim::log::Sample;

/// Shortest warm-up, in microseconds.
const WARM_UP: u64 = 30_000_000;
/// Fewest samples that have a slope.
const FEWEST: usize = 10;
/// Microseconds in an hour.
const HOUR: f64 = 3.6e9;

/// The course of one quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Course {
    /// Least of all samples.
    pub min: u64,
    /// Most of all samples.
    pub max: u64,
    /// In the last sample.
    pub last: u64,
    /// How it grew after the warm-up, an hour.
    pub slope: Option<f64>,
    /// The same as a share of its mean after the warm-up, in per cent.
    pub slope_percent: Option<f64>,
}

/// What was measured of the broker. Without samples there is none of it.
#[derive(Debug, Clone, Default)]
pub struct Steadiness {
    /// All samples, for plots.
    pub samples: Vec<Sample>,
    /// Length of the warm-up, in microseconds.
    pub warm_up: u64,
    /// Resident memory, bytes.
    pub rss: Option<Course>,
    /// Open descriptors.
    pub descriptors: Option<Course>,
    /// Threads.
    pub threads: Option<Course>,
    /// Attempts without a receipt.
    pub open: Option<Course>,
    /// CPU time of the broker for one receipted message while messages were sent, microseconds.
    pub broker_cpu: Option<f64>,
    /// The same of nats-server.
    pub nats_cpu: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "for people; 2^53 bytes are enough")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Steadiness {
    /// From samples in the order of time, of a run that sent until `end` and got so many receipts.
    #[must_use]
    pub fn of(samples: Vec<Sample>, end: u64, receipts: u64) -> Self {
        let warm_up = (end / 5).max(WARM_UP);
        let course = |of: fn(&Sample) -> u64| course(&samples, (warm_up, end), of);
        let cpu = |of: fn(&Sample) -> u64| {
            // What is replayed for the audit afterwards is not what the messages took.
            let (first, last) = (samples.first()?, samples.iter().rev().find(|sample| sample.at <= end)?);
            let used = of(last).saturating_sub(of(first));
            (used > 0 && receipts > 0).then(|| float(used) * 1_000.0 / float(receipts))
        };
        Self {
            warm_up,
            rss: seen(course(|sample| sample.rss)),
            descriptors: seen(course(|sample| sample.descriptors)),
            threads: seen(course(|sample| sample.threads)),
            open: course(|sample| sample.open),
            broker_cpu: cpu(|sample| sample.cpu_ms),
            nats_cpu: cpu(|sample| sample.nats_cpu_ms),
            samples,
        }
    }
}

/// A process has some of each; none means that it runs elsewhere and was not looked at.
fn seen(course: Option<Course>) -> Option<Course> {
    course.filter(|course| course.max > 0)
}

fn course(samples: &[Sample], (from, to): (u64, u64), of: fn(&Sample) -> u64) -> Option<Course> {
    let warm: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| (from..=to).contains(&sample.at))
        .map(|sample| (float(sample.at) / HOUR, float(of(sample))))
        .collect();
    let fitted = fitted(&warm);
    Some(Course {
        min: samples.iter().map(of).min()?,
        max: samples.iter().map(of).max()?,
        last: of(samples.last()?),
        slope: fitted.map(|(slope, _)| slope),
        slope_percent: fitted.filter(|(_, mean)| *mean > 0.0).map(|(slope, mean)| slope / mean * 100.0),
    })
}

/// Slope and mean by least squares.
fn fitted(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    if points.len() < FEWEST {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / float(points.len() as u64);
    let (time, level) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(x, _)| (x - time).powi(2)).sum();
    let together: f64 = points.iter().map(|(x, y)| (x - time) * (y - level)).sum();
    (spread > 0.0).then(|| (together / spread, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_counts_while_messages_are_sent_and_not_while_feeds_are_replayed() {
        let sample = |at, cpu_ms, nats_cpu_ms| Sample { at, cpu_ms, nats_cpu_ms, ..Sample::default() };
        let samples = vec![sample(0, 50, 10), sample(9_000_000, 150, 30), sample(20_000_000, 9_150, 9_030)];
        let steady = Steadiness::of(samples, 10_000_000, 100);
        assert_eq!((steady.broker_cpu, steady.nats_cpu), (Some(1_000.0), Some(200.0)));
    }
}
