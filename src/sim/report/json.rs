//! The report as one JSON document, for programs. The names of members are a promise; times are microseconds.

use serde_json::{Map, Value, json};

use super::latency::TOLD;
use super::{Course, Latencies, Report};

/// Version of the document.
const FORMAT: u32 = 1;

/// See [`Report::to_json`].
pub fn document(report: &Report) -> Value {
    let run = &report.run;
    let mut document = json!({
        "format": FORMAT,
        "verdict": {
            "clean": report.findings.as_ref().map(super::super::audit::Findings::is_clean),
            "words": report.verdict(),
        },
        "run": {
            "version": run.version,
            "plan": run.plan,
            "seed": run.plan.seed,
            "clock": run.clock,
            "started": run.started,
            "ended": run.ended,
            "complete": report.complete(),
        },
        "attempts": report.attempts,
        "outcomes": report.outcomes,
        "refusals": report.refusals,
        "throughput": throughput(report),
        "steadiness": steadiness(report),
        "authorities": authorities(report),
        "analysts": report.analysts,
        "findings": report.findings,
    });
    for (name, latencies) in report.latencies() {
        document[name] = latency(latencies);
    }
    document
}

fn latency(latencies: &Latencies) -> Value {
    let mut members = Map::new();
    members.insert("count".to_owned(), latencies.count().into());
    members.insert("missing".to_owned(), latencies.missing().into());
    members.insert("mean_us".to_owned(), latencies.mean().into());
    for (name, percent) in TOLD {
        members.insert(format!("{name}_us"), latencies.percentile(percent).into());
    }
    members.insert("max_us".to_owned(), latencies.longest().into());
    members.into()
}

fn throughput(report: &Report) -> Value {
    let mean = report.throughput();
    let highest = report.series.highest();
    json!({
        "window_s": report.window,
        "sent_per_s": mean.map(|mean| mean.sent),
        "receipted_per_s": mean.map(|mean| mean.receipted),
        "delivered_per_s": mean.map(|mean| mean.delivered),
        "highest_sent_per_s": highest.sent,
        "highest_receipted_per_s": highest.receipted,
        "highest_delivered_per_s": highest.delivered,
    })
}

fn steadiness(report: &Report) -> Value {
    let steady = &report.steady;
    let course = |course: Option<Course>| {
        course.map(|course| {
            json!({
                "min": course.min,
                "max": course.max,
                "last": course.last,
                "slope_per_h": course.slope,
                "slope_percent_per_h": course.slope_percent,
            })
        })
    };
    json!({
        "samples": steady.samples.len(),
        "warm_up_us": steady.warm_up,
        "rss": course(steady.rss),
        "descriptors": course(steady.descriptors),
        "threads": course(steady.threads),
        "open": course(steady.open),
        "broker_cpu_us_per_message": steady.broker_cpu,
        "nats_cpu_us_per_message": steady.nats_cpu,
    })
}

fn authorities(report: &Report) -> Value {
    let authorities = report.authorities.iter().map(|(party, mailbox)| {
        let of = &mailbox.delivery;
        json!({
            "party": party,
            "letters": mailbox.letters(),
            "held": mailbox.held,
            "p50_us": of.percentile(50.0),
            "p99_us": of.percentile(99.0),
            "max_us": of.longest(),
        })
    });
    authorities.collect()
}
