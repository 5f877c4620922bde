//! The registry: parties, participation, roles, posts (`network.toml`), and the groups that follow from it.
//!
//! No third country and no international organisation is ever a party: what is not in here cannot be a recipient.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::signing::{self, Signatures, SigningKey};
use crate::message::names::{PartyId, PostId};

/// The demo registry as text.
pub const DEMO: &str = include_str!("demo-network.toml");

/// How a party takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Participation {
    /// Authority of a Member State.
    MemberState,
    /// Authority of Iceland, Liechtenstein, Norway or Switzerland, Art. 7(3).
    SchengenAssociated,
    /// Union agency.
    Agency,
    /// The Commission.
    Commission,
    /// Invited by the board, Art. 7(4): gets only what names it.
    Observer,
    /// Sends and gets nothing; its stored messages stay under its control.
    Suspended,
}

/// What a party is or may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Deploys officers.
    Deployer,
    /// Law enforcement.
    Lea,
    /// Returns.
    Return,
    /// Asylum.
    Asylum,
    /// Admission of legal migrants.
    Admission,
    /// Steering board with vote.
    BoardVote,
    /// Steering board without vote.
    BoardNovote,
    /// Chairs the board.
    Chair,
    /// Agency.
    Agency,
    /// Observer.
    Observer,
    /// Data protection supervision: audit only, no content.
    Supervisor,
    /// Runs the broker: no content.
    Operator,
}

/// A party.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Its id.
    pub id: PartyId,
    /// Its name.
    pub name: String,
    /// ISO 3166 alpha-2, or `EU`.
    pub country: String,
    /// How it takes part.
    pub participation: Participation,
    /// Its roles.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Its posts.
    #[serde(default)]
    pub posts: Vec<PostId>,
    /// Verifier key (C2SP) with which it signs, as a witness, that it saw a checkpoint of the archive.
    #[serde(default)]
    pub witness: Option<String>,
    /// Whether its messages must be signed.
    #[serde(default)]
    pub signatures: Signatures,
    /// The keys with which they may be signed, the revoked ones too. Each stands in a table `[[signing_key]]` of its own.
    #[serde(skip)]
    pub signing_keys: Vec<SigningKey>,
}

impl Party {
    /// True if it takes no part for now (A-22).
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.participation == Participation::Suspended
    }

    /// True if it has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// True if it has officers abroad, by its role or because it has a post: it may tell where they are, and be meant by
    /// `@local`. An observer is in no group (`domain.md` 3.4), whatever else it is.
    #[must_use]
    pub fn deploys(&self) -> bool {
        self.participation != Participation::Observer && (self.has(Role::Deployer) || !self.posts.is_empty())
    }

    /// True if all its roles forbid it to read content.
    #[must_use]
    pub fn reads_no_content(&self) -> bool {
        !self.roles.is_empty()
            && self.roles.iter().all(|role| matches!(role, Role::Supervisor | Role::Operator))
    }

    /// True if the group holds it.
    #[must_use]
    pub fn is_in(&self, group: Group) -> bool {
        use Participation::{Agency, Commission, MemberState, SchengenAssociated};
        match group {
            Group::Ms => self.participation == MemberState,
            Group::MsLea => self.participation == MemberState && self.has(Role::Lea),
            Group::Sac => self.participation == SchengenAssociated,
            Group::Agencies => matches!(self.participation, Agency | Commission),
            Group::Network => {
                matches!(self.participation, MemberState | SchengenAssociated | Agency | Commission)
            }
            Group::Board => {
                !self.is_suspended() && (self.has(Role::BoardVote) || self.has(Role::BoardNovote))
            }
        }
    }
}

/// The groups that follow from the registry; `@local` follows from deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `@ms`.
    Ms,
    /// `@ms-lea`.
    MsLea,
    /// `@sac`.
    Sac,
    /// `@agencies`.
    Agencies,
    /// `@network`.
    Network,
    /// `@board`.
    Board,
}

impl Group {
    /// A group by its name without `@`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ms" => Self::Ms,
            "ms-lea" => Self::MsLea,
            "sac" => Self::Sac,
            "agencies" => Self::Agencies,
            "network" => Self::Network,
            "board" => Self::Board,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    party: Vec<toml::Value>,
    #[serde(default)]
    signing_key: Vec<toml::Value>,
    #[serde(default)]
    revoked_key: Vec<toml::Value>,
}

/// All parties, by id.
#[derive(Debug, Clone)]
pub struct Registry {
    parties: BTreeMap<PartyId, Arc<Party>>,
}

impl Registry {
    /// The demo registry.
    ///
    /// # Panics
    /// Never: the embedded text is read in a test.
    #[must_use]
    pub fn demo() -> Self {
        Self::parse(DEMO).expect("the embedded demo registry must be readable")
    }

    /// Reads a registry.
    ///
    /// # Errors
    /// Every fault, each with the party it is about.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut faults = Vec::new();
        let mut parties = BTreeMap::new();
        for (at, table) in file.party.into_iter().enumerate() {
            let who = table
                .get("id")
                .and_then(toml::Value::as_str)
                .map_or_else(|| format!("party {}", at + 1), str::to_owned);
            match table.try_into::<Party>() {
                Ok(party) => {
                    faults.extend(faults_of(&party).into_iter().map(|fault| format!("{who}: {fault}")));
                    if parties.insert(party.id.clone(), party).is_some() {
                        faults.push(format!("{who}: given twice"));
                    }
                }
                Err(error) => faults.push(format!("{who}: {}", error.to_string().trim())),
            }
        }
        faults.extend(signing::give_keys(&mut parties, file.signing_key, file.revoked_key));
        let parties: BTreeMap<_, _> = parties.into_iter().map(|(id, party)| (id, Arc::new(party))).collect();
        if parties.is_empty() && faults.is_empty() {
            faults.push("no party in it".to_owned());
        }
        if faults.is_empty() { Ok(Self { parties }) } else { Err(faults) }
    }

    /// A party by its id.
    #[must_use]
    pub fn party(&self, id: &str) -> Option<&Arc<Party>> {
        self.parties.get(id)
    }

    /// All parties, by id.
    pub fn parties(&self) -> impl Iterator<Item = &Arc<Party>> {
        self.parties.values()
    }
}

fn faults_of(party: &Party) -> Vec<String> {
    let mut faults = Vec::new();
    let country = party.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        faults.push("country must be two capital letters, or EU".to_owned());
    } else if !party.id.as_str().starts_with(&party.country.to_ascii_lowercase()) {
        faults.push("the id must begin with its country".to_owned());
    }
    let posts: BTreeSet<&PostId> = party.posts.iter().collect();
    if posts.len() != party.posts.len() {
        faults.push("a post is given twice".to_owned());
    }
    if posts.iter().any(|post| post.as_str() == "system") {
        faults.push("no post may be called system".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_registry_holds_the_network() {
        let registry = Registry::demo();
        let states: BTreeSet<&str> = registry
            .parties()
            .filter(|party| party.participation == Participation::MemberState)
            .map(|party| party.country.as_str())
            .collect();
        assert_eq!(states.len(), 27);
        let votes = registry.parties().filter(|party| party.has(Role::BoardVote)).count();
        assert_eq!(votes, 27 + 4, "one per state; the Commission's two votes are one party");
        assert!(
            registry
                .parties()
                .all(|party| !party.is_in(Group::Network) || party.participation != Participation::Observer)
        );
        assert!(!registry.party("eu-fra").expect("registered").is_in(Group::Board));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = r#"
            [[party]]
            id = "de-bpol"
            name = "x"
            country = "FR"
            participation = "member-state"
            [[party]]
            id = "fr-x"
            name = "x"
            country = "FR"
            participation = "member-state"
            colour = "blue"
            [[party]]
            id = "DE"
            name = "x"
            country = "DE"
            participation = "member-state"
        "#;
        let faults = Registry::parse(text).expect_err("three faults").join("\n");
        assert!(
            faults.contains("de-bpol: the id must begin")
                && faults.contains("fr-x: ")
                && faults.contains("DE: "),
            "{faults}"
        );
    }
}
