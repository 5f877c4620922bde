//! The services of `PROTOCOL.md` section 2: `ilo.svc.<party>.<verb>`, registered as NATS micro service `liaison`.
//!
//! Who asks is the party in the subject: the server lets nobody else ask there. Every answer is made from that party's
//! own rights; what it may not see does not exist for it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::keeper::receipt_of;
use super::metrics::{Metrics, Verb};
use super::receipt::Issuer;
use super::routes::Routes;
use crate::archive::{Reader, Record};
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::Outcome;
use crate::message::raw::{Position, Raw};
use crate::message::time;
use crate::rules::Rules;
use crate::rules::subscriptions::Subscription;
use crate::rules::verdict;
use crate::wire::services::{Answer, Failure, Request};
use crate::wire::subscriptions::Bucket;

/// The verbs, as endpoint names.
pub const VERBS: &[&str] = &[
    "validate",
    "explain",
    "status",
    "ledger",
    "sub.put",
    "sub.list",
    "sub.del",
    "schema.list",
    "schema.get",
];

/// What the services answer from.
#[derive(Clone)]
pub struct Services {
    /// The rules in force.
    pub rules: Arc<RwLock<Arc<Rules>>>,
    /// Deployments and subscriptions.
    pub routes: Arc<RwLock<Routes>>,
    /// The memory.
    pub reader: Reader,
    /// Where subscriptions are kept.
    pub bucket: Bucket,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Who answers.
    pub issuer: Issuer,
}

impl Services {
    /// Answers one request.
    pub async fn answer(&self, request: &Request) -> Answer {
        let Some(verb) = VERBS.iter().find(|verb| **verb == request.verb) else {
            return Err(Failure::new(404, "E-VERB", "", "no such service"));
        };
        self.metrics.requests.get_or_create(&Verb { verb }).inc();
        let party = &request.party;
        {
            let rules = self.rules.read();
            let known = rules.registry.party(party.as_str());
            if known.is_none_or(|known| known.is_suspended()) {
                return Err(Failure::new(403, "E-PARTY", "", "this party is not taking part"));
            }
        }
        match *verb {
            "validate" => self.validate(party, &request.payload),
            "explain" => self.explain(party, &request.payload),
            "status" => self.status(party, &request.payload),
            "ledger" => self.ledger(party, &request.payload),
            "sub.put" => self.put(party, &request.payload).await,
            "sub.list" => Ok(self.list(party)),
            "sub.del" => self.delete(party, &request.payload).await,
            "schema.list" => Ok(json!({ "schemas": self.rules.read().schemas.list() })),
            "schema.get" => self.schema(&request.payload),
            _ => Err(Failure::new(404, "E-VERB", "", "no such service")),
        }
    }

    fn validate(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let rules = Arc::clone(&self.rules.read());
        let now = time::now();
        let raw = Raw {
            party: party.clone(),
            subject: verdict::expected_subject(payload).unwrap_or_default(),
            payload: payload.clone(),
            content_type: None,
            binary_mode: false,
            arrived: now,
            position: Position::default(),
        };
        let routes = self.routes.read();
        let mut unreadable = false;
        let judged = verdict::of(&rules, raw, now, |rules, permitted| {
            let known = super::keeper::recall(&self.reader, permitted).unwrap_or_else(|_| {
                unreadable = true;
                Vec::new()
            });
            routes.route(rules, permitted, &known)
        });
        if unreadable {
            return Err(archive_unreadable());
        }
        Ok(judged.to_json())
    }

    /// The record that the request names, if `party` may know of it.
    fn own(&self, party: &PartyId, body: &Value) -> Result<Arc<Record>, Failure> {
        let id = text(body, "id").and_then(|id| MessageId::parse(id).ok());
        let Some(id) = id else { return Err(Failure::new(400, "E-REQUEST", "/id", "must be a message id")) };
        let source = text(body, "source").map(str::to_owned);
        let sources = source.map_or_else(|| self.sources(party).collect(), |source| vec![source]);
        for source in sources {
            let found = self.reader.find(&source, &id).map_err(|_| archive_unreadable())?;
            if let Some(record) = found.filter(|record| record.party == *party) {
                return Ok(record);
            }
        }
        Err(Failure::new(404, "E-UNKNOWN", "/id", "no message of this party with that id"))
    }

    /// Every `source` that a party may write.
    fn sources(&self, party: &PartyId) -> impl Iterator<Item = String> + use<> {
        let rules = Arc::clone(&self.rules.read());
        let posts: Vec<String> = rules
            .registry
            .party(party.as_str())
            .map(|party| party.posts.iter().map(|post| format!("/authority/{}/post/{post}", party.id)).collect())
            .unwrap_or_default();
        std::iter::once(format!("/authority/{party}")).chain(posts)
    }

    fn status(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let record = self.own(party, &body(payload)?)?;
        let receipt = receipt_of(&record, record.outcome, record.position);
        Ok(json!({
            "receipt": receipt.event(&self.issuer)["data"],
            "deliveries": record.recipients.iter().map(|entry| json!({
                "party": entry.party,
                "state": "selected",
            })).collect::<Vec<_>>(),
        }))
    }

    fn ledger(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let record = self.own(party, &body(payload)?)?;
        Ok(json!({
            "seq": record.seq,
            "outcome": record.outcome,
            "recipients": record.recipients.iter().map(|entry| json!({"party": entry.party, "why": entry.why}))
                .collect::<Vec<_>>(),
            "withheld": record.withheld.iter().map(|entry| json!({"party": entry.party, "reason": entry.why}))
                .collect::<Vec<_>>(),
        }))
    }

    fn explain(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let record = self.own(party, &body)?;
        let asked = text(&body, "party").and_then(|id| PartyId::parse(id).ok());
        let Some(asked) = asked else { return Err(Failure::new(400, "E-REQUEST", "/party", "must be a party id")) };
        let got = record.recipients.iter().find(|entry| entry.party == asked);
        let withheld = record.withheld.iter().find(|entry| entry.party == asked);
        let (decision, why) = match (got, withheld) {
            (Some(entry), _) => ("recipient", entry.why.as_str()),
            (None, Some(entry)) => ("withheld", entry.why.as_str()),
            (None, None) if record.outcome == Outcome::Accepted => ("withheld", "not-named"),
            (None, None) => ("withheld", "not-accepted"),
        };
        Ok(json!({ "party": asked, "seq": record.seq, "decision": decision, "why": why }))
    }

    fn schema(&self, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let kind = text(&body, "type").unwrap_or_default();
        let (kind, major) = crate::message::envelope::split_type(kind)
            .map_or_else(|| (kind.to_owned(), 1), |(kind, major)| (kind.to_string(), major));
        let rules = self.rules.read();
        let found = rules.schemas.text(&kind, major).and_then(|text| serde_json::from_str::<Value>(text).ok());
        found.ok_or_else(|| Failure::new(404, "E-TYPE", "/type", "no such type in force"))
    }

    fn list(&self, party: &PartyId) -> Value {
        json!({ "subscriptions": self.routes.read().subscriptions.list(party) })
    }

    async fn put(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let subscription = Subscription::parse(&body(payload)?)
            .map_err(|refused| Failure::of(400, &refused))?;
        let mut all = self.routes.read().subscriptions.stored(party);
        all.retain(|kept| kept.name != subscription.name);
        all.push(subscription);
        self.store(party, all).await
    }

    async fn delete(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let Some(name) = text(&body, "name") else {
            return Err(Failure::new(400, "E-REQUEST", "/name", "must name a subscription"));
        };
        let mut all = self.routes.read().subscriptions.stored(party);
        let before = all.len();
        all.retain(|kept| kept.name != name);
        if all.len() == before {
            return Err(Failure::new(404, "E-UNKNOWN", "/name", "no such subscription"));
        }
        self.store(party, all).await
    }

    /// Writes to the bucket first: what is acknowledged is what every instance sees. Then in force here, before the
    /// answer goes out (`PROTOCOL.md` section 4).
    async fn store(&self, party: &PartyId, all: Vec<Subscription>) -> Answer {
        self.bucket
            .put(party, &json!(all))
            .await
            .map_err(|_| Failure::new(503, "E-STORE", "", "the subscription could not be stored: try again"))?;
        self.routes
            .write()
            .subscriptions
            .replace_party(party.clone(), all)
            .map_err(|refused| Failure::of(400, &refused))?;
        Ok(self.list(party))
    }
}

fn archive_unreadable() -> Failure {
    Failure::new(503, "E-STORE", "", "the archive could not be read: try again")
}

fn body(payload: &Bytes) -> Result<Value, Failure> {
    if payload.is_empty() {
        return Ok(json!({}));
    }
    crate::message::json::read(payload).map_err(|refused| Failure::of(400, &refused))
}

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}
