//! The sets that subscriptions may ask for: country, nationality, route, transport, priority, impact.
//!
//! Extracted from the validated body once a message. Persons of the case plane are never looked at: what is known of
//! a person must not decide who gets a message.

use std::collections::BTreeSet;

use serde_json::Value;

/// Names of the facets, as filters use them.
pub const NAMES: [&str; 6] = ["country", "nationality", "route", "transport", "priority", "impact"];

/// The sets of one message.
#[derive(Debug, Clone, Default)]
pub struct Facets {
    sets: [BTreeSet<String>; 6],
}

/// Members whose subtree is never read.
const PERSONS: [&str; 4] = ["person", "persons", "contact", "newData"];

impl Facets {
    /// The sets of a message with this subject country and priority.
    #[must_use]
    pub fn of(country: Option<&str>, priority: &str, data: &Value) -> Self {
        let mut facets = Self::default();
        if let Some(country) = country {
            facets.add("country", country);
        }
        facets.add("priority", priority);
        facets.walk(data);
        facets
    }

    /// A set by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BTreeSet<String>> {
        NAMES.iter().position(|known| *known == name).map(|at| &self.sets[at])
    }

    /// Every set with its name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<String>)> {
        NAMES.into_iter().zip(&self.sets)
    }

    fn add(&mut self, name: &str, value: &str) {
        if let Some(at) = NAMES.iter().position(|known| *known == name)
            && !self.sets[at].contains(value)
        {
            self.sets[at].insert(value.to_owned());
        }
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    if PERSONS.contains(&name.as_str()) {
                        continue;
                    }
                    match facet_of(name) {
                        Some(facet) => self.strings(facet, value),
                        None => self.walk(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn strings(&mut self, facet: &str, value: &Value) {
        match value {
            Value::String(text) => self.add(facet, text),
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::String(text) => self.add(facet, text),
                        other => self.walk(other),
                    }
                }
            }
            other => self.walk(other),
        }
    }
}

/// Which set a member of the body belongs to.
fn facet_of(member: &str) -> Option<&'static str> {
    Some(match member {
        "country" | "countries" | "operatesIn" | "hostCountry" | "region" => "country",
        "nationality" | "nationalities" | "usedBy" | "recruitmentNationalities" | "issuingState" => {
            "nationality"
        }
        "routes" => "route",
        "transport" => "transport",
        "impact" => "impact",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_come_from_everywhere_in_the_body_but_never_from_persons() {
        let data = json!({
            "places": [{"country": "TN"}, {"country": "IT"}], "routes": ["CMED"], "impact": "high",
            "legs": [{"from": {"country": "LY"}, "transport": ["car"]}],
            "composition": [{"nationality": "GIN", "count": 3}],
            "persons": [{"person": {"nationalityClaimed": ["DZA"], "placeOfBirth": {"country": "MA"}}}],
        });
        let facets = Facets::of(Some("TN"), "routine", &data);
        let set = |name| facets.get(name).expect("known").iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(set("country"), ["IT", "LY", "TN"]);
        assert_eq!(set("nationality"), ["GIN"]);
        assert_eq!(
            (set("transport"), set("route"), set("impact")),
            (vec!["car"], vec!["CMED"], vec!["high"])
        );
    }
}
