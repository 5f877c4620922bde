//! The network as the registry file tells it: who is in which group, and what the law lets each one have.
//!
//! Reads `network.toml` as plain TOML and believes that it is a good one: whether it is, others have looked at
//! (`domain.md` 3.4 and 5; groups, roles).

use std::collections::HashMap;

use serde::Deserialize;

use super::AuditError;
use super::bits::Set;

#[derive(Deserialize)]
struct File {
    party: Vec<Party>,
}

/// One party, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Party {
    pub(super) id: String,
    pub(super) country: String,
    participation: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    posts: Vec<String>,
}

impl Party {
    fn plays(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }

    fn takes_part_as(&self, words: &[&str]) -> bool {
        words.contains(&self.participation.as_str())
    }

    /// One that has officers abroad: whom else should `@local` mean? Observers are in no group.
    pub(super) fn has_officers(&self) -> bool {
        self.participation != "observer" && (self.plays("deployer") || !self.posts.is_empty())
    }

    /// One that watches or runs the network, and reads no content.
    fn is_blind(&self) -> bool {
        !self.roles.is_empty() && self.roles.iter().all(|role| role == "supervisor" || role == "operator")
    }
}

/// What a purpose asks of those who get it: Art. 10(3)(b) and (e).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    /// Nothing.
    Open,
    /// That they return people.
    Return,
    /// That they enforce law.
    Enforce,
}

impl Law {
    /// The law for a `purpose`.
    pub(super) fn of(purpose: &str) -> Self {
        match purpose {
            "10.3.b" => Self::Return,
            "10.3.e" => Self::Enforce,
            _ => Self::Open,
        }
    }
}

/// All parties, each known by its place.
#[derive(Debug)]
pub(super) struct Network {
    parties: Vec<Party>,
    places: HashMap<String, usize>,
    groups: HashMap<&'static str, Set>,
    /// Member States and associated states: whom `alsoFor` of a deployment can mean.
    pub(super) states: Set,
    /// Those that take no part for now.
    pub(super) suspended: Set,
    /// Those that read no content.
    pub(super) blind: Set,
    everybody: Set,
    returning: Set,
    enforcing: Set,
}

impl Network {
    /// Reads a registry.
    pub(super) fn read(registry: &str) -> Result<Self, AuditError> {
        let file: File = toml::from_str(registry)
            .map_err(|error| AuditError::Script(format!("the registry cannot be read: {error}")))?;
        let parties = file.party;
        let all = |holds: &dyn Fn(&Party) -> bool| {
            let mut set = Set::none(parties.len());
            parties.iter().enumerate().filter(|(_, party)| holds(party)).for_each(|(at, _)| set.insert(at));
            set
        };
        let ms = |party: &Party| party.takes_part_as(&["member-state"]);
        let groups = HashMap::from([
            ("@ms", all(&ms)),
            ("@ms-lea", all(&|party| ms(party) && party.plays("lea"))),
            ("@sac", all(&|party| party.takes_part_as(&["schengen-associated"]))),
            ("@agencies", all(&|party| party.takes_part_as(&["agency", "commission"]))),
            (
                "@network",
                all(&|party| {
                    party.takes_part_as(&["member-state", "schengen-associated", "agency", "commission"])
                }),
            ),
            ("@board", all(&|party| party.plays("board-vote") || party.plays("board-novote"))),
        ]);
        Ok(Self {
            groups,
            states: all(&|party| party.takes_part_as(&["member-state", "schengen-associated"])),
            suspended: all(&|party| party.takes_part_as(&["suspended"])),
            blind: all(&Party::is_blind),
            everybody: all(&|_| true),
            returning: all(&|party| party.plays("return")),
            enforcing: all(&|party| party.plays("lea")),
            places: parties.iter().enumerate().map(|(at, party)| (party.id.clone(), at)).collect(),
            parties,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parties.len()
    }

    pub(super) fn none(&self) -> Set {
        Set::none(self.len())
    }

    pub(super) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub(super) fn party(&self, place: usize) -> &Party {
        &self.parties[place]
    }

    /// Who is in a group that follows from the registry; `name` with its `@`.
    pub(super) fn group(&self, name: &str) -> Option<&Set> {
        self.groups.get(name)
    }

    /// Who may have what falls under this law.
    pub(super) fn entitled(&self, law: Law) -> &Set {
        match law {
            Law::Open => &self.everybody,
            Law::Return => &self.returning,
            Law::Enforce => &self.enforcing,
        }
    }
}
