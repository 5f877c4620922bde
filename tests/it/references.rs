//! The rules that stand on earlier messages (S-14, S-22), and the routing: each clause in both directions.

use liaison::message::names::{PartyId, TypeId};
use liaison::message::outcome::{Code, Refused};
use liaison::rules::audience::{self, Reason, Why};
use liaison::rules::deployments::Deployments;
use liaison::rules::judge::{judge, new_data};
use liaison::rules::settle::{self, Known};
use liaison::rules::subscriptions::{Subscription, Subscriptions};
use serde_json::{Value, json};

use super::judged::{
    RULES, changed, judged, message, now, places, put, raw_of, refuses, rules, with, without,
};

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("a party")
}

fn known(kind: &str, originator: &str, recipients: &[&str], audience: &[&str]) -> Known {
    Known {
        seq: 1,
        originator: party(originator),
        kind: TypeId::parse(kind).expect("a type"),
        major: 1,
        recipients: recipients.iter().map(|id| party(id)).collect(),
        unsubscribed: Vec::new(),
        expires_ms: None,
        audience: audience.iter().map(|&name| name.to_owned()).collect(),
        purpose: "3.4.b".to_owned(),
        is_personal: false,
        is_withdrawn: false,
        is_held: false,
        corrections: Vec::new(),
        event: None,
    }
}

/// The rules that need a memory, for a message whose only reference is to `known`.
fn settled(message: &Value, known: Option<&Known>) -> Result<(), Refused> {
    let permitted = judged(message).unwrap_or_else(|refusal| panic!("{:?}", refusal.refused));
    let all = [known.cloned()];
    settle::check(permitted.envelope(), permitted.data(), &all, |target| new_data(&RULES, &permitted, target))
}

#[track_caller]
fn unsettled(message: &Value, known: Option<&Known>, code: Code, paths: &[&str]) {
    let refused = settled(message, known).expect_err("must not settle");
    assert_eq!(places(&refused), (code, paths.to_vec()), "{refused:?}");
}

#[test]
fn s14_a_correction_follows_the_rules_of_its_target() {
    let modus = known("smuggling.modus", "de-bpol", &[], &[]);
    assert!(settled(&message("10"), Some(&modus)).is_ok());
    unsettled(&message("10"), None, Code::Ref, &["/data/target"]);
    unsettled(
        &message("10"),
        Some(&known("smuggling.modus", "it-moi", &[], &[])),
        Code::Ref,
        &["/data/target"],
    );
    let foreign = with("10", &[("/data/target/source", json!("/authority/it-moi"))]);
    refuses(&foreign, Code::Ref, &["/data/target"]);
    let other = known("flow.route", "de-bpol", &[], &[]);
    let refused = settled(&message("10"), Some(&other)).expect_err("other type");
    assert_eq!(refused.code, Code::Ref);
    assert!(refused.detail.iter().all(|fault| fault.path.starts_with("/data/newData")), "{refused:?}");
    for kind in ["msg.correction", "msg.retraction"] {
        unsettled(&message("10"), Some(&known(kind, "de-bpol", &[], &[])), Code::Ref, &["/data/target"]);
    }
    let geo = with("10", &[("/data/newData/places/0/locode", json!("LYZWA"))]);
    refuses(&geo, Code::Geo, &["/data/newData/places/0/locode"]);
    let unrated = changed("10", |message| without(message, "evaluation"));
    unsettled(&unrated, Some(&modus), Code::Eval, &["/evaluation"]);
}

#[test]
fn s14_a_correction_of_personal_data_is_as_strict_as_the_original() {
    let correction = |number: &str, changes: &[(&str, Value)]| {
        let mut message = message(number);
        message["data"] = json!({"target": {"source": message["source"], "id": "0195c3a0-0000-7000-8000-00000000000c"},
            "reason": "wrong date", "newData": message["data"]});
        message["type"] = json!("eu.ilonet.msg.correction.v1");
        message["purpose"] = json!("ctl");
        put(&mut message, changes);
        message
    };
    let manifest = known("case.return-manifest", "nl-dtv", &[], &[]);
    assert!(settled(&correction("11", &[]), Some(&manifest)).is_ok());
    let wider = correction("11", &[("/audience", json!("de-bpol,nl-ind"))]);
    unsettled(&wider, Some(&manifest), Code::Audience, &["/audience"]);
    let longer = correction("11", &[("/eraseby", json!("2026-03-20T06:00:01Z"))]);
    unsettled(&longer, Some(&manifest), Code::Retention, &["/eraseby"]);
    let identity = known("case.identity-request", "nl-dtv", &[], &[]);
    assert!(settled(&correction("07", &[]), Some(&identity)).is_ok());
    let ordinary = correction("07", &[("/datacategory", json!("personal"))]);
    refuses(&ordinary, Code::Category, &["/data/newData/person/biometrics"]);
    let report = known("smuggling.modus", "nl-dtv", &[], &[]);
    unsettled(&correction("07", &[]), Some(&report), Code::Personal, &["/datacategory"]);

    let closed = rules(false);
    let refusal = judge(&closed, raw_of(&correction("07", &[])), now()).expect_err("closed");
    assert_eq!(refusal.refused.code, Code::Plane);
}

#[test]
fn s14_release_and_erasure() {
    let release = |step: &str| {
        with(
            "10",
            &[
                ("/type", json!("eu.ilonet.msg.release.v1")),
                (
                    "/data",
                    json!({"target": message("10")["data"]["target"], "step": step, "newAudience": "@sac",
                "reason": "the neighbours need it"}),
                ),
            ],
        )
    };
    let held = known("smuggling.modus", "it-moi", &["de-bpol"], &[]);
    let own = known("smuggling.modus", "de-bpol", &[], &[]);
    let neither = known("smuggling.modus", "it-moi", &["fr-dnpaf"], &[]);
    assert!(settled(&release("ask"), Some(&held)).is_ok());
    assert!(settled(&release("grant"), Some(&own)).is_ok());
    // New data of a case message would pass by the roles of its type.
    let correction = known("msg.correction", "de-bpol", &[], &[]);
    let foreign = known("msg.correction", "it-moi", &["de-bpol"], &[]);
    for (step, known) in [("grant", Some(&correction)), ("ask", Some(&foreign))] {
        unsettled(&release(step), known, Code::Ref, &["/data/target"]);
    }
    for (step, known) in [("ask", Some(&neither)), ("grant", Some(&held)), ("ask", Some(&own)), ("ask", None)]
    {
        unsettled(&release(step), known, Code::Ref, &["/data/target"]);
    }
    let erasure = |source: &str| {
        let target = json!({"source": source, "id": "0195c3a0-0000-7000-8000-00000000000c"});
        with(
            "10",
            &[
                ("/type", json!("eu.ilonet.msg.erasure.v1")),
                (
                    "/data",
                    json!({"targets": [target], "ground": "unlawful", "dueBy": "2026-03-09T00:00:00Z"}),
                ),
            ],
        )
    };
    assert!(settled(&erasure("/authority/de-bpol"), Some(&own)).is_ok());
    unsettled(&erasure("/authority/de-bpol"), None, Code::Ref, &["/data/targets/0"]);
    refuses(&erasure("/authority/it-moi"), Code::Ref, &["/data/targets/0"]);
}

#[test]
fn s22_answers_stay_within_the_question() {
    let answer = |audience: &str| {
        with(
            "09",
            &[
                ("/type", json!("eu.ilonet.rfi.response.v1")),
                ("/source", json!("/authority/it-moi")),
                ("/originator", json!("it-moi")),
                ("/audience", json!(audience)),
                (
                    "/data",
                    json!({"request": {"source": "/authority/eu-frontex",
                "id": "0195c3a1-0009-7000-8000-000000000009"}, "outcome": "no-information", "lang": "en"}),
                ),
            ],
        )
    };
    let request = known("rfi.request", "eu-frontex", &["it-moi", "de-bpol"], &["@local"]);
    for good in ["eu-frontex", "eu-frontex,de-bpol", "@local"] {
        assert!(settled(&answer(good), Some(&request)).is_ok(), "{good}");
    }
    unsettled(&answer("eu-frontex,fr-dnpaf"), Some(&request), Code::Audience, &["/audience"]);
    unsettled(&answer("@ms"), Some(&request), Code::Audience, &["/audience"]);
    let unasked = known("rfi.request", "eu-frontex", &["de-bpol"], &["@local"]);
    unsettled(&answer("eu-frontex"), Some(&unasked), Code::Ref, &["/data/request"]);
    unsettled(
        &answer("eu-frontex"),
        Some(&known("flow.route", "eu-frontex", &["it-moi"], &[])),
        Code::Ref,
        &["/data/request"],
    );
    unsettled(&answer("eu-frontex"), None, Code::Ref, &["/data/request"]);
    // Whoever was not asked cannot tell a message that is there from one that is not.
    let told = |known: Option<&Known>| settled(&answer("eu-frontex"), known).expect_err("not asked").detail;
    assert_eq!(told(Some(&unasked)), told(None));
}

#[test]
fn s18_contact_data_end_with_the_deployment_whether_they_say_so_or_not() {
    let day = |text: &str| Some(text.parse().expect("an instant"));
    let erase_by = |message: &Value| judged(message).expect("permitted").erase_by();
    assert_eq!(erase_by(&message("08")), day("2029-03-30T00:00:00Z"));
    let silent = changed("08", |message| without(message, "eraseby"));
    assert_eq!(erase_by(&silent), day("2029-03-31T00:00:00Z"), "30 days behind 28 February, to their end");
    let mut bare = silent;
    without(&mut bare["data"], "contact");
    bare["datacategory"] = "none".into();
    assert_eq!(erase_by(&bare), None);
}

#[test]
fn s14_contact_data_can_be_corrected() {
    let mut correction = message("08");
    correction["data"] = json!({"target": {"source": "/authority/se-mig", "id": "0195c3a0-0000-7000-8000-00000000000c"},
        "reason": "another number", "newData": correction["data"]});
    correction["type"] = json!("eu.ilonet.msg.correction.v1");
    correction["purpose"] = json!("ctl");
    let notice = known("deployment.notice", "se-mig", &[], &[]);
    assert_eq!(settled(&correction, Some(&notice)).map_err(|refused| refused.detail), Ok(()));
    // Declared and not there is still a fault, of the new data.
    without(&mut correction["data"]["newData"], "contact");
    unsettled(&correction, Some(&notice), Code::Category, &["/datacategory"]);
}

#[test]
fn routing_gives_every_party_its_reason() {
    let mut subscriptions = Subscriptions::default();
    let other = Subscription::parse(&json!({"name": "ly", "filters": [{"exact": {"country": "LY"}}]}))
        .expect("readable");
    subscriptions.replace_party(party("fr-dnpaf"), vec![other]).expect("fits");
    let message =
        with("01", &[("/audience", json!("@ms,it-moi,eu-eeas,nl-ind")), ("/exclude", json!("de-bka"))]);
    let permitted = judged(&message).expect("permitted");
    let routing =
        audience::route(&RULES.registry, &subscriptions, &Deployments::default(), &permitted.routed());
    let routing = routing.expect("routed");
    let got = |id: &str| {
        routing.recipients.iter().find(|recipient| recipient.party == party(id)).map(|found| found.why)
    };
    let left =
        |id: &str| routing.withheld.iter().find(|left| left.party == party(id)).map(|found| found.reason);
    assert_eq!(
        (got("nl-ind"), got("eu-eeas"), got("de-bpol")),
        (Some(Why::Named), Some(Why::Named), Some(Why::Subscribed))
    );
    assert_eq!(left("de-bka"), Some(Reason::Excluded));
    assert_eq!(left("fr-dnpaf"), Some(Reason::NotSubscribed));
    assert_eq!(left("it-moi"), Some(Reason::Originator));
    assert_eq!((got("no-pu"), left("no-pu")), (None, None), "not named, not contained");

    let alone = with("07", &[("/audience", json!("nl-dtv"))]);
    let permitted = judged(&alone).expect("permitted");
    let routing =
        audience::route(&RULES.registry, &subscriptions, &Deployments::default(), &permitted.routed());
    assert_eq!(places(&routing.expect_err("nobody")), (Code::Audience, vec!["/audience"]));
}
