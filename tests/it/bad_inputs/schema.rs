//! Rows 34 to 59: what the schemas of envelope and types refuse.

use std::time::{Duration, Instant};

use liaison::message::tree::Tree;
use liaison::rules::schemas::Schemas;
use serde_json::json;

use super::{Refused, Row, Taken, other, set, without};

pub fn rows() -> Vec<Row> {
    let mut all = members();
    all.extend(types());
    all.extend(times());
    all.extend(values());
    all
}

const ROUTE: &str = "ilo.in.it-moi.tn-01.net.flow.route.tn";

fn members() -> Vec<Row> {
    let envelope = |path| Refused("E-ENVELOPE", path);
    let schema = |path| Refused("E-SCHEMA", path);
    vec![
        set(34, "an attribute that is none", &[("/unheardof", json!("x"))], envelope("/unheardof")),
        set(34, "a member that is none", &[("/data/extra", json!("x"))], schema("/data/extra")),
        without(35, "no trend", "/data/trend", schema("/data/trend")),
        without(35, "no tlp", "/tlp", envelope("/tlp")),
        without(35, "no type", "/type", envelope("/type")),
        without(35, "no id", "/id", envelope("/id")),
        without(35, "no data", "/data", envelope("/data")),
        set(36, "null for a member", &[("/data/level", json!(null))], schema("/data/level")),
        set(36, "null for an attribute", &[("/priority", json!(null))], envelope("/priority")),
        set(36, "null for the type", &[("/type", json!(null))], envelope("/type")),
        set(
            37,
            "a wrong type far inside",
            &[("/data/composition/3/nationality", json!(7))],
            schema("/data/composition/3/nationality"),
        ),
        set(37, "a list for an object", &[("/data", json!([]))], envelope("/data")),
        set(37, "a list for a text", &[("/source", json!(["/authority/it-moi"]))], envelope("/source")),
    ]
}

/// An unknown type or version is rejected and not put aside: only `E-SMALLCELL` and broken frames are (rule table).
fn types() -> Vec<Row> {
    let kind = |name, value: &str| set(38, name, &[("/type", json!(value))], Refused("E-TYPE", "/type"));
    let route = [("/type", json!("eu.ilonet.flow.route.v1")), ("/purpose", json!("3.4.c"))];
    vec![
        kind("no such type", "eu.ilonet.flow.nosuch.v1"),
        kind("a version to come", "eu.ilonet.flow.observation.v9"),
        kind("a version with a nought", "eu.ilonet.flow.observation.v01"),
        kind("another's type", "com.example.flow.v1"),
        kind("an empty type", ""),
        kind("half a type", "eu.ilonet..v1"),
        set(40, "another type than the subject says", &route, Refused("E-SUBJECT", "/type")),
        set(40, "another type than the body is", &route, Refused("E-SCHEMA", "/data/*")).on(ROUTE),
    ]
}

/// Times have seconds below 60, an offset, and capital letters: the network's own pattern, stricter than RFC 3339.
fn times() -> Vec<Row> {
    let time = |number, name, value: &str| {
        set(number, name, &[("/time", json!(value))], Refused("E-ENVELOPE", "/time"))
    };
    vec![
        time(41, "no date", "not a date"),
        time(41, "the 30th of February", "2026-02-30T08:15:00Z"),
        time(41, "hour 25", "2026-03-01T25:00:00Z"),
        set(41, "a number", &[("/time", json!(1_772_000_000))], Refused("E-ENVELOPE", "/time")),
        time(42, "a leap second", "2016-12-31T23:59:60Z"),
        set(
            42,
            "one in the body",
            &[("/data/period/from", json!("2016-12-31T23:59:60Z"))],
            Refused("E-SCHEMA", "/data/period/from"),
        ),
        time(43, "small letters", "2026-03-01t08:15:00z"),
        time(44, "no offset", "2026-03-01T08:15:00"),
        time(45, "a year before the first", "-0001-03-01T08:15:00Z"),
        time(45, "a year of five digits", "12026-03-01T08:15:00Z"),
        set(
            45,
            "the end of the last year",
            &[("/expirytime", json!("9999-12-31T23:59:59Z"))],
            Refused("E-ENVELOPE", "/expirytime"),
        ),
        set(45, "nearly the end", &[("/expirytime", json!("9999-12-30T00:00:00Z"))], Taken),
    ]
}

fn values() -> Vec<Row> {
    let schema = |path| Refused("E-SCHEMA", path);
    let at = |longitude: f64, latitude: f64| json!({"type": "Point", "coordinates": [longitude, latitude]});
    let place = "/data/places/0/geometry";
    let persons: Vec<_> = (0..401).map(|at| json!({"personRef": format!("P{at}")})).collect();
    vec![
        set(46, "latitude 91", &[(place, at(10.76, 91.0))], schema("/data/places/0/geometry*")),
        set(46, "longitude 181", &[(place, at(181.0, 34.74))], schema("/data/places/0/geometry*")),
        set(46, "the two swapped", &[(place, at(34.74, 110.76))], schema("/data/places/0/geometry*")),
        set(47, "XX", &[("/data/places/0/country", json!("XX"))], schema("/data/places/0/country")),
        set(47, "UK", &[("/data/places/0/country", json!("UK"))], schema("/data/places/0/country")),
        set(47, "EL", &[("/data/places/0/country", json!("EL"))], schema("/data/places/0/country")),
        set(48, "a capital", &[("/data/trend", json!("Rising"))], schema("/data/trend")),
        set(
            48,
            "a country in small letters",
            &[("/data/places/0/country", json!("tn"))],
            schema("/data/places/0/country"),
        ),
        set(
            48,
            "a line feed at the end",
            &[("/data/places/0/locode", json!("TNSFA\n"))],
            schema("/data/places/0/locode"),
        ),
        other(
            49,
            "401 persons",
            "11-case-return-manifest",
            &[("/data/persons", json!(persons))],
            schema("/data/persons*"),
        ),
        set(58, "5,000 routes", &[("/data/routes", json!(vec!["CMED"; 5_000]))], schema("/data/routes*")),
        set(
            59,
            "a file in base64",
            &[("/data/attachments", json!([{"contentEncoding": "base64", "content": "TVqQAAMAAAAEAAAA"}]))],
            schema("/data/attachments*"),
        ),
    ]
}

/// Row 55: a pattern that is exponential where patterns go back.
#[test]
fn a_pattern_that_explodes_elsewhere_takes_no_time_here() {
    let schema = json!({
        "$id": "https://ilonet.example/schemas/v2/host.measure.json",
        "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}},
    });
    let schemas = Schemas::load(&[("x.json".to_owned(), schema.to_string())]).expect("compiles");
    let message = Tree::of(&json!({"a": format!("{}!", "a".repeat(100_000))}));
    let began = Instant::now();
    let faults = schemas.data("host.measure", 2, message.root(), "/data").expect("live");
    assert_eq!(faults[0].path, "/data/a");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
