//! What is shown: names in JSON, CSV, the interval log, and a page that is safe and needs nothing.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::*;

/// Paths of all members, without their values.
fn names(value: &Value, path: &str, found: &mut Vec<String>) {
    if let Value::Object(members) = value {
        for (name, value) in members {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            names(value, &path, found);
        }
    } else {
        found.push(path.to_owned());
    }
}

fn full() -> Report {
    let mut log = Log::hundred();
    log.tried.push(refused(100, 1_000_000, "E-JSON"));
    log.samples = (0..3).map(|second| sample(second, 1_000_000)).collect();
    log.report(&run(2), found(&[]))
}

#[test]
fn the_names_in_the_document_are_a_promise() {
    let mut document = full().to_json();
    document["run"]["plan"] = Value::Null;
    document["findings"] = Value::Null;
    let mut found = Vec::new();
    names(&document, "", &mut found);
    found.sort();
    let latency =
        ["count", "max_us", "mean_us", "missing", "p50_us", "p90_us", "p99_9_us", "p99_99_us", "p99_us"];
    let mut promised: Vec<String> = ["puback", "receipt", "delivery", "slip"]
        .into_iter()
        .flat_map(|way| latency.map(|name| format!("{way}.{name}")))
        .collect();
    let course = ["last", "max", "min", "slope_per_h", "slope_percent_per_h"];
    for stock in ["rss", "descriptors", "threads", "open"] {
        promised.extend(course.map(|name| format!("steadiness.{stock}.{name}")));
    }
    promised.extend(
        [
            "analysts",
            "attempts",
            "authorities",
            "findings",
            "format",
            "outcomes.accepted",
            "outcomes.rejected",
            "refusals.E-JSON",
            "run.clock",
            "run.complete",
            "run.ended",
            "run.plan",
            "run.seed",
            "run.started",
            "run.version",
            "steadiness.broker_cpu_us_per_message",
            "steadiness.nats_cpu_us_per_message",
            "steadiness.samples",
            "steadiness.warm_up_us",
            "throughput.delivered_per_s",
            "throughput.highest_delivered_per_s",
            "throughput.highest_receipted_per_s",
            "throughput.highest_sent_per_s",
            "throughput.receipted_per_s",
            "throughput.sent_per_s",
            "throughput.window_s",
            "verdict.clean",
            "verdict.words",
        ]
        .map(str::to_owned),
    );
    promised.sort();
    assert_eq!(found, promised);
    let mut of_an_authority: Vec<_> =
        document["authorities"][0].as_object().unwrap().keys().map(String::as_str).collect();
    of_an_authority.sort_unstable();
    assert_eq!(of_an_authority, ["held", "letters", "max_us", "p50_us", "p99_us", "party"]);
    assert_eq!(document["verdict"]["clean"], true);
}

#[test]
fn the_series_is_csv_without_gaps() {
    let mut bytes = Vec::new();
    full().csv(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "at_s,length_s,sent,receipted,delivered,puback_p50_us,puback_p99_us,receipt_p50_us,receipt_p99_us,\
         delivery_p50_us,delivery_p99_us,delivery_max_us"
    );
    assert!(lines[1].starts_with("0,1,50,"), "{text}");
    // Receipts and letters of what was sent in the second second come in the third.
    assert!(lines[3].starts_with("2,1,0,") && lines[3].ends_with(",,,,,,,"), "{text}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn the_interval_log_is_read_back_by_others() {
    let report = full();
    let mut bytes = Vec::new();
    report.hdr_log(&mut bytes).unwrap();
    let mut deserializer = Deserializer::new();
    let mut sums: std::collections::BTreeMap<String, Histogram<u64>> = std::collections::BTreeMap::new();
    let mut starts = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        match entry.unwrap() {
            LogEntry::Interval(interval) => {
                let raw = base64::Engine::decode(
                    &base64::engine::general_purpose::STANDARD,
                    interval.encoded_histogram(),
                );
                let histogram: Histogram<u64> =
                    deserializer.deserialize(&mut raw.unwrap().as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                starts.push(interval.start_timestamp().as_secs());
                sums.entry(tag).or_insert_with(|| Histogram::new(3).unwrap()).add(histogram).unwrap();
            }
            LogEntry::BaseTime(time) => assert_eq!(time.as_secs(), 1_772_409_600),
            LogEntry::StartTime(_) => {}
        }
    }
    assert_eq!(starts, [0, 0, 0, 1, 1, 1]);
    assert_eq!(sums.keys().map(String::as_str).collect::<Vec<_>>(), ["delivery", "puback", "receipt"]);
    assert_eq!(&sums["receipt"], report.receipt.as_ref());
    assert_eq!(&sums["delivery"], report.delivery.as_ref());
    assert_eq!(&sums["puback"], report.puback.as_ref());
}

#[test]
fn the_page_loads_nothing_and_says_everything() {
    let html = full().html();
    let without = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for loading in ["http:", "https:", "//", "<script", "<link", "@import", "url(", "src=", "<iframe"] {
        assert!(!without.contains(loading), "it contains {loading}");
    }
    assert!(html.contains("The auditor found nothing wrong in 100 attempts"));
    assert!(html.contains("<dt>Sent again after a PubAck</dt><dd>0</dd>"));
    let table = full().table();
    assert!(table.contains("(resent)") && table.contains("(redelivered)"), "{table}");
    for plot in ["latency", "percentiles", "throughput", "refusals", "memory", "open"] {
        assert!(html.contains(&format!("aria-labelledby=\"{plot}-title {plot}-note\"")), "{plot}");
        assert!(html.contains(&format!("<title id=\"{plot}-title\">")), "{plot}");
    }
    assert_eq!(html.matches("<details>").count(), 6, "each picture has its numbers");
}

#[test]
fn hostile_text_is_only_text() {
    let mut run = run(2);
    run.plan.name = "<script>alert(1)</script> & \"'".to_owned();
    run.version = "<b>".to_owned();
    let mut log = Log::hundred();
    log.tried.push(refused(100, 0, "<i onload=x>"));
    log.letters.push(letter("<u>", 1, 1, 50_000));
    let html = log.report(&run, found(&[(Kind::Lost, 1)])).html();
    for tag in ["<script", "<b>", "<i ", "<u>", "<the>"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;&#39;"));
    assert!(html.contains("is not in &lt;the&gt; feed"));
}

#[test]
fn the_verdict_names_what_is_wrong() {
    let report = Log::hundred().report(&run(2), found(&[(Kind::Lost, 3), (Kind::WrongVerdict, 1_200)]));
    assert_eq!(report.verdict(), "The auditor found faults: 3 lost, 1 200 wrong-verdict.");
    assert!(report.table().contains("lost: is not in <the> feed"), "{}", report.table());
}

#[test]
fn columns_stand_under_each_other() {
    let table = full().table();
    let rows: Vec<&str> =
        table.lines().skip_while(|line| !line.starts_with("latency")).skip(1).take(5).collect();
    assert!(rows[0].trim_start().starts_with("p50"), "{table}");
    let lengths: std::collections::HashSet<usize> = rows.iter().map(|row| row.chars().count()).collect();
    assert_eq!(lengths.len(), 1, "{table}");
}
