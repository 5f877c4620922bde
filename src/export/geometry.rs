//! Geometries as RFC 7946 wants them: rings closed and wound by the right-hand rule (section 3.1.6), and nothing that
//! runs across the antimeridian (section 3.1.9): that is cut there, or a map would draw it around the world.
//!
//! Positions keep their values. Only cuts add positions.

use serde_json::{Value, json};

/// A position with a longitude that may go beyond 180 degrees, so that neighbours are never half the world apart.
type Position = Vec<f64>;

/// The geometry, ready for a map; `None` if it is none.
pub(super) fn tidy(geometry: &Value) -> Option<Value> {
    let coordinates = geometry.get("coordinates")?;
    match geometry.get("type")?.as_str()? {
        "Point" => {
            position(coordinates)?;
            Some(json!({ "type": "Point", "coordinates": coordinates }))
        }
        "LineString" => Some(lines(cut_line(&positions(coordinates)?))),
        "MultiLineString" => {
            let parts: Option<Vec<_>> = coordinates.as_array()?.iter().map(positions).collect();
            Some(lines(parts?.iter().flat_map(|part| cut_line(part)).collect()))
        }
        "Polygon" => {
            let rings: Option<Vec<_>> = coordinates.as_array()?.iter().map(positions).collect();
            areas(rings?)
        }
        _ => None,
    }
}

/// Longitude and latitude, perhaps altitude, within their ranges.
fn position(value: &Value) -> Option<Position> {
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    let numbers = numbers.filter(|numbers| (2..=3).contains(&numbers.len()))?;
    (numbers[0].abs() <= 180.0 && numbers[1].abs() <= 90.0).then_some(numbers)
}

fn positions(value: &Value) -> Option<Vec<Position>> {
    let all: Option<Vec<Position>> = value.as_array()?.iter().map(position).collect();
    all.filter(|all| all.len() >= 2)
}

fn lines(parts: Vec<Vec<Position>>) -> Value {
    match <[Vec<Position>; 1]>::try_from(parts) {
        Ok([line]) => json!({ "type": "LineString", "coordinates": line }),
        Err(parts) => json!({ "type": "MultiLineString", "coordinates": parts }),
    }
}

/// Longitudes without jumps: each is the one nearest to its neighbour.
fn unroll(line: &[Position]) -> Vec<Position> {
    let mut turns = 0.0;
    let mut last = line.first().map_or(0.0, |first| first[0]);
    line.iter()
        .map(|position| {
            let step = position[0] - last;
            if step.abs() > 180.0 {
                turns -= 360.0 * step.signum();
            }
            last = position[0];
            let mut unrolled = position.clone();
            unrolled[0] += turns;
            unrolled
        })
        .collect()
}

/// The point of a segment at this longitude.
fn at_longitude(from: &Position, to: &Position, longitude: f64) -> Position {
    let share = (longitude - from[0]) / (to[0] - from[0]);
    let mut cut: Position = from.iter().zip(to).map(|(from, to)| from + share * (to - from)).collect();
    cut[0] = longitude;
    cut
}

/// Which world a longitude lies in: 0 from -180 to 180, 1 to the east of it, -1 to the west.
fn world(longitude: f64) -> f64 {
    ((longitude + 180.0) / 360.0).floor()
}

fn shifted(mut position: Position, world: f64) -> Position {
    position[0] -= 360.0 * world;
    position
}

/// Cuts a line where it crosses the antimeridian.
fn cut_line(line: &[Position]) -> Vec<Vec<Position>> {
    let line = unroll(line);
    if line.iter().all(|position| position[0].abs() <= 180.0) {
        return vec![line];
    }
    let mut parts = Vec::new();
    let mut part: Vec<Position> = Vec::new();
    let mut here = 0.0;
    for (at, next) in line.iter().enumerate() {
        let Some(last) = at.checked_sub(1).and_then(|before| line.get(before)) else {
            part.push(next.clone());
            continue;
        };
        // A segment is less than half a world long: it crosses at most one edge. A point on the edge is in both worlds.
        let (west, east) = (360.0 * here - 180.0, 360.0 * here + 180.0);
        if next[0] < west || next[0] > east {
            let (edge, there) = if next[0] < west { (west, here - 1.0) } else { (east, here + 1.0) };
            let cut = at_longitude(last, next, edge);
            part.push(shifted(cut.clone(), here));
            parts.push(std::mem::take(&mut part));
            part.push(shifted(cut, there));
            here = there;
        }
        part.push(shifted(next.clone(), here));
    }
    parts.push(part);
    for part in &mut parts {
        part.dedup();
    }
    parts.retain(|part| part.len() >= 2);
    parts
}

/// An area: the first ring and its holes. Rings that are not closed or have no four positions are no area.
fn areas(rings: Vec<Vec<Position>>) -> Option<Value> {
    if rings.is_empty() || !rings.iter().all(|ring| ring.len() >= 4 && ring.first() == ring.last()) {
        return None;
    }
    let unrolled: Vec<Vec<Position>> = rings.iter().map(|ring| unroll(ring)).collect();
    // A ring that does not come back to where it began goes around a pole; no cut makes a flat area of that.
    let around_a_pole = unrolled.iter().any(|ring| ring.first() != ring.last());
    let within = unrolled.iter().flatten().all(|position| position[0].abs() <= 180.0);
    if around_a_pole || within {
        return Some(json!({ "type": "Polygon", "coordinates": wound(rings) }));
    }
    let worlds = unrolled[0].iter().map(|position| world(position[0]));
    let (least, most) = worlds.fold((0.0_f64, 0.0_f64), |(least, most), at| (least.min(at), most.max(at)));
    let mut polygons = Vec::new();
    let mut here = least;
    while here <= most {
        // A hole may have been unrolled into another world than the area around it: each is looked for in all.
        let outer = clip(&unrolled[0], here);
        if outer.len() >= 4 {
            let holes = unrolled[1..].iter().flat_map(|hole| {
                [-1.0, 0.0, 1.0].map(|turn| {
                    let turned: Vec<Position> =
                        hole.iter().map(|position| shifted(position.clone(), turn)).collect();
                    clip(&turned, here)
                })
            });
            let holes = holes.filter(|hole| hole.len() >= 4 && inside(hole, &outer));
            polygons.push(wound(std::iter::once(outer.clone()).chain(holes.collect::<Vec<_>>()).collect()));
        }
        here += 1.0;
    }
    match <[Vec<Vec<Position>>; 1]>::try_from(polygons) {
        Ok([polygon]) => Some(json!({ "type": "Polygon", "coordinates": polygon })),
        Err(polygons) if polygons.is_empty() => None,
        Err(polygons) => Some(json!({ "type": "MultiPolygon", "coordinates": polygons })),
    }
}

/// The box of a hole lies within the box of its ring.
fn inside(hole: &[Position], outer: &[Position]) -> bool {
    let bounds = |ring: &[Position], at: usize| {
        ring.iter().fold((f64::MAX, f64::MIN), |(least, most), position| {
            (least.min(position[at]), most.max(position[at]))
        })
    };
    (0..2).all(|at| {
        let (hole, outer) = (bounds(hole, at), bounds(outer, at));
        outer.0 <= hole.0 && hole.1 <= outer.1
    })
}

/// The part of a ring in one world, moved to where maps are: Sutherland and Hodgman, once for each edge.
fn clip(ring: &[Position], here: f64) -> Vec<Position> {
    let (west, east) = (360.0 * here - 180.0, 360.0 * here + 180.0);
    let kept = clip_at(ring, west, |longitude| longitude >= west);
    let mut kept = clip_at(&kept, east, |longitude| longitude <= east);
    kept.dedup();
    if kept.first() != kept.last() {
        kept.extend(kept.first().cloned());
    }
    let area = signed_area(&kept);
    if area == 0.0 {
        return Vec::new();
    }
    kept.into_iter().map(|position| shifted(position, here)).collect()
}

fn clip_at(ring: &[Position], edge: f64, keep: impl Fn(f64) -> bool) -> Vec<Position> {
    let mut kept = Vec::new();
    for pair in ring.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        if keep(from[0]) {
            kept.push(from.clone());
        }
        if keep(from[0]) != keep(to[0]) {
            kept.push(at_longitude(from, to, edge));
        }
    }
    kept.extend(kept.first().cloned());
    kept
}

/// Rings by the right-hand rule: the outer one counterclockwise, holes clockwise.
fn wound(mut rings: Vec<Vec<Position>>) -> Vec<Vec<Position>> {
    for (at, ring) in rings.iter_mut().enumerate() {
        let counterclockwise = signed_area(&unroll(ring)) > 0.0;
        if counterclockwise != (at == 0) {
            ring.reverse();
        }
    }
    rings
}

/// Twice the area of a closed ring, positive if it goes counterclockwise.
fn signed_area(ring: &[Position]) -> f64 {
    ring.windows(2).map(|pair| pair[0][0] * pair[1][1] - pair[1][0] * pair[0][1]).sum()
}
