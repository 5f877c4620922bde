//! The envelope: the CloudEvents attributes of a message (`schemas/envelope.json`), owned and typed.
//!
//! Made only from a value that the envelope schema has already accepted, so the reading here is plain.

use std::borrow::Cow;

use super::names::{MessageId, PartyId, PostId, TypeId};
use super::time::{self, Timestamp};
use super::tree::Node;

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

const CLASSIFICATIONS: [&str; 8] =
    ["LIMITE", "PUBLIC", "NORMAL", "SNC", "R-UE/EU-R", "C-UE/EU-C", "S-UE/EU-S", "TS-UE/EU-TS"];
const CATEGORIES: [&str; 4] = ["none", "contact", "personal", "special"];
const TLP: [&str; 5] = ["TLP:AMBER", "TLP:GREEN", "TLP:AMBER+STRICT", "TLP:RED", "TLP:CLEAR"];
const PRIORITIES: [&str; 3] = ["routine", "priority", "urgent"];

/// A word of a small vocabulary: nearly always one that is known here, and then no text of its own.
fn word(text: &str, known: &[&'static str]) -> Cow<'static, str> {
    let found = known.iter().find(|word| **word == text);
    found.map_or_else(|| Cow::Owned(text.to_owned()), |word| Cow::Borrowed(*word))
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
    pub classification: Cow<'static, str>,
    /// `datacategory`.
    pub category: Cow<'static, str>,
    /// `tlp`.
    pub tlp: Cow<'static, str>,
    /// `audience`, split at commas, in order, `@` kept.
    pub audience: Vec<String>,
    /// `exclude`, split at commas.
    pub exclude: Vec<PartyId>,
    /// `priority`, default `routine`.
    pub priority: Cow<'static, str>,
    /// True if there is a `handling`.
    pub has_handling: bool,
    /// True if there is an `evaluation`.
    pub has_evaluation: bool,
    /// `expirytime`.
    pub expiry: Option<Timestamp>,
    /// `eraseby`.
    pub erase_by: Option<Timestamp>,
    /// `reviewby`.
    pub review_by: Option<Timestamp>,
}

impl Envelope {
    /// Reads the attributes of a value that the envelope schema accepted.
    ///
    /// # Errors
    /// The name of the attribute that cannot be read all the same: a date that does not exist, a leap second.
    pub fn read(value: Node<'_>) -> Result<Self, &'static str> {
        let text = |name: &'static str| value.at(name).as_str();
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
            classification: word(need("dataclassification")?, &CLASSIFICATIONS),
            category: word(need("datacategory")?, &CATEGORIES),
            tlp: word(need("tlp")?, &TLP),
            audience: need("audience")?.split(',').map(str::to_owned).collect(),
            exclude,
            priority: word(text("priority").unwrap_or("routine"), &PRIORITIES),
            has_handling: text("handling").is_some(),
            has_evaluation: text("evaluation").is_some(),
            expiry: optional("expirytime")?,
            erase_by: optional("eraseby")?,
            review_by: optional("reviewby")?,
        })
    }

    /// True if any recipient is a group.
    #[must_use]
    pub fn names_a_group(&self) -> bool {
        self.audience.iter().any(|name| name.starts_with('@'))
    }
}
