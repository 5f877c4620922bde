//! Personal data where none may be: S-11 (screen), S-12 (small cells), S-19 (categories), and bodies that hold persons
//! where their schema has none (Art. 3(4), 10(2)).
//!
//! It finds what has a form: addresses, numbers, member names. A person's name in free text has none; that stays the
//! sender's duty (`docs/DOMAIN.md`).

use super::catalogue::Plane;
use super::places::{Faults, Order, Path, walk};
use super::screen;
use super::semantics::Body;
use super::times::INSTANTS;
use crate::message::envelope::Source;
use crate::message::names::MessageId;
use crate::message::outcome::{Code, Fault, Refused};
use crate::message::time;
use crate::message::tree::{Kind, Node};

/// Member names that only data on a person have. None is declared outside the case plane.
const OF_A_PERSON: [&str; 31] = [
    "aliases",
    "biometrics",
    "birthDate",
    "birthdate",
    "dateOfBirth",
    "dob",
    "documentNumber",
    "facilitators",
    "familyName",
    "fingerprints",
    "firstName",
    "fullName",
    "givenName",
    "givenNames",
    "lastName",
    "nameOriginalScript",
    "nationalityClaimed",
    "nationalityPresumed",
    "passenger",
    "passengers",
    "passportNumber",
    "person",
    "personRef",
    "placeOfBirth",
    "smugglers",
    "suspect",
    "suspects",
    "surname",
    "victim",
    "victims",
    "witnesses",
];
/// Member names of contact data: personal too, and declared for `deployment.notice` alone.
const OF_CONTACT: [&str; 7] = ["contact", "contacts", "email", "mobile", "phone", "telephone", "whatsapp"];

/// Members whose form the schema or S-15 fixes and whose digits mean nobody.
const FIXED: [&str; 2] = ["sha256", "newAudience"];
/// Members that name a thing elsewhere: their digits are the sender's, an address in them is a person's.
const REFERENCES: [&str; 4] = ["source", "ref", "correlationid", "dataschema"];

/// True for a text whose member and form say that its digits mean nobody. The name alone is not enough: ids of the
/// board's activities are free text.
fn is_fixed(name: &str, text: &str) -> bool {
    FIXED.contains(&name)
        || (name == "id" && MessageId::parse(text).is_ok())
        || (INSTANTS.contains(&name) && time::parse(text).is_some())
}

/// Digits that a masked `series` may show: as many as the number of a travel document has may be all of it.
const SHOWN: usize = 6;

/// S-11 for one text of the body. A `series` must be masked: at least three of `*` or `?`, and not behind the whole number.
pub(super) fn text(path: &Path<'_>, text: &str, faults: &mut Faults) {
    let name = path.name().unwrap_or_default();
    if name == "series" {
        if text.bytes().filter(|byte| matches!(byte, b'*' | b'?')).count() < 3 {
            faults.add(|| path.pointer(), "must be masked with at least 3 of * or ?");
        } else if text.chars().filter(|character| character.is_numeric()).count() > SHOWN {
            faults.add(|| path.pointer(), "shows more digits than the last ones masked leave");
        }
        return;
    }
    if screen::is_plain(text) || is_fixed(name, text) {
        return;
    }
    if let Some(found) = look(name, text) {
        faults.add(|| path.pointer(), found.words());
    }
}

/// What is in a text with this name. A `source` is a reference if it has the form of one.
fn look(name: &str, text: &str) -> Option<screen::Found> {
    let is_reference = REFERENCES.contains(&name) && (name != "source" || Source::parse(text).is_some());
    if is_reference { screen::reference(text) } else { screen::find(text) }
}

/// S-11 and S-19: what the screen found in a message declared to hold no personal data, its attributes included, and
/// contact data of an officer that are not declared as such.
pub(super) fn undeclared(body: &Body<'_>, found: Faults) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if body.envelope.category == "none" {
        for name in ["handlingnote", "correlationid", "dataschema"] {
            let text = body.event.at(name).as_str().unwrap_or_default();
            if let Some(hit) = look(name, text) {
                faults.add(|| format!("/{name}"), hit.words());
            }
        }
    }
    if body.envelope.category != "contact" && body.data.get("contact").is_some() {
        faults.add(
            || format!("{}/contact", body.prefix),
            "holds contact data that datacategory does not declare",
        );
    }
    faults.append(found);
    faults.refuse(Code::Personal)
}

/// S-12: a count of one or two in a victim profile, with a place finer than a subdivision, points at a person
/// (Art. 3(2), 3(4)). The message is put aside for the sender's supervisor.
pub(super) fn small_cells(body: &Body<'_>) -> Result<(), Refused> {
    let mut faults = Faults::default();
    if fine_place(body.data) {
        for (at, cell) in body.data.at("victimProfile").items().enumerate() {
            if cell.at("count").as_f64().is_some_and(|count| (1.0..3.0).contains(&count)) {
                let path = || format!("{}/victimProfile/{at}/count", body.prefix);
                faults.add(path, "is so small, at so exact a place, that it points at a person");
            }
        }
    }
    faults.refuse(Code::SmallCell)
}

fn fine_place(data: Node<'_>) -> bool {
    let mut places = data.at("places").items();
    places.any(|place| ["locode", "name", "geometry"].iter().any(|name| place.get(name).is_some()))
}

/// Biometric references and vulnerabilities of a person: special categories, Regulation (EU) 2016/679, Art. 9.
pub(super) fn sensitive(path: &Path<'_>, value: Node<'_>, faults: &mut Faults) {
    if value.kind() == Kind::List
        && value.items().next().is_some()
        && matches!(path.name(), Some("biometrics" | "vulnerable"))
    {
        faults.add(|| path.pointer(), "is data of a special category");
    }
}

/// S-19: special categories are declared; a passenger list has none at all, Art. 10(3)(b) does not ask for them; the
/// category `contact` is for messages with contact data.
pub(super) fn category(body: &Body<'_>, sensitive: Faults) -> Result<(), Refused> {
    if !sensitive.is_empty() {
        if body.kind == "case.return-manifest" {
            return sensitive.refuse(Code::Purpose);
        }
        if body.envelope.category != "special" {
            return sensitive.refuse(Code::Category);
        }
    }
    let mut faults = Faults::default();
    // A correction declares what its new data hold; they are judged by the rules of what is corrected.
    let is_held = body.kind == "msg.correction" || body.data.get("contact").is_some();
    if body.envelope.category == "contact" && !is_held {
        faults.add(|| "/datacategory".to_owned(), "declares contact data that are not there");
    }
    faults.refuse(Code::Category)
}

/// A body that its schema refuses: E-PERSONAL if what is wrong are data on a person outside the case plane, so that
/// the sender learns what is really wrong; E-SCHEMA otherwise.
pub(super) fn refused_by_schema(
    plane: Plane,
    category: &str,
    event: Node<'_>,
    faults: Vec<Fault>,
) -> Refused {
    let mut persons = Faults::default();
    if plane != Plane::Case {
        for fault in &faults {
            let name = fault.path.rsplit('/').next().unwrap_or_default();
            let part = event.pointer(&fault.path);
            if part.is_some() && is_personal(name, category)
                || part.is_some_and(|part| has_person(part, category))
            {
                persons.add(|| fault.path.clone(), "holds personal data, which this plane does not take");
            }
        }
    }
    match persons.refuse(Code::Personal) {
        Err(refused) => refused,
        Ok(()) => Refused::many(Code::Schema, faults),
    }
}

fn is_personal(name: &str, category: &str) -> bool {
    OF_A_PERSON.contains(&name) || (category != "contact" && OF_CONTACT.contains(&name))
}

fn has_person(part: Node<'_>, category: &str) -> bool {
    let mut found = false;
    walk("", part, Order::Document, &mut |path, _| {
        found |= path.name().is_some_and(|name| is_personal(name, category))
    });
    found
}
