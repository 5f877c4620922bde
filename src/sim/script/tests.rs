//! Tests of the script: every attempt is judged by the real rules, and must get what it expects.

use std::collections::BTreeMap;

use super::*;
use crate::message::outcome::Code;
use crate::message::time;
use crate::rules::registry;
use crate::sim::cast;

mod model;

use model::Model;

/// The time at which scripts of these tests begin; they are judged two days later.
fn clock() -> Timestamp {
    time::parse("2026-03-02T00:00:00Z").expect("an instant")
}

fn setting() -> Setting {
    Setting { clock: clock(), case_plane: false, fresh: true }
}

fn plan(seed: u64, officers: u32, messages: u32) -> Plan {
    Plan { seed, officers, rate: f64::from(messages) / 60.0, ..Plan::default() }
}

fn registry_for(plan: &Plan) -> String {
    let enrolled = cast::enrol(plan, registry::DEMO).expect("a registry");
    enrolled.unwrap_or_else(|| registry::DEMO.to_owned())
}

fn script(plan: &Plan, setting: Setting) -> (Cast, Script) {
    let cast = Cast::choose(plan, &registry_for(plan)).expect("a cast");
    let script = Script::new(plan, &cast, setting);
    (cast, script)
}

/// Judges a whole script in its order; what was expected must come out. Returns how often each code came.
fn judged(plan: &Plan, setting: Setting) -> BTreeMap<&'static str, u32> {
    let (cast, script) = script(plan, setting);
    let mut model = Model::new(&cast, setting);
    let mut codes = BTreeMap::new();
    let mut wrong = Vec::new();
    for attempt in script {
        let expected = match attempt.expect {
            Expect::Accepted => "accepted",
            Expect::Duplicate(_) => "duplicate",
            Expect::Quarantined(code) | Expect::Rejected(code) => code.as_str(),
        };
        if let Err(words) = model.judge(&attempt) {
            if wrong.len() < 12 {
                wrong.push(format!("{} {expected}: {words}", attempt.no));
            }
        }
        *codes.entry(expected).or_default() += 1;
    }
    assert!(wrong.is_empty(), "seed {}:\n{}", plan.seed, wrong.join("\n"));
    codes
}

#[test]
fn every_attempt_gets_the_verdict_that_it_expects() {
    for (seed, officers) in [(1, 46), (2, 200), (3, 500)] {
        let codes = judged(&plan(seed, officers, 1_500), setting());
        assert!(codes["accepted"] > 1_000, "{codes:?}");
    }
}

/// Everything at once, and often.
fn rich(seed: u64) -> Plan {
    let mut plan = plan(seed, 200, 3_000);
    plan.mix = crate::sim::plan::Mix {
        flow: 0.1,
        route: 0.1,
        modus: 0.1,
        event: 0.1,
        document: 0.1,
        other: 0.2,
        rfi: 0.2,
        deployment: 0.2,
        board: 0.1,
        control: 0.3,
        case: 0.2,
    };
    plan.faults = Faults { invalid: 0.2, resent: 0.05, reused: 0.05, late: 0.05 };
    plan.burst = vec![crate::sim::plan::Burst {
        at: Duration::from_secs(20),
        messages: 300,
        within: Duration::from_secs(1),
    }];
    plan
}

#[test]
fn every_kind_and_every_code_comes_and_is_right() {
    for (seed, case_plane, fresh) in [(7, true, true), (8, false, true), (9, false, false)] {
        let codes = judged(&rich(seed), Setting { case_plane, fresh, ..setting() });
        for code in invalid::CODES {
            let expected = code != Code::Plane || !case_plane;
            assert_eq!(codes.contains_key(code.as_str()), expected, "{code}: {codes:?}");
        }
        assert!(codes.contains_key("E-DUP") && codes.contains_key("duplicate"), "{codes:?}");
    }
}
