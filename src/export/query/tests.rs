//! Flags, filters and bodies agree: what is decided here of a record is what a broker decides of the message by the filters
//! that the same flags become, and the head never says what the body would contradict.

use proptest::prelude::*;

use super::*;
use crate::archive::{Body, Category, Summary};
use crate::message::digest::Digest;
use crate::message::raw::Position;

const IDS: [&str; 2] = ["0195c3a1-0001-7000-8000-000000000001", "0195c3a1-0002-7000-8000-000000000002"];

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(list).prop_map(str::to_owned)
}

fn event() -> impl Strategy<Value = Value> {
    let kind = one_of(&["flow.observation", "flow.route", "case.return-manifest", "flow.observations"]);
    let (major, originator) = (1..3_u32, one_of(&["it-moi", "de-bpol"]));
    let subject = prop::option::of(one_of(&["TN", "LY"]));
    let (id, places) = (one_of(&IDS), prop::collection::vec(one_of(&["TN", "LY", "NE"]), 0..3));
    (kind, major, originator, subject, id, places, any::<bool>()).prop_map(
        |(kind, major, originator, subject, id, places, escaped)| {
            let places: Vec<Value> = places.iter().map(|country| json!({ "country": country })).collect();
            let mut event = json!({
                "id": id, "source": format!("/authority/{originator}"), "originator": originator,
                "type": format!("eu.ilonet.{kind}.v{major}"),
                "data": { "places": places, "count": { "value": places.len() } },
            });
            if let Some(subject) = subject {
                event["subject"] = subject.into();
            }
            // The same event, if its letters are hidden behind escapes.
            event["data"]["escaped"] = escaped.into();
            event
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let few = |list: &'static [&'static str]| prop::collection::vec(one_of(list), 0..3);
    let kinds = few(&[
        "flow.observation",
        "eu.ilonet.flow.route.v1",
        "flow.*",
        "flow.obs*",
        "case.return-manifest.v2",
        "*",
    ]);
    let filters = prop::collection::vec(
        prop::sample::select(vec![
            json!({ "exact": { "country": "LY" } }),
            json!({ "not": { "exact": { "originator": "it-moi" } } }),
            json!({ "any": [{ "prefix": { "type": "eu.ilonet.case." } }, { "exact": { "subject": "TN" } }] }),
        ]),
        0..2,
    );
    let condition = prop::option::of(one_of(&["data.count.value > 1", "event.originator == 'it-moi'"]));
    (kinds, few(&["TN", "ly", "NE"]), few(&["it-moi", "de-bpol"]), few(&IDS), filters, condition).prop_map(
        |(kinds, countries, originators, ids, filters, condition)| {
            let query = Query {
                kinds: kinds.iter().map(|text| text.parse().expect("a type")).collect(),
                countries: countries.iter().map(|text| text.parse().expect("a country")).collect(),
                originators: originators.iter().map(|text| text.parse().expect("a party")).collect(),
                ids: ids.iter().map(|text| text.parse().expect("an id")).collect(),
                ..Query::default()
            };
            query.with_body(filters, condition).expect("readable")
        },
    )
}

/// The bytes of an event; with every capital letter of a string escaped, if it says so.
fn bytes(event: &Value) -> Vec<u8> {
    let text = event.to_string();
    if event["data"]["escaped"] != true {
        return text.into_bytes();
    }
    let hidden =
        |c: char| if c.is_ascii_uppercase() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(hidden).collect::<String>().into_bytes()
}

fn record(event: &Value) -> Record {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let (kind, major) = split_type(text("type")).expect("a type");
    let summary = Summary {
        source: text("source").to_owned(),
        id: text("id").parse().expect("an id"),
        kind,
        major,
        originator: text("originator").parse().expect("a party"),
        plane: Plane::Net,
        country: event["subject"].as_str().map(str::to_owned),
        time_ms: 0,
        audience: Vec::new(),
        purpose: String::new(),
        category: Category::None,
        expires_ms: None,
        erase_ms: None,
        review_ms: None,
    };
    Record {
        seq: 7,
        archived_ms: 1_000,
        outcome: Outcome::Accepted,
        party: summary.originator.clone(),
        position: Position::default(),
        subject: String::new(),
        arrived_ms: 0,
        digest: Digest::default(),
        body: Body::None,
        summary: Some(summary),
        code: None,
        detail: Vec::new(),
        recipients: Vec::new(),
        withheld: Vec::new(),
        target: None,
        late: false,
        effects: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_archive_and_a_broker_decide_alike(event in event(), query in query()) {
        let tree = Tree::of(&event);
        let facets = Facets::of(event["subject"].as_str(), "routine", tree.root().at("data"));
        let condition = query.condition().map(Value::from);
        let of_broker = Question::parse(Some(&json!(query.to_filters())), condition.as_ref()).expect("readable");
        let expected = of_broker.matches(Subject { event: tree.root(), facets: &facets });
        let (head, body) = (query.head(&record(&event)), query.body(&bytes(&event)));
        match head {
            Head::No => prop_assert!(!expected, "{query:?}"),
            Head::Yes => prop_assert!(expected, "{query:?}"),
            Head::Body => prop_assert_eq!(body, expected, "{:?}", query),
        }
    }
}

#[test]
fn what_is_no_type_or_country_is_refused() {
    for bad in
        ["", "flow", "Flow.*", "flow.observation.v", "flow.observation.v0", "eu.ilonet.", "a.b.c", "f?w.*"]
    {
        assert!(bad.parse::<Pattern>().is_err(), "{bad}");
    }
    for bad in ["", "T", "TUN", "T1", "\u{e9}"] {
        assert!(bad.parse::<Country>().is_err(), "{bad}");
    }
    assert_eq!(Query::default().to_json(), json!({}));
    assert_eq!(
        Query::default().head(&record(&json!({
            "type": "eu.ilonet.flow.route.v1", "id": IDS[0], "originator": "it-moi",
        }))),
        Head::Yes
    );
}
