//! The oracle beside the crate's routing: the same parties for thousands of messages, or one of them is wrong.

use std::collections::BTreeSet;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use super::deal::{self, Dealer, REGISTRY};
use super::double::{RULES, now};
use crate::message::envelope::Envelope;
use crate::message::tree::Tree;
use crate::rules::audience::{self, Routed};
use crate::rules::deployments::Deployments;
use crate::rules::facets::Facets;
use crate::rules::subscriptions::{Subscription, Subscriptions};
use crate::sim::audit::oracle::{Cut, Oracle};
use crate::sim::cast::Cast;

const PURPOSES: [&str; 5] = ["3.4.b", "4", "10.3.a", "10.3.b", "10.3.e"];

fn subscriptions(cast: &Cast) -> Subscriptions {
    let mut all = Subscriptions::default();
    for authority in &cast.authorities {
        let list = authority.subscriptions.iter().map(|one| Subscription::parse(one).expect("readable"));
        all.replace_party(authority.party.clone(), list.collect()).expect("fits");
    }
    all
}

/// Puts things into a body that feed the sets, or must not.
fn shuffle(dealer: &mut Dealer, message: &mut Value) {
    let dice = &mut dealer.dice;
    message["purpose"] = (*PURPOSES.choose(dice).expect("some")).into();
    message["subject"] = (*["TN", "TR", "PK", "NE", "MA"].choose(dice).expect("some")).into();
    if dice.gen_bool(0.2) {
        message["evaluation"] = "B4".into();
    }
    let routes = json!([dice.gen_range(0..9), {"country": "TN"}, ["CMED"], "AIR"]);
    let extras = [
        ("legs", json!([{"transport": ["rubber-boat", {"transport": "foot"}]}])),
        ("person", json!({"nationality": "GIN", "country": "TN"})),
        ("newData", json!({"routes": ["CMED"]})),
        ("usedBy", json!(["GIN", {"issuingState": "SYR"}])),
        ("routes", routes),
        ("impact", json!({"impact": "high"})),
        ("count", json!({"value": dice.gen_range(900..1_100)})),
        ("level", json!("both")),
        ("country", json!(["TN", ["TR"]])),
    ];
    for (name, value) in extras.choose_multiple(dice, 3) {
        message["data"][*name] = value.clone();
    }
}

#[test]
fn oracle_and_routing_agree() {
    let mut groups_that_matter = 0;
    for seed in 0..4 {
        let cast = deal::cast(seed);
        let subscriptions = subscriptions(&cast);
        let mut oracle = Oracle::new(&REGISTRY, &cast, true).expect("an oracle");
        let mut deployments = Deployments::default();
        let mut dealer = Dealer::new(seed, true);
        for no in 0..500 {
            let officer = cast.officers.choose(&mut dealer.dice).expect("officers").clone();
            let mut message =
                if no < 30 { dealer.notice(&officer, no) } else { dealer.ordinary(&officer, no) }.message;
            if no >= 30 {
                shuffle(&mut dealer, &mut message);
                message["audience"] = dealer.audience().into();
            }
            let tree = Tree::of(&message);
            let event = tree.root();
            let envelope = Envelope::read(event).expect("an envelope");
            let facets = Facets::of(envelope.country.as_deref(), &envelope.priority, event.at("data"));
            let today = jiff::tz::TimeZone::UTC.to_datetime(envelope.recorded).date();
            let routed = Routed { envelope: &envelope, is_case: false, facets: &facets, event, today };
            let routing = audience::route(&RULES.registry, &subscriptions, &deployments, &routed);
            let theirs: BTreeSet<String> = routing
                .expect("no case")
                .recipients
                .iter()
                .map(|recipient| recipient.party.to_string())
                .collect();
            let head = oracle.head(&message).expect("a head");
            let audience = message["audience"].as_str().expect("an audience");
            let at = u64::from(no) + 1;
            let meant = oracle.meant(audience, head.country.as_deref(), head.today, at).expect("known names");
            let cut = Cut { originator: head.originator, excluded: &head.excluded, law: head.law };
            let wanting = oracle.whoever_wants(&message);
            let ours = oracle.cut(&meant, &wanting, &cut);
            groups_that_matter += usize::from(!meant.grouped.is_empty() && !ours.is_empty());
            let ours: BTreeSet<String> =
                ours.iter().map(|place| oracle.network.party(place).id.clone()).collect();
            assert_eq!(ours, theirs, "seed {seed}, message {no}: {audience}");
            deployments.apply(&envelope.originator, envelope.kind.as_str(), event.at("data"));
            let Oracle { network, deployed, .. } = &mut oracle;
            deployed.learn(network, ([no, no], at), head.originator, &head.kind, &message["data"]);
        }
    }
    assert!(groups_that_matter > 600, "{groups_that_matter}");
    assert!(now() < crate::message::time::now());
}
