//! Messages of the coordination plane and of the board: deployments, local networks, requests and their answers,
//! decisions.
//!
//! Whoever is asked is named, so that it has the request whatever it subscribed to; only then may it answer. Notices of
//! deployments wait for one another, for who is local to a country depends on their order.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::draft::{Address, Draft};
use super::past::{Waiting, wait};
use super::write::Slot;
use super::{Script, places};
use crate::message::time;
use crate::rules::registry::Role;

impl Script {
    /// A request for information, or an answer to one.
    pub(super) fn information(&mut self, slot: &Slot) -> Draft {
        if self.dice.chance(0.6)
            && let Some(draft) = self.answer(slot)
        {
            return draft;
        }
        let from = self.world.posts[slot.officer].authority;
        let asked = self.others(from, 3);
        let mut address = Address::named(&self.world, &mut self.dice, asked.clone());
        let local = self.world.setting.fresh && slot.due >= self.world.settled && self.dice.chance(0.4);
        if local {
            address.audience.push_str(",@local");
            address.tlp = "TLP:AMBER";
        }
        let kind = "rfi.request";
        let data = self.data(slot.officer, slot.at, kind);
        let mut draft = Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data);
        if local {
            draft.after = self.past.deployed;
        }
        let asked = asked.into_iter().filter(|at| !self.world.posts_of[*at].is_empty()).collect();
        let waiting = self.waiting_for(slot, &draft, asked, String::new());
        wait(&mut self.past.requests, waiting);
        draft
    }

    /// Some authorities that take part, other than one.
    pub(super) fn others(&mut self, but: usize, most: u32) -> Vec<usize> {
        let count = self.dice.between(1, most) as usize;
        let chosen = self.dice.some(count + 1, &self.world.named);
        chosen.into_iter().copied().filter(|at| *at != but).take(count).collect()
    }

    pub(super) fn waiting_for(&self, slot: &Slot, draft: &Draft, asked: Vec<usize>, file: String) -> Waiting {
        Waiting {
            no: slot.no,
            source: self.world.posts[draft.officer].source.clone(),
            id: self.id(slot.no),
            from: self.world.posts[draft.officer].authority,
            asked,
            audience: draft.text("audience").to_owned(),
            file,
        }
    }

    fn answer(&mut self, slot: &Slot) -> Option<Draft> {
        let mut request = self.past.requests.pop_front()?;
        let authority = request.asked.pop()?;
        let officer = self.officer_of(authority, slot)?;
        let outcome =
            *self.dice.pick(&["answered", "answered", "partly-answered", "no-information", "refused"]);
        let mut data = self.data(officer, slot.at, "rfi.response");
        data["request"] = json!({ "source": request.source, "id": request.id, "relation": "answers" });
        data["outcome"] = outcome.into();
        let members = data.as_object_mut()?;
        members.remove("refusalReason");
        if outcome == "refused" {
            members.insert("refusalReason".to_owned(), "not-releasable".into());
            members.remove("answer");
        } else if !members.contains_key("answer") {
            members.insert("answer".to_owned(), "See the report referred to.".into());
        }
        // To the requester, or to all whom it asked by name too: never further.
        let mut to = vec![request.from];
        if self.dice.chance(0.3) {
            to.extend(request.asked.iter().copied().filter(|at| *at != authority));
        }
        let address = Address::named(&self.world, &mut self.dice, to);
        let from = (officer, "rfi.response");
        let mut draft = Draft::new(&self.world, &mut self.dice, from, slot.at, address, data);
        draft.after = Some(request.no);
        if !request.asked.is_empty() {
            wait(&mut self.past.requests, request);
        }
        Some(draft)
    }

    /// An answer to a request that is known, to more than the requester and those whom it asked.
    pub(super) fn too_far(&mut self, slot: &Slot) -> Option<Draft> {
        let request = self.past.requests.front()?;
        let (no, source, id) = (request.no, request.source.clone(), request.id.clone());
        let authority = *request.asked.first()?;
        let officer = self.officer_of(authority, slot)?;
        let mut draft = self.plain(&slot.by(officer), "rfi.response");
        let data = draft.data();
        data["request"] = json!({ "source": source, "id": id, "relation": "answers" });
        data["outcome"] = "answered".into();
        data["answer"] = "As asked.".into();
        draft.set("audience", "@network");
        draft.set("tlp", "TLP:AMBER");
        draft.set("dataclassification", "LIMITE");
        draft.after = Some(no);
        Some(draft)
    }

    /// A deployment while there is time for that, else what local networks do.
    pub(super) fn coordination(&mut self, slot: &Slot) -> Draft {
        if slot.due < self.world.settled {
            let mut draft = if self.dice.chance(0.85) { self.notice(slot) } else { self.facilitator(slot) };
            draft.after = self.past.deployed;
            self.past.deployed = Some(slot.no);
            return draft;
        }
        let kind = if self.dice.chance(0.8) { "network.activity" } else { "network.report" };
        self.report(slot, kind)
    }

    /// A notice of where the officer of the slot is.
    pub(super) fn notice(&mut self, slot: &Slot) -> Draft {
        let kind = "deployment.notice";
        let mut data = self.data(slot.officer, slot.at, kind);
        let post = &self.world.posts[slot.officer];
        let country = &places::all()[post.country];
        data["post"] = post.post.as_str().into();
        data["hostCountry"] = country.code.into();
        let status =
            *self.dice.pick(&["deployed", "deployed", "deployed", "deployed", "changed", "planned", "ended"]);
        data["status"] = status.into();
        let days = i64::from(self.dice.between(800, 1_500));
        let until = slot.at + SignedDuration::from_hours(24 * days);
        data["until"] = until.to_string().get(..10).unwrap_or_default().into();
        data["alsoFor"] = json!(self.dice.some(2, &["FI", "DK", "IS", "LU", "MT", "EE"]));
        let address = Address {
            audience: "@board,@ms,@sac,@agencies".to_owned(),
            exclude: None,
            tlp: "TLP:GREEN",
            classification: "LIMITE",
            named: Vec::new(),
        };
        let with_contact = self.dice.chance(0.3);
        if with_contact {
            data["contact"] = json!({ "name": "Example Officer", "phone": "+888555000111", "email": "officer@ilonet.example" });
        }
        let mut draft = Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data);
        if with_contact {
            draft.set("datacategory", "contact");
            draft.set("dataregulation", "GDPR");
            draft.set("eraseby", time::rfc3339(until + SignedDuration::from_hours(24 * 10)));
        }
        draft
    }

    fn facilitator(&mut self, slot: &Slot) -> Draft {
        let kind = "network.facilitator";
        let mut data = self.data(slot.officer, slot.at, kind);
        let agency = self.world.named.iter().find(|at| self.world.parties[**at].country == "EU").copied();
        data["facilitator"] = match agency {
            Some(agency) if self.dice.chance(0.8) => self.world.id(agency).into(),
            _ => Value::Null,
        };
        let address = Address::usual(&self.world, &mut self.dice, kind, usize::MAX, false);
        Draft::new(&self.world, &mut self.dice, (slot.officer, kind), slot.at, address, data)
    }

    /// A document of the board, by an officer of the chair or of an agency with a vote. `None` if they have written
    /// their share already.
    pub(super) fn board(&mut self, slot: &Slot) -> Option<Draft> {
        let union: Vec<usize> = self.world.with_role(Role::BoardVote, usize::MAX);
        let mean = self.load.iter().sum::<u64>() / self.world.named.len().max(1) as u64;
        let writes = |at: &&usize| {
            self.world.parties[**at].country == "EU"
                && !self.world.posts_of[**at].is_empty()
                && self.load[**at] <= mean + mean / 8 + 20
        };
        let union: Vec<usize> = union.iter().filter(writes).copied().collect();
        if union.is_empty() {
            return None;
        }
        let authority = *self.dice.pick(&union);
        let officer = self.officer_of(authority, slot)?;
        self.load[authority] += 1;
        let kind =
            *self.dice.pick(&["board.decision", "board.decision", "board.programme", "board.activityreport"]);
        let mut data = self.data(officer, slot.at, kind);
        if data["kind"] == "funding" {
            data["funding"] = json!({ "amount": { "amount": "380000", "currency": "EUR", "basis": "total" }, "instrument": "BMVI" });
        }
        let address = Address {
            audience: (*self.dice.pick(&["@board", "@board,@ms,@sac,@agencies", "@network"])).to_owned(),
            exclude: None,
            tlp: "TLP:GREEN",
            classification: "NORMAL",
            named: Vec::new(),
        };
        let mut draft = Draft::new(&self.world, &mut self.dice, (officer, kind), slot.at, address, data);
        if self.dice.chance(0.8) {
            draft.event.remove("subject");
        }
        Some(draft)
    }
}
