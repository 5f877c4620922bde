//! `where` beside the crate's CEL, filters that are not understood, and what else stops an audit.

use serde_json::{Value, json};

use super::deal::{self, REGISTRY};
use crate::message::tree::Tree;
use crate::rules::cel::Where;
use crate::sim::audit::condition::Condition;
use crate::sim::audit::oracle::Oracle;
use crate::sim::audit::{AuditError, compare};
use crate::sim::log::{Reader, Run, Writer};
use crate::sim::plan::Plan;

fn events() -> Vec<Value> {
    vec![
        json!({"type": "a", "priority": "urgent", "data": {"routes": ["AIR"], "count": {"value": 900}, "level": "both"}}),
        json!({"type": "b", "data": {"routes": [], "count": {"value": 900.5}, "level": "operational", "late": true}}),
        json!({"type": "ab", "data": {"routes": "AIR", "count": 7}}),
        json!({"type": "a", "data": {"count": {"value": "900"}, "routes": ["CMED", 3]}}),
        json!({"type": "a", "subject": "TN", "data": {}}),
    ]
}

#[test]
fn conditions_mean_what_cel_means() {
    let texts = [
        "event.type == \"a\"",
        "event.type != 'a'",
        "\"a\" == event.type || true",
        "event.type.startsWith('a')",
        "event.type.endsWith('b') || event.subject == 'TN'",
        "event.subject == 'TN' || event.type == 'a'",
        "event.type.contains('b')",
        "event.priority == \"urgent\" && data.level == \"both\"",
        "data.count.value >= 900",
        "data.count.value > 900",
        "data.count.value < 901 && data.count.value <= 900.5",
        "\"AIR\" in data.routes",
        "!(\"AIR\" in data.routes)",
        "has(data.level) && data.level != 'both'",
        "!has(data.level)",
        "has(event.subject)",
        "data.late == true",
        "(data.level == 'both' || has(data.late)) && !(event.type == 'b')",
    ];
    let mut understood = 0;
    for text in texts {
        let Ok(condition) = Condition::read(text) else { continue };
        understood += 1;
        let theirs = Where::parse(text).expect("CEL");
        for event in events() {
            let tree = Tree::of(&event);
            assert_eq!(condition.holds(&event), theirs.holds(tree.root()), "{text} of {event}");
        }
    }
    assert_eq!(understood, texts.len() - 1, "all but the one that begins with a text");
}

#[test]
fn what_is_not_understood_stops_the_audit() {
    for text in [
        "",
        "true",
        "event.type",
        "event.type == data.type",
        "data.routes.exists(r, r == 'AIR')",
        "size(data.routes) > 1",
        "event.type == 'a' ? true : false",
        "event.type == \"a\\n\"",
        "has(data.count.value)",
        "data.count.value + 1 > 2",
        "event.type == 'a' and true",
        "event.type == 'a",
        "other.type == 'a'",
        "data[\"level\"] == 'both'",
    ] {
        assert!(Condition::read(text).is_err(), "{text}");
    }
    for filter in [json!({"sql": "x"}), json!({"exact": {"type": 1}}), json!({"any": {}}), json!("x")] {
        let mut cast = deal::cast(1);
        cast.authorities[3].subscriptions = vec![json!({"name": "x", "filters": [filter]})];
        let error = Oracle::new(&REGISTRY, &cast, true).expect_err("not understood").to_string();
        assert!(error.contains(cast.authorities[3].party.as_str()), "{error}");
    }
}

#[test]
fn a_run_that_did_not_end_is_not_compared() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let at = super::double::now();
    let run = Run {
        version: String::new(),
        plan: Plan::default(),
        registry: REGISTRY.clone(),
        clock: at,
        started: at,
        ended: None,
        case_plane: true,
        interrupted: false,
        fresh: true,
    };
    Writer::create(&log, &run).expect("a log").finish(&run).expect("written");
    let reader = Reader::of(&log);
    let error = compare(std::iter::empty(), deal::number, &deal::cast(1), &run, &reader).expect_err("no end");
    assert!(matches!(error, AuditError::Unfinished));
    let ended = Run { ended: Some(at), ..run };
    let found = compare(std::iter::empty(), deal::number, &deal::cast(1), &ended, &reader).expect("empty");
    assert!(found.is_clean() && found.attempts == 0);
}
