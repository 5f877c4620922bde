//! One entry of the audit log, and its bytes on disk: a version byte, then JSON.
//!
//! JSON and not postcard, because a log that is kept for five years must be readable without this program. All words
//! are closed; there is no field that a text from a message or a request could get into.

use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::archive::Error;
use crate::archive::pack::Pack;
use crate::message::digest::Digest;
use crate::message::names::PartyId;
use crate::message::subject;

/// Version of the bytes.
const VERSION: u8 = 1;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The broker began to serve.
    Started,
    /// The broker ended in order.
    Stopped,
    /// New configuration, registry or schemas.
    ConfigurationReloaded,
    /// Messages came in: a span of the archive and how they ended. Each message has its own record there.
    Published,
    /// A mailbox was acknowledged up to a feed sequence.
    Read,
    /// A page of a feed was replayed.
    Replayed,
    /// Records were exported.
    Exported,
    /// A message was corrected.
    Corrected,
    /// A holder asked for a wider audience.
    ReleaseAsked,
    /// The originator did not grant it.
    ReleaseDenied,
    /// The audience was widened by a grant of the originator.
    Released,
    /// A message was erased.
    Erased,
    /// A message was withdrawn.
    Retracted,
    /// The originator needs a message longer.
    Reviewed,
    /// The originator was reminded to look at a message again.
    Reminded,
    /// A legal hold was put on or taken off.
    HoldChanged,
    /// A holder confirmed.
    Confirmed,
    /// The key of a sealed body was destroyed.
    KeyDestroyed,
    /// A subscription was stored or removed.
    SubscriptionChanged,
    /// The ledger of a message was asked for.
    LedgerAsked,
    /// The status of a message was asked for.
    StatusAsked,
    /// The decision about one party was asked for.
    ExplainAsked,
    /// A witness signed a checkpoint.
    WitnessCosigned,
    /// This log was read.
    AuditRead,
}

/// The text is none of the known words.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("is not a known word")]
pub struct UnknownWord;

impl FromStr for What {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let from: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        Self::deserialize(from).map_err(|_| UnknownWord)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It was done.
    Done,
    /// Who asked has not the right.
    Refused,
    /// It could not be done.
    Failed,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// An authority.
    Party(PartyId),
    /// Whoever runs the broker.
    Operator,
    /// The broker by itself.
    Broker,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Party(party) => party.as_str(),
            Self::Operator => "operator",
            Self::Broker => "broker",
        })
    }
}

impl FromStr for Actor {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "operator" => Ok(Self::Operator),
            "broker" => Ok(Self::Broker),
            id => PartyId::parse(id).map(Self::Party).map_err(|_| UnknownWord),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// As whom they were let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The account of this party on NATS. Which of its users asked is known to that account alone.
    Account(PartyId),
    /// A user of the machine, by number.
    Uid(u32),
    /// The broker's own process.
    Process,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(party) => write!(f, "account:A_{}", subject::upper(party)),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Process => f.write_str("process"),
        }
    }
}

/// A span of sequences, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
}

/// How many messages ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Accepted.
    pub accepted: u64,
    /// Answered again.
    pub duplicate: u64,
    /// Put aside.
    pub quarantined: u64,
    /// Refused.
    pub rejected: u64,
}

/// What it was done to: numbers and digests only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Object {
    /// Records of the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Span>,
    /// Deliveries of the actor's feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<Span>,
    /// Entries of this log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Span>,
    /// SHA-256 of the conditions asked with, as sent: whoever has the text can show that it was this one.
    #[serde(skip_serializing_if = "Option::is_none", with = "hex")]
    pub filter: Option<Digest>,
    /// Another party that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyId>,
    /// Messages given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How messages ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who.
    pub who: Actor,
    /// As whom.
    pub identity: Identity,
    /// What.
    pub what: What,
    /// To what.
    #[serde(default)]
    pub object: Object,
    /// How it ended.
    pub result: Word,
}

impl Entry {
    /// Something that a party did through its account.
    #[must_use]
    pub fn of_party(at_ms: i64, party: &PartyId, what: What, object: Object) -> Self {
        let (who, identity) = (Actor::Party(party.clone()), Identity::Account(party.clone()));
        Self { at_ms, who, identity, what, object, result: Word::Done }
    }

    /// Something that the broker did by itself.
    #[must_use]
    pub fn of_broker(at_ms: i64, what: What, object: Object) -> Self {
        Self { at_ms, who: Actor::Broker, identity: Identity::Process, what, object, result: Word::Done }
    }

    /// Something that the operator did at the machine, as the user of this number.
    #[must_use]
    pub fn of_operator(at_ms: i64, uid: u32, what: What, object: Object) -> Self {
        Self { at_ms, who: Actor::Operator, identity: Identity::Uid(uid), what, object, result: Word::Done }
    }

    /// The same with another end.
    #[must_use]
    pub fn ending(self, result: Word) -> Self {
        Self { result, ..self }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, self)
            .map_err(|_| Error::Corrupt("an audit entry that cannot be written"))?;
        Ok(bytes)
    }

    /// One entry of a pack.
    pub(super) fn read(pack: &Pack, at: usize) -> Result<Self, Error> {
        Self::of_bytes(&pack.entry::<Vec<u8>>(at)?)
    }

    fn of_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let unreadable = Error::Corrupt("an audit entry that cannot be read");
        match bytes.split_first() {
            Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|_| unreadable),
            _ => Err(unreadable),
        }
    }
}

mod hex {
    //! A digest as people read it.
    use super::{Deserialize as _, Deserializer, Digest, Serializer};

    #[expect(clippy::ref_option, reason = "the shape that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.collect_str(digest),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = Digest::parse(&text);
        digest.map(Some).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}
