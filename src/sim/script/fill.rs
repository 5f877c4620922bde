//! Makes the data of one message: every member of its shape, filled with something that a report might say.
//!
//! It keeps what a schema cannot say: counts lie in their range, shares add up to at most one, rings are closed, days
//! follow one another, and no cell is so small that it points at a person.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use serde_json::{Map, Number, Value, json};

use super::dice::Dice;
use super::places::{self, Country, DESTINATIONS, Spot};
use super::shape::{Member, Shape, members};
use super::words::{self, phrases};
use crate::message::time::{self, Timestamp};

mod parts;

/// What one message is about, and how much it says.
pub(super) struct Fill<'a> {
    pub(super) dice: &'a mut Dice,
    /// Where.
    pub(super) country: &'static Country,
    /// When it is written.
    pub(super) at: Timestamp,
    /// Language of its text.
    pub(super) language: &'static str,
    /// Characters of its longest text, about.
    pub(super) about: usize,
    /// Most positions of one line.
    pub(super) positions: u32,
    /// Most items of a list that needs none.
    pub(super) lists: usize,
    /// Ids of authorities of the network.
    pub(super) authorities: &'a [String],
    /// Messages that may be referred to: source and id.
    pub(super) earlier: &'a [(String, String)],
    /// Data of special categories may be written.
    pub(super) special: bool,
    /// Persons written so far: none is referred to twice.
    pub(super) persons: u32,
}

impl Fill<'_> {
    /// The data of a type.
    pub(super) fn data(&mut self, kind: &str) -> Map<String, Value> {
        self.record(members(kind))
    }

    fn record(&mut self, members: &'static [Member]) -> Map<String, Value> {
        let mut record = Map::new();
        for Member { name, required, shape } in members {
            let wanted = if *required { 1.0 } else { self.wanted(name) };
            if wanted >= 1.0 || self.dice.chance(wanted) {
                record.insert(name.clone(), self.member(name, shape));
            }
        }
        record
    }

    /// How likely a member that may be left out is written.
    fn wanted(&self, name: &str) -> f64 {
        match name {
            // The contact of an officer is `coord`'s: it changes what the envelope must say.
            "contact" => 0.0,
            "vulnerable" | "biometrics" => f64::from(u8::from(self.special)) / 2.0,
            "period" | "routes" | "composition" | "transport" | "legs" => 0.9,
            "attachments" | "relatesTo" | "modusRefs" | "basedOn" => 0.25,
            _ => 0.6,
        }
    }

    /// A value for a member of this name.
    fn member(&mut self, name: &str, shape: &'static Shape) -> Value {
        match (name, shape) {
            ("lang", _) => self.language.into(),
            ("title", _) => self.sentence(&phrases().titles, 200),
            ("narrative" | "text" | "conclusions", Shape::Text(most)) => {
                let about = if name == "narrative" { self.about } else { self.about / 2 + 40 };
                self.text(about, *most)
            }
            ("question", _) => self.sentence(&phrases().questions, 4_000),
            ("reason", Shape::Text(most)) => self.sentence(&phrases().reasons, *most),
            ("groupLabel", _) => self.sentence(&phrases().labels, 80),
            ("composition", _) => self.composition(),
            ("destinations", Shape::List { item, .. }) => self.destinations(item),
            ("victimProfile" | "ageSex", _) => self.cells(),
            ("places", _) => self.places(),
            ("legs", _) => self.legs(),
            ("routes", _) => {
                let routes = &self.country.routes;
                let count = self.dice.between(1, 2) as usize;
                self.dice
                    .some(count, routes)
                    .into_iter()
                    .map(|route| Value::from(*route))
                    .collect::<Vec<_>>()
                    .into()
            }
            ("id", Shape::Text(_)) => format!("P-{}", self.dice.between(1, 999)).into(),
            ("votes", _) => {
                json!({ "for": self.dice.between(10, 20), "against": self.dice.between(0, 6), "abstain": self.dice.between(0, 4) })
            }
            ("features", _) => self.sentences(&phrases().features),
            ("indicators" | "requirements" | "providers", _) => self.sentences(&phrases().indicators),
            ("dueBy" | "knownSince" | "scheduled" | "effectiveFrom" | "adopted", _) => {
                self.moment(name, shape)
            }
            ("years", _) => {
                let year = TimeZone::UTC.to_datetime(self.at).year();
                json!([year, year + 1])
            }
            ("recognitionRate" | "share", _) => self.hundredths(100),
            ("averageDays" | "durationH" | "totalDurationD", _) => self.hundredths(9_000),
            ("familyName" | "givenNames" | "nameOriginalScript" | "aliases", Shape::Text(_)) => {
                let chosen = self.dice.pick(&phrases().persons);
                chosen.clone().into()
            }
            (
                "series" | "pradoRef" | "networkId" | "decisionNo" | "lawReference" | "topic" | "caseRef"
                | "personRef" | "number",
                Shape::Text(_),
            ) => self.code(name),
            ("topics" | "concerns" | "skills" | "tasks" | "tasksCovered", Shape::List { .. }) => {
                let count = self.dice.between(1, 4) as usize;
                self.distinct(count, |fill| fill.code(name))
            }
            _ => self.shape(name, shape),
        }
    }

    fn shape(&mut self, name: &str, shape: &'static Shape) -> Value {
        match shape {
            Shape::Fixed(value) => value.clone(),
            Shape::Choice(values) => self.dice.pick(values).clone(),
            Shape::Text(most) => {
                let about = self.dice.between(40, 240) as usize;
                self.text(about.min(*most), *most)
            }
            Shape::Integer(least, most) => self.dice.between(*least, (*most).min(least + 400)).into(),
            Shape::Number(most) => self.hundredths(most.saturating_mul(100)),
            Shape::Flag => self.dice.chance(0.5).into(),
            Shape::Known(known) => self.known(name, known),
            Shape::Record(members) => self.record(members).into(),
            Shape::List { item, least, most } => {
                let more = self.dice.below(self.lists + 1);
                let count = (least + more).min(*most).max(*least).max(1);
                match &**item {
                    Shape::Choice(values) => {
                        self.dice.some(count, values).into_iter().cloned().collect::<Vec<_>>().into()
                    }
                    item => self.distinct(count, |fill| fill.member(name, item)),
                }
            }
        }
    }

    /// A list in which nothing is twice, of at most so many.
    fn distinct(&mut self, count: usize, mut make: impl FnMut(&mut Self) -> Value) -> Value {
        let mut list: Vec<Value> = Vec::with_capacity(count);
        for _ in 0..count {
            let item = make(self);
            if !list.contains(&item) {
                list.push(item);
            }
        }
        list.into()
    }

    fn known(&mut self, name: &str, known: &str) -> Value {
        match known {
            "country" => self.some_country().code.into(),
            "nationality" => self.some_country().nationality.into(),
            "currency" => self.country.currency.into(),
            "language" => self.language.into(),
            "authority" => self.dice.pick(self.authorities).clone().into(),
            "uuid" => uuid(self.dice).into(),
            "timestamp" => time::rfc3339(self.earlier_by(1, 200)).into(),
            "date" => self.day(1, 200).into(),
            "partialDate" => self.dice.pick(&["2019", "2022-05", "2024-11-03"]).to_owned().into(),
            "period" => self.period(),
            "geometry" => self.spot().geometry(self.dice),
            "place" => self.place(&["origin", "hub", "transit", "crossing-point"]),
            "count" => self.count(),
            "money" => self.money(),
            "messageRef" => self.reference(name),
            "attachment" => self.attachment(),
            "ageSexCell" => self.cell(),
            "biometricRef" => self.biometrics(),
            _ => (*self.dice.pick(&["PP", "PO", "PR", "VA", "ID", "AC"])).into(),
        }
    }

    pub(super) fn spot(&mut self) -> &'static Spot {
        self.dice.pick(&self.country.spots)
    }

    /// Mostly this country, else any.
    fn some_country(&mut self) -> &'static Country {
        if self.dice.chance(0.2) { self.country } else { self.dice.pick(places::all()) }
    }

    pub(super) fn text(&mut self, about: usize, most: usize) -> Value {
        let spot = self.spot();
        words::text(self.dice, self.language, self.country, spot, about.min(most), most).into()
    }

    fn sentence(&mut self, of: &'static [String], most: usize) -> Value {
        let spot = self.spot();
        let chosen = self.dice.pick(of);
        let text = words::tell(self.dice, chosen, spot);
        if text.len() <= most { text.into() } else { text.chars().take(most).collect::<String>().into() }
    }

    fn sentences(&mut self, of: &'static [String]) -> Value {
        let count = 1 + self.dice.below(self.lists + 3);
        let spot = self.spot();
        let chosen = self.dice.some(count, of);
        chosen
            .into_iter()
            .map(|sentence| Value::from(words::tell(self.dice, sentence, spot)))
            .collect::<Vec<_>>()
            .into()
    }

    fn hundredths(&mut self, most: u32) -> Value {
        let value = f64::from(self.dice.between(0, most)) / 100.0;
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }

    fn earlier_by(&mut self, least_hours: u32, most_hours: u32) -> Timestamp {
        let minutes = self.dice.between(least_hours * 60, most_hours * 60);
        self.at - SignedDuration::from_mins(i64::from(minutes))
    }

    /// A day so many days before (negative: after) the message.
    pub(super) fn day(&mut self, least: i32, most: i32) -> String {
        let days = least + i32::try_from(self.dice.between(0, most.abs_diff(least))).unwrap_or_default();
        let today = TimeZone::UTC.to_datetime(self.at).date();
        today.saturating_sub(days.days()).to_string()
    }

    fn moment(&mut self, name: &str, shape: &Shape) -> Value {
        let is_day = matches!(shape, Shape::Known(known) if known == "date");
        match (name, is_day) {
            ("dueBy", true) => self.day(-300, -30).into(),
            ("dueBy" | "scheduled", false) => {
                let hours = self.dice.between(24 * 10, 24 * 60);
                time::rfc3339(self.at + SignedDuration::from_hours(i64::from(hours))).into()
            }
            ("knownSince", _) => {
                // A few are reported after more than 24 hours: taken, with a remark.
                let most = if self.dice.chance(0.1) { 40 } else { 20 };
                time::rfc3339(self.earlier_by(1, most)).into()
            }
            (_, true) => self.day(1, 400).into(),
            _ => time::rfc3339(self.earlier_by(1, 200)).into(),
        }
    }

    /// Texts whose form a pattern fixes.
    fn code(&mut self, name: &str) -> Value {
        self.persons += u32::from(name == "personRef");
        let dice = &mut *self.dice;
        match name {
            "personRef" => format!("P{}", self.persons),
            "caseRef" => format!("SIM-{}/{}", self.country.code, dice.between(1, 99_999)),
            "number" => format!("X{}/{}", dice.between(1, 9_999), 1_990 + dice.between(0, 30)),
            "series" => format!("{}{:02}****??", dice.pick(&["N", "A", "P", "XK"]), dice.between(1, 99)),
            "pradoRef" => {
                format!("{}-AO-{:05}", dice.pick(&["FRA", "DEU", "ITA"]), dice.between(1_001, 5_009))
            }
            "networkId" => format!("{}-network", self.country.code.to_ascii_lowercase()),
            "decisionNo" => {
                let year = TimeZone::UTC.to_datetime(self.at).year();
                format!("SB/{year}/{}", dice.between(1, 400))
            }
            "lawReference" => format!(
                "Law {} of {}, article {}",
                dice.between(1, 99),
                2_010 + dice.between(0, 14),
                dice.between(1, 60)
            ),
            "concerns" => char::from(b'a' + u8::try_from(dice.below(12)).unwrap_or_default()).to_string(),
            "skills" => dice.between(1, 9_629).to_string(),
            _ => format!("3.4.{}", char::from(b'a' + u8::try_from(dice.below(12)).unwrap_or_default())),
        }
        .into()
    }
}

/// A random UUID.
pub(super) fn uuid(dice: &mut Dice) -> String {
    let (high, low) = (dice.bits(), dice.bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
