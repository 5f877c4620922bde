//! What the keeper writes of a message: the draft of its record, accepted or refused.
//!
//! The archive has words of its own for what the rules say, because its numbers on disk must outlive the rules; the
//! translation is here and nowhere else.

use std::time::Duration;

use super::keeper::Origin;
use super::recall::{Found, Kept};
use crate::archive::{Act, Category, Draft, Effect, Entry, Ground, Plane, RefusedTarget, Summary, Why};
use crate::message::names::{PartyId, PostId};
use crate::message::outcome::{Code, Outcome, Refused};
use crate::message::subject::{self, Publish};
use crate::message::time::{self, Timestamp};
use crate::rules::judge::{Permitted, Target};
use crate::rules::{audience, catalogue, control};

/// An accepted message with its recipients.
pub(super) fn accepted(
    origin: &Origin,
    permitted: &Permitted,
    decision: &control::Decision,
    found: &[Option<Found>],
) -> Draft {
    let routing = &decision.routing;
    let mut summary = summary(permitted);
    if decision.acts.contains(&control::Act::Correct) {
        // New data of what has expired would be what has expired.
        let targets = found.iter().flatten().filter_map(|found| found.known.expires_ms);
        summary.expires_ms = targets.chain(summary.expires_ms).min();
    }
    Draft {
        outcome: Outcome::Accepted,
        party: origin.party.clone(),
        position: origin.position,
        subject: origin.subject.clone(),
        arrived_ms: origin.arrived.as_millisecond(),
        digest: origin.digest,
        payload: permitted.raw().payload.to_vec(),
        signature: permitted.signature().map(str::to_owned),
        seal: summary.plane == Plane::Case || summary.category != Category::None,
        summary: Some(summary),
        code: None,
        detail: permitted.remarks(),
        recipients: recipients(routing),
        withheld: withheld(routing),
        target: None,
        late: permitted.is_late(),
        effects: effects(permitted, decision, found),
    }
}

/// A message that uses an id for other bytes than its source did before.
pub(super) fn reused(origin: Origin, permitted: &Permitted) -> Draft {
    let reason = Refused::new(Code::Dup, "/id", "this source has already used this id for other bytes");
    refused(origin, reason, Target::of(permitted), Vec::new())
}

/// One message too many from an authority (S-23), with the time after which it may be sent again.
pub(super) fn too_many(origin: Origin, target: Target, wait: Duration) -> Draft {
    let words = format!("more messages than this authority may send: try again after {} s", wait.as_secs());
    refused(origin, Refused::new(Code::Rate, "", words), target, Vec::new())
}

/// A message that was refused; `payload` is what is kept of it.
pub(super) fn refused(origin: Origin, reason: Refused, target: Target, payload: Vec<u8>) -> Draft {
    Draft {
        outcome: reason.outcome(),
        party: origin.party,
        position: origin.position,
        subject: subject_kept(&origin.subject),
        arrived_ms: origin.arrived.as_millisecond(),
        digest: origin.digest,
        payload,
        signature: None,
        // What is put aside may be unlawful personal data: it must be erasable when its days are over.
        seal: true,
        summary: None,
        code: Some(reason.code),
        detail: reason.detail,
        recipients: Vec::new(),
        withheld: Vec::new(),
        target: Some(RefusedTarget { source: target.source, id: target.id, post: target.post }),
        late: false,
        effects: Vec::new(),
    }
}

/// What is kept of the subject of a refused message: all of it if it is one of the network's, else only the tokens that say
/// who published, and on which plane. The rest is the sender's own text, and heads are never erased.
fn subject_kept(subject: &str) -> String {
    let is_known = Publish::parse(subject).is_some_and(|found| {
        let kind = format!("{}.{}", found.family, found.kind);
        found.country.len() == 2 && catalogue::Catalogue::embedded().get(&kind).is_some()
    });
    let who =
        subject::publisher(subject).filter(|(_, post)| *post == "system" || PostId::parse(post).is_ok());
    match who {
        None => "ilo.in".to_owned(),
        Some(_) if is_known => subject.to_owned(),
        Some((party, post)) => {
            let plane = subject.split('.').nth(4).filter(|plane| catalogue::Plane::parse(plane).is_some());
            let end = plane.map(|plane| format!(".{plane}.")).unwrap_or_default();
            format!("ilo.in.{party}.{post}{end}")
        }
    }
}

/// What a control message does, with the place of each target in the archive.
fn effects(permitted: &Permitted, decision: &control::Decision, found: &[Option<Found>]) -> Vec<Effect> {
    let acts = decision.acts.iter().zip(found.iter().flatten());
    acts.flat_map(|(act, found)| {
        let all = matches!(act, control::Act::Retract | control::Act::Erase | control::Act::Grant(_));
        let targets = if all { found.bundle.as_slice() } else { found.bundle.get(..1).unwrap_or_default() };
        targets
            .iter()
            .map(|kept| Effect { target: kept.seq, act: effect(permitted, act, found, kept) })
            .collect::<Vec<_>>()
    })
    .collect()
}

fn effect(permitted: &Permitted, act: &control::Act, found: &Found, kept: &Kept) -> Act {
    let data = permitted.data();
    match act {
        control::Act::Correct => Act::Correct { kind: found.known.kind.clone() },
        control::Act::Retract => Act::Retract,
        control::Act::Erase => Act::Erase {
            ground: data.at("ground").as_str().and_then(Ground::parse).unwrap_or(Ground::NoLongerNecessary),
            due_ms: data
                .at("dueBy")
                .as_str()
                .and_then(time::parse)
                .map_or(permitted.raw().arrived.as_millisecond(), Timestamp::as_millisecond),
            attest: data.at("attest").as_bool() == Some(true),
        },
        control::Act::Ask => Act::Ask { party: permitted.envelope().originator.clone() },
        control::Act::Grant(routing) => {
            let withheld = if kept.seq == found.known.seq { withheld(routing) } else { Vec::new() };
            Act::Release { digest: kept.digest, sealed: kept.sealed, to: recipients(routing), withheld }
        }
        control::Act::Deny => Act::Deny,
    }
}

fn recipients(routing: &audience::Routing) -> Vec<Entry> {
    routing.recipients.iter().map(|recipient| entry(&recipient.party, got(recipient.why))).collect()
}

fn withheld(routing: &audience::Routing) -> Vec<Entry> {
    routing.withheld.iter().map(|left| entry(&left.party, not(left.reason))).collect()
}

fn entry(party: &PartyId, why: Why) -> Entry {
    Entry { party: party.clone(), why }
}

fn got(why: audience::Why) -> Why {
    match why {
        audience::Why::Named => Why::Named,
        audience::Why::Subscribed => Why::Subscribed,
        audience::Why::Holds => Why::Holds,
        audience::Why::Owns => Why::Owns,
    }
}

fn not(reason: audience::Reason) -> Why {
    match reason {
        audience::Reason::Originator => Why::Originator,
        audience::Reason::Excluded => Why::Excluded,
        audience::Reason::Suspended => Why::Suspended,
        audience::Reason::Role => Why::Role,
        audience::Reason::NotSubscribed => Why::NotSubscribed,
        audience::Reason::NotHolder => Why::NotHolder,
        audience::Reason::Holder => Why::Holder,
    }
}

fn plane(plane: catalogue::Plane) -> Plane {
    match plane {
        catalogue::Plane::Net => Plane::Net,
        catalogue::Plane::Coord => Plane::Coord,
        catalogue::Plane::Board => Plane::Board,
        catalogue::Plane::Case => Plane::Case,
        catalogue::Plane::Ctl => Plane::Ctl,
    }
}

fn summary(permitted: &Permitted) -> Summary {
    let envelope = permitted.envelope();
    Summary {
        source: envelope.source_text.clone(),
        id: envelope.id.clone(),
        kind: envelope.kind.clone(),
        major: envelope.major,
        originator: envelope.originator.clone(),
        plane: plane(permitted.plane()),
        country: envelope.country.clone(),
        time_ms: envelope.time.as_millisecond(),
        audience: envelope.audience.clone(),
        purpose: envelope.purpose.clone(),
        category: Category::parse(&envelope.category).unwrap_or(Category::Special),
        expires_ms: envelope.expiry.map(Timestamp::as_millisecond),
        erase_ms: permitted.erase_by().map(Timestamp::as_millisecond),
        review_ms: envelope.review_by.map(Timestamp::as_millisecond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_refused_subject_only_the_networks_own_tokens_are_kept() {
        let good = "ilo.in.it-moi.tn-01.net.flow.observation.tn";
        for (subject, kept) in [
            (good, good),
            ("ilo.in.it-moi.tn-01.net.flow.zx9914477k.tn", "ilo.in.it-moi.tn-01.net."),
            ("ilo.in.it-moi.tn-01.case.*.>", "ilo.in.it-moi.tn-01.case."),
            ("ilo.in.it-moi.tn-01.net.flow.observation.zx9914477k", "ilo.in.it-moi.tn-01.net."),
            ("ilo.in.it-moi.system.zx9914477k", "ilo.in.it-moi.system"),
            ("ilo.in.it-moi.tn-01.net.a\0b", "ilo.in.it-moi.tn-01.net."),
            ("ilo.in.it-moi.zx9914477k.net.flow.observation.tn.x", "ilo.in"),
            ("zx9914477k", "ilo.in"),
        ] {
            assert_eq!(subject_kept(subject), kept, "{subject}");
        }
    }
}
