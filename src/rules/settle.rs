//! The rules that need the memory: references to earlier messages (S-14), answers to requests (S-22).
//!
//! What is known of the earlier messages comes in as an argument; this file asks for it with [`needs`] and never
//! looks it up. Whether a message is a duplicate (S-5) or one too many (S-23) is the keeper's business.

use crate::message::envelope::{Envelope, Source};
use crate::message::names::{MessageId, PartyId, TypeId};
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::tree::{Node, Tree};

/// An earlier message that must be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: MessageId,
    /// Where the reference stands.
    pub path: String,
}

/// What the archive knows of an accepted earlier message.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its place in the archive.
    pub seq: u64,
    /// Who owns it.
    pub originator: PartyId,
    /// Its type.
    pub kind: TypeId,
    /// Its version.
    pub major: u32,
    /// Who holds it: who got it, and to whom it was released.
    pub recipients: Vec<PartyId>,
    /// Who might have got it: its audience included them, and no subscription of theirs matched.
    pub unsubscribed: Vec<PartyId>,
    /// Whom it was addressed to.
    pub audience: Vec<String>,
    /// When it ceases to be valid, Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// Its purpose.
    pub purpose: String,
    /// True if it carries personal or contact data.
    pub is_personal: bool,
    /// True if it was retracted or erased, or has expired.
    pub is_withdrawn: bool,
    /// True while a legal hold is on.
    pub is_held: bool,
    /// The message itself, where a grant is to be decided and its content is not gone.
    pub event: Option<std::sync::Arc<Tree>>,
    /// Its corrections, there too: they pass on with it.
    pub corrections: Vec<std::sync::Arc<Tree>>,
}

/// The earlier messages that this one stands on, in the order of the document.
#[must_use]
pub fn needs(kind: &str, data: Node<'_>) -> Vec<Need> {
    let one = |name: &str| need(data.at(name), format!("/data/{name}")).into_iter().collect();
    match kind {
        "msg.correction" | "msg.retraction" | "msg.release" => one("target"),
        "rfi.response" | "case.identity-response" => one("request"),
        "msg.erasure" => {
            let targets = data.at("targets").items().enumerate();
            targets.filter_map(|(at, target)| need(target, format!("/data/targets/{at}"))).collect()
        }
        _ => Vec::new(),
    }
}

fn need(reference: Node<'_>, path: String) -> Option<Need> {
    let id = MessageId::parse(reference.at("id").as_str()?).ok()?;
    Some(Need { source: reference.at("source").as_str()?.to_owned(), id, path })
}

/// The part of S-14 that needs no memory: a target whose source is another authority cannot be the sender's own.
///
/// # Errors
/// `E-REF` with the places.
pub fn own_targets(envelope: &Envelope, data: Node<'_>) -> Result<(), Refused> {
    let kind = envelope.kind.as_str();
    if !matches!(kind, "msg.correction" | "msg.retraction" | "msg.erasure") {
        return Ok(());
    }
    let foreign = needs(kind, data).into_iter().filter(|need| {
        Source::parse(&need.source).is_none_or(|source| source.party() != Some(&envelope.originator))
    });
    let faults: Vec<Fault> =
        foreign.map(|need| fault(&need.path, "is a message of another originator")).collect();
    if faults.is_empty() { Ok(()) } else { Err(Refused::many(Code::Ref, faults)) }
}

/// Said of what is not there, and of what is not the sender's business.
const UNKNOWN: &str = "is no message known here";

fn fault(path: &str, message: &str) -> Fault {
    Fault { path: path.to_owned(), message: message.to_owned() }
}

/// S-14 and S-22. `known` answers [`needs`] in order; `new_data` judges the data of a correction by the rules of its
/// target's type.
///
/// # Errors
/// `E-REF` or `E-AUDIENCE`, or what `new_data` refuses.
pub fn check(
    envelope: &Envelope,
    data: Node<'_>,
    known: &[Option<Known>],
    new_data: impl Fn(&Known) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let kind = envelope.kind.as_str();
    for (need, known) in needs(kind, data).iter().zip(known) {
        let Some(known) = known else {
            return Err(Refused::many(Code::Ref, vec![fault(&need.path, UNKNOWN)]));
        };
        let own = known.originator == envelope.originator;
        match kind {
            "msg.correction" | "msg.retraction" | "msg.erasure" if !own => {
                return Err(Refused::many(
                    Code::Ref,
                    vec![fault(&need.path, "is a message of another originator")],
                ));
            }
            "msg.correction" if known.is_withdrawn => return Err(withdrawn(&need.path)),
            "msg.correction" => new_data(known)?,
            // A hold keeps what a court may ask for; only a court or a supervisory authority goes before it.
            "msg.erasure" if known.is_held && data.at("ground") != "court-or-dpa-order" => {
                return Err(Refused::many(Code::Retention, vec![fault(&need.path, "is under legal hold")]));
            }
            "msg.release" => release(envelope, data, &need.path, known)?,
            "rfi.response" => answer(envelope, &need.path, known, "rfi.request")?,
            "case.identity-response" => answer(envelope, &need.path, known, "case.identity-request")?,
            _ => {}
        }
    }
    Ok(())
}

/// Asking is for those who hold the message, granting and refusing for its originator. Whoever is neither is told
/// the same as for a message that does not exist.
fn release(envelope: &Envelope, data: Node<'_>, path: &str, known: &Known) -> Result<(), Refused> {
    let asks = data.at("step") == "ask";
    let may = if asks {
        known.recipients.contains(&envelope.originator)
    } else {
        known.originator == envelope.originator
    };
    if !may {
        return Err(Refused::many(Code::Ref, vec![fault(path, UNKNOWN)]));
    }
    if known.kind.as_str().starts_with("msg.") {
        // New data of another type would pass by that type's roles, and whom they reach would hold no original.
        let words = "is a control message: the original is released, and its corrections with it";
        return Err(Refused::many(Code::Ref, vec![fault(path, words)]));
    }
    if known.is_withdrawn && data.at("step") != "refuse" {
        return Err(withdrawn(path));
    }
    Ok(())
}

fn withdrawn(path: &str) -> Refused {
    Refused::many(Code::Ref, vec![fault(path, "was withdrawn")])
}

/// S-22: the request is one, the sender was asked, and the answer names at most the requester and whom it asked. Whoever was
/// not asked is told the same as for a request that does not exist. That a group holds nobody else for the answer than for
/// the request, `control` sees to.
fn answer(envelope: &Envelope, path: &str, known: &Known, wanted: &str) -> Result<(), Refused> {
    if known.kind.as_str() != wanted || !known.recipients.contains(&envelope.originator) {
        return Err(Refused::many(Code::Ref, vec![fault(path, UNKNOWN)]));
    }
    let within = |name: &String| {
        *name == known.originator.as_str()
            || known.audience.contains(name)
            || known.recipients.iter().any(|party| party.as_str() == name)
    };
    if envelope.audience.iter().all(within) {
        Ok(())
    } else {
        let words = "reaches further than the requester and those whom it asked";
        Err(Refused::many(Code::Audience, vec![fault("/audience", words)]))
    }
}
