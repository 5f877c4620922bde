//! What a recipient or originator says about a message that is kept: `confirm` and `hold`; and what the originator may
//! see of it: `ledger`.
//!
//! A recall is an obligation that is tracked, not a wish: who confirmed stands in the journal, who has not is told to the
//! originator. Who asks is the party in the subject; what it does not hold or own does not exist for it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::keeper::Work;
use super::own::{Own, Request};
use super::services::{Services, archive_unreadable, body, text};
use crate::archive::audit::What;
use crate::archive::{Act, Delivery, Fate, Handled, Record, Withdrawn};
use crate::message::names::{MessageId, PartyId};
use crate::message::time::{self, Timestamp};
use crate::wire::services::{Answer, Failure};

/// Deliveries looked through for a message whose source is not given.
const LOOK_BACK: u64 = 4_096;

/// Deliveries and bytes of them read at once, so that large messages do not fill the memory.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 4 << 20;

/// The way to the keeper. It does not keep the keeper alive: when the house drains, nothing is asked for any more.
#[derive(Clone)]
pub struct Asker(mpsc::WeakSender<Work>);

impl Asker {
    /// A way to the keeper behind this queue.
    #[must_use]
    pub fn new(work: &mpsc::Sender<Work>) -> Self {
        Self(work.downgrade())
    }

    /// Asks, and waits until it is on stable storage; the number of records made. `None` if the house is ending.
    pub async fn ask(&self, own: Own) -> Option<usize> {
        let (done, wait) = oneshot::channel();
        self.0.upgrade()?.send(Work::Own(Request { own, done })).await.ok()?;
        wait.await.ok()
    }
}

impl Services {
    /// `{"id", "source"?, "state"?: "handled" | "erased" | "withdrawn" | "reviewed", "reviewby"?}`: a holder says what it did with a
    /// message, or with everything that an erasure or retraction names; an originator that it still needs one.
    pub(super) async fn confirm(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let state = text(&body, "state");
        if state == Some("reviewed") {
            return self.review(party, &body).await;
        }
        let reader = &self.shared.reader;
        let record = self.held(party, &body)?;
        let recalls = record.effects.iter().filter_map(|effect| match effect.act {
            Act::Erase { .. } => Some((effect.target, Handled::Erased)),
            Act::Retract => Some((effect.target, Handled::Withdrawn)),
            _ => None,
        });
        let recalls: Vec<(u64, Handled)> = recalls.collect();
        let meant = recalls.first().map_or(Handled::Handled, |(_, handled)| *handled);
        let Some(handled) = state.map_or(Some(meant), Handled::parse) else {
            let words = "must be handled, erased, withdrawn or reviewed";
            return Err(Failure::new(400, "E-REQUEST", "/state", words));
        };
        let mut targets = vec![record.seq];
        for (target, _) in recalls {
            // One recall may take back several messages: a party answers for those that it holds.
            let recalled = reader.get(target).map_err(|_| archive_unreadable())?;
            targets
                .extend(recalled.filter(|recalled| reader.holders(recalled).contains(party)).map(|_| target));
        }
        let confirmed = targets.len();
        // Said again it is no news, and the journal does not grow by it.
        let said = |target: &u64| {
            let fate = self.shared.reader.fate(*target);
            fate.confirmed.get(party).is_some_and(|before| before.handled == handled)
        };
        if targets.iter().all(said) {
            return Ok(json!({ "confirmed": confirmed, "state": handled.as_str() }));
        }
        let own = Own::Confirm { targets, party: party.clone(), handled };
        self.keeper.ask(own).await.ok_or_else(ending)?;
        Ok(json!({ "confirmed": confirmed, "state": handled.as_str() }))
    }

    async fn review(&self, party: &PartyId, body: &Value) -> Answer {
        let record = self.own(party, body)?;
        let until = text(body, "reviewby").and_then(time::parse).filter(|until| *until > time::now());
        let until = until.ok_or_else(|| {
            Failure::new(400, "E-REQUEST", "/reviewby", "must be a time that lies ahead, RFC 3339")
        })?;
        let last = record.summary.as_ref().and_then(|summary| summary.erase_ms);
        if last.is_some_and(|last| until.as_millisecond() > last) {
            return Err(Failure::new(400, "E-RETENTION", "/reviewby", "is later than eraseby"));
        }
        let until_ms = until.as_millisecond();
        let own = Own::Review { target: record.seq, party: party.clone(), until_ms };
        self.keeper.ask(own).await.ok_or_else(ending)?;
        Ok(json!({ "state": "reviewed", "reviewby": time::rfc3339(until) }))
    }

    /// `{"id", "source"?, "on": bool}`: the originator puts a legal hold on a message, or takes it off.
    pub(super) async fn hold(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let record = self.own(party, &body)?;
        let Some(on) = body["on"].as_bool() else {
            return Err(Failure::new(400, "E-REQUEST", "/on", "must be true or false"));
        };
        let fate = self.shared.reader.fate(record.seq);
        if on && fate.erased.is_some() {
            return Err(Failure::new(404, "E-UNKNOWN", "/id", "its content is erased already"));
        }
        if fate.held == on {
            return Ok(json!({ "hold": on }));
        }
        let own = Own::Hold { target: record.seq, party: party.clone(), on };
        self.keeper.ask(own).await.ok_or_else(ending)?;
        Ok(json!({ "hold": on }))
    }

    /// The message that a request names, if `party` holds it.
    fn held(&self, party: &PartyId, body: &Value) -> Result<Arc<Record>, Failure> {
        let id = text(body, "id").and_then(|id| MessageId::parse(id).ok());
        let id = id.ok_or_else(|| Failure::new(400, "E-REQUEST", "/id", "must be a message id"))?;
        let reader = &self.shared.reader;
        let found = match text(body, "source") {
            Some(source) => reader.find(source, &id).map_err(|_| archive_unreadable())?,
            None => self.in_feed(party, &id)?,
        };
        let held = found.filter(|record| reader.holders(record).contains(party));
        held.ok_or_else(|| {
            Failure::new(404, "E-UNKNOWN", "/id", "no message that this party got has that id")
        })
    }

    /// The last delivery with an id, among the last few thousand.
    fn in_feed(&self, party: &PartyId, id: &MessageId) -> Result<Option<Arc<Record>>, Failure> {
        let reader = &self.shared.reader;
        let head = reader.feed_head(party);
        let mut after = head.saturating_sub(LOOK_BACK);
        let mut found = None;
        while after < head {
            let items = reader.feed(party, after, PAGE, PAGE_BYTES).map_err(|_| archive_unreadable())?;
            let Some(last) = items.last().map(|item| item.feed_seq) else { break };
            let is_it = |record: &Record| record.summary.as_ref().is_some_and(|summary| summary.id == *id);
            found = items.into_iter().rev().map(|item| item.record).find(|record| is_it(record)).or(found);
            after = last;
        }
        Ok(found)
    }

    /// Who got it, who did not and why, how far each delivery is, and what was done to the message since.
    pub(super) async fn ledger(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let record = self.own(party, &body(payload)?)?;
        self.note(party, What::LedgerAsked, &record, None).await?;
        let reader = &self.shared.reader;
        let fate = reader.fate(record.seq);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for seq in std::iter::once(record.seq).chain(fate.releases.iter().copied()) {
            let owed = reader.deliveries(seq).map_err(|_| archive_unreadable())?;
            deliveries.extend(owed.into_iter().filter(|delivery| delivery.of == record.seq));
        }
        let own = record.recipients.iter().map(|entry| (entry, None));
        let released = fate.released_to.iter().map(|entry| (entry, Some(true)));
        let recipients = own.chain(released).map(|(entry, released)| {
            let delivery = deliveries.iter().find(|delivery| delivery.party == entry.party);
            let confirmed = fate.confirmed.get(&entry.party);
            async move {
                json!({
                    "party": entry.party,
                    "why": entry.why,
                    "released": released.unwrap_or_default(),
                    "feed_seq": delivery.map(|delivery| delivery.feed_seq),
                    "state": match delivery { Some(delivery) => self.state(delivery).await, None => "none" },
                    "confirmed": confirmed.map(|confirmed| confirmed.handled.as_str()),
                })
            }
        });
        let recipients = futures_util::future::join_all(recipients).await;
        Ok(json!({
            "seq": record.seq,
            "outcome": record.outcome,
            "recipients": recipients,
            "withheld": record.withheld.iter().map(|entry| json!({"party": entry.party, "reason": entry.why}))
                .collect::<Vec<_>>(),
            "fate": self.told(&record, &fate)?,
        }))
    }

    /// What was done to a message, in words and times.
    fn told(&self, record: &Record, fate: &Fate) -> Result<Value, Failure> {
        let reader = &self.shared.reader;
        let now_ms = time::now().as_millisecond();
        let when = |seq: u64| -> Result<Value, Failure> {
            let record = reader.get(seq).map_err(|_| archive_unreadable())?;
            let at = record.map(|record| rfc3339(record.archived_ms));
            Ok(json!({ "seq": seq, "at": at }))
        };
        let open: Vec<PartyId> = unconfirmed(&reader.holders(record), fate);
        let erased = match fate.erased {
            None => Value::Null,
            Some(order) => json!({
                "by": when(order.by)?,
                "ground": order.ground.as_str(),
                "due_by": rfc3339(order.due_ms),
                "content": if reader.is_gone(record).map_err(|_| archive_unreadable())? { "destroyed" } else { "ordered" },
                "unconfirmed": open,
                "overdue": order.due_ms <= now_ms && !open.is_empty(),
            }),
        };
        let retracted = match fate.retracted {
            None => Value::Null,
            Some(by) => json!({ "by": when(by)?, "unconfirmed": open }),
        };
        let all = |seqs: &[u64]| seqs.iter().map(|seq| when(*seq)).collect::<Result<Vec<Value>, Failure>>();
        let withdrawn = fate.withdrawn(record, now_ms);
        Ok(json!({
            "withdrawn": withdrawn.map(Withdrawn::as_str),
            "erased": erased,
            "retracted": retracted,
            "corrections": all(&fate.corrections)?,
            "releases": all(&fate.releases)?,
            "asking": fate.asking,
            "hold": fate.held,
        }))
    }
}

/// Holders who have not said that they did what a recall asks for.
#[must_use]
pub fn unconfirmed(holders: &[PartyId], fate: &Fate) -> Vec<PartyId> {
    let wanted = if fate.erased.is_some() { Handled::Erased } else { Handled::Withdrawn };
    // Who has erased a message has withdrawn it as well.
    let did = |party: &&PartyId| {
        fate.confirmed
            .get(*party)
            .is_some_and(|word| word.handled == wanted || word.handled == Handled::Erased)
    };
    holders.iter().filter(|party| !did(party)).cloned().collect()
}

fn rfc3339(ms: i64) -> String {
    time::rfc3339(Timestamp::from_millisecond(ms).unwrap_or_default())
}

fn ending() -> Failure {
    Failure::new(503, "E-STORE", "", "the broker is ending: try again")
}
