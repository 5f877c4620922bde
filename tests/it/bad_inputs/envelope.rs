//! Rows 60 to 74: identity, time, markings, recipients.

use serde_json::{Value, json};

use super::super::harness::report;
use super::{Refused, Row, Taken, other, row, set};

pub fn rows() -> Vec<Row> {
    let mut all = ids();
    all.extend(times());
    all.extend(markings());
    all.extend(recipients());
    all.extend(kept());
    all
}

fn ids() -> Vec<Row> {
    let id = |name, value: Value| set(67, name, &[("/id", value)], Refused("E-ENVELOPE", "/id"));
    let upper = report()["id"].as_str().expect("an id").to_uppercase();
    vec![
        id("no UUID", json!("x.>")),
        id("in capitals", json!(upper)),
        id("of 10,000 characters", json!("x".repeat(10_000))),
        id("with a bell", json!("0195c3a1-0001-7000-8000-00000000000\u{7}")),
        id("a number", json!(7)),
        id("a URN", json!("urn:uuid:0195c3a1-0001-7000-8000-000000000001")),
        row(67, "an empty object", "{}", Refused("E-ENVELOPE", "*")),
        set(
            67,
            "a source of 5,000 characters",
            &[("/source", json!(format!("/authority/{}", "x".repeat(5_000))))],
            Refused("E-ENVELOPE", "/source"),
        ),
        // Row 60 through the account: `isolation`. Here what the envelope alone says.
        set(
            60,
            "the broker's source",
            &[("/source", json!("/broker/liaison-1"))],
            Refused("E-ORIGIN", "/source"),
        ),
        set(
            66,
            "another's source",
            &[("/source", json!("/authority/es-pn"))],
            Refused("E-ORIGIN", "/source"),
        ),
    ]
}

/// A time relative to now.
fn at(seconds: i64) -> Value {
    let now = jiff::Timestamp::now();
    let at = now.checked_add(jiff::SignedDuration::from_secs(seconds)).expect("in range");
    json!(format!("{at:.3}"))
}

const YEAR: i64 = 365 * 24 * 3_600;

/// What is old is taken and flagged late (S-6): officers report when they can.
fn times() -> Vec<Row> {
    let time = |path| Refused("E-TIME", path);
    vec![
        set(68, "recorded in ten minutes", &[("/recordedtime", at(600))], time("/recordedtime")),
        set(68, "recorded in ten years", &[("/recordedtime", at(10 * YEAR))], time("/recordedtime")),
        set(68, "observed in ten minutes", &[("/time", at(600))], time("/time")),
        set(
            68,
            "observed after it was recorded",
            &[("/time", at(-10)), ("/recordedtime", at(-20))],
            time("/time"),
        ),
        set(69, "observed in 1970", &[("/time", json!("1970-01-01T00:00:00Z"))], Taken),
        set(69, "expired before it was recorded", &[("/expirytime", at(-40 * YEAR))], time("/expirytime")),
        set(45, "observed in the first year", &[("/time", json!("0001-01-01T00:00:00Z"))], Taken),
    ]
}

fn markings() -> Vec<Row> {
    let envelope = |path| Refused("E-ENVELOPE", path);
    let class = |path| Refused("E-CLASS", path);
    vec![
        set(70, "an old TLP", &[("/tlp", json!("TLP:WHITE"))], envelope("/tlp")),
        set(70, "a TLP in small letters", &[("/tlp", json!("tlp:amber"))], envelope("/tlp")),
        set(70, "no class", &[("/dataclassification", json!("SECRET"))], envelope("/dataclassification")),
        set(70, "an empty class", &[("/dataclassification", json!(""))], envelope("/dataclassification")),
        set(70, "no handling code", &[("/handling", json!("H9"))], envelope("/handling")),
        set(70, "no evaluation", &[("/evaluation", json!("D5"))], envelope("/evaluation")),
        set(70, "a purpose and a line feed", &[("/purpose", json!("3.4.b\n"))], envelope("/purpose")),
        set(
            70,
            "a purpose of another type",
            &[("/purpose", json!("3.4.c"))],
            Refused("E-PURPOSE", "/purpose"),
        ),
        set(
            70,
            "above the ceiling",
            &[("/dataclassification", json!("R-UE/EU-R"))],
            class("/dataclassification"),
        ),
        set(70, "clear and not public", &[("/tlp", json!("TLP:CLEAR"))], class("/tlp")),
        set(70, "no category", &[("/datacategory", json!("secret"))], envelope("/datacategory")),
    ]
}

fn recipients() -> Vec<Row> {
    let envelope = |path| Refused("E-ENVELOPE", path);
    let audience = |path| Refused("E-AUDIENCE", path);
    vec![
        set(74, "who is not registered", &[("/audience", json!("de-bpol,tn-police"))], audience("/audience")),
        set(74, "he is excluded", &[("/exclude", json!("tn-police"))], audience("/exclude")),
        set(74, "no such group", &[("/audience", json!("@everyone"))], envelope("/audience")),
        set(74, "a wildcard", &[("/audience", json!("*"))], envelope("/audience")),
        set(74, "nobody", &[("/audience", json!(""))], envelope("/audience")),
        set(74, "a comma too many", &[("/audience", json!("@ms,"))], envelope("/audience")),
        set(74, "a space", &[("/audience", json!("@ms, de-bpol"))], envelope("/audience")),
        set(
            74,
            "red to a group",
            &[("/tlp", json!("TLP:RED")), ("/audience", json!("@ms"))],
            audience("/audience"),
        ),
    ]
}

/// Personal data: why, and for how long.
fn kept() -> Vec<Row> {
    let file = "07-case-identity-request";
    let case = |number, name, changes: &[(&str, Value)], wants| other(number, name, file, changes, wants);
    let retention = Refused("E-RETENTION", "/eraseby");
    let gone = |member: &str| {
        let mut row = case(72, "without a member", &[], Taken);
        let mut message: Value = serde_json::from_slice(&row.bytes).expect("JSON");
        message.as_object_mut().expect("an object").remove(member).expect("the member");
        row.bytes = message.to_string().into_bytes();
        row
    };
    let without = |name, member: &str, wants| Row { name, wants, ..gone(member) };
    vec![
        without("no day of erasure", "eraseby", retention),
        without("no legal basis", "dataregulation", Refused("E-ENVELOPE", "/dataregulation")),
        case(
            72,
            "no such legal basis",
            &[("/dataregulation", json!("NONE"))],
            Refused("E-ENVELOPE", "/dataregulation"),
        ),
        case(73, "kept for ten years", &[("/eraseby", at(10 * YEAR))], retention),
        case(73, "erased before it came", &[("/eraseby", at(-YEAR))], Refused("E-TIME", "/eraseby")),
        case(
            74,
            "personal data to a group",
            &[("/audience", json!("@ms"))],
            Refused("E-AUDIENCE", "/audience"),
        ),
    ]
}
