//! The sets that subscriptions may ask for: country, nationality, route, transport, priority, impact.
//!
//! Extracted from the validated body once a message. Persons of the case plane are never looked at: what is known of
//! a person must not decide who gets a message.

use crate::message::tree::{Kind, Node};

/// Names of the facets, as filters use them.
pub const NAMES: [&str; 6] = ["country", "nationality", "route", "transport", "priority", "impact"];

/// The sets of one message, in two allocations.
#[derive(Debug, Clone, Default)]
pub struct Facets {
    text: String,
    /// In the order of sets and texts once all are there.
    members: Vec<Member>,
}

/// A member of a set: a piece of the text.
#[derive(Debug, Clone, Copy)]
struct Member {
    set: usize,
    start: usize,
    end: usize,
}

/// One set, its members in order.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    text: &'a str,
    members: &'a [Member],
}

impl<'a> Set<'a> {
    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(move |member| &self.text[member.start..member.end])
    }

    /// True if it has this member.
    #[must_use]
    pub fn contains(self, value: &str) -> bool {
        self.iter().any(|member| member == value)
    }

    /// True if it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.members.is_empty()
    }
}

/// Members whose subtree is never read.
const PERSONS: [&str; 4] = ["person", "persons", "contact", "newData"];

impl Facets {
    /// The sets of a message with this subject country and priority.
    #[must_use]
    pub fn of(country: Option<&str>, priority: &str, data: Node<'_>) -> Self {
        let mut facets = Self { text: String::with_capacity(64), members: Vec::with_capacity(16) };
        if let Some(country) = country {
            facets.add("country", country);
        }
        facets.add("priority", priority);
        facets.walk(data);
        let Self { text, members } = &mut facets;
        let part = |member: &Member| (member.set, &text[member.start..member.end]);
        members.sort_unstable_by(|one, other| part(one).cmp(&part(other)));
        members.dedup_by(|one, other| part(one) == part(other));
        facets
    }

    /// A set by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Set<'_>> {
        let set = NAMES.iter().position(|known| *known == name)?;
        let from = self.members.partition_point(|member| member.set < set);
        let to = self.members.partition_point(|member| member.set <= set);
        Some(Set { text: &self.text, members: &self.members[from..to] })
    }

    /// Adds a member; what is there already goes when all are there.
    fn add(&mut self, name: &str, value: &str) {
        if let Some(set) = NAMES.iter().position(|known| *known == name) {
            let start = self.text.len();
            self.text.push_str(value);
            self.members.push(Member { set, start, end: self.text.len() });
        }
    }

    fn walk(&mut self, value: Node<'_>) {
        match value.kind() {
            Kind::List => value.items().for_each(|item| self.walk(item)),
            Kind::Object => {
                for (name, value) in value.members() {
                    if PERSONS.contains(&name) {
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

    fn strings(&mut self, facet: &str, value: Node<'_>) {
        if let Some(text) = value.as_str() {
            return self.add(facet, text);
        }
        let Some(items) = value.as_array() else { return self.walk(value) };
        for item in items {
            match item.as_str() {
                Some(text) => self.add(facet, text),
                None => self.walk(item),
            }
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
    use crate::message::tree::Tree;
    use serde_json::json;

    #[test]
    fn sets_come_from_everywhere_in_the_body_but_never_from_persons() {
        let data = Tree::of(&json!({
            "places": [{"country": "TN"}, {"country": "IT"}], "routes": ["CMED"], "impact": "high",
            "legs": [{"from": {"country": "LY"}, "transport": ["car"]}],
            "composition": [{"nationality": "GIN", "count": 3}],
            "persons": [{"person": {"nationalityClaimed": ["DZA"], "placeOfBirth": {"country": "MA"}}}],
        }));
        let facets = Facets::of(Some("TN"), "routine", data.root());
        let set = |name| facets.get(name).expect("known").iter().collect::<Vec<_>>();
        assert_eq!(set("country"), ["IT", "LY", "TN"]);
        assert_eq!(set("nationality"), ["GIN"]);
        assert_eq!(
            (set("transport"), set("route"), set("impact")),
            (vec!["car"], vec!["CMED"], vec!["high"])
        );
    }
}
