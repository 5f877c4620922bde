//! Tests of the cast.

use std::collections::BTreeMap;

use super::*;
use crate::rules::registry::DEMO;
use crate::rules::subscriptions::Subscription;
use crate::sim::plan::{Outages, Readers};

fn plan(officers: u32, authorities: u32) -> Plan {
    Plan {
        officers,
        authorities,
        analysts: 8,
        outages: Outages { share: 0.3, ..Outages::default() },
        readers: Readers { slow: 2, absent: 1, ..Readers::default() },
        ..Plan::default()
    }
}

fn enrolled(plan: &Plan) -> String {
    enrol(plan, DEMO).expect("a registry").expect("more posts than the demo has")
}

#[test]
fn the_same_plan_and_registry_give_the_same_cast() {
    let plan = plan(500, 0);
    let registry = enrolled(&plan);
    let told = |plan: &Plan| {
        let cast = Cast::choose(plan, &registry).expect("a cast");
        format!("{:?} {:?} {:?}", cast.officers, cast.authorities, cast.analysts)
    };
    assert_eq!(told(&plan), told(&plan));
    assert_ne!(told(&plan), told(&Plan { seed: 2, ..plan.clone() }));
}

#[test]
fn a_registry_that_has_enough_is_left_alone_and_enrolment_is_done_once() {
    assert_eq!(enrol(&plan(44, 0), DEMO), Ok(None));
    for (officers, authorities) in [(500, 0), (60, 100), (2_000, 100), (5_000, 200)] {
        let plan = plan(officers, authorities);
        let text = enrolled(&plan);
        let (before, after) =
            (Registry::parse(DEMO).expect("readable"), Registry::parse(&text).expect("readable"));
        for party in before.parties() {
            let kept = after.party(party.id.as_str()).expect("still there");
            assert!(kept.posts.starts_with(&party.posts) && kept.roles == party.roles, "{}", party.id);
        }
        assert_eq!(enrol(&plan, &text), Ok(None), "{officers} officers, {authorities} authorities");
        let cast = Cast::choose(&plan, &text).expect("a cast");
        assert_eq!(cast.officers.len(), officers as usize + 1, "and one of the suspended authority");
        let read = cast.authorities.iter().filter(|authority| authority.reads != Reads::Afterwards).count();
        if authorities > 0 {
            assert_eq!(read, authorities as usize - 1, "one is away");
        }
    }
}

#[test]
fn posts_are_spread_evenly_over_the_authorities_and_over_the_countries() {
    let plan = plan(2_000, 0);
    let cast = Cast::choose(&plan, &enrolled(&plan)).expect("a cast");
    let (mut of, mut hosts) = (BTreeMap::new(), BTreeMap::new());
    for officer in &cast.officers {
        *of.entry(officer.party.as_str()).or_insert(0_u32) += 1;
        *hosts.entry(&officer.post.as_str()[..2]).or_insert(0_u32) += 1;
    }
    // At 2,000 messages a second none may send more than 50.
    assert!(of.values().all(|posts| *posts <= 50), "{of:?}");
    assert!(hosts.len() >= 105, "{}", hosts.len());
}

#[test]
fn every_subscription_is_one_that_the_broker_takes() {
    for seed in 0..20 {
        let one = Cast::choose(&Plan { seed, ..plan(44, 0) }, DEMO).expect("a cast");
        let readers = Readers { subscribed: 0.8, desks: 3, ..Readers::default() };
        let several = Cast::choose(&Plan { seed, readers, ..plan(44, 0) }, DEMO).expect("a cast");
        let of = |cast: &Cast| -> Vec<Vec<Value>> {
            cast.authorities.iter().map(|authority| authority.subscriptions.clone()).collect()
        };
        let lists = of(&several);
        assert!(lists.iter().any(|list| list.is_empty()) && lists.iter().any(|list| list.len() > 2));
        let lists: Vec<Vec<Value>> = lists.into_iter().chain(of(&one)).collect();
        for subscription in lists.into_iter().flatten() {
            assert!(Subscription::parse(&subscription).is_ok(), "{subscription}");
        }
    }
}

#[test]
fn outages_lie_within_the_run_and_a_plan_that_asks_too_much_is_refused() {
    let plan = plan(44, 0);
    let cast = Cast::choose(&plan, DEMO).expect("a cast");
    let away: Vec<_> = cast.officers.iter().filter_map(|officer| officer.away).collect();
    assert!(away.len() > 4 && away.len() < 30, "{}", away.len());
    assert!(away.iter().all(|(from, to)| from < to && *to <= plan.duration));
    for (officers, authorities) in [(500, 0), (10, 200)] {
        assert!(Cast::choose(&Plan { officers, authorities, ..plan.clone() }, DEMO).is_err());
    }
    assert!(Cast::choose(&plan, "no registry").is_err());
}
