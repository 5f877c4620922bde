//! Where officers are deployed: what `@local` means for a country (Art. 5, Art. 6).
//!
//! Learned from accepted `deployment.notice` and `network.facilitator` messages in archive order, so every restart
//! and every instance learns the same. It holds no contact data.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::registry::{Participation, Registry};
use crate::message::names::PartyId;

/// A calendar day.
pub use jiff::civil::Date;

#[derive(Debug, Clone)]
struct Deployment {
    countries: BTreeSet<String>,
    from: Date,
    until: Option<Date>,
    also_for: Vec<String>,
}

#[derive(Debug, Clone)]
struct Network {
    countries: BTreeSet<String>,
    facilitator: PartyId,
    from: Date,
}

/// The types that tell of deployments.
pub const KINDS: [&str; 2] = ["deployment.notice", "network.facilitator"];

/// All deployments known.
#[derive(Debug, Clone, Default)]
pub struct Deployments {
    posts: BTreeMap<(PartyId, String), Deployment>,
    networks: BTreeMap<String, Network>,
}

impl Deployments {
    /// Learns from one accepted message; anything but the two types is passed over.
    pub fn apply(&mut self, originator: &PartyId, kind: &str, data: &Value) {
        match kind {
            "deployment.notice" => self.notice(originator, data),
            "network.facilitator" => self.facilitator(data),
            _ => {}
        }
    }

    fn notice(&mut self, originator: &PartyId, data: &Value) {
        let Some(post) = data["post"].as_str() else { return };
        let key = (originator.clone(), post.to_owned());
        let active = matches!(data["status"].as_str(), Some("deployed" | "changed"));
        let Some(from) = date(&data["from"]).filter(|_| active) else {
            // A plan replaces nothing; an end ends.
            if data["status"] == "ended" {
                self.posts.remove(&key);
            }
            return;
        };
        let countries =
            strings(&data["region"]).chain(data["hostCountry"].as_str()).map(str::to_owned).collect();
        let also_for = strings(&data["alsoFor"]).map(str::to_owned).collect();
        self.posts.insert(key, Deployment { countries, from, until: date(&data["until"]), also_for });
    }

    fn facilitator(&mut self, data: &Value) {
        let Some(network) = data["networkId"].as_str() else { return };
        let named = data["facilitator"].as_str().and_then(|id| PartyId::parse(id).ok());
        match (named, date(&data["from"])) {
            (Some(facilitator), Some(from)) => {
                let countries = strings(&data["countries"]).map(str::to_owned).collect();
                self.networks.insert(network.to_owned(), Network { countries, facilitator, from });
            }
            _ => drop(self.networks.remove(network)),
        }
    }

    /// The authorities of `@local` for a country on a day: those with an active deployment there, all authorities of
    /// the states that it also serves (Art. 6(1)), and the facilitators of its networks.
    #[must_use]
    pub fn local(&self, registry: &Registry, country: &str, today: Date) -> BTreeSet<PartyId> {
        let mut found = BTreeSet::new();
        for ((authority, _), deployment) in &self.posts {
            let active = deployment.from <= today && deployment.until.is_none_or(|until| today <= until);
            if !active || !deployment.countries.contains(country) {
                continue;
            }
            found.insert(authority.clone());
            let served = registry.parties().filter(|party| {
                matches!(party.participation, Participation::MemberState | Participation::SchengenAssociated)
                    && deployment.also_for.contains(&party.country)
            });
            found.extend(served.map(|party| party.id.clone()));
        }
        let facilitators = self
            .networks
            .values()
            .filter(|network| network.from <= today && network.countries.contains(country));
        found.extend(facilitators.map(|network| network.facilitator.clone()));
        found
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn date(value: &Value) -> Option<Date> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn local_follows_deployments_also_for_and_facilitators() {
        let registry = Registry::demo();
        let mut table = Deployments::default();
        let party = |id: &str| PartyId::parse(id).expect("well formed");
        let day = |text: &str| text.parse::<Date>().expect("a date");
        let mut notice = json!({"post": "pk-02", "status": "deployed", "hostCountry": "PK", "region": ["AF"],
            "from": "2026-03-01", "until": "2026-12-31", "alsoFor": ["FI"]});
        table.apply(&party("se-mig"), "deployment.notice", &notice);
        let found = table.local(&registry, "AF", day("2026-06-01"));
        let names: Vec<&str> = found.iter().map(PartyId::as_str).collect();
        assert_eq!(names, ["fi-migri", "fi-raja", "se-mig"]);
        assert!(table.local(&registry, "AF", day("2026-02-28")).is_empty(), "not yet");
        assert!(table.local(&registry, "AF", day("2027-01-01")).is_empty(), "no longer");
        let named =
            json!({"networkId": "af", "countries": ["AF"], "facilitator": "eu-com", "from": "2026-01-01"});
        table.apply(&party("eu-com"), "network.facilitator", &named);
        notice["status"] = "ended".into();
        table.apply(&party("se-mig"), "deployment.notice", &notice);
        let found = table.local(&registry, "AF", day("2026-06-01"));
        assert_eq!(found.iter().map(PartyId::as_str).collect::<Vec<_>>(), ["eu-com"]);
    }
}
