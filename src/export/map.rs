//! GeoJSON after RFC 7946: a feature a place that has a geometry, and a feature a leg of a route.
//!
//! Opens in QGIS, which splits it by geometry type. Events without coordinates are not in it, and the manifest counts
//! them: no place is invented from a country or a code. Places of persons are never shown.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::geometry;
use super::{Content, Item};
use crate::message::time::rfc3339;

/// Members whose subtree describes a person, or is a draft of another message.
const CLOSED: [&str; 4] = ["person", "persons", "contact", "newData"];

/// A collection in the making.
pub(super) struct Features<W: Write> {
    out: W,
    any: bool,
}

impl<W: Write> Features<W> {
    /// Begins the collection.
    pub(super) fn new(mut out: W) -> std::io::Result<Self> {
        out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(Self { out, any: false })
    }

    /// Writes the features of an item; how many there were.
    pub(super) fn put(&mut self, item: &Item) -> std::io::Result<u64> {
        let Content::Event(bytes) = &item.content else { return Ok(0) };
        let event: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let mut found = Vec::new();
        if let Some(data) = event.get("data") {
            walk(data, "/data", &mut found);
        }
        let count = found.len() as u64;
        for spot in found {
            let separator: &[u8] = if self.any { b",\n" } else { b"\n" };
            self.any = true;
            self.out.write_all(separator)?;
            serde_json::to_writer(&mut self.out, &feature(item, &event, spot))?;
        }
        Ok(count)
    }

    /// Hands on the features so far.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }

    /// Ends the collection; gives the sink back.
    pub(super) fn finish(mut self) -> std::io::Result<W> {
        self.out.write_all(b"\n]}\n")?;
        Ok(self.out)
    }
}

/// Something with a geometry.
struct Spot {
    /// Where it stands, a JSON Pointer into the event.
    pointer: String,
    geometry: Value,
    properties: Map<String, Value>,
}

/// Places and legs in document order of member names, whatever the type of the message.
fn walk(value: &Value, pointer: &str, found: &mut Vec<Spot>) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{at}"), found);
            }
        }
        Value::Object(members) => {
            found.extend(place(members, pointer));
            found.extend(leg(members, pointer));
            for (name, value) in members.iter().filter(|(name, _)| !CLOSED.contains(&name.as_str())) {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(value, &format!("{pointer}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// A `place` of the schemas: it has a country, and a geometry if it is to be seen on a map.
fn place(members: &Map<String, Value>, pointer: &str) -> Option<Spot> {
    members.get("country")?.as_str()?;
    let geometry = geometry::tidy(members.get("geometry")?)?;
    let mut properties = Map::from_iter([("feature".to_owned(), json!("place"))]);
    for (from, to) in [
        ("name", "place"),
        ("role", "role"),
        ("country", "place_country"),
        ("subdivision", "subdivision"),
        ("locode", "locode"),
        ("precisionM", "precision_m"),
    ] {
        properties.extend(members.get(from).map(|value| (to.to_owned(), value.clone())));
    }
    Some(Spot { pointer: pointer.to_owned(), geometry, properties })
}

/// A leg of `flow.route`: along its path, or straight from a point to a point.
fn leg(members: &Map<String, Value>, pointer: &str) -> Option<Spot> {
    let (from, to) = (members.get("from")?.as_object()?, members.get("to")?.as_object()?);
    let point = |place: &Map<String, Value>| {
        let geometry = place.get("geometry").filter(|geometry| geometry["type"] == "Point");
        geometry.map(|geometry| geometry["coordinates"].clone())
    };
    let path = members.get("path").and_then(geometry::tidy);
    let straight =
        || geometry::tidy(&json!({ "type": "LineString", "coordinates": [point(from)?, point(to)?] }));
    let geometry = path.or_else(straight)?;
    let mut properties = Map::from_iter([("feature".to_owned(), json!("leg"))]);
    properties.extend(members.get("seq").map(|value| ("leg".to_owned(), value.clone())));
    for (name, value) in [("from", from.get("name")), ("to", to.get("name"))] {
        properties.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    for (name, value) in [("from_country", from.get("country")), ("to_country", to.get("country"))] {
        properties.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    if let Some(transport) = members.get("transport").and_then(Value::as_array) {
        let all: Vec<&str> = transport.iter().filter_map(Value::as_str).collect();
        properties.insert("transport".to_owned(), all.join("|").into());
    }
    for (from, to) in [("risk", "risk"), ("durationH", "duration_h")] {
        properties.extend(members.get(from).map(|value| (to.to_owned(), value.clone())));
    }
    Some(Spot { pointer: pointer.to_owned(), geometry, properties })
}

/// A feature. Its id is the message's with the place in it: stable from export to export.
fn feature(item: &Item, event: &Value, spot: Spot) -> Value {
    let mut properties = spot.properties;
    properties.insert("seq".to_owned(), item.seq.into());
    properties.insert("archived_at".to_owned(), rfc3339(item.archived_at).into());
    for name in ["source", "type", "originator", "subject", "time", "tlp", "evaluation"] {
        properties.extend(event.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    properties.extend(event.get("id").map(|value| ("message".to_owned(), value.clone())));
    for name in ["title", "status", "confidence", "impact"] {
        let value = event["data"].get(name).filter(|value| value.is_string());
        properties.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    if let Some(count) = event["data"]["count"].get("value") {
        properties.insert("count".to_owned(), count.clone());
    }
    let id = format!("{}#{}", event["id"].as_str().unwrap_or_default(), spot.pointer);
    json!({ "type": "Feature", "id": id, "geometry": spot.geometry, "properties": properties })
}
