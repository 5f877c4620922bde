//! Whole ways: scripts of real plans against the copy of the broker, audited from the log alone.

use jiff::SignedDuration;

use super::bugs::Bug;
use super::double::{House, now};
use super::log::Play;
use crate::rules::Rules;
use crate::rules::catalogue::Catalogue;
use crate::rules::policy::Policy;
use crate::rules::registry::{self, Registry};
use crate::rules::schemas::Schemas;
use crate::sim::audit::{Kind, audit};
use crate::sim::cast::{self, Cast};
use crate::sim::plan::{Faults, Mix, Plan};
use crate::sim::script::{Script, Setting};

fn plan(seed: u64, messages: u32) -> Plan {
    Plan {
        seed,
        officers: 120,
        rate: f64::from(messages) / 60.0,
        mix: Mix { control: 0.2, deployment: 0.1, rfi: 0.15, case: 0.1, ..Mix::default() },
        faults: Faults { invalid: 0.1, ..Faults::default() },
        ..Plan::default()
    }
}

fn play(plan: Plan, fresh: bool) -> Play {
    let enrolled = cast::enrol(&plan, registry::DEMO).expect("a registry");
    let registry: &'static str = enrolled.unwrap_or_else(|| registry::DEMO.to_owned()).leak();
    let rules: &'static Rules = Box::leak(Box::new(Rules {
        catalogue: Catalogue::embedded().clone(),
        schemas: Schemas::embedded().expect("the embedded schemas must compile"),
        registry: Registry::parse(registry).expect("a good registry"),
        policy: Policy::default().with_case_plane(true),
    }));
    let cast = Cast::choose(&plan, registry).expect("a cast");
    let setting = Setting { clock: now(), case_plane: true, fresh };
    let attempts = Script::new(&plan, &cast, setting).collect();
    // Everything is judged a minute after the start: the plan lasts one.
    let later = now().checked_add(SignedDuration::from_mins(1)).expect("an instant");
    Play::of(House { rules, registry, now: later }, plan, cast, attempts, fresh)
}

#[test]
fn a_script_against_a_good_broker_is_clean_from_its_log_alone() {
    for (seed, fresh) in [(21, true), (22, false)] {
        let play = play(plan(seed, 500), fresh);
        let found = play.logged_at(now(), &[], |_, reader| audit(reader).expect("an audit"));
        assert!(found.is_clean(), "seed {seed}: {:?} {:#?}", found.counts, found.examples);
        assert!(found.attempts >= 400 && found.letters > 1_000, "{} {}", found.attempts, found.letters);
        assert!(found.refusals.len() > 8, "{:?}", found.refusals);
    }
}

#[test]
fn a_script_against_a_bad_broker_is_not() {
    let play = play(plan(23, 300), true);
    for (bug, kind) in [
        (Bug::IgnoresExclude, Kind::Misdelivered),
        (Bug::ForgetsSubscriptions, Kind::Misdelivered),
        (Bug::DropsTheLast, Kind::Missing),
        (Bug::SwapsLetters, Kind::Misordered),
        (Bug::SaysAnotherCode, Kind::WrongVerdict),
    ] {
        let found = play.logged_at(now(), &[bug], |_, reader| audit(reader).expect("an audit"));
        assert!(found.count(kind) > 0, "{bug:?}: {:?}", found.counts);
    }
}
