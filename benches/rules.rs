//! What reading and judging a message costs, by type, and what routing costs with many subscriptions:
//! `cargo bench --bench rules`. One thread, no I/O.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use liaison::message::json;
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

criterion_group!(benches, parse, judgement, routing);
criterion_main!(benches);

fn rules() -> Rules {
    Rules {
        catalogue: Catalogue::embedded().clone(),
        schemas: Schemas::embedded().expect("the embedded schemas must compile"),
        registry: Registry::demo(),
        policy: Policy::default().with_case_plane(true),
    }
}

/// Strict reading alone (S-1).
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (name, example) in EXAMPLES {
        let raw = raw(example);
        group.throughput(Throughput::Bytes(raw.payload.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &raw, |bencher, raw| {
            bencher.iter(|| drop(black_box(json::read(&raw.payload))));
        });
    }
}

/// Everything that needs no memory.
fn judgement(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("judge");
    for (name, example) in EXAMPLES {
        let raw = raw(example);
        group.throughput(Throughput::Bytes(raw.payload.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &raw, |bencher, raw| {
            bencher.iter(|| drop(black_box(judged(&rules, raw.clone()))));
        });
    }
}

/// A message to the whole network, of whose parties each has some of the subscriptions.
fn routing(criterion: &mut Criterion) {
    let rules = rules();
    let permitted = judged(&rules, raw(EXAMPLES[0].1));
    let mut group = criterion.benchmark_group("route");
    for count in [0, 100, 1_000, 10_000, 100_000] {
        let subscriptions = subscriptions(&rules.registry, count);
        let deployments = Deployments::default();
        let route = || audience::route(&rules.registry, &subscriptions, &deployments, &permitted.routed());
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| drop(black_box(route().expect("the example must be routable"))));
        });
    }
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
        signature: None,
        binary_mode: false,
        arrived: now(),
        position: Position::default(),
        frame: Frame::Whole,
    }
}

fn judged(rules: &Rules, raw: Raw) -> Permitted {
    judge(rules, raw, now()).unwrap_or_else(|refusal| panic!("must be accepted: {:?}", refusal.refused))
}

/// Spread over the parties, and over more than there are where these may not store so many; each for a country, a route or a type and a nationality; about one in two hundred matches.
fn subscriptions(registry: &Registry, count: usize) -> Subscriptions {
    let more = (0..100).map(|at| PartyId::parse(&format!("xx-more{at}")).expect("well formed"));
    let enough = registry.parties().map(|party| party.id.clone()).chain(more);
    let parties: Vec<PartyId> = enough.take((count / 1_000).max(registry.parties().count())).collect();
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
        all.replace_party(party, list).expect("must fit");
    }
    all
}
