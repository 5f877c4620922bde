//! Who must get a message, computed a second time from the registry file and the law: shares no code with the crate.
//!
//! Reads `network.toml` as plain TOML and says sections 3.4, 7 and the markings of 8 of the domain model in the shortest way:
//! no index, no subscription (every party has the default). Where it and the broker disagree, one of them is wrong.

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
        self.participation != "suspended" && !audits_only && self.has_role(purpose)
    }

    fn has_role(&self, purpose: &str) -> bool {
        match purpose {
            "10.3.b" => self.is("return"),
            "10.3.e" => self.is("lea"),
            _ => true,
        }
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

    /// Those whose roles fit a purpose.
    pub fn has_role(&self, id: &str, purpose: &str) -> bool {
        self.parties.iter().any(|party| party.id == id && party.has_role(purpose))
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

    /// What must become of a message that is good in all but its markings and recipients: who gets it, or the code.
    /// `catalogue` is the file of the types as plain JSON.
    pub fn verdict(&self, message: &Value, catalogue: &Value) -> Result<BTreeSet<String>, &'static str> {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let kind = text("type").trim_start_matches("eu.ilonet.").trim_end_matches(".v1");
        let entry = &catalogue[kind];
        let names: Vec<&str> = text("audience").split(',').collect();
        let grouped = names.iter().any(|name| name.starts_with('@'));
        if !self.is_active(text("originator")) {
            return Err("E-PARTY");
        }
        if grouped && matches!(text("datacategory"), "personal" | "special") {
            return Err("E-AUDIENCE");
        }
        let holdable = ["PUBLIC", "NORMAL", "SNC", "LIMITE"].contains(&text("dataclassification"));
        if !holdable || (text("tlp") == "TLP:CLEAR" && text("dataclassification") != "PUBLIC") {
            return Err("E-CLASS");
        }
        if !entry["purposes"].as_array().expect("purposes").contains(&message["purpose"]) {
            return Err("E-PURPOSE");
        }
        let party = |id: &str| self.parties.iter().find(|party| party.id == id);
        let has_role = |party: &Party| party.has_role(text("purpose"));
        let excluded = message["exclude"].as_str().map(|text| text.split(',').collect::<Vec<_>>());
        let named = |name: &&str| name.starts_with('@') || party(name).is_some_and(has_role);
        let fine = names.iter().all(named)
            && excluded.unwrap_or_default().iter().all(|name| party(name).is_some())
            && party(text("originator")).is_some_and(has_role)
            && !(grouped && text("tlp") == "TLP:RED")
            && !(names.contains(&"@local") && text("subject").is_empty());
        let recipients = if fine { self.recipients(message) } else { BTreeSet::new() };
        if !fine || (recipients.is_empty() && entry["plane"] == "case") {
            return Err("E-AUDIENCE");
        }
        Ok(recipients)
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
