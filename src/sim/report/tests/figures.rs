//! What is computed: percentiles, throughput, growth.

use super::*;
use crate::sim::audit::Undelivered;
use crate::sim::report::{Latencies, LogError, Spread};

fn near(measured: Option<u64>, exact: u64) {
    let measured = measured.unwrap();
    let off = measured.abs_diff(exact);
    assert!(off * 1_000 <= exact, "{measured} is not {exact} to three digits");
}

#[test]
fn percentiles_count_from_when_a_message_was_due() {
    let report = Log::hundred().report(&run(2), None);
    assert_eq!(report.receipt.count(), 100);
    near(report.receipt.percentile(50.0), 50_000);
    near(report.receipt.percentile(99.0), 99_000);
    near(report.receipt.longest(), 100_000);
    near(report.delivery.percentile(50.0), 100_000);
    near(report.delivery.percentile(99.99), 200_000);
    assert_eq!(report.puback.percentile(50.0), Some(100));
    assert_eq!(report.slip.longest(), Some(10));
    assert!((report.receipt.mean().unwrap() - 50_500.0).abs() < 50.0);
}

/// A broker that dies in the middle: three of a hundred get no receipt, four deliveries never come.
#[test]
fn what_never_came_is_in_the_percentiles_with_the_time_to_the_end() {
    let mut log = Log::hundred();
    for no in 97..100 {
        (log.tried[no].receipted, log.tried[no].outcome) = (None, None);
    }
    log.letters.truncate(96);
    let undelivered = vec![Undelivered { no: 7, parties: 1 }, Undelivered { no: 90, parties: 3 }];
    let findings = Findings { undelivered, ..found(&[(Kind::Missing, 4)]) };
    let report = log.report(&run(2), findings);
    assert_eq!((report.receipt.count(), report.receipt.missing()), (97, 3));
    near(report.receipt.percentile(97.0), 97_000);
    near(report.receipt.percentile(99.0), 3_600_000_000);
    assert_eq!((report.delivery.count(), report.delivery.missing()), (96, 4));
    near(report.delivery.percentile(99.0), 3_600_000_000);
    let spread = report.series.intervals().nth(1).unwrap().spreads.receipt.counted();
    near(spread.longest(), 3_598_000_000);
    // One that was never sent is not late: the auditor tells it.
    let unsent =
        Log { tried: vec![Tried { sent: None, receipted: None, ..tried(0, 0, 1) }], ..Log::default() };
    assert_eq!(unsent.report(&run(2), None).receipt.missing(), 0);
    let killed = log.report(&Run { ended: None, ..run(2) }, None);
    near(killed.receipt.longest(), 3_600_000_000);
}

#[test]
fn letters_held_or_strange_or_told_again_are_no_measure() {
    let mut log = Log { tried: vec![tried(1, 0, 1_000)], ..Log::default() };
    log.letters = vec![
        letter("fr-dnpaf", 1, 1, 2_000),
        letter("fr-dnpaf", 1, 1, 9_000_000),
        letter("fr-dnpaf", 2, 77, 9_000_000),
        Read { held: true, ..letter("it-moi", 1, 1, 9_000_000) },
    ];
    let report = log.report(&run(2), None);
    assert_eq!((report.delivery.count(), report.delivery.longest()), (1, Some(2_000)));
    assert_eq!((report.authorities["it-moi"].held, report.authorities["it-moi"].letters()), (1, 1));
    assert_eq!(report.authorities["fr-dnpaf"].letters(), 1);
}

/// A feed is in the order of the archive but for what is released to a party: that is as old as it is, whoever is fast.
#[test]
fn a_letter_that_was_released_later_is_no_measure() {
    let kept = |no: u32, seq: u64| Tried { seq: Some(seq), ..tried(no, 0, 1_000) };
    let log = Log {
        tried: vec![kept(1, 10), kept(2, 20), kept(3, 30)],
        letters: vec![
            letter("fr-dnpaf", 1, 2, 2_000),
            letter("fr-dnpaf", 2, 1, 20_000_000),
            letter("fr-dnpaf", 3, 3, 1_500),
        ],
        ..Log::default()
    };
    let report = log.report(&run(2), None);
    assert_eq!((report.delivery.count(), report.delivery.longest()), (2, Some(2_000)));
    assert_eq!((report.authorities["fr-dnpaf"].held, report.authorities["fr-dnpaf"].letters()), (1, 3));
}

#[test]
fn of_several_attempts_under_one_id_the_accepted_one_was_delivered() {
    let refused = Tried { id: Some(id(5)), ..refused(4, 0, "E-SCHEMA") };
    let again = Tried { outcome: Some("duplicate".to_owned()), id: Some(id(5)), ..tried(6, 2_000_000, 500) };
    let log = Log {
        tried: vec![refused, tried(5, 1_000_000, 1_000), again],
        letters: vec![letter("fr-dnpaf", 1, 5, 1_004_000)],
        ..Log::default()
    };
    let near = log.report(&run(3), None).delivery.longest().unwrap();
    assert!((4_000..4_005).contains(&near), "{near}");
}

#[test]
fn throughput_is_that_of_the_seconds_in_which_was_sent() {
    let report = Log::hundred().report(&run(2), None);
    let mean = report.throughput().unwrap();
    assert_eq!(report.window, 2);
    assert!((mean.sent - 50.0).abs() < 1e-9);
    // The last two were receipted and the last ten or so delivered after the last second.
    assert!(mean.receipted < 50.0 && mean.receipted > 40.0, "{mean:?}");
    assert!(mean.delivered < mean.receipted, "{mean:?}");
    assert_eq!(report.series.highest().sent, 50);
}

#[test]
fn refusals_and_outcomes_are_counted() {
    let tried =
        vec![tried(0, 0, 10), refused(1, 0, "E-JSON"), refused(2, 0, "E-JSON"), refused(3, 0, "E-GEO")];
    let report = Log { tried, ..Log::default() }.report(&run(2), None);
    assert_eq!(report.outcomes["rejected"], 3);
    assert_eq!((report.refusals["E-JSON"], report.refusals["E-GEO"]), (2, 1));
}

#[test]
fn growth_leaves_the_warm_up_out() {
    // Steep for the first fifth of 500 s, then 1 KB a second: 3.6 MB an hour.
    let rss =
        |second: u64| if second < 100 { second * 1_000_000 } else { 100_000_000 + (second - 100) * 1_000 };
    let log = Log {
        tried: (0..=500).map(|no| tried(no, u64::from(no) * 1_000_000, 1_000)).collect(),
        samples: (0..600).map(|second| sample(second, rss(second))).collect(),
        ..Log::default()
    };
    let report = log.report(&run(500), None);
    let course = report.steady.rss.unwrap();
    assert!((course.slope.unwrap() - 3_600_000.0).abs() < 10.0, "{course:?}");
    assert!((course.slope_percent.unwrap() - 3.59).abs() < 0.02, "{course:?}");
    assert_eq!((course.min, course.last), (0, rss(599)));
    assert!((report.steady.descriptors.unwrap().slope.unwrap()).abs() < 1e-6);
    // 50 s of CPU for 501 receipts; what is used in the 99 s after the last message does not count.
    assert!((report.steady.broker_cpu.unwrap() - 99_800.4).abs() < 1.0);
    assert_eq!(report.steady.nats_cpu, None, "it was not measured");
}

#[test]
fn a_short_run_has_no_growth() {
    // Seven samples are left after thirty seconds of warm-up.
    let log = Log {
        tried: (0..=36).map(|no| tried(no, u64::from(no) * 1_000_000, 1_000)).collect(),
        samples: (0..50).map(|second| sample(second, 5)).collect(),
        ..Log::default()
    };
    let course = log.report(&run(37), None).steady.rss.unwrap();
    assert_eq!((course.max, course.slope), (5, None));
}

#[test]
fn intervals_are_dense_and_longer_in_a_long_run() {
    let log = Log { tried: vec![tried(0, 0, 1_000), tried(1, 9_000_000, 1_000)], ..Log::default() };
    let report = log.report(&run(10), None);
    assert_eq!(report.series.intervals().count(), 10);
    let long = log.report(&run(24 * 3_600), None);
    assert_eq!(long.series.length(), 60);
    assert_eq!(long.series.intervals().next().unwrap().happened.sent, 2);
    assert_eq!(long.series.highest().sent, 1, "seconds are told apart all the same");
}

#[test]
fn nothing_played_is_a_report_without_numbers() {
    let report = Log::default().report(&run(2), None);
    assert_eq!((report.receipt.percentile(99.0), report.throughput()), (None, None));
    assert!(report.table().contains("Nobody audited this run."));
    assert!(report.html().contains("Nothing was measured."));
}

#[test]
fn of_a_killed_run_the_readable_lines_are_reported_without_findings() {
    let directory = tempfile::tempdir().unwrap();
    let killed = Run { ended: None, ..run(2) };
    let log = Log::hundred().write(directory.path(), &killed);
    let file = directory.path().join("letters.ndjson.zst");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let report = Report::of(&log, found(&[])).unwrap();
    assert_eq!(report.receipt.count(), 100);
    assert!(report.delivery.count() < 100);
    assert_eq!(report.findings, None, "who did not see the end cannot say that nothing was lost");
    assert!(report.verdict().contains("did not come to its end"), "{}", report.verdict());

    let run_file = directory.path().join("run.json");
    std::fs::write(run_file, serde_json::to_string(&run(2)).unwrap()).unwrap();
    assert!(matches!(Report::of(&log, None), Err(LogError::Io(..))), "a whole log must be readable");
}

#[test]
fn a_spread_tells_the_same_when_it_becomes_a_histogram() {
    let mut spread = Spread::default();
    let mut all = Latencies::default();
    for value in 0..10_000 {
        spread.note(value);
        all.note(value);
    }
    assert!(matches!(spread, Spread::Many(_)));
    for percent in [0.0, 1.0, 50.0, 99.0, 99.9, 100.0] {
        assert_eq!(spread.counted().percentile(percent), all.percentile(percent));
    }
}

#[test]
fn more_than_an_hour_is_an_hour() {
    let mut latencies = Latencies::default();
    latencies.note(u64::MAX);
    near(latencies.longest(), 3_600_000_000);
}
