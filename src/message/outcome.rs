//! How a message ended: the outcome, the code table, the places at fault.
//!
//! A refusal is a value with a stable code, never an `Err`. Places never hold a value of the message: it may be
//! personal data.

use serde::{Deserialize, Serialize};

/// The outcome of one received message (`PROTOCOL.md` section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Archived, routed, will be delivered.
    Accepted,
    /// Same source, id and bytes as an earlier one: its outcome stands.
    Duplicate,
    /// Stored for the sender's supervisor, not delivered.
    Quarantined,
    /// Not stored; code and places are.
    Rejected,
}

impl Outcome {
    /// The word in receipts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a message was refused: the codes of `domain.md` section 8. The texts are stable; programs match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text of the code.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl std::str::FromStr for Code {
            type Err = UnknownCode;
            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                match text { $($text => Ok(Self::$name),)* _ => Err(UnknownCode) }
            }
        }
    };
}

/// The text is no code of the table.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("unknown refusal code")]
pub struct UnknownCode;

codes! {
    /// S-1: syntax, duplicate members, depth, byte order mark, lone surrogates.
    Json = "E-JSON",
    /// S-2: larger than its plane allows.
    Size = "E-SIZE",
    /// S-24: type unknown or version not live.
    Type = "E-TYPE",
    /// The envelope schema, or binary mode.
    Envelope = "E-ENVELOPE",
    /// S-4: account, `originator` and `source` do not agree.
    Origin = "E-ORIGIN",
    /// S-3: the NATS subject does not say what the envelope says.
    Subject = "E-SUBJECT",
    /// S-13: above the classification ceiling, or TLP:CLEAR without PUBLIC.
    Class = "E-CLASS",
    /// S-10, S-19: purpose not allowed for the type.
    Purpose = "E-PURPOSE",
    /// S-19, S-20: data category not allowed or not declared.
    Category = "E-CATEGORY",
    /// S-11, S-20: personal data where none may be.
    Personal = "E-PERSONAL",
    /// The schema of the type.
    Schema = "E-SCHEMA",
    /// S-6, S-9: times.
    Time = "E-TIME",
    /// S-7: ranges, sums, votes, years.
    Range = "E-RANGE",
    /// S-8: codes of places, rings.
    Geo = "E-GEO",
    /// S-12: a cell so small that it points at a person. Quarantined.
    SmallCell = "E-SMALLCELL",
    /// S-13, S-15, S-22: who may be named.
    Audience = "E-AUDIENCE",
    /// S-16: evaluation and handling missing.
    Eval = "E-EVAL",
    /// S-17: a deployment inside the Union.
    Place = "E-PLACE",
    /// S-18: `eraseby` missing or too late.
    Retention = "E-RETENTION",
    /// S-14, S-22: the message referred to.
    Ref = "E-REF",
    /// S-21: plane switched off.
    Plane = "E-PLANE",
    /// S-21: party suspended.
    Party = "E-PARTY",
    /// S-23: too many from one authority.
    Rate = "E-RATE",
    /// S-5: the same id with other bytes.
    Dup = "E-DUP",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One place at fault: a JSON Pointer (RFC 6901) into the message and what is wrong there, without the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer, at most 300 characters.
    pub path: String,
    /// What is wrong, at most 500 characters, never the offending value.
    pub message: String,
}

/// A refusal: one code and up to [`Refused::MOST_FAULTS`] places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The code of the first failing step.
    pub code: Code,
    /// The places, in document order, cut at [`Refused::MOST_FAULTS`].
    pub detail: Vec<Fault>,
    /// True if the message is put aside for the sender's supervisor instead of being thrown away.
    #[serde(skip)]
    aside: bool,
}

impl Refused {
    /// How many places a refusal names.
    pub const MOST_FAULTS: usize = 20;

    /// A refusal with one place.
    #[must_use]
    pub fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::many(code, vec![Fault { path: path.into(), message: message.into() }])
    }

    /// A refusal with several places; texts are cut to what a receipt can carry.
    #[must_use]
    pub fn many(code: Code, mut detail: Vec<Fault>) -> Self {
        detail.truncate(Self::MOST_FAULTS);
        for fault in &mut detail {
            cut(&mut fault.path, 300);
            cut(&mut fault.message, 500);
        }
        Self { code, detail, aside: code == Code::SmallCell }
    }

    /// The same refusal of a message that is put aside: a small cell always is, and a frame that was broken.
    #[must_use]
    pub fn put_aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// Quarantined if it is put aside, else rejected.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.aside { Outcome::Quarantined } else { Outcome::Rejected }
    }
}

/// True for a member name that may stand in a pointer: an identifier. Anything else that a sender makes a name of may
/// itself be personal data, a number of a passport for example; then the object around it is named.
#[must_use]
pub fn is_tellable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    name.len() <= 40 && name.bytes().all(plain) && name.bytes().filter(u8::is_ascii_digit).count() <= 3
}

/// Cuts at a character boundary; `most` counts characters.
fn cut(text: &mut String, most: usize) {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
    }
}
