//! The parts that reports have in common: places, counts, money, references, compositions, legs of a route.
//!
//! Each is made whole, so that what its members must not contradict is decided in one place.

use jiff::SignedDuration;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use super::{DESTINATIONS, Fill, Shape, time};
use crate::sim::script::places::line;

impl Fill<'_> {
    /// Two to four places: towns of the country, and where people want to go.
    pub(super) fn places(&mut self) -> Value {
        let mut places = Vec::with_capacity(4);
        let first = self.place(&["origin", "hub", "embarkation", "departure"]);
        places.push(first);
        if self.dice.chance(0.5) {
            let second = self.place(&["transit", "crossing-point", "interception"]);
            places.push(second);
        }
        if self.dice.chance(0.6) {
            let (country, name) = self.dice.pick(&DESTINATIONS);
            places.push(json!({ "country": country, "name": name, "role": "destination" }));
        }
        places.into()
    }

    pub(super) fn place(&mut self, roles: &[&str]) -> Value {
        let spot = self.spot();
        let mut place = Map::new();
        place.insert("country".to_owned(), self.country.code.into());
        place.insert("role".to_owned(), (*self.dice.pick(roles)).into());
        let name = if spot.name == spot.own {
            spot.name.to_owned()
        } else {
            format!("{} / {}", spot.name, spot.own)
        };
        place.insert("name".to_owned(), name.into());
        if let Some(code) = spot.locode {
            place.insert("locode".to_owned(), code.into());
        }
        if self.dice.chance(0.5) {
            place.insert("geometry".to_owned(), spot.geometry(self.dice));
            place.insert("precisionM".to_owned(), (self.dice.between(1, 80) * 100).into());
        }
        place.into()
    }

    pub(super) fn count(&mut self) -> Value {
        let size = *self.dice.pick(&[30, 300, 3_000, 30_000]);
        let value = self.dice.between(5, size);
        let mut count =
            json!({ "value": value, "basis": *self.dice.pick(&["measured", "estimated", "reported"]) });
        if self.dice.chance(0.5) {
            count["min"] = (value - value / self.dice.between(4, 12)).into();
            count["max"] = (value + value / self.dice.between(3, 9)).into();
        }
        count
    }

    pub(super) fn money(&mut self) -> Value {
        let currency = if self.dice.chance(0.5) { "EUR" } else { self.country.currency };
        let mut amount = (self.dice.between(2, 90) * 50).to_string();
        if self.dice.chance(0.2) {
            amount.push_str(".50");
        }
        json!({ "amount": amount, "currency": currency, "basis": *self.dice.pick(&["per-person", "per-family", "total"]) })
    }

    /// A period of some days that ended before the message was written, told in the time of the place.
    pub(super) fn period(&mut self) -> Value {
        let until = self.earlier_by(1, 72);
        let days = self.dice.between(1, 14);
        let from = until - SignedDuration::from_hours(i64::from(24 * days));
        let hours = i8::try_from(self.dice.between(0, 5)).unwrap_or_default();
        let tell = |at: time::Timestamp| {
            let at = at.round(jiff::Unit::Second).unwrap_or(at);
            at.display_with_offset(Offset::constant(hours)).to_string()
        };
        json!({ "from": tell(from), "to": tell(until) })
    }

    pub(super) fn reference(&mut self, name: &str) -> Value {
        let relation = match name {
            "relatesTo" => *self.dice.pick(&["updates", "confirms", "contradicts", "context"]),
            _ => "context",
        };
        match self.earlier {
            [] => {
                let party = self.dice.pick(self.authorities);
                let source = format!("/authority/{party}");
                json!({ "source": source, "id": super::uuid(self.dice), "relation": relation })
            }
            earlier => {
                let (source, id) = self.dice.pick(earlier);
                json!({ "source": source, "id": id, "relation": relation })
            }
        }
    }

    pub(super) fn attachment(&mut self) -> Value {
        let (name, media, ending) = *self.dice.pick(&[
            ("Map", "image/png", "png"),
            ("Table", "text/csv", "csv"),
            ("Bericht", "application/pdf", "pdf"),
        ]);
        let digest = self.digest();
        json!({
            "name": format!("{name} {}.{ending}", self.country.code),
            "mediaType": media,
            "sha256": digest,
            "sizeBytes": self.dice.between(10_000, 4_000_000),
            "ref": format!("https://files.ilonet.example/{}/{}", self.country.code, self.dice.between(1, 9_999)),
        })
    }

    fn digest(&mut self) -> String {
        [(); 4].map(|()| format!("{:016x}", self.dice.bits())).concat()
    }

    /// A reference to a picture or a print that does not exist.
    pub(super) fn biometrics(&mut self) -> Value {
        json!({
            "kind": *self.dice.pick(&["face", "fingerprint-plain", "fingerprint-rolled"]),
            "format": *self.dice.pick(&["ANSI-NIST-ITL", "JPEG2000", "WSQ"]),
            "sha256": self.digest(),
            "ref": format!("https://vault.ilonet.example/b/{}", self.dice.between(1, 9_999)),
        })
    }

    /// Nationalities with counts or with shares that leave something over.
    pub(super) fn composition(&mut self) -> Value {
        let by_share = self.dice.chance(0.3);
        let count = self.dice.between(2, 9) as usize;
        let mut left = 100;
        let chosen = self.dice.some(count, super::places::all());
        let mut cells = Vec::with_capacity(count + 1);
        for country in chosen {
            let cell = if by_share {
                let part = self.dice.between(0, left / 3);
                left -= part;
                json!({ "nationality": country.nationality, "share": f64::from(part) / 100.0 })
            } else {
                json!({ "nationality": country.nationality, "count": self.dice.between(3, 900) })
            };
            cells.push(cell);
        }
        if !by_share && self.dice.chance(0.5) {
            cells.push(
                json!({ "nationality": *self.dice.pick(&["XXA", "XXX"]), "count": self.dice.between(3, 90) }),
            );
        }
        cells.into()
    }

    /// Countries, with shares where the type wants them.
    pub(super) fn destinations(&mut self, item: &Shape) -> Value {
        let count = self.dice.between(1, 5) as usize;
        let chosen = self.dice.some(count, &DESTINATIONS);
        let mut left = 100;
        let mut list = Vec::with_capacity(count);
        for (country, _) in chosen {
            if matches!(item, Shape::Record(_)) {
                let part = self.dice.between(0, left / 2);
                left -= part;
                list.push(json!({ "country": country, "share": f64::from(part) / 100.0 }));
            } else {
                list.push(Value::from(*country));
            }
        }
        list.into()
    }

    pub(super) fn cells(&mut self) -> Value {
        let count = self.dice.between(1, 6) as usize;
        self.distinct(count, Self::cell)
    }

    /// Never fewer than three persons: a smaller cell points at somebody.
    pub(super) fn cell(&mut self) -> Value {
        json!({
            "sex": *self.dice.pick(&["M", "F", "X", "unknown"]),
            "ageGroup": *self.dice.pick(&["0-13", "14-17", "18-34", "35-64", "65+", "unknown"]),
            "count": self.dice.between(3, 900),
        })
    }

    /// Legs of a route from the towns of the country towards the Union, each with its way.
    pub(super) fn legs(&mut self) -> Value {
        let count = self.dice.between(1, 4);
        let mut legs = Vec::with_capacity(count as usize);
        for seq in 1..=count {
            let (from, to) = (self.spot().near(self.dice, 4_000), self.spot().near(self.dice, 60_000));
            let points = self.dice.between(2, self.positions);
            let transports =
                ["lorry", "van", "car", "bus", "foot", "rubber-boat", "metal-boat", "train-freight"];
            let many = self.dice.between(1, 3) as usize;
            let transport = self.dice.some(many, &transports);
            let origin = self.place(&["origin", "hub", "departure"]);
            let (country, name) = self.dice.pick(&DESTINATIONS);
            let mut leg = json!({
                "seq": seq,
                "from": origin,
                "to": if seq == count { json!({ "country": country, "name": name }) } else { self.place(&["transit"]) },
                "transport": transport,
                "path": line(self.dice, from, to, points),
                "risk": *self.dice.pick(&["low", "medium", "high", "lethal"]),
            });
            if self.dice.chance(0.6) {
                leg["price"] = self.money();
                leg["durationH"] = self.hundredths(9_000);
            }
            legs.push(leg);
        }
        legs.into()
    }
}
