//! Faults of messages of the case plane: kept too long, to too many, to whom the law does not let have them.
//!
//! Only where plan and broker have that plane; else there is enough to refuse without it.

use serde_json::json;

use super::super::Script;
use super::super::draft::Draft;
use super::super::write::Slot;
use crate::message::outcome::Code;
use crate::rules::registry::Role;

impl Script {
    /// A message of the case plane with a fault of this code, for the codes that have one there.
    pub(super) fn spoiled_case(&mut self, slot: &Slot, code: Code) -> Option<Draft> {
        let (law, back) = (Some(Role::Lea), Some(Role::Return));
        let mut draft = match (code, self.dice.below(2)) {
            (Code::Retention | Code::Purpose | Code::Range, 0) => {
                self.personal_report(slot, "case.return-manifest", back, back)?
            }
            (Code::Audience, 0) => self.personal_report(slot, "case.smuggling-lead", law, law)?,
            (Code::Retention | Code::Purpose | Code::Audience | Code::Category, _) => {
                self.personal_report(slot, "case.identity-request", back, None)?
            }
            _ => return None,
        };
        // Nobody answers a request that is refused.
        if self.past.identities.back().is_some_and(|request| request.no == slot.no) {
            self.past.identities.pop_back();
        }
        let manifest = draft.kind == "case.return-manifest";
        match code {
            Code::Retention if self.dice.chance(0.5) => drop(draft.event.remove("eraseby")),
            Code::Retention => draft.set("eraseby", "2060-01-01T00:00:00Z"),
            Code::Purpose if manifest => draft.data()["persons"][0]["vulnerable"] = json!(["pregnant"]),
            Code::Purpose => draft.set("purpose", "10.3.e"),
            Code::Range => {
                let persons = &mut draft.data()["persons"];
                *persons = json!([{ "personRef": "P1" }, { "personRef": "P1" }]);
            }
            Code::Audience if draft.kind == "case.smuggling-lead" => {
                let own = self.world.posts[draft.officer].authority;
                let other = self
                    .world
                    .named
                    .iter()
                    .find(|at| **at != own && !self.world.parties[**at].has(Role::Lea))?;
                draft.set("audience", self.world.id(*other));
            }
            Code::Audience => draft.set("audience", "@ms"),
            Code::Category => {
                draft.data()["person"]["vulnerable"] = json!(["minor"]);
                draft.set("datacategory", "personal");
            }
            _ => return None,
        }
        draft.set("id", self.id(slot.no));
        Some(draft)
    }
}
