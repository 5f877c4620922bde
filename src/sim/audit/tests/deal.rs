//! Messages for the tests: the network's examples under many originators, audiences and exclusions, messages about earlier
//! ones, and some that are to be refused. What each must get is what the unspoilt copy of the broker says.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::double::{Double, House, Kept};
use crate::message::names::{PartyId, PostId};
use crate::message::outcome::Outcome;
use crate::rules::registry;
use crate::sim::cast::{Authority, Cast, Officer, Reads};
use crate::sim::script::{Attempt, Expect};

/// The registry of the tests: the demo network, one party that takes no part, one that only watches.
pub(super) static REGISTRY: LazyLock<String> = LazyLock::new(|| {
    let more = r#"
        [[party]]
        id = "mt-away"
        name = "Suspended authority (simulated)"
        country = "MT"
        participation = "suspended"
        roles = ["deployer"]
        posts = ["xk-99"]

        [[party]]
        id = "be-dpa"
        name = "Supervisor (simulated)"
        country = "BE"
        participation = "member-state"
        roles = ["supervisor"]
    "#;
    format!("{}\n{more}", registry::DEMO)
});

const EXAMPLES: [&str; 9] = [
    include_str!("../../../../tests/examples/valid/01-flow-observation-mixed.json"),
    include_str!("../../../../tests/examples/valid/02-flow-route-geojson.json"),
    include_str!("../../../../tests/examples/valid/03-smuggling-modus.json"),
    include_str!("../../../../tests/examples/valid/04-event-incident-24h.json"),
    include_str!("../../../../tests/examples/valid/05-document-fraud.json"),
    include_str!("../../../../tests/examples/valid/06-event-warning.json"),
    include_str!("../../../../tests/examples/valid/09-rfi-request.json"),
    include_str!("../../../../tests/examples/valid/07-case-identity-request.json"),
    include_str!("../../../../tests/examples/valid/11-case-return-manifest.json"),
];
const NOTICE: &str = include_str!("../../../../tests/examples/valid/08-deployment-notice-contact.json");
const CORRECTION: &str = include_str!("../../../../tests/examples/valid/10-msg-correction.json");
const SMALL_CELL: &str = include_str!("../../../../tests/examples/invalid/33-small-cell.json");

/// Groups and parties of audiences.
const NAMES: [&str; 14] = [
    "@ms",
    "@ms-lea",
    "@sac",
    "@agencies",
    "@network",
    "@board",
    "@local",
    "eu-frontex",
    "eu-europol",
    "fr-dnpaf",
    "mt-away",
    "be-dpa",
    "eu-eeas",
    "de-bpol",
];

/// Subscriptions of every dialect and of each form of `where`.
pub(super) fn subscriptions() -> Vec<Value> {
    vec![
        json!({"name": "a", "filters": [{"exact": {"country": "TN"}}]}),
        json!({"name": "b", "filters": [{"prefix": {"type": "eu.ilonet.flow."}}]}),
        json!({"name": "c", "filters": [{"suffix": {"type": "fraud.v1"}}]}),
        json!({"name": "d", "filters": [{"not": {"exact": {"priority": "routine"}}}]}),
        json!({"name": "e", "filters": [{"any": [{"exact": {"route": "CMED"}}, {"exact": {"nationality": "GIN"}}]}]}),
        json!({"name": "f", "filters": [{"all": [{"exact": {"transport": "rubber-boat"}},
            {"not": {"prefix": {"originator": "it-"}}}]}]}),
        json!({"name": "g", "filters": [], "where": "data.count.value >= 1000"}),
        json!({"name": "h", "where": "event.type == \"eu.ilonet.smuggling.modus.v1\" && \"AIR\" in data.routes"}),
        json!({"name": "i", "filters": [{"exact": {"impact": "high"}}], "where": "data.level == \"both\""}),
        json!({"name": "j", "filters": [{"prefix": {"subject": "T"}}, {"not": {"any": [{"suffix": {"evaluation": "4"}},
            {"exact": {"tlp": "TLP:GREEN"}}]}}]}),
    ]
}

/// Who plays: each post of the registry, and every party with subscriptions drawn from the seed.
pub(super) fn cast(seed: u64) -> Cast {
    let registry = registry::Registry::parse(&REGISTRY).expect("a good registry");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let list = subscriptions();
    let officers = registry.parties().flat_map(|party| {
        party.posts.iter().map(|post| Officer { party: party.id.clone(), post: post.clone(), away: None })
    });
    let authorities = registry.parties().map(|party| Authority {
        party: party.id.clone(),
        reads: Reads::Promptly,
        subscriptions: if dice.gen_bool(0.7) {
            list.choose_multiple(&mut dice, 3).cloned().collect()
        } else {
            Vec::new()
        },
    });
    let (authorities, officers) = (authorities.collect(), officers.collect());
    Cast { authorities, officers, analysts: Vec::new(), registry }
}

/// The id of an attempt.
pub(super) fn id(no: u32) -> String {
    format!("0195c3a1-5eed-7000-8000-{no:012x}")
}

/// The attempt with an id.
pub(super) fn number(id: &str) -> Option<u32> {
    u32::from_str_radix(id.strip_prefix("0195c3a1-5eed-7000-8000-")?, 16).ok()
}

/// A message with its subject.
pub(super) struct Card {
    pub(super) subject: String,
    pub(super) message: Value,
}

/// Deals messages.
pub(super) struct Dealer {
    pub(super) dice: ChaCha8Rng,
    examples: Vec<Card>,
    notice: Card,
    correction: Card,
    small_cell: Card,
    local: bool,
}

fn card(text: &str) -> Card {
    let example: Value = serde_json::from_str(text).expect("an example");
    Card {
        subject: example["natsSubject"].as_str().expect("a subject").to_owned(),
        message: example["message"].clone(),
    }
}

/// Puts another sender, id and type into a copy.
fn sent_by(from: &Card, party: &PartyId, post: &PostId, no: u32) -> Card {
    let tail = from.subject.splitn(5, '.').nth(4).expect("a subject");
    let mut message = from.message.clone();
    message["id"] = id(no).into();
    message["source"] = format!("/authority/{party}/post/{post}").into();
    message["originator"] = party.as_str().into();
    Card { subject: format!("ilo.in.{party}.{post}.{tail}"), message }
}

impl Dealer {
    /// A dealer; without `local` nothing is for `@local`.
    pub(super) fn new(seed: u64, local: bool) -> Self {
        let mut notice = card(NOTICE);
        let members = notice.message.as_object_mut().expect("an object");
        members.remove("eraseby");
        members.remove("dataregulation");
        members.insert("datacategory".to_owned(), "none".into());
        notice.message["data"].as_object_mut().expect("an object").remove("contact");
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            examples: EXAMPLES.iter().map(|text| card(text)).collect(),
            notice,
            correction: card(CORRECTION),
            small_cell: card(SMALL_CELL),
            local,
        }
    }

    pub(super) fn audience(&mut self) -> String {
        let count = self.dice.gen_range(1..4);
        let names: Vec<&str> = NAMES.choose_multiple(&mut self.dice, count).copied().collect();
        let names: Vec<&str> = names.into_iter().filter(|name| self.local || *name != "@local").collect();
        if names.is_empty() { "@ms".to_owned() } else { names.join(",") }
    }

    /// An ordinary message.
    pub(super) fn ordinary(&mut self, officer: &Officer, no: u32) -> Card {
        let at = self.dice.gen_range(0..self.examples.len() + 1);
        let mut dealt = match self.examples.get(at) {
            Some(example) => sent_by(example, &officer.party, &officer.post, no),
            None => return self.notice(officer, no),
        };
        if dealt.message["type"].as_str().is_some_and(|kind| kind.contains(".case.")) {
            let names = ["de-bpol", "it-moi", "gr-hp", "nl-dtv", "eu-frontex"];
            let count = self.dice.gen_range(1..4);
            let names: Vec<&str> = names.choose_multiple(&mut self.dice, count).copied().collect();
            dealt.message["audience"] = names.join(",").into();
        } else {
            dealt.message["audience"] = self.audience().into();
            dealt.message["priority"] =
                (*["routine", "priority", "urgent"].choose(&mut self.dice).expect("some")).into();
            if self.dice.gen_bool(0.3) {
                dealt.message["exclude"] = "de-bpol,eu-europol,fi-raja".into();
            }
        }
        dealt
    }

    /// A deployment, or a network.
    pub(super) fn notice(&mut self, officer: &Officer, no: u32) -> Card {
        let mut dealt = sent_by(&self.notice, &officer.party, &officer.post, no);
        let (one, other) = (["TN", "TR", "PK", "NE"], ["MA", "LY", "NE", "AF"]);
        let pick = |dice: &mut ChaCha8Rng, of: [&'static str; 4]| of[dice.gen_range(0..4)];
        let data = &mut dealt.message["data"];
        data["hostCountry"] = pick(&mut self.dice, one).into();
        data["region"] = json!([pick(&mut self.dice, other)]);
        data["post"] = format!("pk-{:02}", self.dice.gen_range(1..4)).into();
        let status = ["deployed", "deployed", "changed", "planned", "ended"];
        data["status"] = status[self.dice.gen_range(0..status.len())].into();
        data["alsoFor"] = json!([(*["FI", "DK", "CH", "MT"].choose(&mut self.dice).expect("some"))]);
        let country = data["hostCountry"].clone();
        dealt.subject = dealt
            .subject
            .replace(".pk", &format!(".{}", country.as_str().unwrap_or_default().to_lowercase()));
        dealt.message["subject"] = country;
        dealt
    }

    /// A message about an earlier one.
    pub(super) fn control(&mut self, officer: &Officer, no: u32, target: &Kept) -> Card {
        let mut dealt = sent_by(&self.correction, &officer.party, &officer.post, no);
        let reference = json!({"source": target.event["source"], "id": target.event["id"]});
        let (kind, data) = match self.dice.gen_range(0..12) {
            0 => ("retraction", json!({"target": reference, "reason": "sent-in-error"})),
            1 => (
                "erasure",
                json!({"targets": [reference], "ground": "no-longer-necessary",
                "dueBy": "2026-03-20T00:00:00Z", "attest": true}),
            ),
            2..=6 => {
                let step = ["grant", "grant", "ask", "refuse"][self.dice.gen_range(0..4)];
                let wider = self.audience();
                (
                    "release",
                    json!({"target": reference, "step": step, "newAudience": wider, "reason": "Agreed."}),
                )
            }
            _ => {
                let mut data = target.event["data"].clone();
                if data.get("title").is_some() {
                    data["title"] = format!("Corrected title {no}").into();
                } else if data.get("region").is_some() {
                    data["region"] = json!(["DZ"]);
                }
                ("correction", json!({"target": reference, "reason": "It was wrong.", "newData": data}))
            }
        };
        dealt.subject = dealt.subject.replace("correction", kind);
        dealt.message["type"] = format!("eu.ilonet.msg.{kind}.v1").into();
        dealt.message["data"] = data;
        dealt.message["audience"] = self.audience().into();
        if self.dice.gen_bool(0.3) {
            dealt.message["exclude"] = "fr-dnpaf,it-moi".into();
        }
        dealt
    }

    fn invalid(&mut self, officer: &Officer, no: u32) -> Card {
        if self.dice.gen_bool(0.3) {
            return sent_by(&self.small_cell, &officer.party, &officer.post, no);
        }
        let mut dealt = self.ordinary(officer, no);
        match self.dice.gen_range(0..3) {
            0 => dealt.message["purpose"] = "8".into(),
            1 => dealt.message["tlp"] = "TLP:CLEAR".into(),
            _ => dealt.message["data"]["surprise"] = true.into(),
        }
        dealt
    }
}

/// Everything that is tried, with the verdicts of a broker that is as it should be.
pub(super) fn attempts(seed: u64, count: u32, local: bool, cast: &Cast) -> Vec<Attempt> {
    let mut dealer = Dealer::new(seed, local);
    let mut model = Double::new(House::usual(), cast, &[]);
    let mut attempts: Vec<Attempt> = Vec::new();
    for no in 0..count {
        let officers: Vec<usize> = (0..cast.officers.len()).collect();
        let mut officer = *officers.choose(&mut dealer.dice).expect("officers");
        let roll = if no < 20 { 100 } else { dealer.dice.gen_range(0..100) };
        let earlier = attempts.choose(&mut dealer.dice).cloned();
        // Often one that was corrected before, so that grants and recalls have something to carry.
        let often = dealer.dice.gen_bool(0.4);
        let targets: Vec<&Kept> = model.kept.iter().filter(|kept| !often || kept.is_corrected()).collect();
        let target = targets.choose(&mut dealer.dice).map(|target| (*target).clone());
        let (subject, payload) = match (roll, earlier, target) {
            (100, ..) => pack(dealer.notice(&cast.officers[officer], no)),
            (0..=7, ..) => pack(dealer.invalid(&cast.officers[officer], no)),
            (8..=12, Some(earlier), _) => {
                officer = earlier.officer;
                (earlier.subject, earlier.payload)
            }
            (13..=14, Some(earlier), _) => {
                officer = earlier.officer;
                let other = String::from_utf8_lossy(&earlier.payload).replace("LIMITE", "PUBLIC");
                (earlier.subject, Bytes::from(other))
            }
            (15..=40, _, Some(target)) => {
                // Mostly its originator; now and then somebody who holds it.
                let mut by = vec![target.originator.clone()];
                if dealer.dice.gen_bool(0.2) {
                    by = target.holders();
                }
                let fits = officers.into_iter().filter(|at| by.contains(&cast.officers[*at].party));
                officer = fits.collect::<Vec<_>>().choose(&mut dealer.dice).copied().unwrap_or(officer);
                pack(dealer.control(&cast.officers[officer], no, &target))
            }
            _ => pack(dealer.ordinary(&cast.officers[officer], no)),
        };
        let due = Duration::from_millis(u64::from(no));
        let mut attempt =
            Attempt { no, due, officer, subject, id: None, payload, expect: Expect::Accepted, after: None };
        let tried = model.receive(&attempt);
        attempt.id = tried.id;
        attempt.expect = model.verdict.expect("just judged");
        attempts.push(attempt);
    }
    attempts
}

fn pack(card: Card) -> (String, Bytes) {
    (card.subject, Bytes::from(card.message.to_string()))
}

/// What a verdict of the unspoilt copy means for a script.
pub(super) fn expect(
    outcome: Outcome,
    code: Option<crate::message::outcome::Code>,
    first: Option<u32>,
) -> Expect {
    match (outcome, code) {
        (Outcome::Duplicate, _) => Expect::Duplicate(first.expect("a first one")),
        (Outcome::Quarantined, Some(code)) => Expect::Quarantined(code),
        (Outcome::Rejected, Some(code)) => Expect::Rejected(code),
        _ => Expect::Accepted,
    }
}
