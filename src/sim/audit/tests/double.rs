//! A copy of the broker in memory, made of the crate's own judgement and routing, which can be spoilt.
//!
//! It judges, routes, keeps and counts as the broker does; what it puts on paper is `log`'s.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::bugs::Bug;
use super::deal::{self, REGISTRY};
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Outcome, Refused};
use crate::message::raw::{Frame, Position, Raw};
use crate::message::time::Timestamp;
use crate::message::tree::Tree;
use crate::rules::Rules;
use crate::rules::audience::{self, Recipient, Routed, Why};
use crate::rules::catalogue::{Catalogue, Plane};
use crate::rules::control::{self, Act, Decision, Table};
use crate::rules::deployments::Deployments;
use crate::rules::judge::{Permitted, judge, new_data};
use crate::rules::policy::Policy;
use crate::rules::registry::Registry;
use crate::rules::schemas::Schemas;
use crate::rules::settle::{self, Known};
use crate::rules::subscriptions::{Subscription, Subscriptions};
use crate::sim::cast::Cast;
use crate::sim::log::Tried;
use crate::sim::script::{Attempt, Expect};

pub(super) static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    catalogue: Catalogue::embedded().clone(),
    schemas: Schemas::embedded().expect("the embedded schemas must compile"),
    registry: Registry::parse(&REGISTRY).expect("a good registry"),
    policy: Policy::new("LIMITE", true).expect("a marking"),
});

/// The clock of the examples.
pub(super) fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().expect("an instant")
}

/// A message that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) no: u32,
    pub(super) seq: u64,
    pub(super) event: Value,
    pub(super) digest: Digest,
    /// What stands behind the party in the subjects of its letters.
    pub(super) tail: String,
    pub(super) originator: PartyId,
    recipients: Vec<PartyId>,
    released: Vec<PartyId>,
    corrections: Vec<usize>,
    /// Retracted, or erased.
    pub(super) gone: Option<&'static str>,
    known: Known,
}

impl Kept {
    pub(super) fn is_corrected(&self) -> bool {
        !self.corrections.is_empty()
    }

    pub(super) fn holders(&self) -> Vec<PartyId> {
        self.recipients.iter().chain(&self.released).cloned().collect()
    }
}

/// Where the copy stands: its rules and its clock.
#[derive(Clone, Copy)]
pub(super) struct House {
    pub(super) rules: &'static Rules,
    /// Text of the registry of the rules.
    pub(super) registry: &'static str,
    pub(super) now: Timestamp,
}

impl House {
    /// That of most tests.
    pub(super) fn usual() -> Self {
        Self { rules: &RULES, registry: &REGISTRY, now: now() }
    }
}

/// The copy.
pub(super) struct Double {
    house: House,
    registry: Registry,
    subscriptions: Subscriptions,
    deployments: Deployments,
    told: Vec<usize>,
    pub(super) kept: Vec<Kept>,
    by_key: HashMap<(String, String), usize>,
    /// Places in `kept`, by party, in the order of the feed.
    pub(super) feeds: BTreeMap<PartyId, Vec<usize>>,
    seq: u64,
    stream: u64,
    accepted: u32,
    pub(super) verdict: Option<Expect>,
    bugs: Vec<Bug>,
}

impl Double {
    pub(super) fn new(house: House, cast: &Cast, bugs: &[Bug]) -> Self {
        let has = |bug| bugs.contains(&bug);
        let mut text = house.registry.to_owned();
        if has(Bug::ForgetsSuspended) {
            text = text.replace("participation = \"suspended\"", "participation = \"member-state\"");
        }
        if has(Bug::LetsSupervisorsRead) {
            text = text.replace("roles = [\"supervisor\"]", "roles = [\"asylum\"]");
        }
        let mut subscriptions = Subscriptions::default();
        for authority in &cast.authorities {
            if has(Bug::ForgetsSubscriptions) && authority.party.as_str().starts_with("de-") {
                continue;
            }
            let mut list = json!(authority.subscriptions).to_string();
            if has(Bug::TakesPrefixForExact) {
                list = list.replace("\"prefix\"", "\"exact\"");
            }
            if has(Bug::ForgetsNot) {
                list = without_not(&json!(authority.subscriptions)).to_string();
            }
            let list: Vec<Value> = serde_json::from_str(&list).expect("a list");
            let list = list.iter().map(|one| Subscription::parse(one).expect("a subscription")).collect();
            subscriptions.replace_party(authority.party.clone(), list).expect("fits");
        }
        Self {
            house,
            registry: Registry::parse(&text).expect("a good registry"),
            subscriptions,
            deployments: Deployments::default(),
            told: Vec::new(),
            kept: Vec::new(),
            by_key: HashMap::new(),
            feeds: BTreeMap::new(),
            seq: 0,
            stream: 0,
            accepted: 0,
            verdict: None,
            bugs: bugs.to_vec(),
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bugs.contains(&bug)
    }

    /// Takes a publication, and answers.
    pub(super) fn receive(&mut self, attempt: &Attempt) -> Tried {
        self.stream += 1;
        let digest = Digest::of(&attempt.payload);
        let at = u64::from(attempt.no) * 1_000;
        let mut tried = Tried {
            no: attempt.no,
            id: attempt.id.clone(),
            due: at,
            sent: Some(at),
            sends: 1,
            acked: Some(at + 100),
            stream_seq: Some(self.stream),
            receipted: Some(at + 900),
            sha256: Some(digest.hex()),
            ..Tried::default()
        };
        let (outcome, code, kept) = self.judge(attempt, digest, &mut tried.id);
        let first = kept.map(|at| self.kept[at].no);
        self.verdict = Some(deal::expect(outcome, code, first));
        tried.outcome = Some(outcome.as_str().to_owned());
        tried.code = code.map(|code| code.as_str().to_owned());
        if let Some(kept) = kept {
            tried.seq = Some(self.kept[kept].seq);
            tried.recipients = Some(self.kept[kept].recipients.len() as u64);
        }
        tried
    }

    fn judge(
        &mut self,
        attempt: &Attempt,
        digest: Digest,
        id: &mut Option<String>,
    ) -> (Outcome, Option<Code>, Option<usize>) {
        let party = attempt.subject.split('.').nth(2).and_then(|party| PartyId::parse(party).ok());
        let raw = Raw {
            party: party.expect("a party"),
            subject: attempt.subject.clone(),
            payload: attempt.payload.clone(),
            content_type: None,
            signature: None,
            binary_mode: false,
            arrived: self.house.now,
            position: Position { epoch: 1, sequence: self.stream },
            frame: Frame::Whole,
        };
        let tail = attempt.subject.splitn(5, '.').nth(4).unwrap_or_default().to_owned();
        let refused = |refused: &Refused| (refused.outcome(), Some(refused.code), None);
        let permitted = match judge(self.house.rules, raw, self.house.now) {
            Ok(permitted) => permitted,
            Err(refusal) => {
                *id = refusal.target.id.map(|id| id.to_string());
                if self.has(Bug::DeliversRefused) {
                    self.deliver_refused(attempt, digest, tail);
                }
                return refused(&refusal.refused);
            }
        };
        *id = Some(permitted.envelope().id.to_string());
        let key = (permitted.envelope().source_text.clone(), permitted.envelope().id.to_string());
        if let Some(before) = self.by_key.get(&key).copied() {
            if self.kept[before].digest != digest {
                return (Outcome::Rejected, Some(Code::Dup), None);
            }
            if self.has(Bug::DeliversDuplicates) {
                self.deliver(before);
            }
            return (Outcome::Duplicate, None, Some(before));
        }
        let targets: Vec<Option<usize>> = settle::needs(permitted.envelope().kind.as_str(), permitted.data())
            .iter()
            .map(|need| self.by_key.get(&(need.source.clone(), need.id.to_string())).copied())
            .collect();
        match self.route(&permitted, &targets) {
            Err(reason) => refused(&reason),
            Ok(decision) => {
                let at = self.keep(attempt.no, digest, tail, &permitted, &decision);
                self.by_key.insert(key, at);
                self.deliver(at);
                self.apply(at, &decision, &targets);
                (Outcome::Accepted, None, Some(at))
            }
        }
    }

    fn route(&self, permitted: &Permitted, targets: &[Option<usize>]) -> Result<Decision, Refused> {
        let known: Vec<Option<Known>> = targets.iter().map(|at| at.map(|at| self.known(at))).collect();
        settle::check(permitted.envelope(), permitted.data(), &known, |target| {
            new_data(self.house.rules, permitted, target)
        })?;
        let mut envelope = permitted.envelope().clone();
        audience::check(&self.house.rules.registry, &envelope, &envelope.purpose)?;
        if self.has(Bug::IgnoresExclude) {
            envelope.exclude.clear();
        }
        if self.has(Bug::TakesLeaForMs) {
            envelope
                .audience
                .iter_mut()
                .filter(|name| *name == "@ms-lea")
                .for_each(|name| "@ms".clone_into(name));
        }
        let routed = Routed { envelope: &envelope, ..permitted.routed() };
        let table = Table {
            registry: &self.registry,
            subscriptions: &self.subscriptions,
            deployments: &self.deployments,
        };
        let by_audience =
            self.has(Bug::RoutesCorrectionsByAudience) && envelope.kind.as_str() == "msg.correction";
        let mut decision = control::decide(&table, &routed, if by_audience { &[] } else { &known })?;
        let more = |decision: &mut Decision, party: &str| {
            let party = PartyId::parse(party).expect("a party");
            if !decision.routing.recipients.iter().any(|known| known.party == party) {
                decision.routing.recipients.push(Recipient { party, why: Why::Named });
            }
        };
        if self.has(Bug::TellsTheOriginator) && envelope.audience.iter().any(|name| name == "@network") {
            more(&mut decision, envelope.originator.as_str());
        }
        Ok(decision)
    }

    fn known(&self, at: usize) -> Known {
        let kept = &self.kept[at];
        Known {
            recipients: kept.holders(),
            is_withdrawn: kept.gone.is_some(),
            event: Some(std::sync::Arc::new(Tree::of(&kept.event))),
            ..kept.known.clone()
        }
    }

    fn keep(
        &mut self,
        no: u32,
        digest: Digest,
        tail: String,
        permitted: &Permitted,
        decision: &Decision,
    ) -> usize {
        self.seq += 1 + u64::from(no.is_multiple_of(3)); // refusals are kept too
        let envelope = permitted.envelope();
        let recipients: Vec<PartyId> =
            decision.routing.recipients.iter().map(|recipient| recipient.party.clone()).collect();
        let known = Known {
            seq: self.seq,
            originator: envelope.originator.clone(),
            kind: envelope.kind.clone(),
            major: envelope.major,
            recipients: Vec::new(),
            unsubscribed: Vec::new(),
            expires_ms: None,
            audience: envelope.audience.clone(),
            purpose: envelope.purpose.clone(),
            is_personal: permitted.plane() == Plane::Case || envelope.category != "none",
            is_withdrawn: false,
            is_held: false,
            corrections: Vec::new(),
            event: None,
        };
        self.kept.push(Kept {
            no,
            seq: self.seq,
            event: permitted.event().to_value(),
            digest,
            tail,
            originator: envelope.originator.clone(),
            recipients,
            released: Vec::new(),
            corrections: Vec::new(),
            gone: None,
            known,
        });
        self.kept.len() - 1
    }

    fn deliver(&mut self, at: usize) {
        let kept = &self.kept[at];
        self.accepted += 1;
        let mut to = kept.recipients.clone();
        if (self.has(Bug::DropsTheLast) && self.accepted.is_multiple_of(17))
            || (self.has(Bug::RecallsMissAHolder) && kept.tail.starts_with("ctl.msg.retraction"))
        {
            to.pop();
        }
        if self.has(Bug::ForgetsToKeep) && self.accepted.is_multiple_of(29) {
            to.clear();
        }
        for party in to {
            self.feeds.entry(party).or_default().push(at);
        }
    }

    /// What a message does to earlier ones, and what it tells of deployments.
    fn apply(&mut self, at: usize, decision: &Decision, targets: &[Option<usize>]) {
        for (act, target) in decision.acts.iter().zip(targets.iter().flatten()) {
            let mut bundle = vec![*target];
            bundle.extend(self.kept[*target].corrections.iter().copied());
            match act {
                Act::Correct => self.kept[*target].corrections.push(at),
                Act::Retract => bundle.iter().for_each(|at| {
                    self.kept[*at].gone.get_or_insert("retracted");
                }),
                Act::Erase => bundle.iter().for_each(|at| self.kept[*at].gone = Some("erased")),
                Act::Grant(routing) => {
                    let mut to: Vec<PartyId> =
                        routing.recipients.iter().map(|recipient| recipient.party.clone()).collect();
                    if self.has(Bug::GrantsTooMuch) {
                        to.extend(routing.withheld.iter().map(|left| left.party.clone()).take(1));
                    }
                    if self.has(Bug::ForgetsGrants) {
                        to.clear();
                    }
                    if self.has(Bug::GrantsWithoutCorrections) {
                        bundle.truncate(1);
                    }
                    for at in bundle {
                        for party in &to {
                            self.feeds.entry(party.clone()).or_default().push(at);
                        }
                        self.kept[at].released.extend(to.iter().cloned());
                    }
                }
                Act::Ask | Act::Deny => {}
            }
        }
        let tells = |at: usize| {
            let kind = self.kept[at].known.kind.as_str();
            matches!(kind, "deployment.notice" | "network.facilitator")
        };
        let told = tells(at) || targets.iter().flatten().any(|target| tells(*target));
        if told {
            self.told.push(at);
        }
        if told || !targets.is_empty() {
            self.learn();
        }
    }

    /// Everything told of deployments, from the beginning.
    fn learn(&mut self) {
        let mut relearn = Deployments::default();
        for at in &self.told {
            let kept = &self.kept[*at];
            if kept.gone.is_some() {
                continue;
            }
            let kind = kept.known.kind.as_str();
            let mut data = kept.event["data"].clone();
            if self.bugs.contains(&Bug::MakesLocalTooWide) {
                data["region"] = json!(["TN", "TR", "PK", "NE", "MA", "LY", "AF", "CN", "MX"]);
            }
            if self.bugs.contains(&Bug::ForgetsAlsoFor) {
                data["alsoFor"] = json!([]);
            }
            if kind == "msg.correction" {
                let of = (
                    kept.event["data"]["target"]["source"].as_str(),
                    kept.event["data"]["target"]["id"].as_str(),
                );
                if let (Some(source), Some(id)) = of
                    && let Some(target) = self.by_key.get(&(source.to_owned(), id.to_owned()))
                {
                    let target = &self.kept[*target];
                    let kind = target.known.kind.as_str();
                    relearn.apply(&target.originator, kind, Tree::of(&kept.event["data"]["newData"]).root());
                }
            } else {
                relearn.apply(&kept.originator, kind, Tree::of(&data).root());
            }
        }
        self.deployments = relearn;
    }

    /// One that must not be delivered at all.
    fn deliver_refused(&mut self, attempt: &Attempt, digest: Digest, tail: String) {
        let Some(like) = self.kept.first().cloned() else { return };
        let event: Value = serde_json::from_slice(&attempt.payload).unwrap_or_default();
        self.kept.push(Kept { no: attempt.no, event, digest, tail, recipients: Vec::new(), ..like });
        let party = PartyId::parse("fr-dnpaf").expect("a party");
        self.feeds.entry(party).or_default().push(self.kept.len() - 1);
    }
}

/// A list of subscriptions with every `not` taken off its filter.
fn without_not(value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.get("not") {
            Some(inner) => without_not(inner),
            None => members.iter().map(|(name, value)| (name.clone(), without_not(value))).collect(),
        },
        Value::Array(items) => items.iter().map(without_not).collect(),
        other => other.clone(),
    }
}
