//! What can be asserted of a report: the names of its numbers, and their values.
//!
//! A number that was not measured has no value. It is never taken for zero: who asks for no losses must not be told that
//! there were none because nobody looked.

use super::latency::Latencies;
use super::{Course, Report};
use crate::message::outcome::Code;
use crate::sim::audit::Kind;

/// A kind of finding as it is written.
#[must_use]
pub fn kind_name(kind: Kind) -> String {
    serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a number counts; it decides which units an assertion may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measures {
    /// Microseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Things a second.
    Rate,
}

/// Which latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the PubAck.
    Puback,
    /// To the receipt.
    Receipt,
    /// To the delivery.
    Delivery,
    /// To the sending.
    Slip,
}

/// Which number of a latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// That many per cent did not take longer.
    Percentile(f64),
    /// The longest.
    Max,
    /// The mean.
    Mean,
    /// How many.
    Count,
}

/// What happens all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Attempts sent.
    Sent,
    /// Receipts.
    Receipted,
    /// Letters read.
    Delivered,
}

/// What a broker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// Resident memory.
    Rss,
    /// Descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// Attempts without a receipt.
    Open,
}

/// Which number of a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Least.
    Min,
    /// Most.
    Max,
    /// In the end.
    Last,
    /// Growth an hour.
    Slope,
}

/// What analysts saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Messages.
    Messages,
    /// Pages.
    Pages,
    /// Replays that ended with an error.
    Errors,
}

/// A number of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// `receipt.p99`.
    Latency(Way, Figure),
    /// `throughput`, `throughput.sent`.
    Throughput(Traffic),
    /// `lost`.
    Found(Kind),
    /// `findings`: of every kind.
    AllFound,
    /// `rss.max`.
    Course(Stock, Level),
    /// `cpu.broker`, or `cpu.nats`: a message.
    Cpu { nats: bool },
    /// `refused`, or `refused.E-JSON`.
    Refused(Option<Code>),
    /// `attempts`.
    Attempts,
    /// `resent`: attempts sent again although a PubAck had come.
    Resent,
    /// `redelivered`: letters that came again.
    Redelivered,
    /// `analysts.messages`, `analysts.pages`, `analysts.errors`.
    Analysts(Seen),
}

const WAYS: [(&str, Way); 4] =
    [("puback", Way::Puback), ("receipt", Way::Receipt), ("delivery", Way::Delivery), ("slip", Way::Slip)];
const STOCKS: [(&str, Stock); 4] = [
    ("rss", Stock::Rss),
    ("descriptors", Stock::Descriptors),
    ("threads", Stock::Threads),
    ("open", Stock::Open),
];
const LEVELS: [(&str, Level); 4] =
    [("min", Level::Min), ("max", Level::Max), ("last", Level::Last), ("slope", Level::Slope)];

fn among<T: Copy>(known: &[(&str, T)], name: &str) -> Option<T> {
    known.iter().find(|(text, _)| *text == name).map(|(_, value)| *value)
}

impl Measure {
    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        if let Some(way) = among(&WAYS, first) {
            return Some(Self::Latency(way, Figure::named(rest?)?));
        }
        if let Some(stock) = among(&STOCKS, first) {
            return Some(Self::Course(stock, among(&LEVELS, rest?)?));
        }
        if rest.is_none()
            && let Some(kind) = Kind::ALL.into_iter().find(|kind| kind_name(*kind) == first)
        {
            return Some(Self::Found(kind));
        }
        Some(match (first, rest) {
            ("findings", None) => Self::AllFound,
            ("attempts", None) => Self::Attempts,
            ("analysts", Some("messages")) => Self::Analysts(Seen::Messages),
            ("analysts", Some("pages")) => Self::Analysts(Seen::Pages),
            ("analysts", Some("errors")) => Self::Analysts(Seen::Errors),
            ("resent", None) => Self::Resent,
            ("redelivered", None) => Self::Redelivered,
            ("throughput", None | Some("receipted")) => Self::Throughput(Traffic::Receipted),
            ("throughput", Some("sent")) => Self::Throughput(Traffic::Sent),
            ("throughput", Some("delivered")) => Self::Throughput(Traffic::Delivered),
            ("cpu", Some("broker")) => Self::Cpu { nats: false },
            ("cpu", Some("nats")) => Self::Cpu { nats: true },
            ("refused", None) => Self::Refused(None),
            ("refused", Some(code)) => Self::Refused(Some(code.parse().ok()?)),
            _ => return None,
        })
    }

    /// The names that there are, for somebody who knew none.
    #[must_use]
    pub fn names() -> String {
        let found: Vec<String> = Kind::ALL.into_iter().map(kind_name).collect();
        format!(
            "puback|receipt|delivery|slip .p50 .p99.9 (any percentile) .max .mean .count; throughput (= .receipted) \
             .sent .delivered; rss|descriptors|threads|open .min .max .last .slope; cpu.broker cpu.nats; attempts resent redelivered; \
             analysts .messages .pages .errors; \
             refused and refused.CODE; findings, and each of them: {}",
            found.join(" ")
        )
    }

    /// What it counts.
    #[must_use]
    pub fn measures(self) -> Measures {
        match self {
            Self::Latency(_, Figure::Count)
            | Self::Found(_)
            | Self::AllFound
            | Self::Refused(_)
            | Self::Attempts
            | Self::Resent
            | Self::Redelivered
            | Self::Analysts(_) => Measures::Count,
            Self::Latency(..) | Self::Cpu { .. } => Measures::Time,
            Self::Throughput(_) => Measures::Rate,
            Self::Course(Stock::Rss, _) => Measures::Bytes,
            Self::Course(..) => Measures::Count,
        }
    }

    /// True if it is a growth, which is told an hour.
    #[must_use]
    pub fn grows(self) -> bool {
        matches!(self, Self::Course(_, Level::Slope))
    }

    /// Its value in microseconds, bytes, things, or things a second; a growth in per cent if `percent`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 is enough")]
    pub fn of(self, report: &Report, percent: bool) -> Option<f64> {
        match self {
            Self::Latency(way, figure) => figure.of(way.of(report)),
            Self::Throughput(traffic) => report.throughput().map(|mean| match traffic {
                Traffic::Sent => mean.sent,
                Traffic::Receipted => mean.receipted,
                Traffic::Delivered => mean.delivered,
            }),
            Self::Found(kind) => report.findings.as_ref().map(|findings| findings.count(kind) as f64),
            Self::AllFound => {
                report.findings.as_ref().map(|findings| findings.counts.values().sum::<u64>() as f64)
            }
            Self::Course(stock, level) => level.of(stock.of(report)?, percent),
            Self::Cpu { nats: false } => report.steady.broker_cpu,
            Self::Cpu { nats: true } => report.steady.nats_cpu,
            Self::Refused(code) => (report.receipt.count() > 0).then(|| {
                let refusals = report.refusals.iter();
                let meant = refusals.filter(|(name, _)| code.is_none_or(|code| code.as_str() == *name));
                meant.map(|(_, count)| *count).sum::<u64>() as f64
            }),
            Self::Attempts => Some(report.attempts as f64),
            Self::Resent => report.findings.as_ref().map(|findings| findings.resent as f64),
            Self::Analysts(seen) => report.analysts.map(|analysts| match seen {
                Seen::Messages => analysts.messages as f64,
                Seen::Pages => analysts.pages as f64,
                Seen::Errors => analysts.errors as f64,
            }),
            Self::Redelivered => report.findings.as_ref().map(|findings| findings.redelivered as f64),
        }
    }
}

impl Way {
    fn of(self, report: &Report) -> &Latencies {
        match self {
            Self::Puback => &report.puback,
            Self::Receipt => &report.receipt,
            Self::Delivery => &report.delivery,
            Self::Slip => &report.slip,
        }
    }
}

impl Figure {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "max" => Self::Max,
            "mean" => Self::Mean,
            "count" => Self::Count,
            _ => {
                let digits = name.strip_prefix('p')?;
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                let percent: f64 = digits.parse().ok().filter(|_| plain)?;
                return (percent > 0.0 && percent <= 100.0).then_some(Self::Percentile(percent));
            }
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "an hour has fewer microseconds")]
    fn of(self, latencies: &Latencies) -> Option<f64> {
        match self {
            Self::Percentile(percent) => latencies.percentile(percent).map(|micros| micros as f64),
            Self::Max => latencies.longest().map(|micros| micros as f64),
            Self::Mean => latencies.mean(),
            // Nothing counted is no data: `receipt.count<10` must not hold because nobody played.
            Self::Count => (latencies.count() > 0).then(|| latencies.count() as f64),
        }
    }
}

impl Stock {
    fn of(self, report: &Report) -> Option<Course> {
        let steady = &report.steady;
        match self {
            Self::Rss => steady.rss,
            Self::Descriptors => steady.descriptors,
            Self::Threads => steady.threads,
            Self::Open => steady.open,
        }
    }
}

impl Level {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is enough")]
    fn of(self, course: Course, percent: bool) -> Option<f64> {
        match self {
            Self::Min => Some(course.min as f64),
            Self::Max => Some(course.max as f64),
            Self::Last => Some(course.last as f64),
            Self::Slope if percent => course.slope_percent,
            Self::Slope => course.slope,
        }
    }
}
