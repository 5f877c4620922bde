//! Writes one attempt: chooses what kind of message it is, has it made, and remembers what later ones need of it.

use std::time::Duration;

use serde_json::Value;

use super::draft::{Address, Draft, entry};
use super::fill::Fill;
use super::past::Earlier;
use super::places;
use super::words;
use super::{Attempt, Expect, Role, Script};
use crate::message::time::Timestamp;
use crate::rules::catalogue::{Catalogue, Plane};

/// The attempt that is to be written.
pub(super) struct Slot {
    pub(super) no: u32,
    /// Microseconds from the start.
    pub(super) due: u64,
    pub(super) officer: usize,
    /// When the officer writes it, as messages tell it.
    pub(super) at: Timestamp,
    pub(super) burst: bool,
}

impl Slot {
    pub(super) fn duration(&self) -> Duration {
        Duration::from_micros(self.due)
    }
}

/// Attributes that a correction takes over from its target.
pub(super) const MARKS: [&str; 7] =
    ["subject", "dataclassification", "tlp", "evaluation", "handling", "handlingnote", "exclude"];

impl Script {
    /// A message that was not sent before, valid or not.
    pub(super) fn fresh(&mut self, slot: &Slot, _role: Role) -> Attempt {
        let id = self.id(slot.no);
        let mut draft = self.report(slot, "flow.observation");
        draft.set("id", id.clone());
        self.finish(draft, slot, id)
    }

    pub(super) fn id(&self, no: u32) -> String {
        format!("{}{no:08x}", self.tag)
    }

    fn finish(&mut self, draft: Draft, slot: &Slot, id: String) -> Attempt {
        let attributes = |name: &'static str| {
            let text = draft.event.get(name)?.as_str()?;
            Some((name, text.to_owned()))
        };
        let marks = MARKS.into_iter().filter_map(attributes).collect();
        let (kind, audience, named) = (draft.kind, draft.text("audience").to_owned(), draft.named.clone());
        let attempt = draft.seal(&self.world, slot.no, slot.duration(), Some(id.clone()));
        if attempt.expect == Expect::Accepted {
            let message = Earlier {
                no: slot.no,
                officer: attempt.officer,
                kind,
                id,
                subject: attempt.subject.clone(),
                payload: attempt.payload.clone(),
                audience,
                named,
                marks,
                spoken_of: false,
            };
            let source = &self.world.posts[attempt.officer].source;
            self.past.remember(message, source);
        }
        attempt
    }

    /// Data of a type, about the officer's country.
    pub(super) fn data(&mut self, officer: usize, at: Timestamp, kind: &'static str) -> Value {
        let country = &places::all()[self.world.posts[officer].country];
        let language = words::language(&mut self.dice, country);
        let (about, lists, positions) = self.size(kind);
        let mut fill = Fill {
            dice: &mut self.dice,
            country,
            at,
            language,
            about,
            positions,
            lists,
            authorities: &self.world.ids,
            earlier: &self.past.references,
        };
        fill.data(kind).into()
    }

    /// How much a message says: characters of its text, items of its lists, positions of its lines. Most are short; a
    /// few routes and joint reports have a tail.
    fn size(&mut self, kind: &str) -> (usize, usize, u32) {
        let dice = &mut self.dice;
        let (about, lists) = match dice.below(100) {
            0..10 => (dice.between(120, 500), 2),
            10..75 => (dice.between(700, 2_000), 4),
            75..96 => (dice.between(1_500, 4_000), 6),
            _ => (dice.between(3_500, 6_500), 8),
        };
        let positions = if kind == "flow.route" && dice.chance(0.08) { 480 } else { 24 };
        let about = if positions > 24 { about.min(3_000) } else { about };
        (about as usize, lists, positions)
    }

    /// A report of this type by the officer of the slot.
    pub(super) fn report(&mut self, slot: &Slot, kind: &'static str) -> Draft {
        let data = self.data(slot.officer, slot.at, kind);
        let from = self.world.posts[slot.officer].authority;
        let address = Address::usual(&self.world, &mut self.dice, kind, from, false);
        Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data)
    }

    /// The same bytes again, by an officer who is there.
    pub(super) fn resend(&mut self, slot: &Slot) -> Option<Attempt> {
        let posts = &self.world.posts;
        let at = self.past.some(&mut self.dice, |earlier| posts[earlier.officer].back(slot.due).is_none())?;
        let earlier = &self.past.messages[at];
        Some(Attempt {
            no: slot.no,
            due: slot.duration(),
            officer: earlier.officer,
            subject: earlier.subject.clone(),
            id: Some(earlier.id.clone()),
            payload: earlier.payload.clone(),
            expect: Expect::Duplicate(earlier.no),
            after: Some(earlier.no),
        })
    }
}
