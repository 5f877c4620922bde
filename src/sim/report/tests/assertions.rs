//! What can be asserted, and what cannot.

use super::*;
use crate::sim::report::{Assertion, AssertionError};

fn grown() -> Report {
    let log = Log {
        tried: (0..=500)
            .map(|no| {
                if no % 100 == 99 {
                    refused(no, u64::from(no) * 1_000_000, "E-JSON")
                } else {
                    tried(no, u64::from(no) * 1_000_000, 19_000)
                }
            })
            .collect(),
        letters: (0..50)
            .map(|no| letter("fr-dnpaf", u64::from(no) + 1, no, u64::from(no) * 1_000_000 + 40_000))
            .collect(),
        samples: (0..600).map(|second| sample(second, 200_000_000 + second * 100)).collect(),
        analysed: [false, true]
            .map(|failed| Analysed { pages: 2, messages: 300, failed, ..Analysed::default() })
            .to_vec(),
    };
    let findings = Findings { resent: 3, redelivered: 7, ..found(&[(Kind::WrongVerdict, 2)]) };
    log.report(&run(500), findings)
}

#[test]
fn assertions_hold_or_fail_with_the_measured_value() {
    let report = grown();
    for (text, holds, shown) in [
        ("receipt.p99<20ms", true, "19.0 ms"),
        ("receipt.p99 < 0.02 s", true, "19.0 ms"),
        ("receipt.p99<19us", false, "19.0 ms"),
        ("delivery.p99.9<=40.1ms", true, "40.0 ms"),
        ("delivery.p99.9<=39ms", false, "40.0 ms"),
        ("puback.max=100us", true, "100 us"),
        ("slip.mean>9us", true, "10 us"),
        ("receipt.count>500", true, "501"),
        ("receipt.count>501", false, "501"),
        ("receipt.count!=501", false, "501"),
        ("lost=0", true, "0"),
        ("misdelivered==0", true, "0"),
        ("wrong-verdict=0", false, "2"),
        ("findings<3", true, "2"),
        ("throughput>=0.9/s", true, "1/s"),
        ("throughput.delivered>=1/s", false, "0.10/s"),
        ("rss.max<300MB", true, "200 MB"),
        ("rss.max<190MiB", false, "200 MB"),
        ("rss.slope<1%/h", true, "0.18 %/h"),
        ("rss.slope<0.1MB/h", false, "360 KB/h"),
        ("descriptors.last=40", true, "40"),
        ("descriptors.slope<1/h", true, "0/h"),
        ("cpu.broker<1s", true, "99.8 ms"),
        ("refused=5", true, "5"),
        ("refused.E-JSON>4", true, "5"),
        ("refused.E-GEO=0", true, "0"),
        ("attempts=501", true, "501"),
        ("resent=0", false, "3"),
        ("analysts.messages>=600", true, "600"),
        ("analysts.pages=4", true, "4"),
        ("analysts.errors=0", false, "1"),
        ("redelivered<8", true, "7"),
    ] {
        let outcome = Assertion::parse(text).unwrap_or_else(|error| panic!("{error}")).check(&report);
        assert_eq!(outcome.holds, holds, "{}", outcome.line);
        assert!(outcome.line.contains(&format!("(measured {shown})")), "{text}: {}", outcome.line);
    }
}

#[test]
fn without_data_nothing_holds() {
    let report = Log::default().report(&run(2), None);
    for text in [
        "receipt.p99<20ms",
        "receipt.count<10",
        "lost=0",
        "findings=0",
        "resent=0",
        "analysts.errors=0",
        "redelivered=0",
        "throughput<1/s",
        "rss.max<1GB",
        "rss.slope<1%/h",
        "cpu.nats<1s",
        "refused=0",
        "puback.p50>0ms",
    ] {
        let outcome = Assertion::parse(text).unwrap().check(&report);
        assert!(!outcome.holds && outcome.line.contains("no data"), "{}", outcome.line);
    }
}

#[test]
fn what_is_no_assertion_is_said() {
    type Is = fn(&AssertionError) -> bool;
    let form: Is = |error| matches!(error, AssertionError::Form(_));
    let name: Is = |error| matches!(error, AssertionError::Name(_));
    let number: Is = |error| matches!(error, AssertionError::Number(_));
    let unit: Is = |error| matches!(error, AssertionError::Unit { .. });
    for (text, is) in [
        ("", form),
        ("receipt.p99", form),
        ("lost!0", form),
        ("receipt<20ms", name),
        ("receipt.p0<20ms", name),
        ("receipt.p101<20ms", name),
        ("receipt.pinf<20ms", name),
        ("receipt.p-5<20ms", name),
        ("receipts.p99<20ms", name),
        ("lost.max=0", name),
        ("rss<5MB", name),
        ("refused.E-NONE=0", name),
        ("=0", name),
        ("receipt.p99<", number),
        ("receipt.p99<fast", number),
        ("receipt.p99<1.2.3ms", number),
        ("receipt.p99<20", unit),
        ("receipt.p99<20MB", unit),
        ("receipt.p99<20 parsecs", unit),
        ("lost=0ms", unit),
        ("throughput>500", unit),
        ("rss.max<300", unit),
        ("rss.slope<1%", unit),
        ("rss.slope<1MB", unit),
        ("rss.max<1%", unit),
        ("rss.max<1MB/h", unit),
    ] {
        let error = Assertion::parse(text).expect_err(text);
        assert!(is(&error), "{text:?}: {error}");
    }
}

#[test]
fn an_unknown_name_is_told_the_known_ones() {
    let words = Assertion::parse("latency<1ms").unwrap_err().to_string();
    for name in ["receipt", "throughput", "rss", "misdelivered", "wrong-verdict", "refused.CODE"] {
        assert!(words.contains(name), "{words}");
    }
}
