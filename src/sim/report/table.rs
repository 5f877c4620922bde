//! The report for a terminal: plain text, columns aligned with spaces.

use std::fmt::Write as _;

use super::{Course, Latencies, Report, measure, words};

/// So many authorities are shown, those with the longest latencies; JSON and HTML have all.
const AUTHORITIES: usize = 8;

/// Lines whose columns stand under each other: the first to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (place, cell) in row.iter().enumerate() {
            let width = widths[place];
            let written =
                if place == 0 { write!(line, "  {cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            written.expect("a string takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// See [`Report::table`].
pub fn table(report: &Report) -> String {
    let plan = &report.run.plan;
    let mut text = format!("{}\nplan: {} (seed {})", report.verdict(), plan.name, plan.seed);
    if !report.complete() {
        text.push_str("\nthe run was not finished; these are its readable lines");
    }
    let mut section = |title: &str, rows: &[Vec<String>]| {
        if rows.len() > 1 {
            write!(text, "\n\n{title}\n{}", aligned(rows)).expect("a string takes everything");
            text.truncate(text.trim_end().len());
        }
    };
    section("latency, from when a message was due", &latencies(report));
    section("throughput", &throughput(report));
    section("outcomes", &counts(report.outcomes.iter()));
    section("refusals", &counts(report.refusals.iter()));
    section("what came again", &again(report));
    section("replays of analysts", &analysts(report));
    section("steadiness of the broker", &steadiness(report));
    section("authorities that waited longest", &authorities(report));
    section("findings", &findings(report));
    text.push('\n');
    text
}

fn latencies(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "count", "never"])];
    for (name, latencies) in report.latencies() {
        let mut row = vec![name.to_owned()];
        row.extend(percentiles(latencies));
        row.push(words::maybe_time(latencies.longest()));
        row.push(latencies.mean().map_or_else(|| "-".to_owned(), words::time));
        row.push(words::count(latencies.count()));
        row.push(words::count(latencies.missing()));
        rows.push(row);
    }
    rows
}

fn percentiles(latencies: &Latencies) -> impl Iterator<Item = String> {
    super::latency::TOLD.into_iter().map(|(_, percent)| words::maybe_time(latencies.percentile(percent)))
}

fn throughput(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["", "a second", "highest second"])];
    let highest = report.series.highest();
    if let Some(mean) = report.throughput() {
        for (name, mean, highest) in [
            ("sent", mean.sent, highest.sent),
            ("receipted", mean.receipted, highest.receipted),
            ("delivered", mean.delivered, highest.delivered),
        ] {
            rows.push(vec![name.to_owned(), words::number(mean), words::count(highest)]);
        }
    }
    rows
}

fn counts<'a>(of: impl Iterator<Item = (&'a String, &'a u64)>) -> Vec<Vec<String>> {
    let rows = of.map(|(name, count)| vec![name.clone(), words::count(*count)]);
    std::iter::once(cells(["", "count"])).chain(rows).collect()
}

/// No faults, and yet signs of them.
fn again(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["", "count"])];
    if let Some(findings) = &report.findings {
        rows.push(vec!["sent again after a PubAck (resent)".to_owned(), words::count(findings.resent)]);
        rows.push(vec![
            "letters delivered again (redelivered)".to_owned(),
            words::count(findings.redelivered),
        ]);
    }
    rows
}

fn analysts(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["replays", "pages", "messages", "errors"])];
    rows.extend(
        report
            .analysts
            .map(|seen| [seen.replays, seen.pages, seen.messages, seen.errors].map(words::count).to_vec()),
    );
    rows
}

fn steadiness(report: &Report) -> Vec<Vec<String>> {
    let steady = &report.steady;
    let mut rows = vec![cells(["", "least", "most", "last", "growth an hour"])];
    let mut row = |name: &str, course: Option<Course>, show: fn(f64) -> String| {
        let Some(course) = course else { return };
        let growth = match (course.slope, course.slope_percent) {
            (Some(slope), Some(percent)) => format!("{} ({} %)", show(slope), words::number(percent)),
            (Some(slope), None) => show(slope),
            _ => "-".to_owned(),
        };
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let [least, most, last] = [course.min, course.max, course.last].map(|level| show(level as f64));
        rows.push(vec![name.to_owned(), least, most, last, growth]);
    };
    row("memory (RSS)", steady.rss, words::bytes);
    row("descriptors", steady.descriptors, words::number);
    row("threads", steady.threads, words::number);
    row("open attempts", steady.open, words::number);
    for (name, cpu) in [("CPU, broker", steady.broker_cpu), ("CPU, nats-server", steady.nats_cpu)] {
        if let Some(cpu) = cpu {
            rows.push(vec![name.to_owned(), format!("{} a message", words::time(cpu))]);
        }
    }
    rows
}

fn authorities(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["", "letters", "held", "p50", "p99", "max"])];
    let slowest = report.slowest_first().into_iter().take(AUTHORITIES);
    rows.extend(slowest.map(|(party, mailbox)| words::authority(party, mailbox)));
    rows
}

fn findings(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["the first of each kind"])];
    for finding in report.findings.iter().flat_map(|findings| &findings.examples) {
        rows.push(vec![format!("{}: {}", measure::kind_name(finding.kind), finding.words)]);
    }
    rows
}
