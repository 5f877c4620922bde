//! Writes one attempt: chooses what kind of message it is, has it made, and remembers what later ones need of it.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use super::draft::{Address, Draft};
use super::fill::Fill;
use super::past::Earlier;
use super::places;
use super::words;
use super::{Attempt, Expect, Role, Script};
use crate::message::outcome::Code;
use crate::message::time::Timestamp;
use crate::rules::catalogue::Plane;

/// The attempt that is to be written.
#[derive(Debug, Clone, Copy)]
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

    /// The same with another officer.
    pub(super) fn by(self, officer: usize) -> Self {
        Self { officer, ..self }
    }
}

/// Attributes that a correction takes over from its target.
pub(super) const MARKS: [&str; 7] =
    ["subject", "dataclassification", "tlp", "evaluation", "handling", "handlingnote", "exclude"];

/// Types of the network plane that have no weight of their own in a plan.
const OTHER: [&str; 9] = [
    "border.situation",
    "smuggling.network",
    "thb.pattern",
    "host.measure",
    "integration.predeparture",
    "return.practice",
    "protection.access",
    "legal.channel",
    "host.profile",
];

impl Script {
    /// A message that was not sent before, valid or not.
    pub(super) fn fresh(&mut self, slot: &Slot, role: Role) -> Attempt {
        let draft = match role {
            Role::Invalid => return self.invalid(slot),
            Role::Reused => self.reused(slot),
            Role::Late => Some(self.late(slot)),
            Role::Ordinary | Role::Resent => None,
        };
        let draft = draft.unwrap_or_else(|| self.ordinary(slot));
        self.finish(draft, slot)
    }

    /// The id of an attempt that is sent for the first time.
    pub(super) fn id(&self, no: u32) -> String {
        format!("{}{no:08x}", self.tag)
    }

    /// Gives the draft its id, unless it has one, and remembers it.
    pub(super) fn finish(&mut self, mut draft: Draft, slot: &Slot) -> Attempt {
        if !draft.event.contains_key("id") {
            draft.set("id", self.id(slot.no));
        }
        let id = draft.text("id").to_owned();
        if draft.expect != Expect::Accepted {
            return draft.seal(&self.world, slot.no, slot.duration(), Some(id));
        }
        let attributes = |name: &'static str| {
            let text = draft.event.get(name)?.as_str()?;
            Some((name, text.to_owned()))
        };
        let marks = MARKS.into_iter().filter_map(attributes).collect();
        let (kind, audience, named) = (draft.kind, draft.text("audience").to_owned(), draft.named.clone());
        let attempt = draft.seal(&self.world, slot.no, slot.duration(), Some(id.clone()));
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
        attempt
    }

    fn ordinary(&mut self, slot: &Slot) -> Draft {
        let mut weights = self.world.weights;
        if slot.burst {
            // In a crisis officers report; nobody writes programmes.
            weights[7..].fill(0.0);
        }
        let kind = match self.dice.weighted(&weights) {
            1 => "flow.route",
            2 => "smuggling.modus",
            3 if self.dice.chance(0.6) => "event.incident",
            3 => "event.warning",
            4 => "document.fraud",
            5 => *self.dice.pick(&OTHER),
            6 => return self.information(slot),
            7 => return self.coordination(slot),
            8 => return self.board(slot).unwrap_or_else(|| self.report(slot, "flow.observation")),
            9 => return self.control(slot).unwrap_or_else(|| self.report(slot, "flow.observation")),
            10 => return self.case(slot).unwrap_or_else(|| self.report(slot, "flow.observation")),
            _ => "flow.observation",
        };
        self.report(slot, kind)
    }

    /// A report that lay in a drawer for more than seven days before it was sent.
    fn late(&mut self, slot: &Slot) -> Draft {
        let days = i64::from(self.dice.between(8, 20));
        let at = slot.at - SignedDuration::from_hours(24 * days);
        let kind = *self.dice.pick(&["flow.observation", "event.incident", "document.fraud", "host.profile"]);
        let data = self.data(slot.officer, at, kind);
        let from = self.world.posts[slot.officer].authority;
        let address = Address::usual(&self.world, &mut self.dice, kind, from, false);
        Draft::new(&self.world, &mut self.dice, (slot.officer, kind), at, address, data)
    }

    /// Other bytes under an id that its officer has used for an accepted message.
    fn reused(&mut self, slot: &Slot) -> Option<Draft> {
        let at = self.present(slot, |_| true)?;
        let earlier = &self.past.messages[at];
        let (no, officer, id) = (earlier.no, earlier.officer, earlier.id.clone());
        let mut draft = self.plain(&slot.by(officer), "flow.observation");
        draft.set("id", id);
        draft.expect = Expect::Rejected(Code::Dup);
        draft.after = Some(no);
        Some(draft)
    }

    /// Data of a type, about the officer's country.
    pub(super) fn data(&mut self, officer: usize, at: Timestamp, kind: &str) -> Value {
        self.data_with(officer, at, kind, false)
    }

    /// The same, of special categories if wanted.
    pub(super) fn data_with(&mut self, officer: usize, at: Timestamp, kind: &str, special: bool) -> Value {
        let post = &self.world.posts[officer];
        let country = &places::all()[post.country];
        let home = &self.world.parties[post.authority].country;
        let language = words::language(&mut self.dice, country, home);
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
            special,
            persons: 0,
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
        match kind {
            "flow.route" if dice.chance(0.08) => (about.min(3_000) as usize, lists, 480),
            "network.report" | "board.programme" | "board.activityreport" => {
                (about.min(3_000) as usize, 12, 24)
            }
            "case.return-manifest" => (about as usize, 30, 24),
            _ => (about as usize, lists, 24),
        }
    }

    /// A report of this type by the officer of the slot.
    pub(super) fn report(&mut self, slot: &Slot, kind: &str) -> Draft {
        // Who is local is certain only when the last notice of a deployment has its receipt.
        let local = self.world.setting.fresh && slot.due >= self.world.settled;
        let data = self.data(slot.officer, slot.at, kind);
        let from = self.world.posts[slot.officer].authority;
        let address = Address::usual(&self.world, &mut self.dice, kind, from, local);
        let is_local = address.audience.starts_with("@local");
        let mut draft = Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data);
        if is_local {
            draft.after = self.past.deployed;
        } else if draft.plane() == Plane::Net && self.dice.chance(0.03) {
            // About several countries.
            draft.event.remove("subject");
        }
        draft
    }

    /// A report whose verdict depends on nothing but itself.
    pub(super) fn plain(&mut self, slot: &Slot, kind: &str) -> Draft {
        let data = self.data(slot.officer, slot.at, kind);
        let from = self.world.posts[slot.officer].authority;
        let address = Address::usual(&self.world, &mut self.dice, kind, from, false);
        Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data)
    }

    /// An earlier message for which this holds, of an officer who is there.
    pub(super) fn present(&mut self, slot: &Slot, holds: impl Fn(&Earlier) -> bool) -> Option<usize> {
        let posts = &self.world.posts;
        let there = |earlier: &Earlier| posts[earlier.officer].back(slot.due).is_none() && holds(earlier);
        self.past.some(&mut self.dice, there)
    }

    /// An officer of this authority who is there.
    pub(super) fn officer_of(&mut self, authority: usize, slot: &Slot) -> Option<usize> {
        let there = |officer: &&usize| self.world.posts[**officer].back(slot.due).is_none();
        let officers: Vec<usize> = self.world.posts_of[authority].iter().filter(there).copied().collect();
        if officers.is_empty() { None } else { Some(*self.dice.pick(&officers)) }
    }

    /// The same bytes again, by an officer who is there.
    pub(super) fn resend(&mut self, slot: &Slot) -> Option<Attempt> {
        let at = self.present(slot, |_| true)?;
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
