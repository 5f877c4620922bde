//! The report as one HTML file: no script, no font, no picture from elsewhere, so that it opens offline and in ten years.
//!
//! Every picture has a title, a description, and its numbers as a table beside it. Every text that came from outside is
//! escaped, also plan names and what findings say.

use std::fmt::Write as _;

use super::plots::{Plot, plots};
use super::{Course, Report, measure, words};
use crate::sim::audit::Findings;

const STYLE: &str = include_str!("page.css");

/// A text as HTML shows it.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A page that grows.
struct Page(String);

impl Page {
    fn put(&mut self, words: std::fmt::Arguments<'_>) {
        self.0.write_fmt(words).expect("a string takes everything");
    }

    /// A table; cells are escaped here. The first cell of a row is its head.
    fn table(&mut self, caption: &str, header: &[&str], rows: &[Vec<String>]) {
        // It can be scrolled, so that it must be reachable by keyboard.
        self.put(format_args!(
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><thead><tr>",
            escaped(caption)
        ));
        for name in header {
            self.put(format_args!("<th scope=\"col\">{}</th>", escaped(name)));
        }
        self.put(format_args!("</tr></thead><tbody>\n"));
        for row in rows {
            self.put(format_args!("<tr>"));
            for (place, cell) in row.iter().enumerate() {
                if place == 0 {
                    self.put(format_args!("<th scope=\"row\">{}</th>", escaped(cell)));
                } else {
                    self.put(format_args!("<td>{}</td>", escaped(cell)));
                }
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</tbody></table></div>\n"));
    }

    fn heading(&mut self, words: &str) {
        self.put(format_args!("<h2>{}</h2>\n", escaped(words)));
    }
}

/// See [`Report::html`].
pub fn page(report: &Report) -> String {
    let mut page = Page(String::new());
    page.put(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Simulation: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&report.run.plan.name)
    ));
    head(&mut page, report);
    latencies(&mut page, report);
    for plot in plots(report) {
        figure(&mut page, &plot);
    }
    steadiness(&mut page, report);
    authorities(&mut page, report);
    findings(&mut page, report);
    page.put(format_args!("</main>\n</body>\n</html>\n"));
    page.0
}

fn head(page: &mut Page, report: &Report) {
    let run = &report.run;
    let class = match &report.findings {
        Some(findings) if findings.is_clean() => "good",
        Some(_) => "bad",
        None => "open",
    };
    page.put(format_args!(
        "<h1>Simulation: {}</h1>\n<p class=\"verdict {class}\">{}</p>\n<dl>\n",
        escaped(&run.plan.name),
        escaped(&report.verdict())
    ));
    let ended = run.ended.map_or_else(|| "not finished".to_owned(), |at| format!("{at:.0}"));
    let rates = report.throughput().map_or_else(
        || "-".to_owned(),
        |mean| {
            format!(
                "{} sent, {} receipted, {} delivered a second",
                words::number(mean.sent),
                words::number(mean.receipted),
                words::number(mean.delivered)
            )
        },
    );
    let again = |of: fn(&Findings) -> u64| {
        report.findings.as_ref().map_or_else(|| "-".to_owned(), |findings| words::count(of(findings)))
    };
    let analysts = report.analysts.map_or_else(
        || "none".to_owned(),
        |seen| format!("{} messages, {} errors", words::count(seen.messages), words::count(seen.errors)),
    );
    let plan = &run.plan;
    for (name, value) in [
        ("Officers", words::count(plan.officers.into())),
        ("Authorities", words::count(report.authorities.len() as u64)),
        ("Messages sent for", format!("{} s", words::count(report.window))),
        ("Attempts", words::count(report.attempts)),
        ("Throughput", rates),
        ("Replayed by analysts", analysts),
        ("Sent again after a PubAck", again(|findings| findings.resent)),
        ("Letters delivered again", again(|findings| findings.redelivered)),
        ("Seed", plan.seed.to_string()),
        ("Clock of the messages", format!("{:.0}", run.clock)),
        ("Started", format!("{:.0}", run.started)),
        ("Ended", ended),
        ("Program", format!("liaison {}", run.version)),
    ] {
        page.put(format_args!("<dt>{name}</dt><dd>{}</dd>\n", escaped(&value)));
    }
    page.put(format_args!("</dl>\n"));
}

fn latencies(page: &mut Page, report: &Report) {
    page.heading("Latency");
    let rows = report.latencies().map(|(name, latencies)| {
        let mut row = vec![name.to_owned()];
        let told = super::latency::TOLD.into_iter();
        row.extend(told.map(|(_, percent)| words::maybe_time(latencies.percentile(percent))));
        row.push(words::maybe_time(latencies.longest()));
        row.push(words::count(latencies.count()));
        row.push(words::count(latencies.missing()));
        row
    });
    page.put(format_args!(
        "<p>From when a message was due, whenever it was sent. What never came is in the percentiles, with the time to the end \
         of the run.</p>\n"
    ));
    let header = ["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "count", "never"];
    page.table("Latency", &header, &rows);
}

fn figure(page: &mut Page, plot: &Plot) {
    page.heading(plot.title);
    page.put(format_args!("<figure>\n<figcaption>{}", escaped(&plot.note)));
    for (pen, thick, name) in &plot.legend {
        let thick = if *thick { " thick" } else { "" };
        page.put(format_args!(" <span class=\"key {}{thick}\">{}</span>", pen.class(), escaped(name)));
    }
    page.put(format_args!("</figcaption>\n"));
    match &plot.svg {
        Some(svg) => page.0.push_str(&titled(plot, svg)),
        None => page.put(format_args!("<p>Nothing was measured.</p>\n")),
    }
    if !plot.rows.is_empty() {
        page.put(format_args!("<details><summary>The numbers</summary>\n"));
        page.table(plot.title, &plot.header, &plot.rows);
        page.put(format_args!("</details>\n"));
    }
    page.put(format_args!("</figure>\n"));
}

/// A drawing with what a screen reader says of it.
fn titled(plot: &Plot, svg: &str) -> String {
    let name = plot.name;
    let attributes = format!("<svg role=\"img\" aria-labelledby=\"{name}-title {name}-note\" ");
    let words = format!(
        ">\n<title id=\"{name}-title\">{}</title>\n<desc id=\"{name}-note\">{} The numbers are in the table below.</desc>",
        escaped(plot.title),
        escaped(&plot.note)
    );
    svg.replacen("<svg ", &attributes, 1).replacen('>', &words, 1)
}

fn steadiness(page: &mut Page, report: &Report) {
    let steady = &report.steady;
    let mut rows = Vec::new();
    let mut row = |name: &str, course: Option<Course>, show: fn(f64) -> String| {
        let Some(course) = course else { return };
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let levels = [course.min, course.max, course.last].map(|level| show(level as f64));
        let percent = course
            .slope_percent
            .map_or_else(|| "-".to_owned(), |share| format!("{} %", words::number(share)));
        let slope = course.slope.map_or_else(|| "-".to_owned(), show);
        rows.push([vec![name.to_owned()], levels.to_vec(), vec![slope, percent]].concat());
    };
    row("Memory (RSS)", steady.rss, words::bytes);
    row("Descriptors", steady.descriptors, words::number);
    row("Threads", steady.threads, words::number);
    row("Open attempts", steady.open, words::number);
    if rows.is_empty() {
        return;
    }
    page.heading("Steadiness of the broker");
    page.put(format_args!(
        "<p>Growth by least squares while messages were sent, without the first {} s.</p>\n",
        steady.warm_up / 1_000_000
    ));
    page.table("Steadiness", &["", "least", "most", "last", "growth an hour", "of the mean"], &rows);
    for (name, cpu) in [("The broker", steady.broker_cpu), ("nats-server", steady.nats_cpu)] {
        if let Some(cpu) = cpu {
            page.put(format_args!("<p>{name} used {} of CPU time a message.</p>\n", words::time(cpu)));
        }
    }
}

fn authorities(page: &mut Page, report: &Report) {
    if report.authorities.is_empty() {
        return;
    }
    page.heading("Authorities");
    page.put(format_args!(
        "<p>Delivery latency of those that read at once; held are letters read slowly or only afterwards, and those \
         released later.</p>\n"
    ));
    let rows: Vec<Vec<String>> =
        report.slowest_first().into_iter().map(|(party, mailbox)| words::authority(party, mailbox)).collect();
    page.table("Authorities", &["party", "letters", "held", "p50", "p99", "max"], &rows);
}

fn findings(page: &mut Page, report: &Report) {
    let Some(findings) = report.findings.as_ref().filter(|findings| !findings.is_clean()) else { return };
    page.heading("Findings");
    let counts: Vec<Vec<String>> = findings
        .counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| vec![measure::kind_name(*kind), words::count(*count)])
        .collect();
    page.table("Findings", &["kind", "count"], &counts);
    page.put(format_args!("<p>The first of each kind:</p>\n<ul>\n"));
    for finding in &findings.examples {
        let no = finding.no.map(|no| format!(" (attempt {no})")).unwrap_or_default();
        let party = finding.party.as_ref().map(|party| format!(" [{party}]")).unwrap_or_default();
        page.put(format_args!(
            "<li>{}{}{}: {}</li>\n",
            escaped(&measure::kind_name(finding.kind)),
            escaped(&no),
            escaped(&party),
            escaped(&finding.words)
        ));
    }
    page.put(format_args!("</ul>\n"));
}
