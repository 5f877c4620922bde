//! What the plots of a report show, each with the same numbers as a table.

use super::drawing::{self, Axis, Line, Pen};
use super::latency::Latencies;
use super::{Report, Spread, words};

/// Most points of a line that was measured every second.
const POINTS: usize = 1_000;
/// The percentiles in the table beside the curve.
const CURVE: [f64; 12] = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];
/// Microseconds in a second.
const SECOND: f64 = 1e6;

/// A plot and its table.
#[derive(Debug)]
pub struct Plot {
    /// A stable name.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// One sentence on how to read it.
    pub note: String,
    /// The picture without title; none if nothing was measured.
    pub svg: Option<String>,
    /// Names of the lines.
    pub legend: Vec<(Pen, bool, &'static str)>,
    /// Header of the table.
    pub header: Vec<&'static str>,
    /// Rows of the table; the first cell is the head of its row.
    pub rows: Vec<Vec<String>>,
}

/// All plots, in the order of the page.
pub fn plots(report: &Report) -> [Plot; 6] {
    [latency(report), curve(report), throughput(report), refusals(report), memory(report), open(report)]
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The axis of time, and how many seconds its unit has.
fn time_axis(end: f64) -> (Axis, f64) {
    let (unit, name) = match end {
        end if end > 3.0 * 3_600.0 => (3_600.0, "hours"),
        end if end > 300.0 => (60.0, "minutes"),
        _ => (1.0, "seconds"),
    };
    let axis = Axis {
        words: format!("time from the start, {name}"),
        range: (0.0, (end / unit).max(1.0 / unit)),
        labels: 10,
        label: plain,
    };
    (axis, unit)
}

fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A latency axis: its values are the tens logarithms of microseconds.
fn latency_axis<'a>(lines: impl Iterator<Item = &'a Line>) -> Axis {
    let values: Vec<f64> =
        lines.flat_map(|line| line.points.iter().filter_map(|(_, value)| *value)).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = if least.is_finite() { least.floor() } else { 0.0 };
    let high = if most.is_finite() { (most + 0.02).ceil().max(low + 1.0) } else { low + 1.0 };
    Axis { words: "latency".to_owned(), range: (low, high), labels: 7, label: power }
}

fn power(value: f64) -> String {
    let whole = (value - value.round()).abs() < 1e-6;
    if whole { words::time(10_f64.powf(value.round())) } else { String::new() }
}

fn logarithm(micros: Option<u64>) -> Option<f64> {
    micros.map(|micros| float(micros.max(1)).log10())
}

/// An axis from nothing to a little more than the most.
fn amount_axis(what: String, most: f64) -> Axis {
    Axis { words: what, range: (0.0, (most * 1.08).max(1.0)), labels: 6, label: plain }
}

fn legend(lines: &[Line]) -> Vec<(Pen, bool, &'static str)> {
    lines.iter().map(|line| (line.pen, line.thick, line.name)).collect()
}

fn end_of(report: &Report) -> f64 {
    let last = report.series.intervals().last().map_or(0, |interval| interval.at + report.series.length());
    float(last)
}

fn latency(report: &Report) -> Plot {
    let (x, unit) = time_axis(end_of(report));
    let mut lines = [
        ("receipt, p50", Pen::First, false),
        ("receipt, p99", Pen::First, true),
        ("delivery, p50", Pen::Second, false),
        ("delivery, p99", Pen::Second, true),
    ]
    .map(|(name, pen, thick)| Line { name, pen, thick, points: Vec::new() });
    let mut rows = Vec::new();
    for interval in report.series.intervals() {
        let [receipt, delivery] =
            [&interval.spreads.receipt, &interval.spreads.delivery].map(Spread::counted);
        let figures =
            [(&receipt, 50.0), (&receipt, 99.0), (&delivery, 50.0), (&delivery, 99.0)].map(percentile);
        for (line, figure) in lines.iter_mut().zip(figures) {
            line.points.push((float(interval.at) / unit, logarithm(figure)));
        }
        if figures.iter().any(Option::is_some) {
            let cells = figures.into_iter().map(words::maybe_time);
            rows.push(std::iter::once(format!("{} s", interval.at)).chain(cells).collect());
        }
    }
    Plot {
        name: "latency",
        title: "Latency over time",
        note: format!(
            "From when a message was due, of the messages due in each {} s; the scale is logarithmic.",
            report.series.length()
        ),
        svg: drawing::lines(&x, &latency_axis(lines.iter()), &lines),
        legend: legend(&lines),
        header: vec!["from", "receipt p50", "receipt p99", "delivery p50", "delivery p99"],
        rows,
    }
}

fn percentile((latencies, percent): (&Latencies, f64)) -> Option<u64> {
    latencies.percentile(percent)
}

fn curve(report: &Report) -> Plot {
    const PENS: [Pen; 4] = [Pen::Third, Pen::First, Pen::Second, Pen::Fourth];
    let mut lines = Vec::new();
    for ((name, latencies), pen) in report.latencies().into_iter().zip(PENS) {
        // No further than there are messages: beyond one in so many, every percentile is the maximum.
        let nines = float(latencies.count().max(1)).log10().clamp(1.0, 6.0);
        let steps = (0..=120_u32).map(|step| f64::from(step) / 20.0).filter(|step| *step <= nines);
        let point = |step: f64| {
            let percent = 100.0 * (1.0 - 10_f64.powf(-step));
            (step, logarithm(latencies.percentile(percent)))
        };
        lines.push(Line { name, pen, thick: true, points: steps.map(point).collect() });
    }
    let end = lines.iter().filter_map(|line| line.points.last()).map(|(at, _)| *at).fold(1.0, f64::max);
    let x = Axis {
        words: "so many did not take longer".to_owned(),
        range: (0.0, end.ceil()),
        labels: 7,
        label: nines,
    };
    let row = |percent: f64| {
        let cells = report.latencies().map(|(_, latencies)| words::maybe_time(latencies.percentile(percent)));
        std::iter::once(format!("{percent} %")).chain(cells).collect()
    };
    Plot {
        name: "percentiles",
        title: "Percentiles",
        note: "Each step to the right is ten times fewer messages; both scales are logarithmic.".to_owned(),
        svg: drawing::lines(&x, &latency_axis(lines.iter()), &lines),
        legend: legend(&lines),
        header: vec!["percentile", "PubAck", "receipt", "delivery", "slip"],
        rows: CURVE.into_iter().map(row).collect(),
    }
}

/// `0 %`, `90 %`, `99 %`, `99.9 %`.
fn nines(step: f64) -> String {
    let whole = step.round();
    if (step - whole).abs() > 1e-6 {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
    match whole as usize {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

fn throughput(report: &Report) -> Plot {
    let (x, unit) = time_axis(end_of(report));
    let mut lines =
        [("sent", Pen::Third, false), ("receipted", Pen::First, true), ("delivered", Pen::Second, true)]
            .map(|(name, pen, thick)| Line { name, pen, thick, points: Vec::new() });
    let mut rows = Vec::new();
    let mut most = 0.0_f64;
    for interval in report.series.intervals() {
        let happened = interval.happened;
        let counts = [happened.sent, happened.receipted, happened.delivered];
        for (line, count) in lines.iter_mut().zip(counts) {
            let each = float(count) / float(report.series.length());
            most = most.max(each);
            line.points.push((float(interval.at) / unit, Some(each)));
        }
        let cells = counts.into_iter().map(words::count);
        rows.push(std::iter::once(format!("{} s", interval.at)).chain(cells).collect());
    }
    Plot {
        name: "throughput",
        title: "Throughput over time",
        note: "Attempts sent, receipts, and letters read; one message has as many letters as recipients."
            .to_owned(),
        svg: drawing::lines(&x, &amount_axis("a second".to_owned(), most), &lines),
        legend: legend(&lines),
        header: vec!["from", "sent", "receipted", "delivered"],
        rows,
    }
}

fn refusals(report: &Report) -> Plot {
    let mut codes: Vec<(&str, u64)> =
        report.refusals.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Plot {
        name: "refusals",
        title: "Refusals by code",
        note: "Messages that were rejected or put aside.".to_owned(),
        svg: drawing::bars(&codes, words::count),
        legend: Vec::new(),
        header: vec!["code", "messages"],
        rows: codes.iter().map(|(code, count)| vec![(*code).to_owned(), words::count(*count)]).collect(),
    }
}

/// The highest of each stretch of samples, by seconds; at most [`POINTS`] of them.
fn sampled(report: &Report, of: fn(&crate::sim::log::Sample) -> u64) -> Vec<(f64, u64)> {
    let samples = &report.steady.samples;
    let chunks = samples.chunks(samples.len().div_ceil(POINTS).max(1));
    chunks
        .filter_map(|chunk| Some((float(chunk.first()?.at) / SECOND, chunk.iter().map(of).max()?)))
        .collect()
}

fn course(
    points: &[(f64, u64)],
    pen: Pen,
    name: &'static str,
    scale: f64,
    axis: &str,
) -> (Option<String>, Line) {
    let end = points.last().map_or(1.0, |(at, _)| *at);
    let (x, unit) = time_axis(end);
    let line = Line {
        name,
        pen,
        thick: true,
        points: points.iter().map(|(at, level)| (at / unit, Some(float(*level) / scale))).collect(),
    };
    let most = points.iter().map(|(_, level)| float(*level) / scale).fold(0.0, f64::max);
    let lines = [line];
    let svg = drawing::lines(&x, &amount_axis(axis.to_owned(), most), &lines);
    let [line] = lines;
    (svg, line)
}

fn memory(report: &Report) -> Plot {
    let points = sampled(report, |sample| sample.rss);
    let (svg, line) = course(&points, Pen::First, "broker", 1e6, "MB");
    let row = |(at, level): &(f64, u64)| vec![format!("{at:.0} s"), words::bytes(float(*level))];
    Plot {
        name: "memory",
        title: "Memory of the broker",
        note: "Resident memory (RSS).".to_owned(),
        svg,
        legend: legend(&[line]),
        header: vec!["from", "RSS"],
        rows: points.iter().map(row).collect(),
    }
}

fn open(report: &Report) -> Plot {
    let points = sampled(report, |sample| sample.open);
    let (svg, line) = course(&points, Pen::Second, "open attempts", 1.0, "attempts");
    let row = |(at, level): &(f64, u64)| vec![format!("{at:.0} s"), words::count(*level)];
    Plot {
        name: "open",
        title: "Open attempts",
        note: "Sent, and no receipt yet.".to_owned(),
        svg,
        legend: legend(&[line]),
        header: vec!["from", "open"],
        rows: points.iter().map(row).collect(),
    }
}
