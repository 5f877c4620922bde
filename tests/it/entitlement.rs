//! Who gets what: every type of message, all parties of the demo network, all forms of audience, every marking, judged
//! and routed by the broker's code and by an oracle that shares none of it.
//!
//! The bodies are those that the simulation writes; they must be good, and decide nothing here. Recalls and corrections go
//! to the holders of their target, whatever they say; releases are the business of `control`, `memory` and of the auditor
//! of simulations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use liaison::message::names::{PartyId, TypeId};
use liaison::message::time::Timestamp;
use liaison::message::tree::Tree;
use liaison::rules::Rules;
use liaison::rules::audience;
use liaison::rules::control::{self, Table};
use liaison::rules::deployments::Deployments;
use liaison::rules::judge::judge;
use liaison::rules::registry::{DEMO, Registry};
use liaison::rules::settle::Known;
use liaison::rules::subscriptions::Subscriptions;
use liaison::sim::cast::Cast;
use liaison::sim::plan::{Faults, Mix, Plan};
use liaison::sim::script::{Expect, Script, Setting};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::examples;
use super::harness::folder;
use super::judged;
use super::oracle::Oracle;

/// The time at which the messages are written.
fn clock() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().expect("an instant")
}

/// A good message of each type, by type id.
static TYPES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let mix = Mix {
        flow: 0.1,
        route: 0.1,
        modus: 0.1,
        event: 0.1,
        document: 0.1,
        other: 0.3,
        rfi: 0.2,
        deployment: 0.2,
        board: 0.2,
        control: 0.3,
        case: 0.3,
    };
    let plan = Plan {
        seed: 7,
        officers: 40,
        rate: 50.0,
        duration: Duration::from_secs(60),
        mix,
        faults: Faults { invalid: 0.0, resent: 0.0, reused: 0.0, late: 0.0 },
        ..Plan::default()
    };
    let cast = Cast::choose(&plan, DEMO).expect("a cast");
    let setting = Setting { clock: clock(), case_plane: true, fresh: true };
    let mut types = BTreeMap::new();
    for attempt in Script::new(&plan, &cast, setting).filter(|attempt| attempt.expect == Expect::Accepted) {
        let message: Value = serde_json::from_slice(&attempt.payload).expect("JSON");
        let kind = message["type"].as_str().expect("a type");
        let kind = kind.trim_start_matches("eu.ilonet.").trim_end_matches(".v1").to_owned();
        types.entry(kind).or_insert(message);
    }
    for (kind, message) in unwritten(&types["board.programme"]) {
        types.insert(kind.to_owned(), message);
    }
    types
});

/// What no simulated officer writes.
fn unwritten(board: &Value) -> Vec<(&'static str, Value)> {
    let one = |kind: &'static str, purpose: &str, data: Value| {
        let mut message = board.clone();
        message["type"] = format!("eu.ilonet.{kind}.v1").into();
        message["purpose"] = purpose.into();
        message["data"] = data;
        (kind, message)
    };
    let target = json!({"source": "/authority/it-moi", "id": "0195c3a1-0001-7000-8000-000000000001"});
    let at = "2026-03-02T00:00:00Z";
    vec![
        one("board.coverage", "8", json!({"asOf": at, "windowD": 30, "cells": []})),
        one("msg.receipt", "ctl", json!({"target": target, "outcome": "delivered", "at": at})),
        one(
            "msg.erasure",
            "ctl",
            json!({"targets": [target], "ground": "unlawful", "dueBy": "2026-04-02T00:00:00Z"}),
        ),
    ]
}

/// The two that judge: the rules with a registry in which one takes no part and one only audits; the oracle.
struct Court {
    rules: Rules,
    deployments: Deployments,
    oracle: Oracle,
    catalogue: Value,
}

static COURT: LazyLock<Court> = LazyLock::new(|| {
    let folder = folder();
    examples::registry(folder.path());
    let network = folder.path().join("network.toml");
    let mut oracle = Oracle::read(&network);
    let text = std::fs::read_to_string(&network).expect("a registry");
    let mut deployments = Deployments::default();
    for notice in examples::deployments(&examples::examples("valid")) {
        let message = &notice.message;
        let party = PartyId::parse(message["originator"].as_str().expect("an id")).expect("an id");
        let kind = message["type"].as_str().expect("a type").replace("eu.ilonet.", "").replace(".v1", "");
        deployments.apply(&party, &kind, Tree::of(&message["data"]).root());
        oracle.accepted(message);
    }
    let mut rules = judged::rules(true);
    rules.registry = Registry::parse(&text).expect("a registry");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/catalogue.json");
    let catalogue = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    Court { rules, deployments, oracle, catalogue }
});

/// What the broker makes of a message: the recipients, or the code.
fn broker(message: &Value) -> Result<BTreeSet<String>, String> {
    let now = clock() + jiff::SignedDuration::from_hours(2);
    let permitted = judge(&COURT.rules, judged::raw_of(message), now)
        .map_err(|refusal| refusal.refused.code.to_string())?;
    let subscriptions = Subscriptions::default();
    let routing =
        audience::route(&COURT.rules.registry, &subscriptions, &COURT.deployments, &permitted.routed())
            .map_err(|refused| refused.code.to_string())?;
    Ok(routing.recipients.iter().map(|recipient| recipient.party.to_string()).collect())
}

/// The message of a type with another sender and audience.
fn addressed(kind: &str, originator: &str, audience: &str) -> Value {
    let mut message = TYPES[kind].clone();
    let source = format!("/authority/{originator}");
    message["originator"] = originator.into();
    message["audience"] = audience.into();
    message.as_object_mut().expect("an object").remove("exclude");
    // Who corrects or recalls names a message of his own.
    for at in ["/data/target", "/data/targets/0"] {
        if let Some(target) = message.pointer_mut(at) {
            target["source"] = source.clone().into();
        }
    }
    message["source"] = source.into();
    message
}

/// Both must say the same.
fn agree(message: &Value) -> Result<(), String> {
    let (found, wanted) = (broker(message), COURT.oracle.verdict(message, &COURT.catalogue));
    let same = match (&found, &wanted) {
        (Ok(found), Ok(wanted)) => found == wanted,
        (Err(found), Err(wanted)) => found == wanted,
        _ => false,
    };
    let mut shown = message.clone();
    shown["data"] = Value::Null;
    if same { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}: {shown}")) }
}

const GROUPS: [&str; 7] = ["@local", "@network", "@ms", "@ms-lea", "@sac", "@agencies", "@board"];
const CLASSES: [&str; 8] =
    ["PUBLIC", "NORMAL", "SNC", "LIMITE", "R-UE/EU-R", "C-UE/EU-C", "S-UE/EU-S", "TS-UE/EU-TS"];
const TLPS: [&str; 5] = ["TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"];

#[test]
fn the_simulation_writes_every_type() {
    let all: BTreeSet<&String> = COURT.catalogue.as_object().expect("an object").keys().collect();
    assert_eq!(all.len(), 36);
    assert_eq!(TYPES.keys().collect::<BTreeSet<_>>(), all);
}

/// Type by type: each group, each party named alone, and the markings against groups and named ones.
#[test]
fn every_type_reaches_exactly_those_of_each_form_of_audience() {
    let parties = COURT.oracle.parties();
    let (mut faults, mut count, mut taken) = (Vec::new(), 0, 0);
    let mut look = |message: &Value| {
        count += 1;
        taken += usize::from(COURT.oracle.verdict(message, &COURT.catalogue).is_ok());
        faults.extend(agree(message).err());
    };
    for kind in TYPES.keys() {
        // Those who may have it under any purpose.
        let sender = "it-moi";
        for audience in GROUPS.iter().chain(&parties).chain(&["xx-nobody", "it-moi"]) {
            look(&addressed(kind, sender, audience));
        }
        for (class, tlp) in CLASSES.iter().flat_map(|class| TLPS.iter().map(move |tlp| (class, tlp))) {
            let audience = if *class < *tlp { "@ms,de-bpol" } else { "de-bpol,fr-dnpaf" };
            let mut message = addressed(kind, sender, audience);
            message["dataclassification"] = (*class).into();
            message["tlp"] = (*tlp).into();
            look(&message);
        }
        for purpose in ["3.4.b", "4", "8", "10.3.a", "10.3.b", "10.3.e", "ctl"] {
            let mut message = addressed(kind, sender, "de-bpol,de-bamf");
            message["purpose"] = purpose.into();
            look(&message);
        }
        // Each party as the sender of some types.
        for sender in parties.iter().skip(kind.len() % 4).step_by(4) {
            look(&addressed(kind, sender, "gr-hp,es-pn"));
        }
    }
    println!("{count} messages of {} types, {taken} to be taken", TYPES.len());
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults[..faults.len().min(12)].join("\n"));
    assert!(taken > count / 4, "most are refused: {taken} of {count}");
}

/// What is known of a message of `it-moi` that these hold.
fn held(holders: &[&str], purpose: &str) -> Known {
    let party = |id: &str| PartyId::parse(id).expect("an id");
    Known {
        seq: 1,
        originator: party("it-moi"),
        kind: TypeId::parse("flow.observation").expect("a type"),
        major: 1,
        recipients: holders.iter().map(|id| party(id)).collect(),
        unsubscribed: Vec::new(),
        expires_ms: None,
        audience: vec!["@network".to_owned()],
        purpose: purpose.to_owned(),
        is_personal: false,
        is_withdrawn: false,
        is_held: false,
        corrections: Vec::new(),
        event: None,
    }
}

/// Whom a recall or correction of a message reaches that these hold.
fn recalled(message: &Value, target: Known) -> BTreeSet<String> {
    let now = clock() + jiff::SignedDuration::from_hours(2);
    let permitted = judge(&COURT.rules, judged::raw_of(message), now)
        .unwrap_or_else(|refusal| panic!("{:?}", refusal.refused));
    let subscriptions = Subscriptions::default();
    let table = Table {
        registry: &COURT.rules.registry,
        subscriptions: &subscriptions,
        deployments: &COURT.deployments,
    };
    let decision = control::decide(&table, &permitted.routed(), &[Some(target)]).expect("decides");
    decision.routing.recipients.iter().map(|recipient| recipient.party.to_string()).collect()
}

/// S-22: `@ms` for the answer holds parties that `@ms` did not hold for the question, or that were excluded from it.
#[test]
fn an_answer_reaches_nobody_who_was_not_asked() {
    let answer = addressed("rfi.response", "de-bpol", "@ms");
    let unsubscribed = vec![PartyId::parse("es-pn").expect("an id")];
    let request = Known { unsubscribed, ..held(&["de-bpol", "fr-dnpaf"], "3.4.b") };
    let reached = recalled(&answer, request);
    assert_eq!(reached.iter().map(String::as_str).collect::<Vec<_>>(), ["es-pn", "fr-dnpaf", "it-moi"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// A recall reaches all who hold its target, and nobody else, whomever it names; who is suspended, when it is back. A
    /// correction spares whom it excludes, who takes no part, who reads no content and whoever has lost the role.
    #[test]
    fn recalls_and_corrections_reach_the_holders(
        kind in prop::sample::select(vec!["msg.retraction", "msg.erasure", "msg.correction"]),
        holders in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        excluded in prop::option::of(any::<prop::sample::Index>()),
        audience in prop::sample::select(vec!["@network", "@sac,gr-hp", "es-pn", "eu-com,@board"]),
        purpose in prop::sample::select(vec!["3.4.b", "10.3.b", "10.3.e"]),
    ) {
        let parties: Vec<&str> =
            COURT.oracle.parties().into_iter().filter(|id| *id != "it-moi").collect();
        let holders: Vec<&str> = holders.iter().map(|at| parties[at.index(parties.len())]).collect();
        let excluded = excluded.map(|at| parties[at.index(parties.len())]);
        let mut message = addressed(kind, "it-moi", audience);
        if let Some(excluded) = excluded {
            message["exclude"] = excluded.into();
        }
        let new_data = kind == "msg.correction";
        let wanted: BTreeSet<String> = holders
            .iter()
            .filter(|id| {
                let may = || COURT.oracle.is_active(id) && COURT.oracle.has_role(id, purpose) && **id != "eu-edps";
                !new_data || (Some(**id) != excluded && may())
            })
            .map(|id| (*id).to_owned())
            .collect();
        prop_assert_eq!(recalled(&message, held(&holders, purpose)), wanted);
    }

    /// Anything at once.
    #[test]
    fn whatever_is_written_the_oracle_says_the_same(
        kind in any::<prop::sample::Index>(),
        sender in any::<prop::sample::Index>(),
        named in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        groups in prop::collection::vec(prop::sample::select(GROUPS.to_vec()), 0..3),
        excluded in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        class in prop::sample::select(CLASSES[..5].to_vec()),
        tlp in prop::sample::select(TLPS.to_vec()),
        country in prop::sample::select(vec!["TN", "LY", "PK", ""]),
    ) {
        let (kinds, parties): (Vec<&String>, _) = (TYPES.keys().collect(), COURT.oracle.parties());
        let mut audience: Vec<&str> = named.iter().map(|at| parties[at.index(parties.len())]).collect();
        audience.extend(groups);
        prop_assume!(!audience.is_empty());
        let kind = kinds[kind.index(kinds.len())];
        let mut message = addressed(kind, parties[sender.index(parties.len())], &audience.join(","));
        if !excluded.is_empty() {
            let names: Vec<&str> = excluded.iter().map(|at| parties[at.index(parties.len())]).collect();
            message["exclude"] = names.join(",").into();
        }
        message["dataclassification"] = class.into();
        message["tlp"] = tlp.into();
        if country.is_empty() {
            message.as_object_mut().expect("an object").remove("subject");
        } else {
            message["subject"] = country.into();
        }
        let agreed = agree(&message);
        prop_assert!(agreed.is_ok(), "{}", agreed.expect_err("disagrees"));
    }
}
