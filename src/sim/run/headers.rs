//! Whether the headers of a letter are exactly those that `PROTOCOL.md` section 3 names: all of them, each once, and no other.

use crate::message::digest::Digest;
use crate::message::{signature, time};

/// Those that every letter has.
const NAMES: [&str; 6] =
    ["Content-Type", "Nats-Msg-Id", "Ilo-Digest", "Ilo-Feed-Seq", "Ilo-Feed-Digest", "Ilo-Archived-At"];

/// True if these are the headers of a letter.
pub fn are_those_of_a_letter<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    let mut seen = [false; NAMES.len()];
    let mut is_signed = false;
    for (name, value) in headers {
        // Only a signed message has a signature.
        let seen = match NAMES.iter().position(|known| *known == name) {
            Some(place) => &mut seen[place],
            None if name == signature::HEADER => &mut is_signed,
            None => return false,
        };
        if std::mem::replace(seen, true) || !fits(name, value) {
            return false;
        }
    }
    seen.iter().all(|seen| *seen)
}

fn fits(name: &str, value: &str) -> bool {
    match name {
        "Content-Type" => value == "application/cloudevents+json",
        "Ilo-Digest" => value.starts_with("sha256:") && Digest::parse(value).is_some(),
        "Ilo-Feed-Seq" => value.parse::<u64>().is_ok_and(|number| number > 0),
        "Ilo-Feed-Digest" => !value.starts_with("sha256:") && Digest::parse(value).is_some(),
        "Ilo-Archived-At" => time::parse(value).is_some(),
        _ => !value.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "application/cloudevents+json".to_owned()),
            ("Nats-Msg-Id", "it-moi-7-0123456789abcdef".to_owned()),
            ("Ilo-Digest", format!("sha256:{}", "a".repeat(64))),
            ("Ilo-Feed-Seq", "7".to_owned()),
            ("Ilo-Feed-Digest", "b".repeat(64)),
            ("Ilo-Archived-At", "2026-03-02T10:00:00.123Z".to_owned()),
        ]
    }

    fn holds(headers: &[(&'static str, String)]) -> bool {
        are_those_of_a_letter(headers.iter().map(|(name, value)| (*name, value.as_str())))
    }

    #[test]
    fn all_of_them_once_and_no_other() {
        assert!(holds(&good()));
        assert!(holds(&[good(), vec![(signature::HEADER, "a..b".to_owned())]].concat()), "a signed one");
        for at in 0..NAMES.len() {
            let mut without = good();
            let taken = without.remove(at);
            assert!(!holds(&without), "without {}", taken.0);
            assert!(!holds(&[good(), vec![taken]].concat()), "one twice");
        }
        assert!(!holds(&[good(), vec![("X-Trace", "1".to_owned())]].concat()));
        for (at, wrong) in [
            (0, "application/json".to_owned()),
            (2, "a".repeat(64)),
            (3, "0".to_owned()),
            (4, format!("sha256:{}", "b".repeat(64))),
            (5, "yesterday".to_owned()),
        ] {
            let mut spoilt = good();
            spoilt[at].1 = wrong;
            assert!(!holds(&spoilt), "{:?}", spoilt[at]);
        }
    }
}
