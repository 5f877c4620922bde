//! What the keeper writes of a message: the draft of its record, accepted or refused.
//!
//! The archive has words of its own for what the rules say, because its numbers on disk must outlive the rules; the
//! translation is here and nowhere else.

use super::keeper::Origin;
use crate::archive::{Draft, Entry, Plane, RefusedTarget, Summary, Why};
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Outcome, Refused};
use crate::rules::judge::{Permitted, Target};
use crate::rules::{audience, catalogue};

/// An accepted message with its recipients.
pub(super) fn accepted(origin: &Origin, permitted: &Permitted, routing: &audience::Routing) -> Draft {
    Draft {
        outcome: Outcome::Accepted,
        party: origin.party.clone(),
        position: origin.position,
        subject: origin.subject.clone(),
        arrived_ms: origin.arrived.as_millisecond(),
        digest: origin.digest,
        payload: permitted.raw().payload.to_vec(),
        summary: Some(summary(permitted)),
        code: None,
        detail: permitted.remarks(),
        recipients: routing.recipients.iter().map(|r| entry(&r.party, got(r.why))).collect(),
        withheld: routing.withheld.iter().map(|w| entry(&w.party, not(w.reason))).collect(),
        target: None,
        late: permitted.is_late(),
    }
}

/// A message that uses an id for other bytes than its source did before.
pub(super) fn reused(origin: Origin, permitted: &Permitted) -> Draft {
    let reason = Refused::new(Code::Dup, "/id", "this source has already used this id for other bytes");
    refused(origin, reason, Target::of(permitted), Vec::new())
}

/// A message that was refused; `payload` is what is kept of it.
pub(super) fn refused(origin: Origin, reason: Refused, target: Target, payload: Vec<u8>) -> Draft {
    Draft {
        outcome: reason.outcome(),
        party: origin.party,
        position: origin.position,
        subject: origin.subject,
        arrived_ms: origin.arrived.as_millisecond(),
        digest: origin.digest,
        payload,
        summary: None,
        code: Some(reason.code),
        detail: reason.detail,
        recipients: Vec::new(),
        withheld: Vec::new(),
        target: Some(RefusedTarget { source: target.source, id: target.id, post: target.post }),
        late: false,
    }
}

fn entry(party: &PartyId, why: Why) -> Entry {
    Entry { party: party.clone(), why }
}

fn got(why: audience::Why) -> Why {
    match why {
        audience::Why::Named => Why::Named,
        audience::Why::Subscribed => Why::Subscribed,
    }
}

fn not(reason: audience::Reason) -> Why {
    match reason {
        audience::Reason::Originator => Why::Originator,
        audience::Reason::Excluded => Why::Excluded,
        audience::Reason::Suspended => Why::Suspended,
        audience::Reason::Role => Why::Role,
        audience::Reason::NotSubscribed => Why::NotSubscribed,
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
    }
}
