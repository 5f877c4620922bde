//! The rules of the envelope: origin, subject, markings, purpose, category, evaluation, host country, retention.
//!
//! Who is named in `audience` is `audience`'s business, times are those of `times`. Nothing here looks at a person.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::catalogue::{Plane, TypeEntry};
use super::places::Faults;
use super::policy::Policy;
use super::registry::{Participation, Registry};
use super::semantics::Body;
use super::times::day_of;
use crate::message::envelope::Envelope;
use crate::message::names::PostId;
use crate::message::outcome::{Code, Refused};
use crate::message::raw::Raw;
use crate::message::subject::{self, Publish};
use crate::message::time::{self, Timestamp};
use crate::message::tree::Node;

/// The Member States of the Union. Being one is treaty law and no matter of configuration, unlike taking part in the
/// Regulation, which is the registry's word.
const UNION: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Days that contact data may stay after the end of a deployment.
const CONTACT_DAYS: i64 = 30;
/// Days that a passenger list may stay after the transport: the ten days of the former Art. 11b(3) of Regulation (EC)
/// 2007/2004.
const MANIFEST_DAYS: i64 = 10;

/// S-4: the account that published, `originator` and the authority in `source` are one (Art. 1(2)). `/broker/` is the
/// broker's own, and nothing of its own comes in from outside.
pub(super) fn origin(raw: &Raw, envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if envelope.originator != raw.party {
        faults.add(|| "/originator".to_owned(), "is not the authority that published");
    }
    if envelope.source.party() != Some(&raw.party) {
        faults.add(|| "/source".to_owned(), "is not the authority that published");
    }
    faults.refuse(Code::Origin)
}

/// S-3: the NATS subject says what the envelope says, each token named by the attribute that it contradicts.
pub(super) fn subject(raw: &Raw, envelope: &Envelope, plane: Plane) -> Result<(), Refused> {
    let mut faults = Faults::default();
    let Some(found) = Publish::parse(&raw.subject) else {
        faults.add(String::new, "came on a subject that is none for publishing");
        return faults.refuse(Code::Subject);
    };
    let post = envelope.source.post().map_or("system", PostId::as_str);
    let kind = envelope.kind.as_str().split_once('.');
    let pairs = [
        ("/originator", found.party == envelope.originator.as_str()),
        ("/source", found.post == post),
        ("/type", found.plane == plane.as_str() && kind == Some((found.family, found.kind))),
        ("/subject", found.country == subject::country_token(envelope.country.as_deref())),
    ];
    for (path, agrees) in pairs {
        if !agrees {
            faults.add(|| path.to_owned(), "is not what the NATS subject says");
        }
    }
    faults.refuse(Code::Subject)
}

/// S-13, first part: nothing above the ceiling (Decision 2013/488/EU); TLP:CLEAR is for what is public.
pub(super) fn class(policy: &Policy, envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if !policy.permits(&envelope.classification) {
        faults.add(|| "/dataclassification".to_owned(), "is above what this system may hold");
    }
    if envelope.tlp == "TLP:CLEAR" && envelope.classification != "PUBLIC" {
        faults.add(|| "/tlp".to_owned(), "TLP:CLEAR is for PUBLIC only");
    }
    faults.refuse(Code::Class)
}

/// S-13, second part: TLP:RED goes to named recipients only (TLP 2.0).
pub(super) fn red(envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if envelope.tlp == "TLP:RED" && envelope.names_a_group() {
        faults.add(|| "/audience".to_owned(), "TLP:RED is for named recipients only");
    }
    faults.refuse(Code::Audience)
}

/// S-10: purpose limitation, Art. 10(2)-(3): the purpose is one of the type's.
pub(super) fn purpose(entry: &TypeEntry, envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if !entry.purposes.contains(&envelope.purpose) {
        faults.add(|| "/purpose".to_owned(), "is not a purpose of this type");
    }
    faults.refuse(Code::Purpose)
}

/// S-20: the category is one of the type's (Art. 3(4), 10(2)). Personal data declared where the type takes none is
/// E-PERSONAL; any other disagreement is E-CATEGORY.
pub(super) fn category(entry: &TypeEntry, envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if !entry.datacat.iter().any(|category| *category == envelope.category) {
        faults.add(|| "/datacategory".to_owned(), "is not a category of this type");
    }
    let personal = entry.plane != Plane::Case && envelope.category != "none";
    faults.refuse(if personal { Code::Personal } else { Code::Category })
}

/// S-16: evaluation of source and information (Regulation (EU) 2016/794, Art. 29) and handling, where asked for.
pub(super) fn evaluation(entry: &TypeEntry, envelope: &Envelope) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if entry.evalreq {
        for (path, given) in [("/evaluation", envelope.has_evaluation), ("/handling", envelope.has_handling)]
        {
            if !given {
                faults.add(|| path.to_owned(), "is required for this type");
            }
        }
    }
    faults.refuse(Code::Eval)
}

/// S-17: an officer is deployed to a third country, Art. 2(2).
pub(super) fn third_country(registry: &Registry, body: &Body<'_>) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if body.kind == "deployment.notice"
        && let Some(host) = body.data.at("hostCountry").as_str()
    {
        let registered = || {
            registry
                .parties()
                .any(|party| party.participation == Participation::MemberState && party.country == host)
        };
        if UNION.contains(&host) || registered() {
            faults.add(|| format!("{}/hostCountry", body.prefix), "is a Member State, not a third country");
        }
    }
    faults.refuse(Code::Place)
}

/// S-18: personal data are kept no longer than their type allows, Art. 10(2). That they have an `eraseby` at all is
/// asked by the envelope's schema.
pub(super) fn retention(body: &Body<'_>) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if let Some(erase_by) = body.envelope.erase_by
        && latest(body.envelope, body.kind, body.data).is_some_and(|latest| erase_by > latest)
    {
        faults.add(|| "/eraseby".to_owned(), "is later than this type allows");
    }
    faults.refuse(Code::Retention)
}

/// When a message is to be erased at the latest: when it says so itself; contact data of an officer, which need not say it,
/// when the days after the deployment are over (`domain.md` 4.4).
pub(super) fn erase_by(envelope: &Envelope, kind: &str, data: Node<'_>) -> Option<Timestamp> {
    let contact = envelope.category == "contact";
    envelope.erase_by.or_else(|| if contact { latest(envelope, kind, data) } else { None })
}

/// The last instant at which data of this type may still be held; `None` where there is no limit.
fn latest(envelope: &Envelope, kind: &str, data: Node<'_>) -> Option<Timestamp> {
    let days = match kind {
        "case.identity-response" => 30,
        "case.admission-identity" | "case.resettlement-identity" => 90,
        "case.identity-request" => 180,
        "case.smuggling-lead" => 365,
        "case.return-manifest" => {
            let scheduled = data.at("scheduled").as_str().and_then(time::parse)?;
            return later(scheduled, MANIFEST_DAYS);
        }
        "deployment.notice" if envelope.category == "contact" => {
            let until: Date = data.at("until").as_str()?.parse().ok()?;
            // The limit is the end of a day, hence the first instant of the next one.
            let end = until.checked_add((CONTACT_DAYS + 1).days()).ok()?;
            return TimeZone::UTC.to_timestamp(end.at(0, 0, 0, 0)).ok();
        }
        _ => return None,
    };
    later(envelope.recorded, days)
}

fn later(at: Timestamp, days: i64) -> Option<Timestamp> {
    at.checked_add((days * 24).hours()).ok()
}

/// The day on which deployments count for a message: the one on which it was recorded.
pub(super) fn today(envelope: &Envelope) -> Date {
    day_of(envelope.recorded)
}

/// S-15 for the body: `newAudience` of a release is an audience like any other.
pub(super) fn release(registry: &Registry, body: &Body<'_>) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if body.kind == "msg.release"
        && let Some(wider) = body.data.at("newAudience").as_str()
        && !wider.split(',').all(|name| is_group(name) || registry.party(name).is_some())
    {
        faults
            .add(|| format!("{}/newAudience", body.prefix), "names what is no group and no registered party");
    }
    faults.refuse(Code::Audience)
}

/// True for the names of groups, `@` included.
pub(super) fn is_group(name: &str) -> bool {
    matches!(name, "@local" | "@network" | "@ms" | "@ms-lea" | "@sac" | "@agencies" | "@board")
}
