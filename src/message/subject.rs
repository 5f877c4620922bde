//! NATS subjects of the network (`PROTOCOL.md` section 2). No other file builds one with `format!`.

use super::names::{MessageId, PartyId, PostId, TypeId, token};

/// The subject of a publication, taken apart: `ilo.in.<party>.<post>.<plane>.<family>.<kind>.<cc>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whose subject it is.
    pub party: &'a str,
    /// The post, or `system`.
    pub post: &'a str,
    /// The plane.
    pub plane: &'a str,
    /// First half of the type id.
    pub family: &'a str,
    /// Second half of the type id.
    pub kind: &'a str,
    /// Lower-case country, or `zz`.
    pub country: &'a str,
}

impl<'a> Publish<'a> {
    /// Takes a stored subject apart. `None` if it is not of that form: the server lets wildcards and any bytes through.
    #[must_use]
    pub fn parse(subject: &'a str) -> Option<Self> {
        if subject.len() > 128 {
            return None;
        }
        let mut tokens = subject.split('.');
        if tokens.next() != Some("ilo") || tokens.next() != Some("in") {
            return None;
        }
        let mut next = || tokens.next().filter(|text| token(text));
        let found = Self {
            party: next()?,
            post: next()?,
            plane: next()?,
            family: next()?,
            kind: next()?,
            country: next()?,
        };
        tokens.next().is_none().then_some(found)
    }
}

/// Party and post of a stored subject, whatever follows them: the tokens that the server let this user publish under.
#[must_use]
pub fn publisher(subject: &str) -> Option<(&str, &str)> {
    let (party, rest) = subject.strip_prefix("ilo.in.")?.split_once('.')?;
    let (post, _) = rest.split_once('.')?;
    (token(party) && token(post)).then_some((party, post))
}

/// The subject that a publication must have.
#[must_use]
pub fn publish(
    party: &PartyId,
    post: Option<&PostId>,
    plane: &str,
    kind: &TypeId,
    country: Option<&str>,
) -> String {
    let post = post.map_or("system", PostId::as_str);
    format!("ilo.in.{party}.{post}.{plane}.{kind}.{}", country_token(country))
}

/// The subject of a delivery.
#[must_use]
pub fn delivery_text(party: &PartyId, plane: &str, kind: &str, country: Option<&str>) -> String {
    format!("ilo.out.{party}.{plane}.{kind}.{}", country_token(country))
}

/// The subject of a receipt; `id` is the message id, or `unreadable-<stream sequence>`.
#[must_use]
pub fn receipt(party: &PartyId, post: &str, id: &str) -> String {
    format!("ilo.rcpt.{party}.{post}.{id}")
}

/// The last token of the receipt of a message: its id, or what stands for one that could not be read.
#[must_use]
pub fn receipt_token(id: Option<&MessageId>, stream_sequence: u64) -> String {
    id.map_or_else(|| format!("unreadable-{stream_sequence}"), ToString::to_string)
}

/// The service subject of a party, `ilo.svc.<party>.<verb>`.
#[must_use]
pub fn service(party: &PartyId, verb: &str) -> String {
    format!("ilo.svc.{party}.{verb}")
}

/// Lower-case country token, `zz` for several.
#[must_use]
pub fn country_token(country: Option<&str>) -> String {
    country.map_or_else(|| "zz".to_owned(), str::to_ascii_lowercase)
}

/// Where the frames of a shard's journal go when it is replicated.
#[must_use]
pub fn journal(shard: u16) -> String {
    format!("ilo.journal.{shard}")
}

/// Where stands what belongs to a replicated journal beside its frames: `term`, `key.<slot>`, `anew.<first sequence>`.
#[must_use]
pub fn journal_part(shard: u16, part: &str, number: Option<u64>) -> String {
    match number {
        Some(number) => format!("ilo.journal.{shard}.{part}.{number}"),
        None => format!("ilo.journal.{shard}.{part}"),
    }
}

/// The part of account, stream and durable names that stands for a party: upper case, `-` becomes `_`.
#[must_use]
pub fn upper(party: &PartyId) -> String {
    party.as_str().to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_subjects_are_taken_apart_strictly() {
        let found = Publish::parse("ilo.in.it-moi.tn-01.net.flow.observation.tn").expect("well formed");
        assert_eq!((found.party, found.post, found.country), ("it-moi", "tn-01", "tn"));
        for bad in [
            "ilo.in.it-moi.tn-01.net.flow.*.tn",
            "ilo.in.it-moi.>",
            "ilo.in.it-moi.tn-01.net.flow.observation.tn.x",
            "ilo.in.it-moi..net.flow.observation.tn",
            "ilo.in.it-moi.TN-01.net.flow.observation.tn",
            "ilo.out.it-moi.tn-01.net.flow.observation.tn",
            "",
        ] {
            assert_eq!(Publish::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_published_is_told_of_a_subject_that_is_wrong_behind_it() {
        for subject in ["ilo.in.it-moi.tn-01.net.flow.*.>", "ilo.in.it-moi.tn-01.x", "ilo.in.it-moi.tn-01."] {
            assert_eq!(publisher(subject), Some(("it-moi", "tn-01")), "{subject}");
        }
        for bad in [
            "ilo.in.it-moi.tn-01",
            "ilo.in.it-moi.*.net",
            "ilo.in.it-moi..net",
            "ilo.out.it-moi.tn-01.net",
            "",
        ] {
            assert_eq!(publisher(bad), None, "{bad}");
        }
    }
}
