//! Whom `@local` means: what deployment notices and networks of the script have told by a place in the archive.
//!
//! Authorities with an active deployment in or for a country, all authorities of the states that it also serves, and the
//! facilitators of its networks (Art. 5, 6), as far as those who have officers abroad tell. Days are whole days.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use serde_json::Value;

use super::bits::Set;
use super::parties::Network;

/// About which post or network something is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Post(usize, String),
    Net(String),
}

/// What is so from then on.
#[derive(Debug, Clone)]
struct Fact {
    countries: Vec<String>,
    from: Date,
    until: Option<Date>,
    /// The authority, or the facilitator.
    who: Option<usize>,
    also_for: Vec<String>,
}

#[derive(Debug)]
struct Told {
    /// Its place in the archive.
    at: u64,
    /// The attempt that told it, and of a correction the corrected one: with either it is taken back.
    by: [u32; 2],
    /// Who said so.
    whose: usize,
    /// Place in the archive of the message that took it back.
    gone: u64,
    of: Of,
    /// `None`: it has ended.
    fact: Option<Fact>,
}

/// Everything told so far.
#[derive(Debug, Default)]
pub(super) struct Deployed {
    told: Vec<Told>,
    /// Answers given since something was told.
    known: HashMap<(String, Date, usize), Set>,
}

fn day(value: &Value) -> Option<Date> {
    value.as_str()?.parse().ok()
}

fn texts(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// What a notice tells: nothing if it is only a plan.
fn notice(originator: usize, data: &Value) -> Option<(Of, Option<Fact>)> {
    let of = Of::Post(originator, data["post"].as_str()?.to_owned());
    let fact = match data["status"].as_str() {
        Some("deployed" | "changed") => Some(Fact {
            countries: texts(&data["region"])
                .chain(data["hostCountry"].as_str().map(str::to_owned))
                .collect(),
            from: day(&data["from"])?,
            until: day(&data["until"]),
            who: Some(originator),
            also_for: texts(&data["alsoFor"]).collect(),
        }),
        Some("ended") => None,
        _ => return None,
    };
    Some((of, fact))
}

fn facilitator(network: &Network, data: &Value) -> Option<(Of, Option<Fact>)> {
    let of = Of::Net(data["networkId"].as_str()?.to_owned());
    let named = data["facilitator"].as_str().zip(day(&data["from"]));
    let fact = named.map(|(id, from)| Fact {
        countries: texts(&data["countries"]).collect(),
        from,
        until: None,
        who: network.place(id),
        also_for: Vec::new(),
    });
    Some((of, fact))
}

impl Deployed {
    /// Learns from a message at a place in the archive; of a correction `by` names the corrected one too.
    pub(super) fn learn(
        &mut self,
        network: &Network,
        (by, at): ([u32; 2], u64),
        originator: usize,
        kind: &str,
        data: &Value,
    ) {
        let told = match kind {
            "deployment.notice" => notice(originator, data),
            "network.facilitator" => facilitator(network, data),
            _ => None,
        };
        if let Some((of, fact)) = told {
            let behind = self.told.partition_point(|told| told.at <= at);
            self.told.insert(behind, Told { at, by, whose: originator, gone: u64::MAX, of, fact });
            self.known.clear();
        }
    }

    /// Message `no` was taken back by one at a place in the archive.
    pub(super) fn unlearn(&mut self, no: u32, at: u64) {
        for told in self.told.iter_mut().filter(|told| told.by.contains(&no)) {
            told.gone = told.gone.min(at);
            self.known.clear();
        }
    }

    /// Whom `@local` means for a country on a day, in a message at a place in the archive.
    pub(super) fn local(&mut self, network: &Network, country: &str, today: Date, at: u64) -> Set {
        let upto = self.told.partition_point(|told| told.at < at);
        let any_gone = self.told[..upto].iter().any(|told| told.gone != u64::MAX);
        let key = (country.to_owned(), today, upto);
        if !any_gone && let Some(found) = self.known.get(&key) {
            return found.clone();
        }
        let mut last: BTreeMap<&Of, &Option<Fact>> = BTreeMap::new();
        let counts = |told: &&Told| told.gone >= at && network.party(told.whose).has_officers();
        for told in self.told[..upto].iter().filter(counts) {
            last.insert(&told.of, &told.fact);
        }
        let mut found = network.none();
        for fact in last.into_values().flatten() {
            let active = fact.from <= today && fact.until.is_none_or(|until| today <= until);
            let is_there = fact.who.is_none_or(|who| network.party(who).has_officers());
            if is_there && active && fact.countries.iter().any(|known| known == country) {
                fact.who.into_iter().for_each(|who| found.insert(who));
                let served = network
                    .states
                    .iter()
                    .filter(|place| fact.also_for.contains(&network.party(*place).country));
                served.for_each(|place| found.insert(place));
            }
        }
        self.known.insert(key, found.clone());
        found
    }
}
