//! Receipts: the promise, written as an event of type `eu.ilonet.msg.receipt.v1` (`schemas/msg.receipt.json`).
//!
//! A receipt is made from what the archive keeps, so that one that got lost is made again byte for byte: its id and
//! time are derived from the record, never from the moment of sending. It holds no content of the message.

use serde::Serialize;
use serde_json::{Value, json};

use crate::archive::Record;
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::outcome::{Code, Fault, Outcome};
use crate::message::raw::Position;
use crate::message::subject;
use crate::message::time::{self, Timestamp};

/// Everything that a receipt says.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Who published.
    pub party: PartyId,
    /// The post of the publication, or `system`.
    pub post: String,
    /// `source` of the message, empty if it could not be read.
    pub source: String,
    /// `id` of the message, `None` if it could not be read.
    pub id: Option<crate::message::names::MessageId>,
    /// How it ended.
    pub outcome: Outcome,
    /// When: archived, or judged.
    pub at: Timestamp,
    /// Archive sequence, when accepted.
    pub seq: Option<u64>,
    /// Code, when refused.
    pub code: Option<Code>,
    /// Places, when refused.
    pub detail: Vec<Fault>,
    /// How many authorities it was routed to, when accepted.
    pub recipients: Option<usize>,
    /// Digest of the received bytes.
    pub digest: Digest,
    /// Which publication it answers.
    pub position: Position,
    /// True if the publication must not wait in the intake stream until it grows old: it is, or may be, personal data.
    pub is_personal: bool,
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'a str,
    id: String,
    source: String,
    r#type: &'a str,
    time: &'a str,
    recordedtime: &'a str,
    datacontenttype: &'a str,
    originator: &'a PartyId,
    purpose: &'a str,
    dataclassification: &'a str,
    datacategory: &'a str,
    tlp: &'a str,
    audience: &'a PartyId,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    target: Target<'a>,
    outcome: Outcome,
    at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    detail: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<usize>,
    sha256: String,
}

#[derive(Serialize)]
struct Target<'a> {
    source: &'a str,
    id: &'a str,
}

/// Who signs the receipts of this broker.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Name in `source`: `/broker/<name>`.
    pub broker: String,
    /// The authority that runs the broker.
    pub operator: PartyId,
}

impl Receipt {
    /// Where it goes.
    #[must_use]
    pub fn subject(&self) -> String {
        let token = subject::receipt_token(self.id.as_ref(), self.position.sequence);
        subject::receipt(&self.party, &self.post, &token)
    }

    /// The bytes of the event.
    #[must_use]
    pub fn event(&self, issuer: &Issuer) -> String {
        let at = time::rfc3339(self.at);
        let event = Event {
            specversion: "1.0",
            id: self.event_id(issuer),
            source: format!("/broker/{}", issuer.broker),
            r#type: "eu.ilonet.msg.receipt.v1",
            time: &at,
            recordedtime: &at,
            datacontenttype: "application/json",
            originator: &issuer.operator,
            purpose: "ctl",
            dataclassification: "LIMITE",
            datacategory: "none",
            tlp: "TLP:AMBER",
            audience: &self.party,
            data: self.data(&at),
        };
        serde_json::to_string(&event).expect("an event of texts and numbers must be writable")
    }

    /// The member `data` of the event alone.
    #[must_use]
    pub fn answer(&self) -> Value {
        json!(self.data(&time::rfc3339(self.at)))
    }

    fn data<'a>(&'a self, at: &'a str) -> Data<'a> {
        Data {
            target: Target { source: &self.source, id: self.id.as_ref().map_or("", |id| id.as_str()) },
            outcome: self.outcome,
            at,
            seq: self.seq,
            code: self.code,
            detail: &self.detail,
            recipients: self.recipients,
            sha256: self.digest.hex(),
        }
    }

    /// The same for the same publication and outcome, whenever it is told. The bytes belong to it: a server that lost the end of a
    /// stream gives its sequences a second time.
    fn event_id(&self, issuer: &Issuer) -> String {
        let Position { epoch, sequence } = self.position;
        let (digest, outcome) = (self.digest.hex(), self.outcome.as_str());
        super::notices::id(
            issuer,
            &format!("r-{}-{epoch}-{sequence}-{}-{outcome}", self.party, &digest[..16]),
        )
    }
}

/// The receipt of a record. `outcome` and `position` differ from the record's own for duplicates.
#[must_use]
pub fn receipt_of(record: &Record, outcome: Outcome, position: Position) -> Receipt {
    let (source, id, post) = match (&record.summary, &record.target) {
        (Some(summary), _) => {
            let post = crate::message::envelope::Source::parse(&summary.source)
                .and_then(|source| source.post().map(ToString::to_string))
                .unwrap_or_else(|| "system".to_owned());
            (summary.source.clone(), Some(summary.id.clone()), post)
        }
        (None, Some(target)) => (target.source.clone(), target.id.clone(), target.post.clone()),
        (None, None) => (String::new(), None, "system".to_owned()),
    };
    let accepted = record.outcome == Outcome::Accepted;
    Receipt {
        party: record.party.clone(),
        post,
        source,
        id,
        outcome,
        at: Timestamp::from_millisecond(record.archived_ms).unwrap_or_default(),
        seq: accepted.then_some(record.seq),
        code: record.code,
        detail: record.detail.clone(),
        recipients: accepted.then_some(record.recipients.len()),
        digest: record.digest,
        position,
        is_personal: is_personal(record),
    }
}

/// True for what is sealed here, and for what was refused because it is personal data or classified, or came on the case
/// plane.
fn is_personal(record: &Record) -> bool {
    use Code::{Category, Class, Personal, Plane, Retention};
    let refused = matches!(record.code, Some(Category | Class | Personal | Plane | Retention));
    record.body.slot().is_some()
        || (record.outcome == Outcome::Rejected && (refused || record.subject.contains(".case.")))
}
