//! Names that cannot hold a wrong value: the only way in is `parse`.
//!
//! They do not say whether a party or a type exists; that is the registry's and the catalogue's word. A name lies where it
//! is used: a message names the whole network, and counted references would be touched by every thread it passes.

use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not a well-formed name of its kind. It never quotes the text: it may be personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed {0}")]
pub struct InvalidName(&'static str);

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $longest:literal, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(ArrayString<$longest>);

        impl $type {
            /// Takes the text if it is well formed.
            ///
            /// # Errors
            /// [`InvalidName`] otherwise.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                let name = if check(text) { ArrayString::from(text).ok() } else { None };
                name.map(Self).ok_or(InvalidName($what))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Name;
                impl serde::de::Visitor<'_> for Name {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Name)
            }
        }
    };
}

name!(
    /// An authority of the network, `^[a-z]{2}-[a-z0-9]{2,12}$`, for example `de-bpol`.
    PartyId,
    15,
    "party id",
    |text| dashed(text, 2)
);
name!(
    /// An officer's pseudonymous station, `^[a-z]{2}-[a-z0-9]{1,12}$`, for example `tn-01`.
    PostId,
    15,
    "post id",
    |text| dashed(text, 1)
);
name!(
    /// `<family>.<kind>`, for example `flow.observation`; at most 64 characters.
    TypeId,
    64,
    "type id",
    |text| text.split_once('.').is_some_and(|(family, kind)| token(family) && token(kind))
);
name!(
    /// A message id: a UUID in lower case, RFC 9562.
    MessageId,
    36,
    "message id",
    is_uuid
);

name!(
    /// A signing key of a party, `^[a-z0-9-]{1,40}$`, for example `tn-01-2026`; the `kid` of its signatures.
    KeyId,
    40,
    "key id",
    token
);

/// `[a-z]{2}-[a-z0-9]{least,12}`.
fn dashed(text: &str, least: usize) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 3 + least
        && bytes.len() <= 15
        && bytes[..2].iter().all(u8::is_ascii_lowercase)
        && bytes[2] == b'-'
        && bytes[3..].iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// A subject token of ours: `[a-z0-9-]+`.
pub(crate) fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            14 => (b'1'..=b'8').contains(b),
            19 => matches!(b, b'8' | b'9' | b'a' | b'b'),
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(b),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_what_the_protocol_says_and_nothing_else() {
        for good in ["de-bpol", "eu-frontex", "de-b2", "at-abcdefghijkl"] {
            assert!(PartyId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "de-b", "DE-bpol", "de_bpol", "d-bpol", "de-bpol\n", "de-abcdefghijklm", "de-bp.l", "de-*"]
        {
            assert!(PartyId::parse(bad).is_err(), "{bad}");
        }
        assert!(PostId::parse("tn-1").is_ok());
        assert!(TypeId::parse("case.identity-request").is_ok());
        assert!(TypeId::parse("a.b.c").is_err());
        assert!(MessageId::parse("0195c3a1-0001-7000-8000-000000000001").is_ok());
        assert!(MessageId::parse("0195C3A1-0001-7000-8000-000000000001").is_err());
        assert!(MessageId::parse("0195c3a1-0001-9000-8000-000000000001").is_err());
    }
}
