//! What control messages do (`domain.md` 4.7, A-2, A-11, A-16): whom they reach, and what they do to their targets.
//!
//! A correction or recall goes to those who hold its target, whatever its own audience says: a recall that missed a
//! holder would be none, and to anybody else it would tell of a message that is not theirs. An ask goes to the originator, an
//! answer to those holders whom it names. Only a grant widens an audience, and only that of its target.
//!
//! What is known of the targets comes in as an argument; whether a control message may be sent at all is `settle`'s.

use std::collections::BTreeSet;

use super::audience::{self, Audience, Reason, Recipient, Routed, Routing, Why, Withheld};
use super::deployments::Deployments;
use super::facets::Facets;
use super::registry::{Party, Registry};
use super::settle::Known;
use super::subscriptions::Subscriptions;
use crate::message::envelope::Envelope;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Fault, Refused};

/// What is done to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `msg.correction`.
    Correct,
    /// `msg.retraction`.
    Retract,
    /// `msg.erasure`.
    Erase,
    /// `msg.release`, ask.
    Ask,
    /// `msg.release`, grant, with the parties that the target is delivered to now.
    Grant(Routing),
    /// `msg.release`, refuse.
    Deny,
}

/// The decision on one message: who gets it, and what it does to its targets, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Who gets it and who does not.
    pub routing: Routing,
    /// What it does to each target; empty for all but control messages.
    pub acts: Vec<Act>,
}

/// What a decision is made from.
pub struct Table<'a> {
    /// The parties.
    pub registry: &'a Registry,
    /// What they want of group messages.
    pub subscriptions: &'a Subscriptions,
    /// Where officers are.
    pub deployments: &'a Deployments,
}

/// Decides on one message that `settle` has let through. `known` is what is known of its targets, in order.
///
/// # Errors
/// `E-AUDIENCE` if a case message would reach nobody, or a grant names whom it may not.
pub fn decide(table: &Table<'_>, message: &Routed<'_>, known: &[Option<Known>]) -> Result<Decision, Refused> {
    let targets: Vec<&Known> = known.iter().flatten().collect();
    let data = message.event.at("data");
    let kind = message.envelope.kind.as_str();
    // Without a memory nobody knows the holders: the audience as written is the best that can be said.
    let kind = if targets.is_empty() { "" } else { kind };
    let act = match (kind, data.at("step").as_str()) {
        ("msg.correction", _) => Act::Correct,
        ("msg.retraction", _) => Act::Retract,
        ("msg.erasure", _) => Act::Erase,
        ("msg.release", Some("ask")) => Act::Ask,
        ("msg.release", Some("grant")) => Act::Grant(Routing::default()),
        ("msg.release", _) => Act::Deny,
        _ => {
            let mut routing =
                audience::route(table.registry, table.subscriptions, table.deployments, message)?;
            if matches!(kind, "rfi.response" | "case.identity-response") {
                keep_to_the_asked(&mut routing, &targets);
            }
            return Ok(Decision { routing, acts: Vec::new() });
        }
    };
    let routing = match act {
        Act::Correct | Act::Retract | Act::Erase => to_holders(table, message, &targets, &act),
        Act::Ask => to_originator(table, message, &targets),
        Act::Grant(_) | Act::Deny => to_named_holders(table, message, &targets),
    };
    let acts = targets.iter().map(|target| match act {
        Act::Grant(_) => widen(table, message, target).map(Act::Grant),
        ref other => Ok(other.clone()),
    });
    Ok(Decision { routing, acts: acts.collect::<Result<_, _>>()? })
}

/// S-22: an answer stays with the requester and those whom it asked, also where a group is another one for the answer than
/// it was for the request: `@local` of another country, or somebody excluded then and not now.
fn keep_to_the_asked(routing: &mut Routing, requests: &[&Known]) {
    let asked = |party: &PartyId| {
        requests.iter().all(|request| {
            request.originator == *party
                || request.recipients.contains(party)
                || request.unsubscribed.contains(party)
        })
    };
    let (stay, leave): (Vec<Recipient>, Vec<Recipient>) =
        std::mem::take(&mut routing.recipients).into_iter().partition(|recipient| asked(&recipient.party));
    routing.recipients = stay;
    let left =
        leave.into_iter().map(|recipient| Withheld { party: recipient.party, reason: Reason::NotHolder });
    routing.withheld.extend(left);
    routing.withheld.sort_by(|one, other| one.party.cmp(&other.party));
}

/// The holders of all targets. New data spare whom the correction excludes, who reads no content any more or lost the role
/// for them, and who takes no part; a recall reaches all of these, for they have what is recalled. Who takes no part gets it
/// when it is back: its feed waits.
fn to_holders(table: &Table<'_>, message: &Routed<'_>, targets: &[&Known], act: &Act) -> Routing {
    let holders: BTreeSet<&PartyId> = targets.iter().flat_map(|target| &target.recipients).collect();
    let new_data = *act == Act::Correct;
    sort(table, message, !new_data, |party| {
        if !holders.contains(&party.id) {
            return None;
        }
        let purpose_fits = targets.iter().all(|target| audience::may_have(party, &target.purpose));
        Some(if new_data && message.envelope.exclude.contains(&party.id) {
            Err(Reason::Excluded)
        } else if new_data && (party.reads_no_content() || !purpose_fits) {
            Err(Reason::Role)
        } else {
            Ok(Why::Holds)
        })
    })
}

fn to_originator(table: &Table<'_>, message: &Routed<'_>, targets: &[&Known]) -> Routing {
    let owners: BTreeSet<&PartyId> = targets.iter().map(|target| &target.originator).collect();
    sort(table, message, false, |party| owners.contains(&party.id).then_some(Ok(Why::Owns)))
}

/// An answer goes to those whom its sender names, if they hold the target: it tells who is to get it besides.
fn to_named_holders(table: &Table<'_>, message: &Routed<'_>, targets: &[&Known]) -> Routing {
    let holders: BTreeSet<&PartyId> = targets.iter().flat_map(|target| &target.recipients).collect();
    let named = Audience::of(table.registry, table.deployments, message);
    sort(table, message, false, |party| {
        let addressed = holders.contains(&party.id) && named.holds(party).is_some();
        let excluded = message.envelope.exclude.contains(&party.id);
        addressed.then_some(if excluded { Err(Reason::Excluded) } else { Ok(Why::Holds) })
    })
}

/// Sorts all parties into recipients and withheld. `wants` says whom the message is for; whoever its audience names or
/// contains beside them is no holder. `recall`: it also waits for who is suspended.
fn sort(
    table: &Table<'_>,
    message: &Routed<'_>,
    recall: bool,
    wants: impl Fn(&Party) -> Option<Result<Why, Reason>>,
) -> Routing {
    let named = Audience::of(table.registry, table.deployments, message);
    let mut routing = Routing::default();
    for party in table.registry.parties().filter(|party| party.id != message.envelope.originator) {
        let decided = match wants(party) {
            Some(_) if party.is_suspended() && !recall => Err(Reason::Suspended),
            Some(decided) => decided,
            None if named.holds(party).is_some() => Err(Reason::NotHolder),
            None => continue,
        };
        match decided {
            Ok(why) => routing.recipients.push(Recipient { party: party.id.clone(), why }),
            Err(reason) => routing.withheld.push(Withheld { party: party.id.clone(), reason }),
        }
    }
    routing
}

/// Whom a grant adds to the holders of its target: the new audience, cut down by law, roles and subscriptions of today
/// as if the target came in now. A party that the target excluded is added only by its name. Its corrections pass on with
/// it, so what they exclude and what they are marked with counts too.
fn widen(table: &Table<'_>, grant: &Routed<'_>, target: &Known) -> Result<Routing, Refused> {
    let data = grant.event.at("data");
    let refuse = |message: &str| {
        let fault = Fault { path: "/data/newAudience".to_owned(), message: message.to_owned() };
        Refused::many(Code::Audience, vec![fault])
    };
    let gone = || Refused::new(Code::Ref, "/data/target", "is a message whose content is gone");
    let event = target.event.as_deref().ok_or_else(gone)?.root();
    let mut envelope = Envelope::read(event).map_err(|_| gone())?;
    let mut is_red = envelope.tlp == "TLP:RED";
    for correction in &target.corrections {
        let correction = Envelope::read(correction.root()).map_err(|_| gone())?;
        is_red |= correction.tlp == "TLP:RED";
        envelope.exclude.extend(correction.exclude);
    }
    envelope.audience =
        data.at("newAudience").as_str().unwrap_or_default().split(',').map(str::to_owned).collect();
    let names = envelope.audience.clone();
    envelope.exclude.retain(|party| !names.iter().any(|name| name == party.as_str()));
    if envelope.names_a_group() && (target.is_personal || is_red) {
        return Err(refuse("names a group for a message that may go to named recipients only"));
    }
    audience::check(table.registry, &envelope, &target.purpose)
        .map_err(|refused| refuse(refused.detail.first().map_or("", |fault| fault.message.as_str())))?;
    let facets = Facets::of(envelope.country.as_deref(), &envelope.priority, event.at("data"));
    // Of the grant, not of the report: who was there then need not be there now.
    let today = grant.today;
    // An answer that widens nothing is no fault, so the case plane's rule against empty audiences does not apply.
    let message = Routed { envelope: &envelope, is_case: false, facets: &facets, event, today };
    let wider = audience::route(table.registry, table.subscriptions, table.deployments, &message)?;
    let (held, fresh): (Vec<Recipient>, Vec<Recipient>) =
        wider.recipients.into_iter().partition(|recipient| target.recipients.contains(&recipient.party));
    let held = held.into_iter().map(|recipient| Withheld { party: recipient.party, reason: Reason::Holder });
    let mut withheld: Vec<Withheld> = wider.withheld.into_iter().chain(held).collect();
    withheld.sort_by(|left, right| left.party.cmp(&right.party));
    Ok(Routing { recipients: fresh, withheld })
}
