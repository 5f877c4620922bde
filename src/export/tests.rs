//! What each format promises: lines give the bytes back, cells run nowhere, maps are as RFC 7946 wants them, Parquet reads
//! back typed, and the same items give the same bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::columns::{COLUMNS, Kind};
use super::*;
use crate::message::time::parse;

fn item(seq: u64, bytes: impl Into<Bytes>) -> Item {
    let bytes = bytes.into();
    let archived_at = parse("2026-03-02T10:00:00.250Z").expect("a time");
    Item { seq, archived_at, digest: Digest::of(&bytes), signature: None, content: Content::Event(bytes) }
}

fn example(name: &str) -> Value {
    let file = format!("{}/tests/examples/valid/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(file).expect("an example");
    serde_json::from_slice::<Value>(&text).expect("JSON")["message"].take()
}

fn file(format: Format, items: &[Item]) -> (Totals, Vec<u8>) {
    let mut export = Export::new(format, Vec::new()).expect("begins");
    for item in items {
        export.put(item).expect("puts");
    }
    export.finish().expect("ends")
}

fn rows(bytes: &[u8]) -> Vec<std::collections::HashMap<String, String>> {
    csv::Reader::from_reader(bytes).deserialize().map(|row| row.expect("a row")).collect()
}

/// JSON values whose texts try to be formulas, cells, rows and lines.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "=1+1", "+49", "-x", "@a", "\tb", "\rc", "\n=d", "\"", "\",=e", "\r\n=f", "'", "＝1", "\u{0}",
        "\u{2028}",
    ]);
    prop_oneof![any::<String>(), nasty.prop_map(str::to_owned), (nasty_twice()).prop_map(|all| all.concat())]
}

fn nasty_twice() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof![Just("=".to_owned()), Just("\n".to_owned()), ".{0,3}"], 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_cell_is_a_formula_and_every_row_is_a_row(title in text(), narrative in text(), id in text(), routes in prop::collection::vec(text(), 0..3)) {
        let event = json!({
            "id": id, "data": { "title": title, "narrative": narrative, "routes": routes, "deaths": { "value": -7 } },
        });
        let (_, bytes) = file(Format::Csv, &[item(1, event.to_string()), item(2, "{}")]);
        let read = rows(&bytes);
        prop_assert_eq!(read.len(), 2, "line breaks in cells end no row");
        for (name, cell) in read.iter().flatten() {
            let column = COLUMNS.iter().find(|column| column.name == name).expect("a column");
            let text = matches!(column.kind, Kind::Text | Kind::List);
            prop_assert!(!text || !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{name}");
            prop_assert!(text || cell.is_empty() || cell.parse::<f64>().is_ok() || parse(cell).is_some(), "{name}");
        }
        prop_assert_eq!(&read[0]["deaths"], "-7", "a number stays a number");
        let plain = |text: &str| text.replace(|c: char| c.is_control() && !"\t\r\n".contains(c), "\u{fffd}");
        let shown = &read[0]["title"];
        let marked = format!("'{}", plain(&title));
        prop_assert!(*shown == plain(&title) || *shown == marked, "the text, with a mark at most");
    }

    #[test]
    fn a_line_gives_the_received_bytes_back(text in text(), form in 0..6, seq in 1..u64::MAX) {
        let event = json!({ "specversion": "1.0", "id": text, "data": { "title": text, "n": 1.50, "event": null } });
        let bytes = match form {
            0 => event.to_string().into_bytes(),
            1 => serde_json::to_vec_pretty(&event).expect("JSON"),
            2 => serde_json::to_string_pretty(&event).expect("JSON").replace('\n', "\r\n").into_bytes(),
            3 => format!(" {event}\n").into_bytes(),
            4 => br#"{"b":1.50,"a":1e2, "c":"\u00e9"}"#.to_vec(),
            _ => vec![0xff, b'{', b'\n', 0, b'}'],
        };
        let one = item(seq, bytes.clone());
        let (totals, line) = file(Format::Ndjson, std::slice::from_ref(&one));
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(line.last(), Some(&b'\n'));
        prop_assert_eq!(Digest::of(&line), totals.digest);
        prop_assert_eq!(read_line(&line), Some(Line::Event(bytes.clone())));
        let read: Value = serde_json::from_slice(&line).expect("JSON");
        prop_assert_eq!(&read["seq"], seq);
        prop_assert_eq!(&read["digest"], &format!("sha256:{}", Digest::of(&bytes)));
        if form < 4 {
            prop_assert_eq!(&read["event"], &event);
            prop_assert_eq!(read.get("raw").is_none(), form == 0, "only what is not its own line is kept twice");
        }
        prop_assert_eq!(read_line(&bytes), None, "a message is no wrapper");
    }

    #[test]
    fn lines_are_cut_at_the_antimeridian(start in -180.0..180.0_f64, steps in prop::collection::vec((-179.0..179.0_f64, -80.0..80.0_f64), 1..8)) {
        let mut longitude: f64 = start;
        let mut coordinates = vec![json!([start, 0.0])];
        for (step, latitude) in &steps {
            longitude = (longitude + step + 540.0).rem_euclid(360.0) - 180.0;
            coordinates.push(json!([longitude, latitude]));
        }
        let travelled: f64 = steps.iter().map(|(step, _)| step.abs()).sum();
        let cut = geometry::tidy(&json!({ "type": "LineString", "coordinates": coordinates })).expect("a line");
        let parts = match cut["type"].as_str() {
            Some("LineString") => vec![cut["coordinates"].clone()],
            _ => cut["coordinates"].as_array().expect("parts").clone(),
        };
        let mut length = 0.0;
        for part in &parts {
            let part = numbers(part);
            prop_assert!(part.len() >= 2);
            for pair in part.windows(2) {
                prop_assert!((pair[0][0] - pair[1][0]).abs() <= 180.0);
                length += (pair[0][0] - pair[1][0]).abs();
            }
            prop_assert!(part.iter().all(|at| at[0].abs() <= 180.0 && at[1].abs() <= 90.0));
        }
        prop_assert!((length - travelled).abs() < 1e-6, "nothing is lost or added: {length} of {travelled}");
    }

    #[test]
    fn areas_are_closed_wound_and_cut(west in -180.0..180.0_f64, south in -80.0..70.0_f64, width in 1.0..170.0_f64, height in 1.0..10.0_f64, clockwise in any::<bool>()) {
        let around = |longitude: f64| (longitude + 540.0).rem_euclid(360.0) - 180.0;
        let (east, north) = (around(west + width), south + height);
        let mut ring = vec![[west, south], [east, south], [east, north], [west, north], [west, south]];
        if clockwise {
            ring.reverse();
        }
        let cut = geometry::tidy(&json!({ "type": "Polygon", "coordinates": [ring] })).expect("an area");
        let polygons = match cut["type"].as_str() {
            Some("Polygon") => vec![cut["coordinates"].clone()],
            _ => cut["coordinates"].as_array().expect("areas").clone(),
        };
        let mut area = 0.0;
        for polygon in polygons {
            let ring = numbers(&polygon[0]);
            prop_assert!(ring.len() >= 4 && ring.first() == ring.last(), "closed");
            prop_assert!(ring.iter().all(|at| at[0].abs() <= 180.0));
            let twice: f64 = ring.windows(2).map(|pair| pair[0][0] * pair[1][1] - pair[1][0] * pair[0][1]).sum();
            prop_assert!(twice > 0.0, "counterclockwise");
            area += twice / 2.0;
        }
        prop_assert!((area - width * height).abs() < 1e-6, "{area} of {}", width * height);
    }
}

fn numbers(line: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(line.clone()).expect("positions")
}

#[test]
fn holes_stay_in_their_areas_when_these_are_cut() {
    let outer = json!([[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]]);
    let hole = json!([[-178, 4], [-176, 4], [-176, 6], [-178, 6], [-178, 4]]);
    let cut = geometry::tidy(&json!({ "type": "Polygon", "coordinates": [outer, hole] })).expect("an area");
    assert_eq!(cut["type"], "MultiPolygon");
    let holes: Vec<usize> = cut["coordinates"]
        .as_array()
        .expect("areas")
        .iter()
        .map(|area| area.as_array().expect("rings").len())
        .collect();
    assert_eq!(holes, [1, 2], "the hole is in the eastern one alone: {cut}");
    let hole = numbers(&cut["coordinates"][1][1]);
    assert!(hole.windows(2).map(|p| p[0][0] * p[1][1] - p[1][0] * p[0][1]).sum::<f64>() < 0.0, "clockwise");
    for bad in [
        json!({ "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]] }),
        json!({ "type": "Point", "coordinates": [34.7, 100] }),
        json!({ "type": "Circle", "coordinates": [0, 0] }),
        json!({ "type": "LineString", "coordinates": [[0, 0]] }),
    ] {
        assert_eq!(geometry::tidy(&bad), None, "{bad}");
    }
}

#[test]
fn places_and_legs_become_features_and_persons_do_not() {
    let mut manifest = example("11-case-return-manifest");
    manifest["data"]["persons"][0]["person"]["placeOfBirth"] =
        json!({ "country": "TN", "geometry": { "type": "Point", "coordinates": [10, 34] } });
    let items = [
        item(1, example("01-flow-observation-mixed").to_string()),
        item(2, example("02-flow-route-geojson").to_string()),
        item(3, example("03-smuggling-modus").to_string()),
        item(4, manifest.to_string()),
    ];
    let (totals, bytes) = file(Format::Geojson, &items);
    let map: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(map["type"], "FeatureCollection");
    let features = map["features"].as_array().expect("features");
    assert_eq!(features.len() as u64, totals.features);
    let kinds: Vec<_> = features
        .iter()
        .map(|one| {
            (
                one["properties"]["seq"].as_u64(),
                one["properties"]["feature"].as_str(),
                one["geometry"]["type"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (Some(1), Some("place"), Some("Point")),
            (Some(2), Some("leg"), Some("LineString")),
            (Some(2), Some("leg"), Some("MultiLineString")),
        ]
    );
    assert_eq!(totals.unlocated, 2, "a place of birth is no place on a map");
    assert_eq!(features[0]["geometry"]["coordinates"], json!([10.76, 34.74]), "longitude first");
    assert_eq!(features[0]["properties"]["locode"], "TNSFA");
    assert_eq!(features[1]["id"], "0195c3a1-0002-7000-8000-000000000002#/data/legs/0");
    assert_eq!(features[1]["properties"]["transport"], "lorry|van");
    let (_, empty) = file(Format::Geojson, &[]);
    assert_eq!(serde_json::from_slice::<Value>(&empty).expect("JSON")["features"], json!([]));
}

#[test]
fn columns_hold_what_they_are_named_after() {
    let event = example("01-flow-observation-mixed").to_string();
    let gone = Item { content: Content::tombstone("erased"), ..item(2, "") };
    let (totals, bytes) = file(Format::Csv, &[item(1, event), gone]);
    assert!(bytes.starts_with(b"seq,archived_at,sha256,") && bytes.ends_with(b"\r\n"));
    let read = rows(&bytes);
    for (name, value) in [
        ("seq", "1"),
        ("archived_at", "2026-03-02T10:00:00.25Z"),
        ("originator", "it-moi"),
        ("post", "tn-01"),
        ("type", "eu.ilonet.flow.observation.v1"),
        ("period_from", "2026-02-22T23:00:00Z"),
        ("countries", "DE|FR|IT|TN"),
        ("nationalities", "CIV|GIN|SDN|TUN|XXA|XXX"),
        ("transport", "metal-boat|rubber-boat"),
        ("count_value", "1240"),
        ("places", "2"),
        ("place_locode", "TNSFA"),
        ("lon", "10.76"),
        ("lat", "34.74"),
        ("deaths", ""),
        ("tombstone", ""),
    ] {
        assert_eq!(read[0][name], value, "{name}");
    }
    assert_eq!((read[1]["tombstone"].as_str(), read[1]["id"].as_str()), ("erased", ""));
    assert_eq!((totals.count, totals.tombstones, totals.first, totals.last), (1, 1, Some(1), Some(2)));
}

#[test]
fn the_analysts_manual_names_every_column() {
    let file = format!("{}/docs/ANALYSIS.md", env!("CARGO_MANIFEST_DIR"));
    let manual = std::fs::read_to_string(file).expect("the manual");
    for column in COLUMNS {
        assert!(manual.contains(&format!("| `{}` |", column.name)), "docs/ANALYSIS.md lacks {}", column.name);
    }
}

fn mixed(count: u64) -> Vec<Item> {
    let names =
        ["01-flow-observation-mixed", "02-flow-route-geojson", "03-smuggling-modus", "05-document-fraud"];
    let events: Vec<Value> = names.iter().map(|name| example(name)).collect();
    (1..=count)
        .map(|seq| match seq % 5 {
            0 => Item { content: Content::tombstone("retracted"), ..item(seq, "") },
            kind => {
                let mut event = events[kind as usize - 1].clone();
                event["data"]["title"] = format!("number {seq}").into();
                item(seq, event.to_string())
            }
        })
        .collect()
}

#[test]
fn the_same_items_give_the_same_file_and_manifest() {
    let items = mixed(600);
    for format in
        Format::ALL.into_iter().filter(|format| cfg!(feature = "parquet") || *format != Format::Parquet)
    {
        let made = || {
            let (totals, bytes) = file(format, &items);
            let manifest =
                Manifest::new(format, Provenance { complete: true, ..Provenance::default() }, &totals);
            (bytes, manifest.to_text())
        };
        let (bytes, manifest) = made();
        assert_eq!((&bytes, &manifest), (&made().0, &made().1), "{format:?}");
        let told: Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(told["sha256"], Digest::of(&bytes).hex(), "{format:?}");
        assert_eq!((&told["count"], &told["tombstones"]), (&480.into(), &120.into()));
        assert_eq!((&told["first_seq"], &told["last_seq"]), (&1.into(), &600.into()));
        assert_eq!(told["bytes"], bytes.len());
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_reads_back_typed() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::columns::{Cell, Seen, time_text};
    // More than a row group, so that the second one is looked at too.
    let items = mixed(17_000);
    let (_, bytes) = file(Format::Parquet, &items);
    let reader = SerializedFileReader::new(Bytes::from(bytes)).expect("a Parquet file");
    assert_eq!(reader.metadata().num_row_groups(), 2);
    let mut rows = 0;
    for (row, item) in reader.get_row_iter(None).expect("rows").zip(&items) {
        let row = row.expect("a row");
        let fields: Vec<(&String, &Field)> = row.get_column_iter().collect();
        assert_eq!(fields.len(), COLUMNS.len() + 1);
        let seen = Seen::of(item);
        for (column, (name, field)) in COLUMNS.iter().zip(&fields) {
            assert_eq!(column.name, *name);
            let expected = match column.cell(&seen) {
                Cell::None => "null".to_owned(),
                Cell::Integer(value) => value.to_string(),
                Cell::Real(value) => value.to_string(),
                Cell::Time(micros) => time_text(micros),
                Cell::Text(text) => text,
                Cell::List(list) => list.join("|"),
            };
            let found = match field {
                Field::Null => "null".to_owned(),
                Field::Long(value) => value.to_string(),
                Field::Double(value) => value.to_string(),
                Field::TimestampMicros(micros) => time_text(*micros),
                Field::Str(text) => text.clone(),
                Field::ListInternal(list) => {
                    let texts = list.elements().iter().map(|element| match element {
                        Field::Str(text) => text.as_str(),
                        other => panic!("{name}: {other:?}"),
                    });
                    texts.collect::<Vec<_>>().join("|")
                }
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(found, expected, "{name} of {}", item.seq);
        }
        match (&item.content, fields[COLUMNS.len()].1) {
            (Content::Event(bytes), Field::Str(text)) => assert_eq!(text.as_bytes(), bytes),
            (Content::Tombstone(_), Field::Null) => {}
            (_, other) => panic!("event: {other:?}"),
        }
        rows += 1;
    }
    assert_eq!(rows, items.len());
}

#[test]
fn what_is_no_wrapper_is_not_taken_for_one() {
    for line in [
        r#"{"event":{}}"#,
        r#"{"seq":1,"archived_at":"x","digest":"y","event":{},"more":1}"#,
        r#"{"specversion":"1.0","seq":1,"archived_at":"x","digest":"y","event":{}}"#,
        r#"{"seq":1,"archived_at":"x","digest":"y"}"#,
        r#"{"seq":1,"archived_at":"x","digest":"y","raw":"%"}"#,
    ] {
        assert_eq!(read_line(line.as_bytes()), None, "{line}");
    }
    let of_subscribe = br#"{"feed_seq":1,"archived_at":"x","digest":"y","event":{"a": 1}}"#;
    assert_eq!(read_line(of_subscribe), Some(Line::Event(b"{\"a\": 1}".to_vec())));
    let tombstone = br#"{"seq":1,"archived_at":"x","digest":"y","tombstone":{"why":"erased"}}"#;
    assert_eq!(read_line(tombstone), Some(Line::Tombstone));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_format_that_is_not_built_in_is_refused() {
    assert!(matches!(Export::new(Format::Parquet, Vec::new()), Err(Error::NotBuilt("parquet"))));
}
