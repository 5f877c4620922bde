//! Faults of a body: what a schema refuses, numbers and places that contradict themselves, personal data, audiences.
//!
//! All personal data in here are invented; they are there to be refused.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::Script;
use super::super::draft::Draft;
use super::super::write::Slot;
use crate::message::outcome::Code;
use crate::message::time;

/// Ends of narratives that the screen for personal data must find.
const PERSONAL: [&str; 7] = [
    " Call +216 55 512 345 in the evening.",
    " Write to example.officer@ilonet.example for more.",
    " His account is @example_channel there.",
    " Passport X12345678 was shown.",
    " P<UTOEXEMPLAR<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<<",
    " Paid to DE89 3704 0044 0532 0130 00 before.",
    " الهاتف +٢١٦٥٥٥١٢٣٤٥ مساء.",
];

impl Script {
    /// Puts a fault of this code into the body, or into attributes that are judged with it.
    pub(super) fn spoil_body(&mut self, slot: &Slot, draft: &mut Draft, code: Code) {
        match code {
            Code::Personal => self.personal_data(draft),
            Code::Schema => self.no_schema(draft),
            Code::Time => self.no_time(slot, draft),
            Code::Range => self.no_range(draft),
            Code::Geo => self.no_geometry(draft),
            Code::SmallCell => {
                let data = draft.data();
                data["places"][0]["name"] = "A named village".into();
                data["victimProfile"] = json!([
                    { "sex": "F", "ageGroup": "14-17", "count": self.dice.between(1, 2) },
                    { "sex": "M", "ageGroup": "18-34", "count": 12 },
                ]);
            }
            Code::Audience => match self.dice.below(4) {
                0 => draft.set("audience", "@ms,zz-nobody"),
                1 => {
                    draft.set("audience", "@ms");
                    draft.set("tlp", "TLP:RED");
                    draft.set("dataclassification", "LIMITE");
                }
                2 => {
                    draft.set("audience", "@local");
                    draft.set("tlp", "TLP:AMBER");
                    draft.event.remove("subject");
                }
                _ => draft.set("exclude", "zz-nobody"),
            },
            Code::Eval => {
                draft.event.remove(if self.dice.chance(0.5) { "evaluation" } else { "handling" });
                if !draft.event.contains_key("handling") {
                    draft.event.remove("handlingnote");
                }
            }
            Code::Place => {
                draft.data()["hostCountry"] = (*self.dice.pick(&["FR", "GR", "DK", "IE", "HU"])).into()
            }
            Code::Retention => {
                let data = draft.data();
                data["until"] = "2060-01-01".into();
                data["contact"] = contact();
                draft.set("datacategory", "contact");
                draft.set("dataregulation", "GDPR");
                draft.set("eraseby", "2061-01-01T00:00:00Z");
            }
            Code::Category => {
                if let Value::Object(data) = draft.data() {
                    data.remove("contact");
                }
                draft.set("datacategory", "contact");
            }
            _ => {}
        }
    }

    fn personal_data(&mut self, draft: &mut Draft) {
        match self.dice.below(10) {
            0 => draft.set("datacategory", "contact"),
            1 => draft.data()["persons"] = json!([{ "familyName": "EXEMPLAR", "dateOfBirth": "1998-07" }]),
            2 => draft.set("correlationid", "example.officer@ilonet.example"),
            _ => {
                let end = *self.dice.pick(&PERSONAL);
                let data = draft.data();
                let text: String =
                    data["narrative"].as_str().unwrap_or_default().chars().take(7_000).collect();
                data["narrative"] = format!("{text}{end}").into();
            }
        }
    }

    fn no_schema(&mut self, draft: &mut Draft) {
        let data = draft.data();
        match self.dice.below(9) {
            0 => data["mood"] = "tense".into(),
            1 => data["places"][0]["country"] = "EL".into(),
            2 => data["places"][0]["geometry"] = json!({ "type": "Point", "coordinates": [34.74, 110.76] }),
            3 => {
                data["places"][0]["geometry"] = json!({ "type": "LineString", "coordinates": [[10.1, 34.2]] })
            }
            4 => data["count"] = json!({ "value": 12.5, "basis": "measured" }),
            5 => data["level"] = "tactical".into(),
            6 => data["places"] = json!([]),
            7 => data["period"] = json!({ "from": "2026-02-30T00:00:00Z", "to": "2026-03-01T00:00:00Z" }),
            _ => {
                if let Value::Object(data) = data {
                    data.remove("title");
                }
            }
        }
    }

    fn no_time(&mut self, slot: &Slot, draft: &mut Draft) {
        let hours = i64::from(self.dice.between(1, 200));
        let before = time::rfc3339(slot.at - SignedDuration::from_hours(hours));
        if draft.kind == "rfi.request" {
            draft.data()["dueBy"] = before.into();
            return;
        }
        match self.dice.below(3) {
            0 => draft.set("time", time::rfc3339(slot.at + SignedDuration::from_hours(hours))),
            // A clock that is wrong by decades: later than any broker's.
            1 => draft.set("recordedtime", "2099-01-01T00:00:00Z"),
            _ => draft.set("expirytime", before),
        }
    }

    fn no_range(&mut self, draft: &mut Draft) {
        if draft.kind == "board.decision" {
            let data = draft.data();
            data["kind"] = "recommendation".into();
            data["votes"] = json!({ "for": 30, "against": 8, "abstain": 2 });
            return;
        }
        let data = draft.data();
        match self.dice.below(5) {
            0 => data["count"] = json!({ "value": 1_240, "max": 1_000, "basis": "estimated" }),
            1 => data["count"] = json!({ "value": 10, "min": 20, "basis": "reported" }),
            2 => {
                data["destinations"] =
                    json!([{ "country": "IT", "share": 0.8 }, { "country": "FR", "share": 0.55 }]);
            }
            3 => data["period"] = json!({ "from": "2026-03-01T00:00:00Z", "to": "2026-02-01T00:00:00Z" }),
            _ => {
                data["composition"] =
                    json!([{ "nationality": "GIN", "count": 40 }, { "nationality": "GIN", "count": 50 }]);
            }
        }
    }

    fn no_geometry(&mut self, draft: &mut Draft) {
        let place = &mut draft.data()["places"][0];
        match self.dice.below(3) {
            0 => place["locode"] = "ZZAAA".into(),
            1 => place["subdivision"] = "ZZ-12".into(),
            _ => {
                let open = json!([[[11.9, 33.1], [12.3, 33.1], [12.3, 33.3], [11.9, 33.3], [11.8, 33.2]]]);
                place["geometry"] = json!({ "type": "Polygon", "coordinates": open });
            }
        }
    }
}

fn contact() -> Value {
    json!({ "name": "Example Officer", "phone": "+888555000111", "email": "officer@ilonet.example" })
}
