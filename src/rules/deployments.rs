//! Where officers are deployed: what `@local` means for a country (Art. 5, Art. 6).
//!
//! Learned from accepted `deployment.notice` and `network.facilitator` messages in archive order, so every restart
//! and every instance learns the same. It holds no contact data.

use std::collections::{BTreeMap, BTreeSet};

use super::registry::{Participation, Registry};
use crate::message::names::PartyId;
use crate::message::tree::Node;

/// A calendar day.
pub use jiff::civil::Date;

#[derive(Debug, Clone)]
struct Deployment {
    countries: BTreeSet<String>,
    from: Date,
    until: Option<Date>,
    also_for: Vec<String>,
}

/// What one party said last of a network.
#[derive(Debug, Clone)]
struct Network {
    countries: BTreeSet<String>,
    /// From which day on it is who; `None`: there is none.
    facilitator: Option<(PartyId, Date)>,
    told_by: PartyId,
}

/// The types that tell of deployments.
pub const KINDS: [&str; 2] = ["deployment.notice", "network.facilitator"];

/// All deployments known.
#[derive(Debug, Clone, Default)]
pub struct Deployments {
    posts: BTreeMap<(PartyId, String), Deployment>,
    /// What was said of each, the latest last: whose word counts is known only when it is asked for.
    networks: BTreeMap<String, Vec<Network>>,
}

impl Deployments {
    /// Learns from one accepted message; anything but the two types is passed over.
    pub fn apply(&mut self, originator: &PartyId, kind: &str, data: Node<'_>) {
        match kind {
            "deployment.notice" => self.notice(originator, data),
            "network.facilitator" => self.facilitator(originator, data),
            _ => {}
        }
    }

    fn notice(&mut self, originator: &PartyId, data: Node<'_>) {
        let Some(post) = data.at("post").as_str() else { return };
        let key = (originator.clone(), post.to_owned());
        let active = matches!(data.at("status").as_str(), Some("deployed" | "changed"));
        let Some(from) = date(data.at("from")).filter(|_| active) else {
            // A plan replaces nothing; an end ends.
            if data.at("status") == "ended" {
                self.posts.remove(&key);
            }
            return;
        };
        let countries =
            strings(data.at("region")).chain(data.at("hostCountry").as_str()).map(str::to_owned).collect();
        let also_for = strings(data.at("alsoFor")).map(str::to_owned).collect();
        self.posts.insert(key, Deployment { countries, from, until: date(data.at("until")), also_for });
    }

    fn facilitator(&mut self, originator: &PartyId, data: Node<'_>) {
        let Some(network) = data.at("networkId").as_str() else { return };
        let named = data.at("facilitator").as_str().and_then(|id| PartyId::parse(id).ok());
        let told = Network {
            countries: strings(data.at("countries")).map(str::to_owned).collect(),
            facilitator: named.zip(date(data.at("from"))),
            told_by: originator.clone(),
        };
        let all = self.networks.entry(network.to_owned()).or_default();
        all.retain(|other| other.told_by != told.told_by);
        all.push(told);
    }

    /// The authorities of `@local` for a country on a day: those with an active deployment there, all authorities of
    /// the states that it also serves (Art. 6(1)), and the facilitators of its networks. Only who [deploys](super::registry::Party::deploys)
    /// officers by the registry of today counts: any party can send a notice, and an observer is in no group (`domain.md`
    /// 3.4), so none lets itself in by one.
    #[must_use]
    pub fn local(&self, registry: &Registry, country: &str, today: Date) -> BTreeSet<PartyId> {
        let mut found = BTreeSet::new();
        let deploys = |id: &PartyId| registry.party(id.as_str()).is_some_and(|party| party.deploys());
        for ((authority, _), deployment) in &self.posts {
            let active = deployment.from <= today && deployment.until.is_none_or(|until| today <= until);
            if !active || !deployment.countries.contains(country) || !deploys(authority) {
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
            .filter_map(|told| told.iter().rev().find(|network| deploys(&network.told_by)))
            .filter(|network| network.countries.contains(country))
            .filter_map(|network| network.facilitator.as_ref())
            .filter(|(facilitator, from)| *from <= today && deploys(facilitator));
        found.extend(facilitators.map(|(facilitator, _)| facilitator.clone()));
        found
    }
}

fn strings(value: Node<'_>) -> impl Iterator<Item = &str> {
    value.items().filter_map(Node::as_str)
}

fn date(value: Node<'_>) -> Option<Date> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use crate::rules::registry::Party;
    use serde_json::json;

    fn party(id: &str) -> PartyId {
        PartyId::parse(id).expect("well formed")
    }

    /// All that `id` can tell of itself, and with eu-com of one another.
    fn told(id: &str) -> Deployments {
        let notice =
            json!({"post": "xx-01", "status": "deployed", "hostCountry": "AF", "from": "2026-03-01"});
        let named = |who: &str| json!({"networkId": who, "countries": ["AF"], "facilitator": who, "from": "2026-01-01"});
        let mut table = Deployments::default();
        table.apply(&party(id), "deployment.notice", Tree::of(&notice).root());
        table.apply(&party(id), "network.facilitator", Tree::of(&named(id)).root());
        table.apply(&party(id), "network.facilitator", Tree::of(&named("eu-com")).root());
        table.apply(&party("eu-com"), "network.facilitator", Tree::of(&named(id)).root());
        table
    }

    /// Any party can say that it is deployed, or is a facilitator, to whom it likes, itself alone included.
    #[test]
    fn who_deploys_nobody_does_not_let_itself_in() {
        let registry = Registry::demo();
        let day = "2026-06-01".parse::<Date>().expect("a date");
        let nobody: Vec<&Party> =
            registry.parties().map(|party| &**party).filter(|party| !party.deploys()).collect();
        for party in &nobody {
            assert!(told(party.id.as_str()).local(&registry, "AF", day).is_empty(), "{}", party.id);
        }
        assert!(nobody.iter().any(|party| party.participation == Participation::Observer));
        assert!(nobody.iter().any(|party| party.participation == Participation::MemberState));
    }

    /// A word of one that has nobody there takes no facilitator from a network, and one of another that has does.
    #[test]
    fn who_deploys_nobody_lets_nobody_out() {
        let registry = Registry::demo();
        let day = "2026-06-01".parse::<Date>().expect("a date");
        let word = |facilitator: Option<&str>| json!({"networkId": "kabul", "countries": ["AF"], "facilitator": facilitator, "from": "2026-01-01"});
        let mut table = Deployments::default();
        let mut tell = |id: &str, facilitator: Option<&str>| {
            table.apply(&party(id), "network.facilitator", Tree::of(&word(facilitator)).root());
            table.local(&registry, "AF", day)
        };
        assert!(tell("it-moi", Some("eu-com")).contains(&party("eu-com")));
        assert!(tell("eu-eeas", None).contains(&party("eu-com")), "an observer's word");
        assert!(tell("eu-eeas", Some("eu-fra")).contains(&party("eu-com")), "an observer's word");
        assert_eq!(tell("de-bpol", Some("eu-frontex")), BTreeSet::from([party("eu-frontex")]));
        assert!(tell("it-moi", None).is_empty(), "said again by the first");
    }

    /// The registry need not say it twice: an authority with an officer abroad is there, whatever else it is.
    #[test]
    fn who_has_a_post_deploys_but_no_observer_does() {
        let day = "2026-06-01".parse::<Date>().expect("a date");
        let with_posts = |id: &str| {
            let mut file: toml::Table = toml::from_str(crate::rules::registry::DEMO).expect("TOML");
            let parties = file["party"].as_array_mut().expect("parties");
            let one = parties.iter_mut().find(|party| party["id"].as_str() == Some(id)).expect("in it");
            one.as_table_mut().expect("a table").insert("posts".to_owned(), toml::Value::from(vec!["af-01"]));
            Registry::parse(&file.to_string()).expect("a registry")
        };
        for (id, is_local) in [("fi-migri", true), ("li-lp", true), ("eu-eeas", false)] {
            let found = told(id).local(&with_posts(id), "AF", day);
            assert_eq!(found.contains(&party(id)), is_local, "{id}");
            assert_eq!(found.contains(&party("eu-com")), is_local, "what {id} tells of another");
        }
    }

    #[test]
    fn local_follows_deployments_also_for_and_facilitators() {
        let registry = Registry::demo();
        let mut table = Deployments::default();
        let party = |id: &str| PartyId::parse(id).expect("well formed");
        let day = |text: &str| text.parse::<Date>().expect("a date");
        let mut notice = json!({"post": "pk-02", "status": "deployed", "hostCountry": "PK", "region": ["AF"],
            "from": "2026-03-01", "until": "2026-12-31", "alsoFor": ["FI"]});
        table.apply(&party("se-mig"), "deployment.notice", Tree::of(&notice).root());
        let found = table.local(&registry, "AF", day("2026-06-01"));
        let names: Vec<&str> = found.iter().map(PartyId::as_str).collect();
        assert_eq!(names, ["fi-migri", "fi-raja", "se-mig"]);
        assert!(table.local(&registry, "AF", day("2026-02-28")).is_empty(), "not yet");
        assert!(table.local(&registry, "AF", day("2027-01-01")).is_empty(), "no longer");
        let named =
            json!({"networkId": "af", "countries": ["AF"], "facilitator": "eu-com", "from": "2026-01-01"});
        table.apply(&party("eu-com"), "network.facilitator", Tree::of(&named).root());
        notice["status"] = "ended".into();
        table.apply(&party("se-mig"), "deployment.notice", Tree::of(&notice).root());
        let found = table.local(&registry, "AF", day("2026-06-01"));
        assert_eq!(found.iter().map(PartyId::as_str).collect::<Vec<_>>(), ["eu-com"]);
    }
}
