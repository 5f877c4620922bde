//! What holds for all messages: no refusal says what was in the message, the judgement is a function, recipients come
//! from the audience and from nowhere else.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use liaison::message::names::PartyId;
use liaison::rules::audience::{self, Routing};
use liaison::rules::deployments::Deployments;
use liaison::rules::judge::judge;
use liaison::rules::registry::Group;
use liaison::rules::subscriptions::{Subscription, Subscriptions};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::judged::{self, RULES, judged, now, raw};

static EXAMPLES: LazyLock<Vec<judged::Example>> = LazyLock::new(|| {
    let valid = judged::all("valid").into_iter();
    valid.chain(judged::all("invalid").into_iter().filter(|example| example.message.is_object())).collect()
});

/// Pointers of all texts, lists and objects of a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, part)| pointers(part, &format!("{at}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, part)| pointers(part, &format!("{at}/{n}"), found))
        }
        _ => {}
    }
}

const CANARY: &str = "qXZcanaryZXq";

fn canary() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(CANARY)),
        Just(json!(format!("{CANARY} +90 555 010 20 30"))),
        Just(json!(format!("{CANARY}@example.net"))),
        Just(json!([CANARY, {CANARY: CANARY}])),
        Just(json!({CANARY: {"familyName": CANARY}, "x y": CANARY})),
        Just(json!(CANARY.repeat(900))),
        Just(json!(null)),
        Just(json!(1.5)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is put wherever: it is judged alike twice, and neither the refusal nor the debug text holds a value.
    #[test]
    fn refusals_hold_no_value(at in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), put in canary()) {
        let example = &EXAMPLES[at.index(EXAMPLES.len())];
        let mut places = Vec::new();
        pointers(&example.message, "", &mut places);
        let mut message = example.message.clone();
        *message.pointer_mut(&places[place.index(places.len())]).expect("a place") = put;
        let bytes = message.to_string();
        let once = || judge(&RULES, raw(&example.publisher, &example.subject, bytes.as_bytes()), now());
        match (once(), once()) {
            (Ok(first), Ok(second)) => {
                prop_assert_eq!(first.remarks(), second.remarks());
                let shown = format!("{first:?}");
                prop_assert!(!shown.contains(CANARY));
            }
            (Err(first), Err(second)) => {
                prop_assert_eq!(&first.refused, &second.refused);
                prop_assert_eq!(&first.target, &second.target);
                let messages: String = first.refused.detail.iter().map(|fault| fault.message.as_str()).collect();
                prop_assert!(!messages.contains("canary"), "{}", messages);
                prop_assert!(first.refused.detail.len() <= 20 && !first.refused.detail.is_empty());
                prop_assert!(first.refused.detail.iter().all(|fault| !fault.message.is_empty()));
                prop_assert!(!first.target.source.contains(CANARY));
            }
            _ => prop_assert!(false, "judged differently"),
        }
    }

    /// Bytes of any kind end in a verdict.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), subject in ".{0,40}") {
        let refusal = judge(&RULES, raw("it-moi", &subject, &bytes), now());
        prop_assert!(refusal.is_err());
    }

    /// One byte of a valid message changed: a verdict, never a panic.
    #[test]
    fn damaged_messages_are_judged(at in 0_usize..12, place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let example = &EXAMPLES[at];
        let mut bytes = example.payload.clone();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let verdict = judge(&RULES, raw(&example.publisher, &example.subject, &bytes), now());
        if let Err(refusal) = verdict {
            prop_assert!(!refusal.refused.detail.is_empty());
        }
    }

    /// The order of the audience decides nothing; who gets it was named or contained; the excluded and the sender
    /// never; every party is told apart once.
    #[test]
    fn recipients_come_from_the_audience(
        names in prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..8),
        exclude in prop::option::of(prop::sample::select(vec!["de-bpol", "fr-dnpaf", "eu-com"])),
        subscribed in any::<bool>(),
    ) {
        let mut reversed = names.clone();
        reversed.reverse();
        let (one, other) = (routed(&names, exclude, subscribed), routed(&reversed, exclude, subscribed));
        prop_assert_eq!(&one, &other);
        let recipients: BTreeSet<&PartyId> = one.recipients.iter().map(|recipient| &recipient.party).collect();
        let withheld: BTreeSet<&PartyId> = one.withheld.iter().map(|left| &left.party).collect();
        prop_assert!(recipients.is_disjoint(&withheld));
        prop_assert_eq!(recipients.len(), one.recipients.len());
        for party in recipients {
            let record = RULES.registry.party(party.as_str()).expect("registered");
            let contained = names.iter().any(|name| {
                *name == party.as_str() || name.strip_prefix('@').is_some_and(|group| Group::parse(group).is_some_and(|group| record.is_in(group)))
            });
            prop_assert!(contained, "{} is not of {:?}", party, names);
            prop_assert!(party.as_str() != "it-moi" && Some(party.as_str()) != exclude);
        }
    }
}

const NAMES: [&str; 12] = [
    "@ms",
    "@ms-lea",
    "@sac",
    "@agencies",
    "@board",
    "@network",
    "@local",
    "it-moi",
    "de-bpol",
    "eu-eeas",
    "no-pu",
    "fr-dnpaf",
];

fn routed(names: &[&str], exclude: Option<&str>, subscribed: bool) -> Routing {
    let message = judged::changed("01", |message| {
        message["audience"] = json!(names.join(","));
        if let Some(exclude) = exclude {
            message["exclude"] = json!(exclude);
        }
    });
    let mut subscriptions = Subscriptions::default();
    if subscribed {
        for (party, country) in [("de-bka", "TN"), ("fr-dnpaf", "LY"), ("eu-com", "LY")] {
            let filter = json!({"name": "one", "filters": [{"exact": {"country": country}}]});
            let list = vec![Subscription::parse(&filter).expect("readable")];
            subscriptions.replace_party(PartyId::parse(party).expect("a party"), list).expect("fits");
        }
    }
    let permitted = judged(&message).unwrap_or_else(|refusal| panic!("{:?}", refusal.refused));
    audience::route(&RULES.registry, &subscriptions, &Deployments::default(), &permitted.routed())
        .expect("routed")
}
