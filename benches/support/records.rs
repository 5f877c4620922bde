//! Records for the benchmarks of the memory: reports of 1.1 KiB with three recipients, no two alike.

use liaison::archive::{Category, Draft, Entry, Plane, RootKey, Summary, Why};
use liaison::message::digest::Digest;
use liaison::message::names::{MessageId, PartyId, TypeId};
use liaison::message::outcome::Outcome;
use liaison::message::raw::Position;

const COUNTRIES: [&str; 8] = ["TN", "LY", "MA", "TR", "NG", "NE", "EG", "SN"];
const SENDERS: [&str; 6] = ["it-moi", "de-bpol", "fr-dnpaf", "es-pn", "gr-hp", "nl-dtv"];
const READERS: [&str; 8] =
    ["at-bmi", "be-ibz", "eu-com", "eu-euaa", "eu-frontex", "no-pu", "pl-sg", "se-mig"];

/// A root key.
pub fn root() -> RootKey {
    RootKey::parse(&"5a".repeat(32)).expect("a key")
}

fn party(id: &str) -> PartyId {
    PartyId::parse(id).expect("well formed")
}

/// One report: texts that differ, as real ones do.
pub fn draft(n: u64, rest: &str) -> Draft {
    let pick = |list: &[&str], salt: u64| {
        list[usize::try_from((n * 31 + salt) % list.len() as u64).expect("small")].to_owned()
    };
    let (sender, country) = (pick(&SENDERS, 0), pick(&COUNTRIES, 3));
    let payload = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"0195c3a1-0001-7000-8000-{n:012x}\",\"source\":\"/authority/{sender}\",\
         \"type\":\"eu.ilonet.flow.observation.v1\",\"subject\":\"{country}\",\"time\":\"2026-03-02T08:15:{:02}Z\",\
         \"originator\":\"{sender}\",\"data\":{{\"title\":\"Report {n} on {country}\",\"narrative\":\"{rest}\",\
         \"count\":{{\"value\":{},\"min\":{},\"max\":{}}}}}}}",
        n % 60,
        n % 977,
        (n % 977).saturating_sub(n % 7),
        n % 977 + n % 13,
    );
    let recipients = (0..3).map(|salt| Entry { party: party(&pick(&READERS, salt)), why: Why::Named });
    Draft {
        outcome: Outcome::Accepted,
        party: party(&sender),
        position: Position { epoch: 1, sequence: n },
        subject: format!("ilo.in.{sender}.system.net.flow.observation.{}", country.to_lowercase()),
        arrived_ms: 1_790_000_000_000 + i64::try_from(n).expect("small"),
        digest: Digest::of(payload.as_bytes()),
        payload: payload.into_bytes(),
        signature: None,
        seal: false,
        summary: Some(Summary {
            source: format!("/authority/{sender}"),
            id: MessageId::parse(&format!("0195c3a1-0001-7000-8000-{n:012x}")).expect("well formed"),
            kind: TypeId::parse("flow.observation").expect("well formed"),
            major: 1,
            originator: party(&sender),
            plane: Plane::Net,
            country: Some(country),
            time_ms: 1_790_000_000_000,
            audience: vec!["at-bmi".into(), "be-ibz".into(), "eu-com".into()],
            purpose: "3.4.b".into(),
            category: Category::None,
            expires_ms: None,
            erase_ms: None,
            review_ms: None,
        }),
        code: None,
        detail: Vec::new(),
        recipients: recipients.collect(),
        withheld: Vec::new(),
        target: None,
        late: false,
        effects: Vec::new(),
    }
}

/// 830 bytes of words that are not the same twice.
pub fn words(n: u64) -> String {
    const WORDS: [&str; 24] = [
        "boats", "left", "the", "coast", "north", "of", "harbour", "at", "night", "with", "groups", "from",
        "several", "towns", "prices", "rose", "after", "storms", "drivers", "changed", "route", "towards",
        "border", "market",
    ];
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(860);
    while text.len() < 825 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[usize::try_from(state % 24).expect("small")]);
        text.push(' ');
        if state.is_multiple_of(5) {
            text.push_str(&(state >> 40).to_string());
            text.push(' ');
        }
    }
    text
}
