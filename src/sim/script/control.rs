//! Control messages about earlier ones: corrections, retractions, asks for a wider release and the answers.
//!
//! Each earlier message is spoken of once, or asked for and answered once, so that nothing contradicts another; only
//! reports of the network plane are, and none with the handling code H2 is asked for. Erasures are left out: what is
//! erased cannot be looked for.

use serde_json::{Value, json};

use super::Script;
use super::draft::{Address, Draft};
use super::past::{Earlier, Waiting, wait};
use super::write::Slot;

/// Families of the network plane.
const REPORTS: [&str; 9] =
    ["flow.", "smuggling.", "thb.", "event.", "document.", "border.", "host.", "return.", "legal."];

fn is_report(earlier: &Earlier) -> bool {
    !earlier.spoken_of && REPORTS.iter().any(|family| earlier.kind.starts_with(family))
}

impl Script {
    /// A control message, if there is something to speak of.
    pub(super) fn control(&mut self, slot: &Slot) -> Option<Draft> {
        match self.dice.below(100) {
            0..50 => self.correction(slot),
            50..62 => self.retraction(slot),
            62..80 => self.ask(slot),
            _ => self.reply(slot).or_else(|| self.ask(slot)),
        }
    }

    fn correction(&mut self, slot: &Slot) -> Option<Draft> {
        let at = self.present(slot, is_report)?;
        let earlier = &mut self.past.messages[at];
        earlier.spoken_of = true;
        let (officer, kind, no) = (earlier.officer, earlier.kind, earlier.no);
        let (audience, marks) = (earlier.audience.clone(), earlier.marks.clone());
        let target = self.target(officer, at, "updates");
        let mut data = self.data(officer, slot.at, "msg.correction");
        data["target"] = target;
        data["newData"] = self.data(officer, slot.at, kind);
        let mut draft = self.about(slot, officer, "msg.correction", &audience, data);
        for name in super::write::MARKS {
            draft.event.remove(name);
        }
        for (name, text) in marks {
            draft.set(name, text);
        }
        draft.after = Some(no);
        Some(draft)
    }

    fn retraction(&mut self, slot: &Slot) -> Option<Draft> {
        let at = self.present(slot, is_report)?;
        let earlier = &mut self.past.messages[at];
        earlier.spoken_of = true;
        let (officer, no, audience) = (earlier.officer, earlier.no, earlier.audience.clone());
        let mut data = self.data(officer, slot.at, "msg.retraction");
        data["target"] = self.target(officer, at, "updates");
        // Its own audience does not count: a recall goes to whoever holds what is recalled.
        let audience = audience.replace("@local", "@network");
        let mut draft = self.about(slot, officer, "msg.retraction", &audience, data);
        draft.set("tlp", if audience.contains('@') { "TLP:AMBER" } else { "TLP:RED" });
        draft.after = Some(no);
        Some(draft)
    }

    /// A recipient that was named asks the originator that a third authority may have the message.
    fn ask(&mut self, slot: &Slot) -> Option<Draft> {
        let world = &self.world;
        let may_be_asked = |earlier: &Earlier| {
            let held = earlier.marks.iter().any(|(name, text)| {
                *name == "handling" && text.contains("H2") || *name == "tlp" && text == "TLP:RED"
            });
            is_report(earlier) && !held && earlier.named.iter().any(|at| !world.posts_of[*at].is_empty())
        };
        let at = self.past.some(&mut self.dice, may_be_asked)?;
        let earlier = &self.past.messages[at];
        let (of, no) = (earlier.officer, earlier.no);
        let holder = *earlier.named.iter().find(|at| !self.world.posts_of[**at].is_empty())?;
        let officer = self.officer_of(holder, slot)?;
        self.past.messages[at].spoken_of = true;
        let owner = self.world.posts[of].authority;
        let third = *self.others(owner, 1).first()?;
        let mut data = self.data(officer, slot.at, "msg.release");
        let target = self.target(of, at, "context");
        data["target"] = target;
        data["step"] = "ask".into();
        data["newAudience"] = self.world.id(third).into();
        let audience = self.world.id(owner).to_owned();
        let mut draft = self.about(slot, officer, "msg.release", &audience, data);
        draft.after = Some(no);
        let earlier = &self.past.messages[at];
        let waiting = Waiting {
            no: slot.no,
            source: self.world.posts[of].source.clone(),
            id: earlier.id.clone(),
            from: holder,
            asked: vec![owner],
            audience: self.world.id(third).to_owned(),
            file: String::new(),
        };
        wait(&mut self.past.asks, waiting);
        Some(draft)
    }

    /// The originator grants or refuses what was asked.
    fn reply(&mut self, slot: &Slot) -> Option<Draft> {
        let ask = self.past.asks.pop_front()?;
        let officer = self.officer_of(*ask.asked.first()?, slot)?;
        let mut data = self.data(officer, slot.at, "msg.release");
        data["target"] = json!({ "source": ask.source, "id": ask.id, "relation": "context" });
        data["step"] = if self.dice.chance(0.7) { "grant" } else { "refuse" }.into();
        data["newAudience"] = ask.audience.into();
        let audience = self.world.id(ask.from).to_owned();
        let mut draft = self.about(slot, officer, "msg.release", &audience, data);
        draft.after = Some(ask.no);
        Some(draft)
    }

    fn target(&self, officer: usize, at: usize, relation: &str) -> Value {
        let source = &self.world.posts[officer].source;
        json!({ "source": source, "id": self.past.messages[at].id, "relation": relation })
    }

    /// A control message to this audience.
    fn about(&mut self, slot: &Slot, officer: usize, kind: &str, audience: &str, data: Value) -> Draft {
        let address = Address {
            audience: audience.to_owned(),
            exclude: None,
            tlp: "TLP:AMBER",
            classification: "LIMITE",
            named: Vec::new(),
        };
        Draft::new(&self.world, &mut self.dice, (officer, kind), slot.at, address, data)
    }
}
