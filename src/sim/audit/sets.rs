//! The six sets that subscriptions may ask for, taken out of a message: `country`, `nationality`, `route`, `transport`,
//! `priority`, `impact`.
//!
//! A member of the body belongs to a set by its name, wherever it stands; what is said of persons is passed over.

use std::collections::HashSet;

use serde_json::Value;

/// The sets of one message.
#[derive(Debug, Default)]
pub(super) struct Sets<'a> {
    country: HashSet<&'a str>,
    nationality: HashSet<&'a str>,
    route: HashSet<&'a str>,
    transport: HashSet<&'a str>,
    priority: HashSet<&'a str>,
    impact: HashSet<&'a str>,
}

/// The set that a member of a body feeds.
fn fed_by(member: &str) -> Option<&'static str> {
    const TABLE: [(&str, &[&str]); 5] = [
        ("country", &["country", "countries", "operatesIn", "hostCountry", "region"]),
        (
            "nationality",
            &["nationality", "nationalities", "usedBy", "recruitmentNationalities", "issuingState"],
        ),
        ("route", &["routes"]),
        ("transport", &["transport"]),
        ("impact", &["impact"]),
    ];
    TABLE.iter().find(|(_, members)| members.contains(&member)).map(|(set, _)| *set)
}

impl<'a> Sets<'a> {
    /// Takes them out of a message.
    pub(super) fn of(event: &'a Value) -> Self {
        let mut sets = Self::default();
        sets.country.extend(event["subject"].as_str());
        sets.priority.insert(event["priority"].as_str().unwrap_or("routine"));
        let mut open: Vec<(Option<&'static str>, &Value)> = vec![(None, &event["data"])];
        while let Some((feeds, value)) = open.pop() {
            match value {
                Value::String(text) => {
                    if let Some(set) = feeds.and_then(|name| sets.by_name(name)) {
                        set.insert(text);
                    }
                }
                // Only texts that stand in the list itself count for its set.
                Value::Array(items) => {
                    open.extend(items.iter().map(|item| (feeds.filter(|_| item.is_string()), item)));
                }
                Value::Object(members) => open.extend(
                    members
                        .iter()
                        .filter(|(name, _)| {
                            !matches!(name.as_str(), "person" | "persons" | "contact" | "newData")
                        })
                        .map(|(name, value)| (fed_by(name), value)),
                ),
                _ => {}
            }
        }
        sets
    }

    fn by_name(&mut self, name: &str) -> Option<&mut HashSet<&'a str>> {
        Some(match name {
            "country" => &mut self.country,
            "nationality" => &mut self.nationality,
            "route" => &mut self.route,
            "transport" => &mut self.transport,
            "priority" => &mut self.priority,
            "impact" => &mut self.impact,
            _ => return None,
        })
    }

    /// A set by the name that filters use.
    pub(super) fn get(&self, name: &str) -> Option<&HashSet<&'a str>> {
        Some(match name {
            "country" => &self.country,
            "nationality" => &self.nationality,
            "route" => &self.route,
            "transport" => &self.transport,
            "priority" => &self.priority,
            "impact" => &self.impact,
            _ => return None,
        })
    }
}
