//! The whole verdict on one message in one value: what `liaison validate` prints and the service `validate` answers.
//!
//! The same code as the daemon's judgement and routing; it stores nothing. Without an archive, the rules that need one
//! are listed as unchecked instead of being guessed.

use serde::Serialize;
use serde_json::{Value, json};

use super::Rules;
use super::audience::Routing;
use super::judge::{Permitted, judge};
use crate::message::envelope::{Source, split_type};
use crate::message::names::PartyId;
use crate::message::outcome::{Fault, Outcome, Refused};
use crate::message::raw::Raw;
use crate::message::subject;
use crate::message::time::Timestamp;

/// A verdict.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// `accepted`, `quarantined` or `rejected`.
    pub outcome: Outcome,
    /// The refusal, if it is one.
    pub refused: Option<Refused>,
    /// Who would get it and who would not.
    pub routing: Option<Routing>,
    /// Rules that could not be checked here.
    pub unchecked: Vec<&'static str>,
}

/// One party left out.
#[derive(Debug, Clone, Serialize)]
struct Left<'a> {
    party: &'a PartyId,
    reason: &'a str,
}

impl Verdict {
    /// The members of the protocol, section 6: `outcome`, `code`, `detail`, `recipients`, `withheld`, `unchecked`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let none: Vec<Fault> = Vec::new();
        let detail = self.refused.as_ref().map_or(&none, |refused| &refused.detail);
        let (recipients, withheld) = self.routing.as_ref().map_or((Vec::new(), Vec::new()), |routing| {
            (
                routing.recipients.iter().map(|recipient| &recipient.party).collect(),
                routing
                    .withheld
                    .iter()
                    .map(|left| Left { party: &left.party, reason: left.reason.as_str() })
                    .collect(),
            )
        });
        let mut value = json!({
            "outcome": self.outcome,
            "detail": detail,
            "recipients": recipients,
            "withheld": withheld,
        });
        if let Some(refused) = &self.refused {
            value["code"] = refused.code.as_str().into();
        }
        if !self.unchecked.is_empty() {
            value["unchecked"] = json!(self.unchecked);
        }
        value
    }
}

/// Judges and routes one message; `route` is the routing with or without a memory.
pub fn of(
    rules: &Rules,
    raw: Raw,
    now: Timestamp,
    route: impl FnOnce(&Rules, &Permitted) -> Result<Routing, Refused>,
) -> Verdict {
    let refuse = |refused: Refused| Verdict {
        outcome: refused.outcome(),
        refused: Some(refused),
        routing: None,
        unchecked: Vec::new(),
    };
    match judge(rules, raw, now) {
        Err(refusal) => refuse(refusal.refused),
        Ok(permitted) => match route(rules, &permitted) {
            Err(refused) => refuse(refused),
            Ok(routing) => Verdict {
                outcome: Outcome::Accepted,
                refused: None,
                routing: Some(routing),
                unchecked: Vec::new(),
            },
        },
    }
}

/// Rules that need an archive, for a message of this type: S-5 for all, S-14 and S-22 for those with a target.
#[must_use]
pub fn needs_memory(kind: &str) -> Vec<&'static str> {
    let mut rules = vec!["S-5", "S-23"];
    match kind {
        "msg.correction" | "msg.retraction" | "msg.erasure" | "msg.release" => rules.push("S-14"),
        "rfi.response" | "case.identity-response" => rules.push("S-22"),
        _ => {}
    }
    rules
}

/// The publisher that the envelope names, if it can be read at all.
#[must_use]
pub fn claimed_party(payload: &[u8]) -> Option<PartyId> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    Source::parse(value.get("source")?.as_str()?)?.party().cloned()
}

/// The subject that the envelope calls for, if it can be read at all. For judging without a subject at hand only.
#[must_use]
pub fn expected_subject(payload: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let source = Source::parse(value.get("source")?.as_str()?)?;
    let (kind, _) = split_type(value.get("type")?.as_str()?)?;
    let plane = super::catalogue::Catalogue::embedded().get(kind.as_str()).map(|entry| entry.plane)?;
    let country = value.get("subject").and_then(Value::as_str);
    Some(subject::publish(source.party()?, source.post(), plane.as_str(), &kind, country))
}
