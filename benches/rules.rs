//! What the judgement costs alone, by example, and what routing costs with many subscriptions: `cargo bench --bench rules`.
//!
//! Each figure is the median of several rounds in microseconds; one thread, no I/O. `cargo bench --bench rules -- judge 100`
//! judges each example a hundred times and nothing else, for a profiler.
#![allow(clippy::disallowed_methods, reason = "a measurement stands outside: it has a clock of its own")]

use std::hint::black_box;
use std::time::Instant;

use liaison::message::names::PartyId;
use liaison::message::raw::{Frame, Position, Raw};
use liaison::message::time::Timestamp;
use liaison::rules::Rules;
use liaison::rules::audience;
use liaison::rules::catalogue::Catalogue;
use liaison::rules::deployments::Deployments;
use liaison::rules::judge::{Permitted, judge};
use liaison::rules::policy::Policy;
use liaison::rules::registry::Registry;
use liaison::rules::schemas::Schemas;
use liaison::rules::subscriptions::{Subscription, Subscriptions};
use serde_json::{Value, json};

/// The clock of the examples.
const CLOCK: &str = "2026-03-02T10:00:00Z";
/// Rounds of which the median is told.
const ROUNDS: usize = 9;

/// The reports of the network plane, and one of each other plane that a client sends.
const EXAMPLES: [(&str, &str); 8] = [
    ("flow.observation", include_str!("../tests/examples/valid/01-flow-observation-mixed.json")),
    ("flow.route", include_str!("../tests/examples/valid/02-flow-route-geojson.json")),
    ("smuggling.modus", include_str!("../tests/examples/valid/03-smuggling-modus.json")),
    ("event.incident", include_str!("../tests/examples/valid/04-event-incident-24h.json")),
    ("document.fraud", include_str!("../tests/examples/valid/05-document-fraud.json")),
    ("event.warning", include_str!("../tests/examples/valid/06-event-warning.json")),
    ("case.identity-request", include_str!("../tests/examples/valid/07-case-identity-request.json")),
    ("deployment.notice", include_str!("../tests/examples/valid/08-deployment-notice-contact.json")),
];

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let rules = Rules {
        catalogue: Catalogue::embedded().clone(),
        schemas: Schemas::embedded().expect("the embedded schemas must compile"),
        registry: Registry::demo(),
        policy: Policy::default().with_case_plane(true),
    };
    let mut arguments = std::env::args().skip_while(|argument| argument != "judge").skip(1);
    if let Some(times) = arguments.next().and_then(|times| times.parse::<u32>().ok()) {
        for (_, example) in EXAMPLES {
            let raw = raw(example);
            (0..times).for_each(|_| drop(black_box(judged(&rules, raw.clone()))));
        }
        return;
    }
    println!("| judgement of | bytes | us |\n|---|---|---|");
    for (name, example) in EXAMPLES {
        let raw = raw(example);
        let each = median(2_000, || drop(black_box(judged(&rules, raw.clone()))));
        println!("| {name} | {} | {each:.1} |", raw.payload.len());
    }
    println!("\n| routing with subscriptions | matching parties | us |\n|---|---|---|");
    let permitted = judged(&rules, raw(EXAMPLES[0].1));
    for count in [0, 100, 1_000, 10_000, 60_000] {
        let subscriptions = subscriptions(&rules.registry, count);
        let deployments = Deployments::default();
        let route = || audience::route(&rules.registry, &subscriptions, &deployments, &permitted.routed());
        let found = route().expect("the example must be routable").recipients.len();
        let each = median(500, || drop(black_box(route())));
        println!("| {count} | {found} | {each:.1} |");
    }
}

fn median(times: u32, mut work: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..times).for_each(|_| work());
            started.elapsed().as_secs_f64() * 1e6 / f64::from(times)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn now() -> Timestamp {
    CLOCK.parse().expect("a literal time must be readable")
}

fn raw(example: &str) -> Raw {
    let example: Value = serde_json::from_str(example).expect("an example in JSON");
    Raw {
        party: PartyId::parse(example["publisher"].as_str().expect("a publisher")).expect("a party"),
        subject: example["natsSubject"].as_str().expect("a subject").to_owned(),
        payload: example["message"].to_string().into(),
        content_type: None,
        binary_mode: false,
        arrived: now(),
        position: Position::default(),
        frame: Frame::Whole,
    }
}

fn judged(rules: &Rules, raw: Raw) -> Permitted {
    judge(rules, raw, now()).unwrap_or_else(|refusal| panic!("must be accepted: {:?}", refusal.refused))
}

/// Spread over the parties, each for a country, a route or a type and a nationality; about one in two hundred matches.
fn subscriptions(registry: &Registry, count: usize) -> Subscriptions {
    let parties: Vec<PartyId> = registry.parties().map(|party| party.id.clone()).collect();
    let countries: Vec<String> =
        ('A'..='Z').flat_map(|a| ('A'..='Z').map(move |b| format!("{a}{b}"))).collect();
    let mut lists: Vec<Vec<Subscription>> = vec![Vec::new(); parties.len()];
    for at in 0..count {
        let country = &countries[at % countries.len()];
        let filter = match at % 3 {
            0 => json!([{"exact": {"country": country}}]),
            1 => {
                json!([{"prefix": {"type": "eu.ilonet.flow."}}, {"exact": {"country": country, "route": "CMED"}}])
            }
            _ => {
                json!([{"any": [{"exact": {"nationality": format!("{country}X")}}, {"exact": {"country": country}}]}])
            }
        };
        let value = json!({"name": format!("s{at}"), "filters": filter});
        let subscription = Subscription::parse(&value).expect("a literal filter must be readable");
        lists[at % parties.len()].push(subscription);
    }
    let mut all = Subscriptions::default();
    for (party, list) in parties.into_iter().zip(lists) {
        for chunk in list.chunks(liaison::rules::subscriptions::MOST).take(1) {
            all.replace_party(party.clone(), chunk.to_vec()).expect("must fit");
        }
    }
    all
}
