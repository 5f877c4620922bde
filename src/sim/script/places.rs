//! Where officers are and what is there: host countries, their towns, geometries around them (`places.txt`).
//!
//! Coordinates are whole numbers of ten-thousandths of a degree until they are written, so that no machine rounds them
//! in its own way.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::dice::Dice;

/// A host country.
pub(in crate::sim) struct Country {
    /// ISO 3166-1 alpha-2.
    pub(in crate::sim) code: &'static str,
    /// Of its nationals, alpha-3.
    pub(super) nationality: &'static str,
    pub(super) currency: &'static str,
    pub(super) routes: Vec<&'static str>,
    pub(super) languages: Vec<&'static str>,
    pub(super) spots: Vec<Spot>,
}

/// A town.
pub(super) struct Spot {
    pub(super) name: &'static str,
    pub(super) own: &'static str,
    pub(super) locode: Option<&'static str>,
    longitude: i64,
    latitude: i64,
}

/// Where people want to go: towns of Member States, for destinations and legs of routes.
pub(super) const DESTINATIONS: [(&str, &str); 10] = [
    ("IT", "Lampedusa"),
    ("ES", "El Hierro"),
    ("GR", "Λέσβος"),
    ("PL", "Białystok"),
    ("DE", "Görlitz"),
    ("FR", "Menton"),
    ("AT", "Nickelsdorf"),
    ("HR", "Cetingrad"),
    ("BG", "Елхово"),
    ("SE", "Malmö"),
];

static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    let lines = include_str!("places.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).expect("a line of places.txt must be readable")).collect()
});

/// All host countries, by code.
pub(in crate::sim) fn all() -> &'static [Country] {
    &COUNTRIES
}

/// A host country by its code, in capitals or not.
pub(super) fn find(code: &str) -> Option<usize> {
    COUNTRIES.iter().position(|country| country.code.eq_ignore_ascii_case(code))
}

fn read(line: &'static str) -> Option<Country> {
    let mut fields = line.split('|');
    let mut next = || fields.next().filter(|field| !field.is_empty());
    Some(Country {
        code: next()?,
        nationality: next()?,
        currency: next()?,
        routes: next()?.split(' ').collect(),
        languages: next()?.split(' ').collect(),
        spots: vec![spot(next()?)?, spot(next()?)?],
    })
}

fn spot(text: &'static str) -> Option<Spot> {
    let mut fields = text.split(", ");
    Some(Spot {
        name: fields.next()?,
        own: fields.next()?,
        locode: fields.next().filter(|code| *code != "-"),
        longitude: ten_thousandths(fields.next()?)?,
        latitude: ten_thousandths(fields.next()?)?,
    })
}

/// `-8.84` as -88400.
fn ten_thousandths(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.')?;
    let hundredths: i64 = format!("{whole}{part}").parse().ok()?;
    (part.len() == 2).then_some(hundredths * 100)
}

impl Spot {
    /// A position up to so many ten-thousandths of a degree away.
    pub(super) fn near(&self, dice: &mut Dice, away: u32) -> [i64; 2] {
        let mut off = || i64::from(dice.between(0, 2 * away)) - i64::from(away);
        [self.longitude + off(), self.latitude + off()]
    }

    /// A point, a line or a ring around the town.
    pub(super) fn geometry(&self, dice: &mut Dice) -> Value {
        match dice.below(4) {
            0 | 1 => json!({ "type": "Point", "coordinates": position(self.near(dice, 2_000)) }),
            2 => {
                let [west, south] = self.near(dice, 1_500);
                let (wide, high) = (i64::from(dice.between(200, 4_000)), i64::from(dice.between(200, 3_000)));
                let corners =
                    [[0, 0], [wide, 0], [wide, high], [wide / 2, high + high / 3], [0, high], [0, 0]];
                let ring: Vec<Value> = corners.iter().map(|[x, y]| position([west + x, south + y])).collect();
                json!({ "type": "Polygon", "coordinates": [ring] })
            }
            _ => {
                let (from, to) = (self.near(dice, 3_000), self.near(dice, 9_000));
                let points = dice.between(2, 8);
                line(dice, from, to, points)
            }
        }
    }
}

/// A winding line of so many positions, at least two.
pub(super) fn line(dice: &mut Dice, from: [i64; 2], to: [i64; 2], points: u32) -> Value {
    let points = points.max(2);
    let steps = i64::from(points - 1);
    let coordinates: Vec<Value> = (0..=steps)
        .map(|step| {
            let way = |at: usize| from[at] + (to[at] - from[at]) * step / steps;
            let mut wind = || i64::from(dice.between(0, 400)) - 200;
            position([way(0) + wind(), way(1) + wind()])
        })
        .collect();
    json!({ "type": "LineString", "coordinates": coordinates })
}

/// Longitude and latitude in degrees, within their bounds.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn position([longitude, latitude]: [i64; 2]) -> Value {
    let degrees = |value: i64, most: i64| value.clamp(-most, most) as f64 / 10_000.0;
    json!([degrees(longitude, 1_800_000), degrees(latitude, 900_000)])
}
