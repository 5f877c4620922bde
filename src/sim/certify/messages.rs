//! The messages of an acceptance: invented, valid, and spoilt ones of which it is known why.

use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::message::digest::Digest;
use crate::message::names::{PartyId, PostId};
use crate::message::time;
use crate::sim::demo;

/// What every message is made from.
const EXAMPLE: &str = include_str!("../../../tests/examples/valid/01-flow-observation-mixed.json");

/// By when an erasure must be confirmed.
const ERASED_WITHIN: SignedDuration = SignedDuration::from_hours(48);
/// The title of each message, and what becomes of it in one that is changed on the way.
pub const TRUE: &str = "A message for the acceptance of a system; nothing in it is real";
/// As long as the true one.
pub const FALSE: &str = "A message for the acceptance of a system; somebody changed this";

/// Who sends.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The authority.
    pub party: PartyId,
    /// Its post, or the system user.
    pub post: Option<PostId>,
}

/// A message, ready to be sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Where it is published.
    pub subject: String,
    /// The bytes.
    pub payload: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// `source`, for those that refer to it.
    pub source: String,
}

/// How a message is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// Shares of more than one: `E-RANGE`.
    Shares,
    /// A member that the schema does not know: `E-SCHEMA`.
    Member,
    /// A telephone number in free text: `E-PERSONAL`.
    Telephone,
}

impl Spoilt {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shares, Self::Member, Self::Telephone];

    /// The code with which it is refused.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Shares => "E-RANGE",
            Self::Member => "E-SCHEMA",
            Self::Telephone => "E-PERSONAL",
        }
    }
}

impl Message {
    /// A valid report to one party.
    #[must_use]
    pub fn report(from: &Sender, to: &PartyId) -> Self {
        Self::of(&event(from, to.as_str()), from, "net.flow.observation.tn")
    }

    /// The same, spoilt.
    #[must_use]
    pub fn spoilt(from: &Sender, to: &PartyId, how: Spoilt) -> Self {
        let mut event = event(from, to.as_str());
        match how {
            Spoilt::Shares => event["data"]["destinations"][0]["share"] = json!(0.95),
            Spoilt::Member => event["data"]["unheardOf"] = json!(true),
            Spoilt::Telephone => {
                event["data"]["narrative"] = json!("Contact the agent under +90 555 010 20 30 for seats.");
            }
        }
        Self::of(&event, from, "net.flow.observation.tn")
    }

    /// The retraction of a message.
    #[must_use]
    pub fn retraction(from: &Sender, to: &PartyId, of: &Self) -> Self {
        let target = json!({ "source": of.source, "id": of.id });
        Self::control(from, to, "retraction", json!({ "target": target, "reason": "sent-in-error" }))
    }

    /// The order that a message be erased.
    #[must_use]
    pub fn erasure(from: &Sender, to: &PartyId, of: &Self) -> Self {
        let due = time::rfc3339(time::now() + ERASED_WITHIN);
        let target = json!({ "source": of.source, "id": of.id });
        let data = json!({ "targets": [target], "ground": "unlawful", "dueBy": due, "attest": true });
        Self::control(from, to, "erasure", data)
    }

    fn control(from: &Sender, to: &PartyId, kind: &str, data: Value) -> Self {
        let mut event = event(from, to.as_str());
        event["type"] = json!(format!("eu.ilonet.msg.{kind}.v1"));
        event["purpose"] = json!("ctl");
        event["data"] = data;
        if let Some(members) = event.as_object_mut() {
            for name in ["subject", "evaluation", "handling", "priority", "correlationid"] {
                members.remove(name);
            }
        }
        Self::of(&event, from, &format!("ctl.msg.{kind}.zz"))
    }

    /// As a line for the publisher.
    #[must_use]
    pub fn line(&self) -> Value {
        let text = String::from_utf8_lossy(&self.payload);
        let message: Value = serde_json::from_slice(&self.payload).unwrap_or_default();
        json!({ "subject": self.subject, "message": message, "payload": text })
    }

    fn of(event: &Value, from: &Sender, rest: &str) -> Self {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let payload = Bytes::from(event.to_string());
        let post = from.post.as_ref().map_or("system", PostId::as_str);
        Self {
            id: text("id"),
            subject: format!("ilo.in.{}.{post}.{rest}", from.party),
            digest: Digest::of(&payload),
            source: text("source"),
            payload,
        }
    }
}

fn event(from: &Sender, to: &str) -> Value {
    let example: Value = serde_json::from_str(EXAMPLE).unwrap_or_default();
    let mut event = demo::freshen(example["message"].clone());
    let party = &from.party;
    event["source"] = match &from.post {
        Some(post) => json!(format!("/authority/{party}/post/{post}")),
        None => json!(format!("/authority/{party}")),
    };
    event["originator"] = json!(party.as_str());
    event["audience"] = json!(to);
    event["data"]["title"] = json!(TRUE);
    event
}
