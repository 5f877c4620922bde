//! S-8: codes of places agree with their country, rings are closed.
//!
//! It knows no list of places: UN/LOCODE is issued twice a year, and the smallest landing beaches are in none. Bounds of
//! longitude and latitude and the number of positions are the schema's.

use serde_json::{Map, Value};

use super::places::{Faults, Path};

/// Looks at one value of a body.
pub(super) fn visit(path: &Path<'_>, value: &Value, faults: &mut Faults) {
    let Value::Object(members) = value else { return };
    if let Some(country) = members.get("country").and_then(Value::as_str) {
        for name in ["locode", "subdivision"] {
            let code = members.get(name).and_then(Value::as_str);
            if code.is_some_and(|code| !code.starts_with(country)) {
                faults
                    .add(|| path.below(&format!("/{name}")), "does not begin with the country of the place");
            }
        }
    }
    if members.get("type").is_some_and(|kind| kind == "Polygon") {
        rings(path, members, faults);
    }
}

/// RFC 7946: the first and the last position of a ring are the same.
fn rings(path: &Path<'_>, members: &Map<String, Value>, faults: &mut Faults) {
    let rings = members.get("coordinates").and_then(Value::as_array).into_iter().flatten();
    for (at, ring) in rings.enumerate() {
        let positions = ring.as_array().map(Vec::as_slice).unwrap_or_default();
        if let (Some(first), Some(last)) = (positions.first(), positions.last())
            && !same(first, last)
        {
            faults.add(|| path.below(&format!("/coordinates/{at}")), "is a ring that is not closed");
        }
    }
}

/// Equal as numbers: `12` and `12.0` are one place.
fn same(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_array(), other.as_array()) else { return false };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.as_f64() == other.as_f64())
}
