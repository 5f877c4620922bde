//! Messages of the case plane: personal data of persons that do not exist, to named authorities with the role that the
//! law asks for.
//!
//! Nothing here is to be erased within two weeks: a run must find again what it has sent.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Script;
use super::draft::{Address, Draft};
use super::past::wait;
use super::write::Slot;
use crate::message::time::{self, Timestamp};
use crate::rules::registry::Role;

impl Script {
    /// A message of the case plane, if somebody with the role for it is there.
    pub(super) fn case(&mut self, slot: &Slot) -> Option<Draft> {
        if self.dice.chance(0.3)
            && let Some(draft) = self.identified(slot)
        {
            return Some(draft);
        }
        let (kind, from, to) = *self.dice.pick(&[
            ("case.identity-request", Some(Role::Return), None),
            ("case.identity-request", Some(Role::Return), None),
            ("case.admission-identity", None, Some(Role::Admission)),
            ("case.resettlement-identity", None, Some(Role::Asylum)),
            ("case.return-manifest", Some(Role::Return), Some(Role::Return)),
            ("case.smuggling-lead", Some(Role::Lea), Some(Role::Lea)),
        ]);
        self.personal_report(slot, kind, from, to)
    }

    /// A message of this type by somebody with the first role to some with the second.
    pub(super) fn personal_report(
        &mut self,
        slot: &Slot,
        kind: &str,
        from: Option<Role>,
        to: Option<Role>,
    ) -> Option<Draft> {
        let officer = self.somebody_with(from, slot)?;
        let own = self.world.posts[officer].authority;
        let to: Vec<usize> = match to {
            Some(role) => {
                let may_have = self.world.with_role(role, own);
                let count = self.dice.between(1, 3) as usize;
                self.dice.some(count, &may_have).into_iter().copied().collect()
            }
            None => self.others(own, 2),
        };
        if to.is_empty() {
            return None;
        }
        let special = kind != "case.return-manifest" && self.dice.chance(0.3);
        let data = self.data_with(officer, slot.at, kind, special);
        let file = data["caseRef"].as_str().unwrap_or_default().to_owned();
        let draft = self.personal(slot, (officer, kind), to.clone(), data, special);
        if kind == "case.identity-request" {
            let asked = to.into_iter().filter(|at| !self.world.posts_of[*at].is_empty()).collect();
            let waiting = self.waiting_for(slot, &draft, asked, file);
            wait(&mut self.past.identities, waiting);
        }
        Some(draft)
    }

    /// The answer to a request to establish an identity, to the requester alone.
    fn identified(&mut self, slot: &Slot) -> Option<Draft> {
        let mut request = self.past.identities.pop_front()?;
        let officer = self.officer_of(request.asked.pop()?, slot)?;
        let kind = "case.identity-response";
        let mut data = self.data_with(officer, slot.at, kind, false);
        data["caseRef"] = request.file.into();
        data["request"] = json!({ "source": request.source, "id": request.id, "relation": "answers" });
        data["confirmedNationality"] = "XXX".into();
        let mut draft = self.personal(slot, (officer, kind), vec![request.from], data, false);
        draft.after = Some(request.no);
        Some(draft)
    }

    fn personal(
        &mut self,
        slot: &Slot,
        (officer, kind): (usize, &str),
        to: Vec<usize>,
        data: Value,
        special: bool,
    ) -> Draft {
        let address = Address::named(&self.world, &mut self.dice, to);
        let days = |days: i64| slot.at + SignedDuration::from_hours(24 * days);
        let erase = match kind {
            "case.return-manifest" => {
                let scheduled = data["scheduled"].as_str().and_then(time::parse).unwrap_or(slot.at);
                scheduled + SignedDuration::from_hours(24 * 5)
            }
            "case.identity-response" => days(25),
            _ => days(i64::from(self.dice.between(40, 85))),
        };
        let mut draft = Draft::new(&self.world, &mut self.dice, (officer, kind), slot.at, address, data);
        draft.set("datacategory", if special { "special" } else { "personal" });
        draft.set("dataregulation", if kind == "case.smuggling-lead" { "LED" } else { "GDPR" });
        draft.set("eraseby", time::rfc3339(erase));
        if self.dice.chance(0.5) {
            let review: Timestamp = days(20);
            draft.set("reviewby", time::rfc3339(review));
        }
        draft
    }

    /// An officer who is there, of an authority with this role.
    fn somebody_with(&mut self, role: Option<Role>, slot: &Slot) -> Option<usize> {
        let Some(role) = role else { return Some(slot.officer) };
        let authorities = self.world.with_role(role, usize::MAX);
        for _ in 0..8 {
            let authority = if authorities.is_empty() { return None } else { *self.dice.pick(&authorities) };
            if let Some(officer) = self.officer_of(authority, slot) {
                return Some(officer);
            }
        }
        None
    }
}
