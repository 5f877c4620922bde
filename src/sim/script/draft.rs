//! A message while it is made: envelope and data as members, not yet bytes, so that a fault can still be put into it.

use bytes::Bytes;
use jiff::SignedDuration;
use jiff::tz::Offset;
use serde_json::{Map, Value};

use super::dice::Dice;
use super::world::World;
use super::{Attempt, Expect};
use crate::message::envelope::TYPE_PREFIX;
use crate::message::names::TypeId;
use crate::message::subject;
use crate::message::time::{self, Timestamp};
use crate::rules::catalogue::{Catalogue, Plane, TypeEntry};

/// A message that is being made.
pub(super) struct Draft {
    pub(super) officer: usize,
    /// Its type id.
    pub(super) kind: &'static str,
    /// The whole event.
    pub(super) event: Map<String, Value>,
    pub(super) expect: Expect,
    pub(super) after: Option<u32>,
    /// Instead of the subject that the envelope calls for.
    pub(super) subject: Option<String>,
    /// Instead of the event: bytes that are none.
    pub(super) bytes: Option<Vec<u8>>,
    /// Authorities that the audience names one by one.
    pub(super) named: Vec<usize>,
}

/// The type id and entry of the catalogue under this name.
pub(super) fn entry(kind: &str) -> (&'static str, &'static TypeEntry) {
    let mut types = Catalogue::embedded().types();
    types.find(|(known, _)| *known == kind).expect("the script must write types of the catalogue only")
}

/// To whom a message goes and how it is marked.
pub(super) struct Address {
    pub(super) audience: String,
    pub(super) exclude: Option<String>,
    pub(super) tlp: &'static str,
    pub(super) classification: &'static str,
    pub(super) named: Vec<usize>,
}

impl Address {
    /// To these alone.
    pub(super) fn named(world: &World, dice: &mut Dice, named: Vec<usize>) -> Self {
        let names: Vec<&str> = named.iter().map(|at| world.id(*at)).collect();
        let tlp = *dice.pick(&["TLP:RED", "TLP:AMBER", "TLP:AMBER+STRICT"]);
        // In a network of one there is nobody to name.
        let nobody = names.is_empty();
        Self {
            audience: if nobody { "@network".to_owned() } else { names.join(",") },
            exclude: None,
            tlp: if nobody { "TLP:AMBER" } else { tlp },
            classification: *dice.pick(&["LIMITE", "LIMITE", "SNC"]),
            named,
        }
    }

    /// As a report of this type is usually sent; sometimes to more, to fewer, or to all but some.
    pub(super) fn usual(world: &World, dice: &mut Dice, kind: &str, from: usize, local: bool) -> Self {
        let mut named = Vec::new();
        let mut exclude = None;
        let others = |dice: &mut Dice, most: u32| {
            let count = dice.between(1, most) as usize;
            let chosen = dice.some(count + 1, &world.named).into_iter().copied();
            chosen.filter(|at| *at != from).take(count).collect::<Vec<usize>>()
        };
        let mut audience = match dice.below(100) {
            0..64 => world.usual(kind),
            64..72 => "@network".to_owned(),
            72..78 => {
                named = others(dice, 4);
                return Self::named(world, dice, named);
            }
            78..84 => {
                named = others(dice, 3);
                world.usual(kind)
            }
            84..88 => "@ms-lea,@agencies".to_owned(),
            88..92 => "@board".to_owned(),
            _ => {
                exclude = Some(others(dice, 3)).filter(|list| !list.is_empty());
                "@ms,@sac".to_owned()
            }
        };
        if local && dice.chance(0.06) {
            audience = format!("@local,{audience}");
        }
        for at in &named {
            if !audience.split(',').any(|name| name == world.id(*at)) {
                audience = format!("{audience},{}", world.id(*at));
            }
        }
        let exclude = exclude.map(|list: Vec<usize>| {
            let names: Vec<&str> = list.iter().map(|at| world.id(*at)).collect();
            names.join(",")
        });
        let (tlp, classification) = *dice.pick(&[
            ("TLP:AMBER", "LIMITE"),
            ("TLP:AMBER", "LIMITE"),
            ("TLP:AMBER+STRICT", "LIMITE"),
            ("TLP:GREEN", "SNC"),
            ("TLP:GREEN", "NORMAL"),
            ("TLP:CLEAR", "PUBLIC"),
        ]);
        Self { audience, exclude, tlp, classification, named }
    }
}

impl Draft {
    /// An event with all attributes of its type and these data.
    pub(super) fn new(
        world: &World,
        dice: &mut Dice,
        (officer, kind): (usize, &str),
        at: Timestamp,
        address: Address,
        data: Value,
    ) -> Self {
        let post = &world.posts[officer];
        let (kind, entry) = entry(kind);
        let Address { audience, exclude, tlp, classification, named } = address;
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
        set("specversion", "1.0".into());
        set("source", post.source.clone().into());
        set("type", format!("{TYPE_PREFIX}{kind}.v1").into());
        set("subject", super::places::all()[post.country].code.into());
        let seen = at - SignedDuration::from_mins(i64::from(dice.between(0, 2_000)));
        set("time", instant(dice, seen));
        set("recordedtime", instant(dice, at));
        set("datacontenttype", "application/json".into());
        set("originator", post.party.as_str().into());
        set("purpose", dice.pick(&entry.purposes).as_str().into());
        set("dataclassification", classification.into());
        set("datacategory", "none".into());
        set("tlp", tlp.into());
        set("audience", audience.into());
        if let Some(exclude) = exclude {
            set("exclude", exclude.into());
        }
        match dice.below(20) {
            0..4 => set("priority", "priority".into()),
            4 | 5 => set("priority", "urgent".into()),
            6..14 => set("priority", "routine".into()),
            _ => {}
        }
        if entry.evalreq {
            let evaluation = format!("{}{}", *dice.pick(&["A", "B", "C", "X"]), dice.between(1, 4));
            set("evaluation", evaluation.into());
            set("handling", (*dice.pick(&["H0", "H0", "H1", "H2", "H1,H2", "H3"])).into());
        }
        if dice.chance(0.1) {
            set("correlationid", format!("FILE-{}", dice.between(100, 9_999)).into());
        }
        if dice.chance(0.05) {
            // Years away, whatever clock a plan gives: nothing may expire while it is looked for.
            let days = i64::from(dice.between(800, 2_000));
            set("expirytime", time::rfc3339(at + SignedDuration::from_hours(24 * days)).into());
        }
        if event.get("handling").is_some_and(|handling| handling == "H3") {
            event.insert("handlingnote".to_owned(), "Not for onward use before the joint review.".into());
        }
        event.insert("data".to_owned(), data);
        Self {
            officer,
            kind,
            event,
            expect: Expect::Accepted,
            after: None,
            subject: None,
            bytes: None,
            named,
        }
    }

    /// Sets an attribute.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.event.insert(name.to_owned(), value.into());
    }

    /// An attribute as text.
    pub(super) fn text(&self, name: &str) -> &str {
        self.event.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The data.
    pub(super) fn data(&mut self) -> &mut Value {
        self.event.entry("data").or_insert(Value::Null)
    }

    /// The subject that the event calls for, or the one that was set.
    pub(super) fn subject(&self, world: &World) -> String {
        if let Some(subject) = &self.subject {
            return subject.clone();
        }
        let post = &world.posts[self.officer];
        let kind = TypeId::parse(self.kind).expect("a type of the catalogue must be well formed");
        let country = self.event.get("subject").and_then(Value::as_str);
        subject::publish(&post.party, Some(&post.post), self.plane().as_str(), &kind, country)
    }

    /// Its plane.
    pub(super) fn plane(&self) -> Plane {
        entry(self.kind).1.plane
    }

    /// The attempt.
    pub(super) fn seal(
        self,
        world: &World,
        no: u32,
        due: std::time::Duration,
        id: Option<String>,
    ) -> Attempt {
        let subject = self.subject(world);
        let payload = self
            .bytes
            .unwrap_or_else(|| serde_json::to_vec(&self.event).expect("a map of texts must be writable"));
        Attempt {
            no,
            due,
            officer: self.officer,
            subject,
            id,
            payload: Bytes::from(payload),
            expect: self.expect,
            after: self.after,
        }
    }
}

/// Most clocks tell UTC, some the time of the place.
pub(super) fn instant(dice: &mut Dice, at: Timestamp) -> Value {
    if dice.chance(0.8) {
        return time::rfc3339(at).into();
    }
    let hours = i8::try_from(dice.between(0, 6)).unwrap_or_default();
    format!("{:.3}", at.display_with_offset(Offset::constant(hours))).into()
}
