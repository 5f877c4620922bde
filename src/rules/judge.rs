//! The judgement of one message, as far as it needs no memory: the fixed order of the rule table.
//!
//! The first rule that fails gives the code. S-21 is asked as early as it can be: a party that takes no part is refused
//! before its bytes are read, so that it learns nothing of the rules; a message of a plane that is switched off is
//! refused as soon as its type is known, before anything of its body is looked at. What needs earlier messages is
//! `settle`'s, who gets it is `audience`'s.

use std::fmt;

use super::audience::Routed;
use super::catalogue::{Plane, TypeEntry};
use super::facets::Facets;
use super::semantics::{self, Body};
use super::{Rules, marks, personal, settle, signing, times};
use crate::message::envelope::{Envelope, Source, split_type};
use crate::message::json;
use crate::message::names::{MessageId, PartyId, PostId, token};
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::raw::{Frame, Raw};
use crate::message::subject::{self, Publish};
use crate::message::time::Timestamp;
use crate::message::tree::{Node, Tree};

/// More than any plane takes (S-2): not even read.
const LARGEST: usize = 256 * 1024;
/// The content type of structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// A message that every stateless rule permits. Made here and nowhere else.
pub struct Permitted {
    raw: Raw,
    envelope: Envelope,
    event: Tree,
    plane: Plane,
    facets: Facets,
    remarks: Vec<Fault>,
}

impl fmt::Debug for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Permitted");
        shown.field("source", &self.envelope.source_text).field("id", &self.envelope.id);
        shown.field("type", &self.envelope.kind).finish_non_exhaustive()
    }
}

impl Permitted {
    /// Its attributes.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// As received.
    #[must_use]
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// The body.
    #[must_use]
    pub fn data(&self) -> Node<'_> {
        self.event().at("data")
    }

    /// The whole message.
    #[must_use]
    pub fn event(&self) -> Node<'_> {
        self.event.root()
    }

    /// The signature that its post gave it, verified.
    #[must_use]
    pub fn signature(&self) -> Option<&str> {
        self.raw.signature.as_deref()
    }

    /// Its plane.
    #[must_use]
    pub fn plane(&self) -> Plane {
        self.plane
    }

    /// The sets that subscriptions ask for.
    #[must_use]
    pub fn facets(&self) -> &Facets {
        &self.facets
    }

    /// What the receipt says although the message is accepted: that it is late, and why.
    #[must_use]
    pub fn remarks(&self) -> Vec<Fault> {
        self.remarks.clone()
    }

    /// True if it was observed more than 7 days ago, or is an incident recorded more than 24 hours after it was known.
    #[must_use]
    pub fn is_late(&self) -> bool {
        !self.remarks.is_empty()
    }

    /// When it is to be erased at the latest, if there is such a day.
    #[must_use]
    pub fn erase_by(&self) -> Option<Timestamp> {
        marks::erase_by(&self.envelope, self.envelope.kind.as_str(), self.data())
    }

    /// What it is routed by.
    #[must_use]
    pub fn routed(&self) -> Routed<'_> {
        Routed {
            envelope: &self.envelope,
            is_case: self.plane == Plane::Case,
            facets: &self.facets,
            event: self.event(),
            today: marks::today(&self.envelope),
        }
    }
}

/// A refusal and whom it is to be told.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Code and places.
    pub refused: Refused,
    /// What could be read of the message.
    pub target: Target,
}

/// What could be read of a message, refused or not: as claimed, never checked against anybody's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `source`, empty if it is not well formed.
    pub source: String,
    /// `id`, if it is well formed.
    pub id: Option<MessageId>,
    /// The post in the NATS subject, `system` if there is none.
    pub post: String,
}

impl Target {
    /// That of a permitted message.
    #[must_use]
    pub fn of(permitted: &Permitted) -> Self {
        let envelope = &permitted.envelope;
        let post = envelope.source.post().map_or("system", PostId::as_str);
        Self { source: envelope.source_text.clone(), id: Some(envelope.id.clone()), post: post.to_owned() }
    }

    /// Before anything of the payload was read. The post is the subject's, also where the rest of the subject is wrong:
    /// who published there must be able to read the receipt.
    fn unread(raw: &Raw) -> Self {
        let publisher = subject::publisher(&raw.subject).filter(|(party, _)| *party == raw.party.as_str());
        let post = publisher.map(|(_, post)| post).filter(|post| PostId::parse(post).is_ok());
        Self { source: String::new(), id: None, post: post.unwrap_or("system").to_owned() }
    }

    fn read(raw: &Raw, event: Node<'_>) -> Self {
        let text = |name: &str| event.at(name).as_str();
        let id = text("id").and_then(|id| MessageId::parse(id).ok());
        let source = text("source").filter(|source| is_source(source)).unwrap_or_default().to_owned();
        Self { source, id, ..Self::unread(raw) }
    }
}

fn is_source(text: &str) -> bool {
    match Source::parse(text) {
        Some(Source::Authority(..)) => true,
        Some(Source::Broker(name)) => name.len() <= 40 && token(&name),
        None => false,
    }
}

/// Judges one message by all rules that need no memory.
///
/// # Errors
/// The refusal by the first failing rule.
pub fn judge(rules: &Rules, raw: Raw, now: Timestamp) -> Result<Permitted, Box<Refusal>> {
    if let Err(refused) = whole(&raw) {
        return Err(Box::new(Refusal { refused, target: Target::unread(&raw) }));
    }
    // Read before anything is refused: whoever waits for a receipt waits for it under the id.
    let tree = match json::read(&raw.payload) {
        Ok(tree) => tree,
        Err(refused) => {
            let refused = unread(rules, &raw).err().unwrap_or(refused);
            return Err(Box::new(Refusal { refused, target: Target::unread(&raw) }));
        }
    };
    match look(rules, &raw, tree.root(), now) {
        Ok(Seen { envelope, plane, facets, remarks }) => {
            Ok(Permitted { raw, envelope, event: tree, plane, facets, remarks })
        }
        Err(refused) => Err(Box::new(Refusal { refused, target: Target::read(&raw, tree.root()) })),
    }
}

struct Seen {
    envelope: Envelope,
    plane: Plane,
    facets: Facets,
    remarks: Vec<Fault>,
}

/// What is asked before anything of the payload counts.
fn unread(rules: &Rules, raw: &Raw) -> Result<(), Refused> {
    takes_part(rules, raw)?;
    size(raw, LARGEST)
}

/// The fixed order of the rule table.
fn look(rules: &Rules, raw: &Raw, event: Node<'_>, now: Timestamp) -> Result<Seen, Refused> {
    unread(rules, raw)?;
    let entry = event.at("type").as_str().map(|kind| entry(rules, kind)).transpose()?;
    if let Some(entry) = entry {
        open(rules, entry.plane)?;
        size(raw, entry.plane.limit())?;
    }
    structured(raw)?;
    let envelope = attributes(rules, event)?;
    let Some(entry) = entry else {
        return Err(Refused::new(Code::Envelope, "/type", "is required"));
    };
    marks::origin(raw, &envelope)?;
    signing::check(&rules.registry, raw, &envelope, now)?;
    marks::subject(raw, &envelope, entry.plane)?;
    marks::class(&rules.policy, &envelope)?;
    marks::purpose(entry, &envelope)?;
    marks::category(entry, &envelope)?;
    if entry.plane == Plane::Ctl && matches!(&*envelope.category, "personal" | "special") {
        open(rules, Plane::Case)?;
    }
    let data = event.at("data");
    let faults = rules.schemas.data(envelope.kind.as_str(), envelope.major, data, "/data");
    let faults = faults.unwrap_or_default();
    if !faults.is_empty() {
        return Err(personal::refused_by_schema(entry.plane, &envelope.category, event, faults));
    }
    let body = Body {
        rules,
        envelope: &envelope,
        event,
        kind: envelope.kind.as_str(),
        entry,
        data,
        prefix: "/data",
    };
    let found = semantics::survey(&body, Code::Schema)?;
    times::clock(&envelope, now)?;
    semantics::check(&body, found)?;
    settle::own_targets(&envelope, data)?;
    let facets = Facets::of(envelope.country.as_deref(), &envelope.priority, data);
    let remarks = times::late(&envelope, data, now);
    Ok(Seen { plane: entry.plane, facets, remarks, envelope })
}

/// A subject or header block that no client library can read was sent to break something. It is put aside with its
/// bytes; nothing in it is interpreted.
fn whole(raw: &Raw) -> Result<(), Refused> {
    match &raw.frame {
        Frame::Whole => Ok(()),
        Frame::Broken { .. } if Publish::parse(&raw.subject).is_none() => {
            Err(Refused::new(Code::Subject, "", "came on a subject that cannot be one").put_aside())
        }
        Frame::Broken { .. } => {
            Err(Refused::new(Code::Envelope, "", "came with headers that cannot be read").put_aside())
        }
    }
}

/// S-21, first part: who published is registered and not suspended.
fn takes_part(rules: &Rules, raw: &Raw) -> Result<(), Refused> {
    match rules.registry.party(raw.party.as_str()) {
        Some(party) if !party.is_suspended() => Ok(()),
        _ => Err(Refused::new(Code::Party, "", "this party is not taking part")),
    }
}

/// S-21, second part: the case plane is closed unless the operator opened it (Art. 10).
fn open(rules: &Rules, plane: Plane) -> Result<(), Refused> {
    if plane == Plane::Case && !rules.policy.case_plane {
        return Err(Refused::new(
            Code::Plane,
            "/type",
            "personal data are not taken: the case plane is switched off",
        ));
    }
    Ok(())
}

/// S-2.
fn size(raw: &Raw, most: usize) -> Result<(), Refused> {
    if raw.payload.len() > most {
        return Err(Refused::new(Code::Size, "", format!("has more than {most} bytes")));
    }
    Ok(())
}

/// S-24: the type is known and this version of it is live.
fn entry<'a>(rules: &'a Rules, kind: &str) -> Result<&'a TypeEntry, Refused> {
    split_type(kind)
        .filter(|(kind, major)| rules.schemas.is_live(kind.as_str(), *major))
        .and_then(|(kind, _)| rules.catalogue.get(kind.as_str()))
        .ok_or_else(|| Refused::new(Code::Type, "/type", "is no type and version in force"))
}

/// CloudEvents structured mode in UTF-8: told by the content type, or no content type and no `ce-` header. With the
/// content type, `ce-` headers are passed over like all others.
fn structured(raw: &Raw) -> Result<(), Refused> {
    let is_structured = match &raw.content_type {
        None => !raw.binary_mode,
        Some(text) => {
            let mut parts = text.split(';').map(str::trim);
            let charset = |part: &str| {
                let value =
                    part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
                value.is_none_or(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
            };
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(STRUCTURED)) && parts.all(charset)
        }
    };
    if is_structured {
        return Ok(());
    }
    Err(Refused::new(Code::Envelope, "", "must be a structured CloudEvent: application/cloudevents+json"))
}

/// The envelope's schema, what it cannot say, and the reading.
fn attributes(rules: &Rules, event: Node<'_>) -> Result<Envelope, Refused> {
    let faults = rules.schemas.envelope(event);
    if !faults.is_empty() {
        return Err(Refused::many(meaning(event, &faults), faults));
    }
    let unfit = event.members().filter(|(_, value)| value.as_str().is_some_and(is_unfit));
    let mut faults: Vec<Fault> = unfit
        .map(|(name, _)| Fault { path: format!("/{name}"), message: "holds a control character".to_owned() })
        .collect();
    if !faults.is_empty() {
        faults.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        return Err(Refused::many(Code::Envelope, faults));
    }
    Envelope::read(event).map_err(|name| {
        Refused::new(Code::Envelope, format!("/{name}"), "cannot be read; leap seconds are not taken")
    })
}

/// True if a text holds what CloudEvents attributes must not: controls and noncharacters.
fn is_unfit(text: &str) -> bool {
    let printable = |byte: u8| (0x20..0x7f).contains(&byte);
    !text.bytes().all(printable)
        && text.chars().any(|character| {
            let code = u32::from(character);
            character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
        })
}

/// Two conditions of the envelope's schema are law of their own: personal data without an erasure date (Art. 10(2),
/// E-RETENTION), personal data to a group (Art. 10(4), E-AUDIENCE). Whatever else is wrong goes first.
fn meaning(event: Node<'_>, faults: &[Fault]) -> Code {
    let text = |name: &str| event.at(name).as_str().unwrap_or_default();
    let is_readable = |name: &str| marks::is_group(name) || PartyId::parse(name).is_ok();
    let personal = matches!(text("datacategory"), "personal" | "special");
    let to_a_group = text("audience").contains('@') && text("audience").split(',').all(is_readable);
    let kept_for_ever = event.get("eraseby").is_none();
    let special = |fault: &Fault| match fault.path.as_str() {
        "/eraseby" => kept_for_ever,
        "/audience" => to_a_group,
        _ => false,
    };
    if !personal || !faults.iter().all(special) {
        return Code::Envelope;
    }
    if kept_for_ever { Code::Retention } else { Code::Audience }
}

/// The data of a correction, judged by the rules of its target's type (S-14): its schema, then everything that a
/// message of that type must keep, category and retention included.
///
/// A correction corrects the original, never another correction or any other control message: the second correction
/// of a report names the report again. So what is in force is found in one step.
///
/// # Errors
/// `E-REF` if the target cannot be corrected or the data are not valid for its type, else the code of the rule broken.
pub fn new_data(rules: &Rules, permitted: &Permitted, known: &settle::Known) -> Result<(), Refused> {
    let kind = known.kind.as_str();
    let correctable = rules.catalogue.get(kind).filter(|entry| entry.plane != Plane::Ctl);
    let Some(entry) = correctable else {
        return Err(Refused::new(Code::Ref, "/data/target", "is a control message: correct the original"));
    };
    open(rules, entry.plane)?;
    marks::category(entry, &permitted.envelope)?;
    let data = permitted.data().at("newData");
    match rules.schemas.data(kind, known.major, data, "/data/newData") {
        None => {
            return Err(Refused::new(
                Code::Ref,
                "/data/target",
                "is of a version that is no longer in force",
            ));
        }
        Some(faults) if !faults.is_empty() => return Err(Refused::many(Code::Ref, faults)),
        Some(_) => {}
    }
    let body = Body {
        rules,
        envelope: &permitted.envelope,
        event: permitted.event(),
        kind,
        entry,
        data,
        prefix: "/data/newData",
    };
    let found = semantics::survey(&body, Code::Ref)?;
    semantics::check(&body, found)
}
