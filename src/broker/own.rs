//! What the keeper commits without a publication: confirmations, reviews, legal holds, and what the dates in messages ask
//! for.
//!
//! These records go into the same journal, under the same chain and proofs, because what they change must survive what
//! the messages survive. They come over no intake stream, so they have no position and no receipt; who asked is told when they
//! are on stable storage.

use serde_json::Value;
use tokio::sync::oneshot;

use super::keeper::{Done, Keeper};
use super::notices;
use super::receipt::Issuer;
use super::retention::{self, Planned, Step};
use crate::archive::{
    Act, Category, Draft, Effect, Entry, Error, Ground, Handled, Plane, Reader, Summary, Why,
};
use crate::message::digest::Digest;
use crate::message::names::{MessageId, PartyId, TypeId};
use crate::message::outcome::Outcome;
use crate::message::raw::Position;
use crate::message::time;
use crate::rules::registry::Registry;

/// How long holders have to erase what a date in the message asked for.
const HOLDERS_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// What the keeper is asked to commit.
#[derive(Debug)]
pub enum Own {
    /// A recipient says what it did with a message.
    Confirm {
        /// Archive sequences of the messages.
        targets: Vec<u64>,
        /// Who.
        party: PartyId,
        /// What.
        handled: Handled,
    },
    /// The originator needs a message until then, Unix milliseconds.
    Review {
        /// Archive sequence of the message.
        target: u64,
        /// Who.
        party: PartyId,
        /// Until when.
        until_ms: i64,
    },
    /// Legal hold on or off.
    Hold {
        /// Archive sequence of the message.
        target: u64,
        /// Who.
        party: PartyId,
        /// On or off.
        on: bool,
    },
    /// Do what is due at this time, Unix milliseconds.
    Sweep(i64),
}

/// A request to the keeper.
#[derive(Debug)]
pub struct Request {
    /// What for.
    pub own: Own,
    /// Told when it is on stable storage; the number of records made.
    pub done: oneshot::Sender<usize>,
}

impl Keeper {
    /// Commits what was asked for.
    ///
    /// # Errors
    /// The archive could not write.
    pub(super) fn keep_own(&mut self, own: Own) -> Result<Done, Error> {
        let drafts = match own {
            Own::Confirm { targets, party, handled } => {
                let act = Act::Confirm { party: party.clone(), handled };
                let mut draft = note(&party, 0, act.clone());
                draft.effects =
                    targets.into_iter().map(|target| Effect { target, act: act.clone() }).collect();
                vec![draft]
            }
            Own::Review { target, party, until_ms } => vec![note(&party, target, Act::Review { until_ms })],
            Own::Hold { target, party, on } => vec![note(&party, target, Act::Hold { on })],
            Own::Sweep(now_ms) => {
                self.erase_elsewhere()?;
                self.sweep(now_ms)?
            }
        };
        self.commit(drafts)
    }

    fn sweep(&mut self, now_ms: i64) -> Result<Vec<Draft>, Error> {
        let reader = self.archive().reader();
        let rules = self.rules();
        let years = self.looked_at_years(now_ms);
        let plan = retention::plan(&retention::subjects(&reader, now_ms, years)?, now_ms);
        if plan.len() > super::keeper::MOST_IN_COMMIT {
            // What the plan holds beyond a commit is done at the next sweep.
            self.look_again();
        }
        plan.iter()
            .take(super::keeper::MOST_IN_COMMIT)
            .map(|planned| draft(self.issuer(), &rules.registry, &reader, planned, now_ms))
            .collect()
    }
}

/// The record of one thing that fell due.
fn draft(
    issuer: &Issuer,
    registry: &Registry,
    reader: &Reader,
    planned: &Planned,
    now_ms: i64,
) -> Result<Draft, Error> {
    let record =
        reader.get(planned.seq)?.ok_or(Error::Corrupt("something due of a message that is not there"))?;
    let due_ms = now_ms + HOLDERS_MS;
    let erase = Act::Erase { ground: Ground::RetentionReached, due_ms, attest: planned.step == Step::Erase };
    Ok(match planned.step {
        Step::Remind => {
            let owner = record
                .summary
                .as_ref()
                .map(|summary| Entry { party: summary.originator.clone(), why: Why::Owns });
            let event = notices::reminder(issuer, &record, now_ms);
            notice(
                issuer,
                "msg.receipt",
                &event,
                owner.into_iter().collect(),
                planned.seq,
                Act::Remind,
                now_ms,
            )
        }
        // Nobody else has it, or its type's days are over here: that asks nothing of those who got it.
        Step::Expire => with_corrections(note(&issuer.operator, planned.seq, erase), reader, planned.seq),
        Step::Erase => {
            let event = notices::erasure(issuer, &record, Ground::RetentionReached, due_ms, now_ms);
            // Who is suspended gets it when it is back, like every recall; who is no party any more, never.
            let is_party = |party: &PartyId| registry.party(party.as_str()).is_some();
            let (to, gone): (Vec<PartyId>, Vec<PartyId>) =
                reader.holders(&record).into_iter().partition(is_party);
            let to = to.into_iter().map(|party| Entry { party, why: Why::Holds }).collect();
            let mut draft = notice(issuer, "msg.erasure", &event, to, planned.seq, erase, now_ms);
            draft.withheld = gone.into_iter().map(|party| Entry { party, why: Why::Suspended }).collect();
            with_corrections(draft, reader, planned.seq)
        }
    })
}

/// What is done to a message is done to its corrections: they hold its content anew.
fn with_corrections(mut draft: Draft, reader: &Reader, target: u64) -> Draft {
    let acts: Vec<Act> = draft.effects.iter().map(|effect| effect.act.clone()).collect();
    for target in reader.fate(target).corrections {
        draft.effects.extend(acts.iter().map(|act| Effect { target, act: act.clone() }));
    }
    draft
}

/// A record that only does something to another.
fn note(party: &PartyId, target: u64, act: Act) -> Draft {
    Draft {
        outcome: Outcome::Accepted,
        party: party.clone(),
        position: Position::default(),
        subject: String::new(),
        arrived_ms: time::now().as_millisecond(),
        digest: Digest::of(&[]),
        payload: Vec::new(),
        signature: None,
        seal: false,
        summary: None,
        code: None,
        detail: Vec::new(),
        recipients: Vec::new(),
        withheld: Vec::new(),
        target: None,
        late: false,
        effects: vec![Effect { target, act }],
    }
}

/// A record that is a message of the broker's own.
fn notice(
    issuer: &Issuer,
    kind: &str,
    event: &Value,
    recipients: Vec<Entry>,
    target: u64,
    act: Act,
    now_ms: i64,
) -> Draft {
    let payload = event.to_string().into_bytes();
    let id = event["id"].as_str().and_then(|id| MessageId::parse(id).ok());
    let summary = id.zip(TypeId::parse(kind).ok()).map(|(id, kind)| Summary {
        source: format!("/broker/{}", issuer.broker),
        id,
        kind,
        major: 1,
        originator: issuer.operator.clone(),
        plane: Plane::Ctl,
        country: None,
        time_ms: now_ms,
        audience: recipients.iter().map(|entry| entry.party.to_string()).collect(),
        purpose: "ctl".to_owned(),
        category: Category::None,
        expires_ms: None,
        erase_ms: None,
        review_ms: None,
    });
    Draft {
        digest: Digest::of(&payload),
        payload,
        summary,
        recipients,
        ..note(&issuer.operator, target, act)
    }
}
