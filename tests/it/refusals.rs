//! The 42 cases of the rule table and the 12 valid examples, each with its code and its places; sizes, modes, and what a
//! receipt may repeat. What a party could send by mistake or on purpose is in `bad_inputs`.

use liaison::message::outcome::{Code, Outcome};
use liaison::message::raw::Raw;
use liaison::rules::audience;
use liaison::rules::deployments::Deployments;
use liaison::rules::judge::judge;
use liaison::rules::settle::{self, Known};
use liaison::rules::subscriptions::Subscriptions;
use serde_json::{Value, json};

use super::judged::{self, RULES, accepts, changed, message, now, places, raw, raw_of, rules, with};

/// Case by case, the places that a receipt names.
const PLACES: [(&str, &[&str]); 42] = [
    ("01", &["/data/suspects"]),
    ("02", &["/data/narrative"]),
    ("03", &["/data/series"]),
    ("04", &["/eraseby"]),
    ("05", &["/audience"]),
    ("06", &["/eraseby"]),
    ("07", &["/data/person/biometrics"]),
    ("08", &["/purpose"]),
    ("09", &["/dataclassification"]),
    ("10", &["/originator", "/source"]),
    ("11", &["/data/places/0/country"]),
    ("12", &["/data/places/0/locode"]),
    ("13", &["/data/places/0/geometry"]),
    ("14", &["/data/destinations"]),
    ("15", &["/data/period/to"]),
    ("16", &["/data/count/max"]),
    ("17", &["/evaluation"]),
    ("18", &["/time"]),
    ("19", &["/recordedtime"]),
    ("20", &["/audience"]),
    ("21", &["/audience"]),
    ("22", &["/handlingnote"]),
    ("23", &["/data/target"]),
    ("24", &["/data/hostCountry"]),
    ("25", &["/data/contact", "/data/contact/email", "/data/contact/phone"]),
    ("26", &["/subject"]),
    ("27", &["/type"]),
    ("28", &["/data/extra"]),
    ("29", &["/data/legs/0/path"]),
    ("30", &["/data/price/amount", "/data/price/currency"]),
    ("31", &["/purpose"]),
    ("32", &["/data/narrative"]),
    ("33", &["/data/victimProfile/0/count"]),
    ("34", &["/data/narrative"]),
    ("35", &["/data/funding"]),
    ("36", &["/eraseby"]),
    ("37", &["/data/persons/1/personRef"]),
    ("38", &["/audience", "/originator"]),
    ("39", &["/data/dueBy"]),
    ("40", &["/data/votes"]),
    ("41", &["/audience"]),
    ("42", &["/audience"]),
];

/// Judges an example as the broker would: by the rules without memory, then by those with one that is empty.
fn refusal(example: &judged::Example) -> Option<liaison::message::outcome::Refused> {
    let permitted = match judge(&RULES, raw(&example.publisher, &example.subject, &example.payload), now()) {
        Ok(permitted) => permitted,
        Err(refusal) => return Some(refusal.refused),
    };
    let needs = settle::needs(permitted.envelope().kind.as_str(), permitted.data());
    let nothing: Vec<Option<Known>> = needs.iter().map(|_| None).collect();
    settle::check(permitted.envelope(), permitted.data(), &nothing, |_| Ok(())).err().or_else(|| {
        let (subscriptions, deployments) = (Subscriptions::default(), Deployments::default());
        audience::route(&RULES.registry, &subscriptions, &deployments, &permitted.routed()).err()
    })
}

#[test]
fn the_42_cases_are_refused_with_their_code_and_places() {
    let invalid = judged::all("invalid");
    assert_eq!(invalid.len(), PLACES.len());
    let mut wrong = Vec::new();
    for (example, (number, paths)) in invalid.iter().zip(PLACES) {
        assert!(example.name.starts_with(number), "{} is out of order", example.name);
        let Some(refused) = refusal(example) else {
            wrong.push(format!("{}: accepted", example.name));
            continue;
        };
        let (code, found) = places(&refused);
        if Some(code) != example.code || found != paths || refused.outcome().as_str() != example.expect {
            wrong.push(format!("{}: {code} {found:?} {:?}", example.name, refused.outcome()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_12_valid_examples_are_accepted() {
    let valid = judged::all("valid");
    assert_eq!(valid.len(), 12);
    for example in valid {
        let raw = raw(&example.publisher, &example.subject, &example.payload);
        let permitted =
            judge(&RULES, raw, now()).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", example.name));
        assert!(!permitted.is_late(), "{}", example.name);
    }
}

#[test]
fn what_looks_odd_and_is_right_is_taken() {
    let set = |path: &str, value: Value| with("01", &[(path, value)]);
    let line = json!({"type": "LineString", "coordinates": [[179.9, -16.5], [-179.9, -16.5]]});
    for message in [
        set("/data/places/0/geometry", line),
        set("/audience", json!("it-moi")),
        set("/time", json!("2026-03-02T09:15:00.123456789+01:00")),
    ] {
        accepts(&message);
    }
}

#[test]
fn sizes_are_bounded_by_plane_and_absolutely() {
    let padded = |number: &str, size: usize| {
        let example = judged::valid(number);
        let mut payload = example.message.to_string().into_bytes();
        payload.resize(size, b' ');
        judge(&RULES, raw(&example.publisher, &example.subject, &payload), now())
    };
    for (number, limit) in [("01", 65_536), ("09", 65_536), ("10", 262_144), ("11", 262_144), ("12", 262_144)]
    {
        assert!(padded(number, limit).is_ok(), "{number}");
        let refusal = padded(number, limit + 1).expect_err(number);
        assert_eq!(places(&refusal.refused), (Code::Size, vec![""]), "{number}");
    }
    let refusal =
        judge(&RULES, raw("it-moi", "x", &vec![b'['; 300_000]), now()).expect_err("too large to be read");
    assert_eq!(refusal.refused.code, Code::Size);
}

#[test]
fn only_structured_mode_is_taken() {
    let with = |content_type: Option<&str>, binary_mode: bool| {
        let raw =
            Raw { content_type: content_type.map(str::to_owned), binary_mode, ..raw_of(&message("01")) };
        judge(&RULES, raw, now()).map_err(|refusal| refusal.refused.code).err()
    };
    for good in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"] {
        assert_eq!(with(Some(good), false), None, "{good}");
        assert_eq!(with(Some(good), true), None, "{good}: other headers are passed over");
    }
    assert_eq!(with(None, true), Some(Code::Envelope));
    for bad in [
        "application/json",
        "",
        "application/cloudevents-batch+json",
        "application/cloudevents+json;charset=latin1",
    ] {
        assert_eq!(with(Some(bad), false), Some(Code::Envelope), "{bad}");
    }
}

#[test]
fn a_party_that_takes_no_part_learns_nothing_and_a_closed_plane_is_not_looked_into() {
    let example = judged::valid("07");
    let closed = rules(false);
    let refusal = |payload: &[u8]| {
        let raw = raw(&example.publisher, &example.subject, payload);
        judge(&closed, raw, now()).expect_err("closed").refused
    };
    assert_eq!(places(&refusal(&example.payload)), (Code::Plane, vec!["/type"]));
    let broken = changed("07", |message| message["data"]["person"] = json!({"no": "such"}));
    assert_eq!(refusal(broken.to_string().as_bytes()).code, Code::Plane);

    let mut suspended = rules(true);
    let text = liaison::rules::registry::DEMO.replacen(
        "participation = \"member-state\"",
        "participation = \"suspended\"",
        1,
    );
    suspended.registry = liaison::rules::registry::Registry::parse(&text).expect("readable");
    let first = suspended.registry.parties().find(|party| party.is_suspended()).expect("one").id.clone();
    for (party, payload) in
        [(first.as_str(), &b"{"[..]), ("xx-nobody", b"\xff"), (first.as_str(), &example.payload)]
    {
        let refusal = judge(&suspended, raw(party, "ilo.in.x", payload), now()).expect_err("no part");
        assert_eq!(places(&refusal.refused), (Code::Party, vec![""]));
        // Its id is read, because it waits for the receipt under it; nothing else is.
        let id = refusal.target.id.as_ref().map(ToString::to_string);
        let readable: Option<Value> = serde_json::from_slice(payload).ok();
        assert_eq!(id.as_deref(), readable.as_ref().and_then(|message| message["id"].as_str()));
    }
}

#[test]
fn the_target_of_a_receipt_is_what_could_be_read_and_no_more() {
    let raw_ok = raw_of(&message("01"));
    let target = |party: &str, subject: &str, payload: &[u8]| {
        judge(&RULES, raw(party, subject, payload), now()).expect_err("refused").target
    };
    let broken = changed("01", |message| message["tlp"] = json!("x"));
    let found = target("it-moi", &raw_ok.subject, broken.to_string().as_bytes());
    assert_eq!(found.source, "/authority/it-moi/post/tn-01");
    assert_eq!(found.id.expect("an id").as_str(), "0195c3a1-0001-7000-8000-000000000001");
    assert_eq!(found.post, "tn-01");
    for (subject, post) in [
        ("ilo.in.it-moi.*.net.flow.observation.tn", "system"),
        ("ilo.in.it-moi.>", "system"),
        ("ilo.in.es-pn.tn-01.net.flow.observation.tn", "system"),
        ("ilo.in.it-moi.system.net.flow.observation.tn", "system"),
        ("ilo.in.it-moi.no-post-that-is-one.net.flow.observation.tn", "system"),
    ] {
        assert_eq!(target("it-moi", subject, b"{").post, post, "{subject}");
    }
    let odd = json!({"id": "a.b.>", "source": "/broker/a b\u{7}", "type": 1});
    let found = target("it-moi", "x", odd.to_string().as_bytes());
    assert_eq!((found.source.as_str(), found.id), ("", None));
}

#[test]
fn a_small_cell_is_put_aside_and_nothing_else_is() {
    for example in judged::all("invalid") {
        let refused = refusal(&example).expect("invalid");
        let aside = refused.outcome() == Outcome::Quarantined;
        assert_eq!(aside, refused.code == Code::SmallCell, "{}", example.name);
    }
}
