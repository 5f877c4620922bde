//! Messages that must be refused: a valid one with one fault, a fault for each code.
//!
//! The codes take turns, so that each comes as often as any other. Left out are `E-RATE`, which depends on the clock of
//! the server and cannot be expected of one message, and `E-DUP`, which has a share of its own in a plan. `E-PLANE` needs
//! the case plane to be off, `E-PARTY` a suspended authority in the registry; without them their turn goes to the next, and
//! [`left_out`] tells so.

use serde_json::{Value, json};

use super::draft::Draft;
use super::places::DESTINATIONS;
use super::write::Slot;
use super::{Attempt, Expect, Script, Setting};
use crate::message::outcome::Code;
use crate::sim::cast::Cast;
use crate::sim::plan::Plan;

mod body;
mod persons;

/// What can be expected of one message.
pub(super) const CODES: [Code; 22] = [
    Code::Json,
    Code::Size,
    Code::Type,
    Code::Envelope,
    Code::Origin,
    Code::Subject,
    Code::Class,
    Code::Purpose,
    Code::Category,
    Code::Personal,
    Code::Schema,
    Code::Time,
    Code::Range,
    Code::Geo,
    Code::SmallCell,
    Code::Audience,
    Code::Eval,
    Code::Place,
    Code::Retention,
    Code::Ref,
    Code::Plane,
    Code::Party,
];

/// The refusals that no message of a script gets, each with the reason.
#[must_use]
pub fn left_out(plan: &Plan, cast: &Cast, setting: Setting) -> Vec<(Code, &'static str)> {
    let has_suspended = cast
        .officers
        .iter()
        .any(|officer| cast.registry.party(officer.party.as_str()).is_some_and(|party| party.is_suspended()));
    let reason = |code: Code| match code {
        Code::Dup => (plan.faults.reused <= 0.0).then_some("faults.reused is 0"),
        code if !CODES.contains(&code) => Some("no single message can be expected to get it"),
        _ if plan.faults.invalid <= 0.0 => Some("faults.invalid is 0"),
        Code::Plane => setting.case_plane.then_some("the case plane is on"),
        Code::Party => (!has_suspended).then_some("no suspended authority has a post"),
        _ => None,
    };
    Code::ALL.iter().filter_map(|code| Some((*code, reason(*code)?))).collect()
}

impl Script {
    /// An invalid message.
    pub(super) fn invalid(&mut self, slot: &Slot) -> Attempt {
        loop {
            let code = CODES[self.invalid % CODES.len()];
            self.invalid += 1;
            let Some((mut draft, readable)) = self.spoiled(slot, code) else { continue };
            draft.expect =
                if code == Code::SmallCell { Expect::Quarantined(code) } else { Expect::Rejected(code) };
            let id = draft.text("id").to_owned();
            return draft.seal(&self.world, slot.no, slot.duration(), readable.then_some(id));
        }
    }

    /// A message with a fault of this code, and whether its id can be read all the same.
    fn spoiled(&mut self, slot: &Slot, code: Code) -> Option<(Draft, bool)> {
        if self.world.weights[10] > 0.0
            && self.dice.chance(0.5)
            && let Some(draft) = self.spoiled_case(slot, code)
        {
            return Some((draft, true));
        }
        if code == Code::Audience
            && self.dice.chance(0.3)
            && let Some(mut draft) = self.too_far(slot)
        {
            draft.set("id", self.id(slot.no));
            return Some((draft, true));
        }
        let mut draft = match code {
            Code::Plane if self.world.setting.case_plane => return None,
            Code::Plane => self.plain(slot, "case.admission-identity"),
            Code::Party => self.plain(&slot.by(self.world.suspended?), "flow.observation"),
            Code::Ref => self.dangling(slot),
            Code::Place | Code::Retention | Code::Category => self.notice(slot),
            Code::Eval => {
                let kind = *self.dice.pick(&[
                    "smuggling.modus",
                    "event.incident",
                    "document.fraud",
                    "event.warning",
                ]);
                self.plain(slot, kind)
            }
            Code::SmallCell => self.plain(slot, "thb.pattern"),
            Code::Range if self.dice.chance(0.3) => self.plain(slot, "board.decision"),
            Code::Time if self.dice.chance(0.3) => self.plain(slot, "rfi.request"),
            _ => self.plain(slot, "flow.observation"),
        };
        draft.set("id", self.id(slot.no));
        let mut readable = true;
        match code {
            Code::Json => {
                self.no_json(&mut draft);
                readable = false;
            }
            Code::Size => {
                let title = "Too long. ".repeat(7_000);
                draft.data()["narrative"] = title.into();
            }
            Code::Type => {
                let kind =
                    *self.dice.pick(&["flow.observation.v9", "flow.rumour.v1", "flow.observation.v01", "x"]);
                draft.set("type", format!("eu.ilonet.{kind}"));
            }
            Code::Envelope => readable = self.no_envelope(&mut draft),
            Code::Origin => self.spoofed(&mut draft),
            Code::Subject => self.misplaced(&mut draft),
            Code::Class => match self.dice.below(3) {
                0 => {
                    draft.set("tlp", "TLP:CLEAR");
                    draft.set("dataclassification", "LIMITE");
                }
                _ => {
                    draft.set("dataclassification", *self.dice.pick(&["R-UE/EU-R", "C-UE/EU-C", "S-UE/EU-S"]))
                }
            },
            Code::Purpose => draft.set("purpose", *self.dice.pick(&["3.4.c", "3.4", "10.3.e", "ctl", "8"])),
            Code::Plane | Code::Party | Code::Ref => {}
            _ => self.spoil_body(slot, &mut draft, code),
        }
        Some((draft, readable))
    }

    fn no_json(&mut self, draft: &mut Draft) {
        let bytes = serde_json::to_vec(&draft.event).expect("a map of texts must be writable");
        let inside = |text: &str| [b"{", text.as_bytes(), b",", &bytes[1..]].concat();
        let bytes = match self.dice.below(9) {
            0 => bytes[..bytes.len() - self.dice.between(1, 200) as usize].to_vec(),
            1 => inside(r#""purpose":"3.4.b""#),
            2 => [b"\xef\xbb\xbf".as_slice(), &bytes].concat(),
            3 => inside("\"x\":\"\\ud800\""),
            4 => inside(&format!("\"x\":{}{}", "[".repeat(40), "]".repeat(40))),
            5 => [bytes.as_slice(), b"{}"].concat(),
            6 => [b"[".as_slice(), &bytes, b"]"].concat(),
            7 => inside("\"x\":1e999"),
            _ => inside("\"x\":\"\u{fffd}\"")
                .iter()
                .flat_map(|byte| if *byte == 0xef { vec![0xff] } else { vec![*byte] })
                .collect(),
        };
        draft.bytes = Some(bytes);
    }

    /// A fault of the envelope. False if the id cannot be read then.
    fn no_envelope(&mut self, draft: &mut Draft) -> bool {
        match self.dice.below(11) {
            0 => draft.set("time", "2026-03-02T08:15:00"),
            1 => {
                draft.set("handling", "H3");
                draft.event.remove("handlingnote");
            }
            2 => draft.set("tlp", "TLP:WHITE"),
            3 => draft.set("evaluation", "D5"),
            4 => drop(draft.event.remove("purpose")),
            5 => draft.set("mood", "good"),
            6 => draft.set("specversion", "0.3"),
            7 => draft.set("correlationid", Value::Null),
            8 => draft.set("correlationid", "FILE\u{7}1"),
            9 => draft.set("time", "2016-12-31T23:59:60Z"),
            _ => {
                let id = draft.text("id").to_uppercase();
                draft.set("id", id);
                return false;
            }
        }
        true
    }

    /// One authority in the name of another.
    fn spoofed(&mut self, draft: &mut Draft) {
        let own = self.world.posts[draft.officer].authority;
        let other = self.others(own, 1).first().map_or("eu-com", |at| self.world.id(*at));
        if self.dice.chance(0.5) {
            draft.set("originator", other);
        } else {
            let source =
                if self.dice.chance(0.2) { "/broker/main".to_owned() } else { format!("/authority/{other}") };
            draft.set("source", source);
        }
    }

    /// A subject that contradicts the envelope.
    fn misplaced(&mut self, draft: &mut Draft) {
        let right = draft.subject(&self.world);
        let head = right.rsplit_once('.').map_or("", |(head, _)| head);
        let wrong = match self.dice.below(3) {
            // Flow is about no Member State's country here, so this is never right.
            0 => format!("{head}.{}", DESTINATIONS[0].0.to_ascii_lowercase()),
            1 => right.replace(".net.flow.observation.", ".net.flow.route."),
            _ => format!("{right}.x"),
        };
        draft.subject = Some(wrong);
    }

    /// A reference to what is not there, or is another's.
    fn dangling(&mut self, slot: &Slot) -> Draft {
        let own = self.world.posts[slot.officer].source.clone();
        let unknown = super::fill::uuid(&mut self.dice);
        let (kind, name, source) = match self.dice.below(4) {
            0 => ("msg.retraction", "target", own),
            1 => ("rfi.response", "request", own),
            2 => ("msg.release", "target", own),
            _ => {
                let other = self.others(self.world.posts[slot.officer].authority, 1);
                let source = other.first().map_or(own, |at| format!("/authority/{}", self.world.id(*at)));
                ("msg.correction", "target", source)
            }
        };
        let mut data = self.data(slot.officer, slot.at, kind);
        data[name] = json!({ "source": source, "id": unknown });
        if kind == "rfi.response" {
            data["outcome"] = "answered".into();
            data["answer"] = "As asked.".into();
        }
        if kind == "msg.release" {
            data["newAudience"] = "@ms".into();
        }
        if kind == "msg.correction" {
            data["newData"] = self.data(slot.officer, slot.at, "flow.observation");
        }
        let own = self.world.posts[slot.officer].authority;
        let to = self.others(own, 2);
        let address = super::draft::Address::named(&self.world, &mut self.dice, to);
        Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data)
    }
}
