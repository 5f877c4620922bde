//! Who must get a message, computed a second time from the registry file and the law: shares no code with the crate.
//!
//! Reads `network.toml` as plain TOML and says sections 3.4 and 7 of the domain model in the shortest way: no index, no
//! subscription (every party has the default), no plane. Where it and the broker disagree, one of them is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

struct Party {
    id: String,
    country: String,
    participation: String,
    roles: Vec<String>,
}

impl Party {
    fn is(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }

    fn in_group(&self, group: &str) -> bool {
        let member_state = self.participation == "member-state";
        let associated = self.participation == "schengen-associated";
        let agency = self.participation == "agency" || self.participation == "commission";
        match group {
            "@ms" => member_state,
            "@ms-lea" => member_state && self.is("lea"),
            "@sac" => associated,
            "@agencies" => agency,
            "@network" => member_state || associated || agency,
            "@board" => self.is("board-vote") || self.is("board-novote"),
            _ => false,
        }
    }

    /// It takes part, may read content, and has the role that Art. 10(3)(b) and (e) ask for.
    fn may_get(&self, purpose: &str) -> bool {
        let audits_only = !self.roles.is_empty()
            && self.roles.iter().all(|role| role == "supervisor" || role == "operator");
        let for_purpose = match purpose {
            "10.3.b" => self.is("return"),
            "10.3.e" => self.is("lea"),
            _ => true,
        };
        self.participation != "suspended" && !audits_only && for_purpose
    }
}

/// The parties of a registry file and the deployments told so far.
pub struct Oracle {
    parties: Vec<Party>,
    told: Vec<Value>,
}

impl Oracle {
    /// Reads a registry.
    pub fn read(registry: &Path) -> Self {
        let text = std::fs::read_to_string(registry).expect("a registry");
        let file: toml::Value = toml::from_str(&text).expect("TOML");
        let text = |party: &toml::Value, name: &str| party[name].as_str().expect("a text").to_owned();
        let parties = file["party"].as_array().expect("parties").iter().map(|party| Party {
            id: text(party, "id"),
            country: text(party, "country"),
            participation: text(party, "participation"),
            roles: party["roles"]
                .as_array()
                .expect("roles")
                .iter()
                .map(|role| role.as_str().expect("a role").to_owned())
                .collect(),
        });
        Self { parties: parties.collect(), told: Vec::new() }
    }

    /// All parties.
    pub fn parties(&self) -> Vec<&str> {
        self.parties.iter().map(|party| party.id.as_str()).collect()
    }

    /// Those that may publish.
    pub fn is_active(&self, id: &str) -> bool {
        self.parties.iter().any(|party| party.id == id && party.participation != "suspended")
    }

    /// Takes note of an accepted message, which may tell of deployments.
    pub fn accepted(&mut self, message: &Value) {
        self.told.push(message.clone());
    }

    /// The recipients of this message.
    pub fn recipients(&self, message: &Value) -> BTreeSet<String> {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let audience: Vec<&str> = text("audience").split(',').collect();
        let exclude: Vec<&str> = text("exclude").split(',').collect();
        let local = if audience.contains(&"@local") {
            self.local(text("subject"), &text("recordedtime")[..10])
        } else {
            BTreeSet::new()
        };
        let gets = self.parties.iter().filter(|party| {
            let id = party.id.as_str();
            let addressed =
                audience.iter().any(|name| *name == id || party.in_group(name)) || local.contains(id);
            addressed && id != text("originator") && !exclude.contains(&id) && party.may_get(text("purpose"))
        });
        gets.map(|party| party.id.clone()).collect()
    }

    /// Authorities with an active deployment in or for the country on that day, all authorities of the states that it
    /// also serves, and the facilitators of its networks. Days compare as texts.
    fn local(&self, country: &str, day: &str) -> BTreeSet<String> {
        let has = |list: &Value, wanted: &str| {
            list.as_array().is_some_and(|list| list.iter().any(|item| item == wanted))
        };
        let mut found = BTreeSet::new();
        for message in self.in_force() {
            let data = &message["data"];
            let begun = data["from"].as_str().is_some_and(|from| from <= day);
            if message["type"] == "eu.ilonet.network.facilitator.v1" {
                if begun && has(&data["countries"], country) {
                    found.extend(data["facilitator"].as_str().map(str::to_owned));
                }
                continue;
            }
            let running = begun && data["until"].as_str().is_none_or(|until| day <= until);
            if running && (data["hostCountry"] == country || has(&data["region"], country)) {
                found.extend(message["originator"].as_str().map(str::to_owned));
                let states =
                    self.parties.iter().filter(|party| party.in_group("@ms") || party.in_group("@sac"));
                found.extend(
                    states
                        .filter(|party| has(&data["alsoFor"], &party.country))
                        .map(|party| party.id.clone()),
                );
            }
        }
        found
    }

    /// The last word on each post and each network; a plan says nothing of what is, an end ends.
    fn in_force(&self) -> Vec<&Value> {
        let mut last: Vec<(String, &Value)> = Vec::new();
        for message in &self.told {
            let data = &message["data"];
            let key = match message["type"].as_str() {
                Some("eu.ilonet.deployment.notice.v1") if data["status"] == "planned" => continue,
                Some("eu.ilonet.deployment.notice.v1") => {
                    format!("{}/{}", message["originator"], data["post"])
                }
                Some("eu.ilonet.network.facilitator.v1") => data["networkId"].to_string(),
                _ => continue,
            };
            last.retain(|(known, _)| *known != key);
            last.push((key, message));
        }
        let over = |message: &Value| {
            message["data"]["status"] == "ended" || message["data"].get("facilitator") == Some(&Value::Null)
        };
        last.retain(|(_, message)| !over(message));
        last.into_iter().map(|(_, message)| message).collect()
    }
}
