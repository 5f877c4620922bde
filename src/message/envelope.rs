//! The envelope: the CloudEvents attributes of a message (`schemas/envelope.json`), owned and typed.
//!
//! Made only from a value that the envelope schema has already accepted, so the reading here is plain.

use serde_json::Value;

use super::names::{MessageId, PartyId, PostId, TypeId};
use super::time::{self, Timestamp};

/// Prefix of every CloudEvents `type` of the network.
pub const TYPE_PREFIX: &str = "eu.ilonet.";

/// Who says it was sent: `/authority/<id>`, `/authority/<id>/post/<post>` or `/broker/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An authority, or one of its posts.
    Authority(PartyId, Option<PostId>),
    /// A broker.
    Broker(String),
}

impl Source {
    /// Reads the `source` attribute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("/broker/") {
            return Some(Self::Broker(name.to_owned()));
        }
        let rest = text.strip_prefix("/authority/")?;
        Some(match rest.split_once("/post/") {
            Some((party, post)) => {
                Self::Authority(PartyId::parse(party).ok()?, Some(PostId::parse(post).ok()?))
            }
            None => Self::Authority(PartyId::parse(rest).ok()?, None),
        })
    }

    /// The authority, if it is one.
    #[must_use]
    pub fn party(&self) -> Option<&PartyId> {
        match self {
            Self::Authority(party, _) => Some(party),
            Self::Broker(_) => None,
        }
    }

    /// The post, if it is one.
    #[must_use]
    pub fn post(&self) -> Option<&PostId> {
        match self {
            Self::Authority(_, post) => post.as_ref(),
            Self::Broker(_) => None,
        }
    }
}

/// `eu.ilonet.<type id>.v<major>` taken apart.
#[must_use]
pub fn split_type(text: &str) -> Option<(TypeId, u32)> {
    let rest = text.strip_prefix(TYPE_PREFIX)?;
    let (kind, version) = rest.rsplit_once(".v")?;
    let major = version.parse().ok().filter(|_| !version.starts_with(['0', '+']))?;
    Some((TypeId::parse(kind).ok()?, major))
}

/// The attributes of one message.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// `id`.
    pub id: MessageId,
    /// `source` as sent.
    pub source_text: String,
    /// `source` taken apart.
    pub source: Source,
    /// Type id without prefix and version.
    pub kind: TypeId,
    /// Major version of the type.
    pub major: u32,
    /// `subject`: the country the message is about.
    pub country: Option<String>,
    /// `time`.
    pub time: Timestamp,
    /// `recordedtime`.
    pub recorded: Timestamp,
    /// `originator`.
    pub originator: PartyId,
    /// `purpose`.
    pub purpose: String,
    /// `dataclassification`.
    pub classification: String,
    /// `datacategory`.
    pub category: String,
    /// `tlp`.
    pub tlp: String,
    /// `audience`, split at commas, in order, `@` kept.
    pub audience: Vec<String>,
    /// `exclude`, split at commas.
    pub exclude: Vec<PartyId>,
    /// `priority`, default `routine`.
    pub priority: String,
    /// `handling`, if given.
    pub handling: Option<String>,
    /// `evaluation`, if given.
    pub evaluation: Option<String>,
    /// `expirytime`.
    pub expiry: Option<Timestamp>,
    /// `eraseby`.
    pub erase_by: Option<Timestamp>,
    /// `reviewby`.
    pub review_by: Option<Timestamp>,
    /// `correlationid`.
    pub correlation: Option<String>,
}

impl Envelope {
    /// Reads the attributes of a value that the envelope schema accepted.
    ///
    /// # Errors
    /// The name of the attribute that cannot be read all the same: a date that does not exist, a leap second.
    pub fn read(value: &Value) -> Result<Self, &'static str> {
        let text = |name: &'static str| value.get(name).and_then(Value::as_str);
        let owned = |name: &'static str| text(name).map(str::to_owned);
        let need = |name: &'static str| text(name).ok_or(name);
        let optional = |name: &'static str| text(name).map(|at| time::parse(at).ok_or(name)).transpose();
        let (kind, major) = text("type").and_then(split_type).ok_or("type")?;
        let exclude = text("exclude").map_or(Ok(Vec::new()), |list| {
            list.split(',').map(|id| PartyId::parse(id).map_err(|_| "exclude")).collect()
        })?;
        Ok(Self {
            id: MessageId::parse(need("id")?).map_err(|_| "id")?,
            source: text("source").and_then(Source::parse).ok_or("source")?,
            source_text: need("source")?.to_owned(),
            kind,
            major,
            country: owned("subject"),
            time: text("time").and_then(time::parse).ok_or("time")?,
            recorded: text("recordedtime").and_then(time::parse).ok_or("recordedtime")?,
            originator: text("originator").and_then(|id| PartyId::parse(id).ok()).ok_or("originator")?,
            purpose: need("purpose")?.to_owned(),
            classification: need("dataclassification")?.to_owned(),
            category: need("datacategory")?.to_owned(),
            tlp: need("tlp")?.to_owned(),
            audience: need("audience")?.split(',').map(str::to_owned).collect(),
            exclude,
            priority: text("priority").unwrap_or("routine").to_owned(),
            handling: owned("handling"),
            evaluation: owned("evaluation"),
            expiry: optional("expirytime")?,
            erase_by: optional("eraseby")?,
            review_by: optional("reviewby")?,
            correlation: owned("correlationid"),
        })
    }

    /// True if any recipient is a group.
    #[must_use]
    pub fn names_a_group(&self) -> bool {
        self.audience.iter().any(|name| name.starts_with('@'))
    }
}
