//! The services of `PROTOCOL.md` section 2: `ilo.svc.<party>.<verb>`, registered as NATS micro service `liaison`.
//!
//! Who asks is the party in the subject: the server lets nobody else ask there. Every answer is made from that party's
//! own rights; what it may not see does not exist for it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::explain::explain;
use super::handling::Asker;
use super::metrics::Verb;
use super::recall::{Waiting, recall};
use super::receipt::receipt_of;
use super::replay::Replay;
use super::supervision;
use crate::archive::audit::{Entry, Object, Span, What};
use crate::archive::{Delivery, Record};
use crate::message::digest::Digest;
use crate::message::envelope::{TYPE_PREFIX, split_type};
use crate::message::names::{MessageId, PartyId};
use crate::message::outcome::{Code, Refused};
use crate::message::raw::{Frame, Position, Raw};
use crate::message::time;
use crate::rules::audience::Routing;
use crate::rules::subscriptions::{Subscription, Subscriptions};
use crate::rules::{Rules, verdict};
use crate::wire::connect::Client;
use crate::wire::inspect::Inspector;
use crate::wire::mailbox_stream;
use crate::wire::services::{Answer, Endpoint, Failure, Reply, Request};
use crate::wire::subscriptions::Bucket;

/// Replay pages that may be asked for at once: more than may be read at once, so that who asks too often hears so.
const PAGES: usize = 64;

const fn one(verb: &'static str) -> Endpoint {
    Endpoint { verb, at_once: 1 }
}

/// The verbs, as endpoint names.
pub const VERBS: &[Endpoint] = &[
    one("validate"),
    one("explain"),
    one("status"),
    one("ledger"),
    one("witness"),
    one("confirm"),
    one("hold"),
    Endpoint { verb: "replay", at_once: PAGES },
    one("audit"),
    one("sub.put"),
    one("sub.list"),
    one("sub.del"),
    one("schema.list"),
    one("schema.get"),
];

/// What the services answer from.
#[derive(Clone)]
pub struct Services {
    pub(super) shared: Shared,
    /// Where subscriptions are kept.
    pub(super) bucket: Bucket,
    /// How mailboxes are asked.
    pub(super) inspector: Inspector,
    /// The way back out of the archive.
    pub(super) replay: Arc<Replay>,
    /// Who commits what recipients and originators say.
    pub(super) keeper: Asker,
}

impl Services {
    /// Answers until stopped; tells when every service can be asked.
    pub(super) async fn serve(
        self,
        control: Client,
        stop: CancellationToken,
        registered: oneshot::Sender<()>,
    ) {
        // One change of subscriptions at a time: each reads what is stored and writes it back.
        let changing = Arc::new(tokio::sync::Mutex::new(()));
        let answering = crate::wire::services::serve(control, VERBS, stop, registered, move |request| {
            let (services, changing) = (self.clone(), Arc::clone(&changing));
            async move { services.answer(&request, &changing).await }
        });
        if let Err(error) = answering.await {
            tracing::error!(%error, "services");
        }
    }

    /// Answers one request.
    async fn answer(&self, request: &Request, changing: &tokio::sync::Mutex<()>) -> Reply {
        let Some(Endpoint { verb, .. }) = VERBS.iter().find(|known| known.verb == request.verb) else {
            return Err(Failure::new(404, "E-VERB", "", "no such service"));
        };
        self.shared.metrics.requests.get_or_create(&Verb { verb }).inc();
        let party = &request.party;
        let rules = Arc::clone(&self.shared.rules.read());
        if rules.registry.party(party.as_str()).is_none_or(|known| known.is_suspended()) {
            if *verb == "replay" {
                self.shared.audit.refused(party, What::Replayed);
            }
            return Err(Failure::new(403, "E-PARTY", "", "this party is not taking part"));
        }
        let answered = match *verb {
            "replay" => return self.replay.answer(&rules, party, &request.payload).await,
            "audit" => supervision::answer(&self.shared.audit, &rules, party, &request.payload).await,
            "validate" => self.validate(&rules, party, request),
            "explain" => self.explain(party, &request.payload).await,
            "status" => self.status(party, &request.payload).await,
            "witness" => self.witness(&rules, party, &request.payload).await,
            "ledger" => self.ledger(party, &request.payload).await,
            "confirm" => self.confirm(party, &request.payload).await,
            "hold" => self.hold(party, &request.payload).await,
            "sub.put" => {
                let _one = changing.lock().await;
                self.put(party, &request.payload).await
            }
            "sub.list" => Ok(self.list(party)),
            "sub.del" => {
                let _one = changing.lock().await;
                self.delete(party, &request.payload).await
            }
            "schema.list" => Ok(schemas(&rules)),
            "schema.get" => schema(&rules, &request.payload),
            _ => Err(Failure::new(404, "E-VERB", "", "no such service")),
        };
        answered.map(|value| Bytes::from(value.to_string()))
    }

    /// Notes that a party asked about a record; without a note there is no answer.
    pub(super) async fn note(
        &self,
        party: &PartyId,
        what: What,
        record: &Record,
        about: Option<&PartyId>,
    ) -> Result<(), Failure> {
        let archive = Some(Span { first: record.seq, last: record.seq });
        let object = Object { archive, party: about.cloned(), ..Object::default() };
        let entry = Entry::of_party(time::now().as_millisecond(), party, what, object);
        Ok(self.shared.audit.record(entry).await?)
    }

    /// The dry run: the same judgement and routing as the daemon's, nothing stored.
    fn validate(&self, rules: &Rules, party: &PartyId, request: &Request) -> Answer {
        let payload = &request.payload;
        let now = time::now();
        let raw = Raw {
            party: party.clone(),
            subject: verdict::expected_subject(payload).unwrap_or_default(),
            payload: payload.clone(),
            content_type: None,
            signature: request.signature.clone(),
            binary_mode: false,
            arrived: now,
            position: Position::default(),
            frame: Frame::Whole,
        };
        let routes = self.shared.routes.read();
        let reader = &self.shared.reader;
        let mut unreadable = false;
        let judged = verdict::of(rules, raw, now, |rules, permitted| {
            let envelope = permitted.envelope();
            let earlier = reader.find(&envelope.source_text, &envelope.id);
            let found = recall(reader, Waiting::nothing(), permitted, now.as_millisecond());
            let (Ok(earlier), Ok(found)) = (earlier, found) else {
                unreadable = true;
                return Ok(Routing::default());
            };
            if earlier.is_some_and(|earlier| earlier.digest != Digest::of(payload)) {
                let words = "this source has already used this id for other bytes";
                return Err(Refused::new(Code::Dup, "/id", words));
            }
            let known: Vec<_> = found.into_iter().map(|found| found.map(|found| found.known)).collect();
            routes.route(rules, permitted, &known).map(|decision| decision.routing)
        });
        if unreadable { Err(archive_unreadable()) } else { Ok(judged.to_json()) }
    }

    /// The record that the request names, if `party` may know of it.
    pub(super) fn own(&self, party: &PartyId, body: &Value) -> Result<Arc<Record>, Failure> {
        let id = text(body, "id").and_then(|id| MessageId::parse(id).ok());
        let Some(id) = id else { return Err(Failure::new(400, "E-REQUEST", "/id", "must be a message id")) };
        let source = text(body, "source").map(str::to_owned);
        let sources = source.map_or_else(|| self.sources(party).collect(), |source| vec![source]);
        for source in sources {
            let found = self.shared.reader.find(&source, &id).map_err(|_| archive_unreadable())?;
            if let Some(record) = found.filter(|record| record.party == *party && !record.is_own()) {
                return Ok(record);
            }
        }
        Err(Failure::new(404, "E-UNKNOWN", "/id", "no message of this party with that id"))
    }

    /// Every `source` that a party may write.
    fn sources(&self, party: &PartyId) -> impl Iterator<Item = String> + use<> {
        let rules = Arc::clone(&self.shared.rules.read());
        let posts: Vec<String> = rules
            .registry
            .party(party.as_str())
            .map(|party| {
                party.posts.iter().map(|post| format!("/authority/{}/post/{post}", party.id)).collect()
            })
            .unwrap_or_default();
        std::iter::once(format!("/authority/{party}")).chain(posts)
    }

    /// The receipt again, and how far each delivery has come: `pending`, `delivered` (stands in the mailbox) or
    /// `acknowledged` by the recipient.
    async fn status(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let asked = body(payload)?;
        let record = match self.own(party, &asked) {
            Ok(record) => record,
            Err(unknown) => return self.rejected(party, &asked).await.ok_or(unknown),
        };
        self.note(party, What::StatusAsked, &record, None).await?;
        let receipt = receipt_of(&record, record.outcome, record.position);
        let owed = self.shared.reader.deliveries(record.seq);
        let owed =
            owed.map_err(|_| Failure::new(503, "E-ARCHIVE", "", "the archive cannot be read: try again"))?;
        // A grant owes deliveries of the message that it passes on; these are that message's.
        let own = owed.iter().filter(|delivery| delivery.of == record.seq);
        let states = own.map(|delivery| async move {
            let state = self.state(delivery).await;
            json!({ "party": delivery.party, "feed_seq": delivery.feed_seq, "state": state })
        });
        let deliveries: Vec<Value> = futures_util::future::join_all(states).await;
        Ok(json!({ "receipt": receipt.answer(), "deliveries": deliveries }))
    }

    /// What was rejected has no place under its id in the archive, but a receipt that is stored for a while.
    async fn rejected(&self, party: &PartyId, asked: &Value) -> Option<Value> {
        let id = MessageId::parse(text(asked, "id")?).ok()?;
        let stored = self.inspector.receipt(party, &id).await;
        let receipt =
            stored.inspect_err(|error| tracing::warn!(%party, %error, "a receipt cannot be looked up"));
        let receipt = receipt.ok().flatten()?;
        let of_it = text(asked, "source").is_none_or(|source| receipt["target"]["source"] == source);
        of_it.then(|| json!({ "receipt": receipt, "deliveries": [] }))
    }

    pub(super) async fn state(&self, delivery: &Delivery) -> &'static str {
        let progress = self.shared.couriers.read().progress(&delivery.party);
        let Some(progress) = progress.filter(|progress| progress.last_stored() >= delivery.feed_seq) else {
            return "pending";
        };
        match self.inspector.standing(&mailbox_stream(&delivery.party)).await {
            Ok(standing) if progress.feed_seq_at(standing.acknowledged) >= delivery.feed_seq => {
                "acknowledged"
            }
            _ => "delivered",
        }
    }

    /// The latest checkpoint for a witness, or its signature; may read records and write files, so not on this thread.
    async fn witness(&self, rules: &Rules, party: &PartyId, payload: &Bytes) -> Answer {
        let asked = body(payload)?;
        let key = rules.registry.party(party.as_str()).and_then(|party| party.witness.clone());
        let shared = self.shared.clone();
        let answered = tokio::task::spawn_blocking(move || {
            shared.checkpoints.answer(&shared.reader, &shared.metrics, key.as_deref(), &asked)
        });
        let answer = answered.await.unwrap_or_else(|_| Err(archive_unreadable()))?;
        if let (Some(_), Some(last)) = (answer["witnesses"].as_u64(), answer["size"].as_u64()) {
            let object = Object { archive: Some(Span { first: 1, last }), ..Object::default() };
            let entry = Entry::of_party(time::now().as_millisecond(), party, What::WitnessCosigned, object);
            self.shared.audit.record(entry).await?;
        }
        Ok(answer)
    }

    async fn explain(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let record = self.own(party, &body)?;
        let asked = text(&body, "party").and_then(|id| PartyId::parse(id).ok());
        let Some(asked) = asked else {
            return Err(Failure::new(400, "E-REQUEST", "/party", "must be a party id"));
        };
        self.note(party, What::ExplainAsked, &record, Some(&asked)).await?;
        Ok(explain(&record, &self.shared.reader.fate(record.seq), &asked))
    }

    fn list(&self, party: &PartyId) -> Value {
        json!({ "subscriptions": self.shared.routes.read().subscriptions.list(party) })
    }

    async fn put(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let subscription =
            Subscription::parse(&body(payload)?).map_err(|refused| Failure::of(400, &refused))?;
        let mut all = self.shared.routes.read().subscriptions.stored(party);
        all.retain(|kept| kept.name != subscription.name);
        all.push(subscription);
        self.store(party, all).await
    }

    async fn delete(&self, party: &PartyId, payload: &Bytes) -> Answer {
        let body = body(payload)?;
        let Some(name) = text(&body, "name") else {
            return Err(Failure::new(400, "E-REQUEST", "/name", "must name a subscription"));
        };
        let mut all = self.shared.routes.read().subscriptions.stored(party);
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
        Subscriptions::check(&all).map_err(|refused| Failure::of(400, &refused))?;
        self.shared.audit.ensure_writing()?;
        let changed =
            Object { filter: Some(Digest::of(json!(all).to_string().as_bytes())), ..Object::default() };
        let revision = self.shared.routes.read().revision(party);
        let stored = self.bucket.put(party, &json!(all), revision).await;
        let revision = stored.map_err(|_| {
            Failure::new(503, "E-STORE", "", "the subscription could not be stored: try again")
        })?;
        let taken = self.shared.routes.write().replace(party, all, revision);
        taken.map_err(|refused| Failure::of(400, &refused))?;
        let now = time::now().as_millisecond();
        self.shared.audit.record(Entry::of_party(now, party, What::SubscriptionChanged, changed)).await?;
        Ok(self.list(party))
    }
}

fn schemas(rules: &Rules) -> Value {
    let listed = rules.schemas.list();
    let listed: Vec<Value> = listed
        .iter()
        .map(|(kind, major)| json!({ "type": format!("{TYPE_PREFIX}{kind}.v{major}"), "id": kind, "major": major }))
        .collect();
    json!({ "schemas": listed })
}

fn schema(rules: &Rules, payload: &Bytes) -> Answer {
    let body = body(payload)?;
    let kind = text(&body, "type").unwrap_or_default();
    let (kind, major) =
        split_type(kind).map_or_else(|| (kind.to_owned(), 1), |(kind, major)| (kind.to_string(), major));
    let found = rules.schemas.text(&kind, major).and_then(|text| serde_json::from_str::<Value>(text).ok());
    found.ok_or_else(|| Failure::new(404, "E-TYPE", "/type", "no such type in force"))
}

pub(super) fn archive_unreadable() -> Failure {
    Failure::new(503, "E-STORE", "", "the archive could not be read: try again")
}

pub(super) fn body(payload: &Bytes) -> Result<Value, Failure> {
    if payload.is_empty() {
        return Ok(json!({}));
    }
    let read = crate::message::json::read(payload).map_err(|refused| Failure::of(400, &refused))?;
    Ok(read.to_value())
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}
