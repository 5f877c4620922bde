//! A broker's judgement without a broker: the real rules, and a map in the place of the archive.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Attempt, Cast, Expect, Setting, Timestamp};
use crate::message::names::MessageId;
use crate::message::outcome::{Code, Outcome, Refused};
use crate::message::raw::{Frame, Position, Raw};
use crate::message::tree::Tree;
use crate::rules::Rules;
use crate::rules::catalogue::Catalogue;
use crate::rules::control::{self, Act};
use crate::rules::deployments::Deployments;
use crate::rules::judge::{self, judge};
use crate::rules::policy::Policy;
use crate::rules::schemas::Schemas;
use crate::rules::settle::{self, Known};
use crate::rules::subscriptions::{Subscription, Subscriptions};

/// What is kept of a message.
struct Kept {
    bytes: bytes::Bytes,
    known: Option<Known>,
    outcome: Outcome,
}

pub(super) struct Model {
    rules: Rules,
    now: Timestamp,
    parties: Vec<crate::message::names::PartyId>,
    subscriptions: Subscriptions,
    deployments: Deployments,
    kept: HashMap<(String, MessageId), Kept>,
    decided: std::collections::HashSet<u32>,
    last: (u32, std::time::Duration),
}

impl Model {
    pub(super) fn new(cast: &Cast, setting: Setting) -> Self {
        let mut subscriptions = Subscriptions::default();
        for authority in &cast.authorities {
            let list =
                authority.subscriptions.iter().map(|value| Subscription::parse(value).expect("readable"));
            subscriptions.replace_party(authority.party.clone(), list.collect()).expect("few enough");
        }
        Self {
            rules: Rules {
                catalogue: Catalogue::embedded().clone(),
                schemas: Schemas::embedded().expect("the embedded schemas"),
                registry: cast.registry.clone(),
                policy: Policy::default().with_case_plane(setting.case_plane),
            },
            now: setting.clock + jiff::SignedDuration::from_hours(2),
            parties: cast.officers.iter().map(|officer| officer.party.clone()).collect(),
            subscriptions,
            deployments: Deployments::default(),
            kept: HashMap::new(),
            decided: std::collections::HashSet::new(),
            last: (0, std::time::Duration::ZERO),
        }
    }

    /// Judges an attempt; what is wrong with it or with its verdict is the error.
    pub(super) fn judge(&mut self, attempt: &Attempt) -> Result<(), String> {
        if attempt.due < self.last.1 || (attempt.no != self.last.0) {
            return Err("out of order".to_owned());
        }
        self.last = (attempt.no + 1, attempt.due);
        if attempt.after.is_some_and(|no| !self.decided.contains(&no)) {
            return Err("waits for one that comes later".to_owned());
        }
        self.decided.insert(attempt.no);
        let (id, got) = self.outcome(attempt);
        let same = match (&got, attempt.expect) {
            (Ok(Outcome::Accepted), Expect::Accepted) => true,
            (Ok(Outcome::Duplicate), Expect::Duplicate(of)) => attempt.after == Some(of),
            (Err(refused), Expect::Rejected(code)) => {
                refused.code == code && refused.outcome() == Outcome::Rejected
            }
            (Err(refused), Expect::Quarantined(code)) => {
                refused.code == code && refused.outcome() == Outcome::Quarantined
            }
            _ => false,
        };
        if !same {
            return Err(format!("{} became {got:?}", attempt.subject));
        }
        if id.as_ref().map(MessageId::as_str) != attempt.id.as_deref() {
            return Err(format!("{} was to be receipted under {:?}", attempt.subject, attempt.id));
        }
        Ok(())
    }

    fn outcome(&mut self, attempt: &Attempt) -> (Option<MessageId>, Result<Outcome, Refused>) {
        let raw = Raw {
            party: self.parties[attempt.officer].clone(),
            subject: attempt.subject.clone(),
            payload: attempt.payload.clone(),
            content_type: Some("application/cloudevents+json".to_owned()),
            signature: None,
            binary_mode: false,
            arrived: self.now,
            position: Position::default(),
            frame: Frame::Whole,
        };
        let permitted = match judge(&self.rules, raw, self.now) {
            Ok(permitted) => permitted,
            Err(refusal) => return (refusal.target.id, Err(refusal.refused)),
        };
        let envelope = permitted.envelope();
        let (id, key) = (envelope.id.clone(), (envelope.source_text.clone(), envelope.id.clone()));
        if let Some(kept) = self.kept.get(&key) {
            let same = kept.bytes == attempt.payload && kept.outcome == Outcome::Accepted;
            let reused = || Refused::new(Code::Dup, "/id", "used");
            return (Some(id), if same { Ok(Outcome::Duplicate) } else { Err(reused()) });
        }
        let decided = self.settle(&permitted);
        let outcome = match decided {
            Ok(decision) => {
                self.keep(key, &permitted, &decision, attempt);
                Ok(Outcome::Accepted)
            }
            Err(refused) => Err(refused),
        };
        (Some(id), outcome)
    }

    fn settle(&self, permitted: &judge::Permitted) -> Result<control::Decision, Refused> {
        let needs = settle::needs(permitted.envelope().kind.as_str(), permitted.data());
        let look =
            |need: &settle::Need| self.kept.get(&(need.source.clone(), need.id.clone()))?.known.clone();
        let known: Vec<Option<Known>> = needs.iter().map(look).collect();
        settle::check(permitted.envelope(), permitted.data(), &known, |target| {
            judge::new_data(&self.rules, permitted, target)
        })?;
        let table = control::Table {
            registry: &self.rules.registry,
            subscriptions: &self.subscriptions,
            deployments: &self.deployments,
        };
        control::decide(&table, &permitted.routed(), &known)
    }

    fn keep(
        &mut self,
        key: (String, MessageId),
        permitted: &judge::Permitted,
        decision: &control::Decision,
        attempt: &Attempt,
    ) {
        let envelope = permitted.envelope();
        let needs = settle::needs(envelope.kind.as_str(), permitted.data());
        for (need, act) in needs.iter().zip(&decision.acts) {
            let Some(kept) = self.kept.get_mut(&(need.source.clone(), need.id.clone())) else { continue };
            let Some(known) = &mut kept.known else { continue };
            match act {
                Act::Retract => known.is_withdrawn = true,
                Act::Grant(routing) => {
                    known
                        .recipients
                        .extend(routing.recipients.iter().map(|recipient| recipient.party.clone()));
                }
                _ => {}
            }
        }
        self.deployments.apply(&envelope.originator, envelope.kind.as_str(), permitted.data());
        let recipients =
            decision.routing.recipients.iter().map(|recipient| recipient.party.clone()).collect();
        let event: Value = serde_json::from_slice(&attempt.payload).expect("an accepted message is JSON");
        let known = Known {
            seq: u64::from(attempt.no) + 1,
            originator: envelope.originator.clone(),
            kind: envelope.kind.clone(),
            major: envelope.major,
            recipients,
            unsubscribed: Vec::new(),
            expires_ms: None,
            audience: envelope.audience.clone(),
            purpose: envelope.purpose.clone(),
            is_personal: envelope.category != "none",
            is_withdrawn: false,
            is_held: false,
            corrections: Vec::new(),
            event: Some(Arc::new(Tree::of(&event))),
        };
        let kept = Kept { bytes: attempt.payload.clone(), known: Some(known), outcome: Outcome::Accepted };
        self.kept.insert(key, kept);
    }
}
