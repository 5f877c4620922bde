//! S-8: codes of places agree with their country, rings are closed.
//!
//! It knows no list of places: UN/LOCODE is issued twice a year, and the smallest landing beaches are in none. Bounds of
//! longitude and latitude and the number of positions are the schema's.

use super::places::{Faults, Path};
use crate::message::tree::Node;

/// Looks at one value of a body.
pub(super) fn visit(path: &Path<'_>, value: Node<'_>, faults: &mut Faults) {
    if let Some(country) = value.at("country").as_str() {
        for name in ["locode", "subdivision"] {
            let code = value.at(name).as_str();
            if code.is_some_and(|code| !code.starts_with(country)) {
                faults
                    .add(|| path.below(&format!("/{name}")), "does not begin with the country of the place");
            }
        }
    }
    if value.at("type") == "Polygon" {
        rings(path, value, faults);
    }
}

/// RFC 7946: the first and the last position of a ring are the same.
fn rings(path: &Path<'_>, polygon: Node<'_>, faults: &mut Faults) {
    for (at, ring) in polygon.at("coordinates").items().enumerate() {
        if let (Some(first), Some(last)) = (ring.items().next(), ring.items().last())
            && !same(first, last)
        {
            faults.add(|| path.below(&format!("/coordinates/{at}")), "is a ring that is not closed");
        }
    }
}

/// Equal as numbers: `12` and `12.0` are one place.
fn same(one: Node<'_>, other: Node<'_>) -> bool {
    let (Some(one), Some(other)) = (one.as_array(), other.as_array()) else { return false };
    one.len() == other.len() && one.zip(other).all(|(one, other)| one.as_f64() == other.as_f64())
}
