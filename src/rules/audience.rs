//! Who gets a message: the audience written by the originator, cut down by law, roles, exclusion and subscription.
//!
//! The originator alone decides (Art. 1(2)): nothing here ever adds a party that `audience` does not name or contain.
//! For each party left out the reason is kept with the message.

use std::collections::{BTreeSet, HashSet};

use super::deployments::{Date, Deployments};
use super::facets::Facets;
use super::filter::Subject;
use super::registry::{Group, Party, Registry, Role};
use super::subscriptions::Subscriptions;
use crate::message::envelope::Envelope;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::tree::Node;

/// Why a party gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The audience names it.
    Named,
    /// A group holds it and it has the default subscription or one that matches.
    Subscribed,
    /// It holds the message that a correction, a recall or an answer is about.
    Holds,
    /// An ask is about a message of its own.
    Owns,
}

impl Why {
    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Subscribed => "subscribed",
            Self::Holds => "holder-of-target",
            Self::Owns => "originator-of-target",
        }
    }
}

/// Why a party that the audience names or contains does not get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is the originator.
    Originator,
    /// `exclude` names it.
    Excluded,
    /// It takes no part for now.
    Suspended,
    /// Its roles do not let it read content, or not for this purpose.
    Role,
    /// None of its subscriptions matches.
    NotSubscribed,
    /// A correction or recall goes to holders of its target; it is none.
    NotHolder,
    /// A grant names one that holds the message already.
    Holder,
}

impl Reason {
    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Originator => "originator",
            Self::Excluded => "excluded",
            Self::Suspended => "suspended",
            Self::Role => "role",
            Self::NotSubscribed => "not-subscribed",
            Self::NotHolder => "not-holder",
            Self::Holder => "holder",
        }
    }
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub party: PartyId,
    /// Why.
    pub why: Why,
}

/// A party left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Who.
    pub party: PartyId,
    /// Why not.
    pub reason: Reason,
}

/// The decision for one message, by party id. The originator in a group is no news and is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// Who gets it.
    pub recipients: Vec<Recipient>,
    /// Who was named or contained and does not.
    pub withheld: Vec<Withheld>,
}

/// Checks who is named (S-15): registered parties, roles for Art. 10(3)(b) and (e), a country for `@local`. `purpose`
/// is the envelope's own, or for a correction that of the corrected type.
///
/// # Errors
/// `E-AUDIENCE` with every place.
pub fn check(registry: &Registry, envelope: &Envelope, purpose: &str) -> Result<(), Refused> {
    let mut faults = Vec::new();
    let mut fault = |path: &str, message: &str| {
        let fault = Fault { path: path.to_owned(), message: message.to_owned() };
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    let excluded = envelope.exclude.iter().map(|id| ("/exclude", id.as_str()));
    let named = envelope.audience.iter().map(|name| ("/audience", name.as_str()));
    for (path, name) in named.chain(excluded) {
        match (name.strip_prefix('@'), registry.party(name)) {
            (Some("local"), _) if envelope.country.is_none() => fault(path, "@local needs a subject country"),
            (Some(_), _) => {}
            (None, None) => fault(path, "names a party that is not registered"),
            (None, Some(party)) if path == "/audience" && !may_have(party, purpose) => {
                fault(path, "names a party without the role that the purpose asks for");
            }
            (None, Some(_)) => {}
        }
    }
    let sender = registry.party(envelope.originator.as_str());
    if sender.is_some_and(|party| !may_have(party, purpose)) {
        fault("/originator", "has not the role that the purpose asks for");
    }
    if faults.is_empty() { Ok(()) } else { Err(Refused::many(Code::Audience, faults)) }
}

/// Art. 10(3)(b): only return authorities; (e): only law enforcement. Other purposes ask for no role.
#[must_use]
pub fn may_have(party: &Party, purpose: &str) -> bool {
    match purpose {
        "10.3.b" => party.has(Role::Return),
        "10.3.e" => party.has(Role::Lea),
        _ => true,
    }
}

/// What one message is routed by.
pub struct Routed<'a> {
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// True on the case plane.
    pub is_case: bool,
    /// Its facets.
    pub facets: &'a Facets,
    /// The whole event.
    pub event: Node<'a>,
    /// The day on which deployments count.
    pub today: Date,
}

/// Computes the recipients. The audience must have passed [`check`].
///
/// # Errors
/// `E-AUDIENCE` if a case message would reach nobody.
pub fn route(
    registry: &Registry,
    subscriptions: &Subscriptions,
    deployments: &Deployments,
    message: &Routed<'_>,
) -> Result<Routing, Refused> {
    let envelope = message.envelope;
    let audience = Audience::of(registry, deployments, message);
    let subject = Subject { event: message.event, facets: message.facets };
    let matched = if audience.has_groups() { subscriptions.matching(subject) } else { HashSet::new() };
    let mut routing = Routing::default();
    for party in registry.parties() {
        let Some(named) = audience.holds(party) else { continue };
        let reason = if party.id == envelope.originator {
            if !named {
                continue;
            }
            Some(Reason::Originator)
        } else if envelope.exclude.contains(&party.id) {
            Some(Reason::Excluded)
        } else if party.is_suspended() {
            Some(Reason::Suspended)
        } else if party.reads_no_content() || !may_have(party, &envelope.purpose) {
            Some(Reason::Role)
        } else if !named && !subscriptions.wants_all(&party.id) && !matched.contains(&party.id) {
            Some(Reason::NotSubscribed)
        } else {
            None
        };
        match reason {
            Some(reason) => routing.withheld.push(Withheld { party: party.id.clone(), reason }),
            None => routing.recipients.push(Recipient {
                party: party.id.clone(),
                why: if named { Why::Named } else { Why::Subscribed },
            }),
        }
    }
    if message.is_case && routing.recipients.is_empty() {
        return Err(Refused::new(Code::Audience, "/audience", "a case message must reach a named recipient"));
    }
    Ok(routing)
}

/// The audience taken apart once, and then asked for each party.
pub(super) struct Audience<'a> {
    named: HashSet<&'a str>,
    groups: Vec<Group>,
    local: BTreeSet<PartyId>,
}

impl<'a> Audience<'a> {
    pub(super) fn of(registry: &Registry, deployments: &Deployments, message: &Routed<'a>) -> Self {
        let mut audience = Self { named: HashSet::new(), groups: Vec::new(), local: BTreeSet::new() };
        for name in &message.envelope.audience {
            match (name.strip_prefix('@'), &message.envelope.country) {
                (Some("local"), Some(country)) => {
                    audience.local = deployments.local(registry, country, message.today);
                }
                (Some(group), _) => audience.groups.extend(Group::parse(group)),
                (None, _) => {
                    audience.named.insert(name);
                }
            }
        }
        audience
    }

    fn has_groups(&self) -> bool {
        !self.groups.is_empty() || !self.local.is_empty()
    }

    /// Whether it names the party (`true`) or a group of it holds it (`false`); neither is `None`.
    pub(super) fn holds(&self, party: &Party) -> Option<bool> {
        if self.named.contains(party.id.as_str()) {
            return Some(true);
        }
        let held = self.groups.iter().any(|group| party.is_in(*group)) || self.local.contains(&party.id);
        held.then_some(false)
    }
}
