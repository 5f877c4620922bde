//! The words of the ledger: few, known beforehand, one byte each on disk.
//!
//! A ledger names some sixty parties a message; a word as text would be half of every record. The numbers belong to the
//! archive alone and are stable: a new word takes a new number, and no number is ever given out again, or old frames
//! would tell another reason than the one that was decided. What the words mean is the rules' business.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal { $($(#[$word_doc:meta])* $name:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$word_doc])* $name,)* }

        impl $type {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The number on disk.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }

            /// What a number on disk means; `None` if this version gave out no such number.
            #[must_use]
            pub fn of_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// What a word means.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// The word where people read (JSON), the number where only programs do (postcard).
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.as_str())
                } else {
                    serializer.serialize_u8(self.code())
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let found = if deserializer.is_human_readable() {
                    Self::parse(&String::deserialize(deserializer)?)
                } else {
                    Self::of_code(u8::deserialize(deserializer)?)
                };
                found.ok_or_else(|| serde::de::Error::custom(concat!("unknown ", $what)))
            }
        }
    };
}

words! {
    /// Why a party got a message (below 16), or why not (from 16 on).
    Why, "reason" {
        /// The audience names it.
        Named = 1 "named",
        /// A group holds it, and it subscribed.
        Subscribed = 2 "subscribed",
        /// It holds the message that this one is about.
        Holds = 3 "holder-of-target",
        /// The message is about one of its own.
        Owns = 4 "originator-of-target",
        /// It is the originator.
        Originator = 16 "originator",
        /// The message excludes it.
        Excluded = 17 "excluded",
        /// It takes no part for now.
        Suspended = 18 "suspended",
        /// Its roles do not let it read this.
        Role = 19 "role",
        /// None of its subscriptions matches.
        NotSubscribed = 20 "not-subscribed",
        /// A recall or correction goes to those who hold its target; it does not.
        NotHolder = 21 "not-holder",
        /// It holds the message already.
        Holder = 22 "holder",
    }
}

words! {
    /// The plane of a message.
    Plane, "plane" {
        /// Reports without personal data.
        Net = 1 "net",
        /// Deployments and local networks.
        Coord = 2 "coord",
        /// Documents of the steering board.
        Board = 3 "board",
        /// Personal data, named recipients.
        Case = 4 "case",
        /// Corrections, retractions, erasure, release.
        Ctl = 5 "ctl",
    }
}

words! {
    /// What kind of personal data a message carries.
    Category, "category" {
        /// None.
        None = 1 "none",
        /// Contact data of officers.
        Contact = 2 "contact",
        /// Personal data, Art. 10(3).
        Personal = 3 "personal",
        /// Biometric data or vulnerability.
        Special = 4 "special",
    }
}

words! {
    /// Why a message is erased.
    Ground, "ground" {
        /// Art. 10(2).
        NoLongerNecessary = 1 "no-longer-necessary",
        /// GDPR Art. 17.
        DataSubjectRequest = 2 "data-subject-request",
        /// It should not have been there.
        Unlawful = 3 "unlawful",
        /// `eraseby`, or the limit of its type.
        RetentionReached = 4 "retention-reached",
        /// A court or supervisory authority.
        CourtOrDpaOrder = 5 "court-or-dpa-order",
    }
}

words! {
    /// What a recipient says that it did.
    Handled, "handling" {
        /// It has read and dealt with it.
        Handled = 1 "handled",
        /// It has erased its copies.
        Erased = 2 "erased",
        /// It has withdrawn the information where it had passed it on or used it.
        Withdrawn = 3 "withdrawn",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_own_number_and_comes_back_from_both_forms() {
        for why in Why::ALL {
            assert_eq!((Why::of_code(why.code()), Why::parse(why.as_str())), (Some(*why), Some(*why)));
            let bytes = postcard::to_stdvec(why).expect("writes");
            assert_eq!(bytes, [why.code()], "one byte on disk");
            assert_eq!(postcard::from_bytes::<Why>(&bytes).expect("reads"), *why);
            assert_eq!(serde_json::to_string(why).expect("writes"), format!("\"{why}\""));
        }
        for plane in Plane::ALL {
            assert_eq!(
                (Plane::of_code(plane.code()), Plane::parse(plane.as_str())),
                (Some(*plane), Some(*plane))
            );
        }
        assert!(postcard::from_bytes::<Why>(&[0]).is_err(), "a number that was never given out is no word");
    }
}
