//! The columns of CSV and Parquet: one table for both, from the envelope, the body's common members and the facets.
//!
//! A column is named after the member it comes from. A body that has no such member, or has it in another form, leaves
//! the cell empty: nothing is guessed. Members that describe a person are no columns.

use super::{Content, Item};
use crate::message::envelope::Source;
use crate::message::time::{self, Timestamp};
use crate::message::tree::{Node, Tree};
use crate::rules::facets::Facets;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number.
    Integer,
    /// A number.
    Real,
    /// An instant, microseconds since 1970 in UTC.
    Time,
    /// A text.
    Text,
    /// A set of texts.
    List,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    None,
    Integer(i64),
    Real(f64),
    Time(i64),
    Text(String),
    List(Vec<String>),
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy)]
enum From {
    Seq,
    ArchivedAt,
    Digest,
    /// `why` of a tombstone.
    Why,
    /// An attribute of the envelope.
    Attribute(&'static str),
    /// The post in `source`.
    Post,
    /// A place in the body, as a JSON Pointer below `data`.
    Data(&'static str),
    /// A set that filters know too.
    Facet(&'static str),
    /// How many members a list in the body has.
    Length(&'static str),
    /// Longitude (0) or latitude (1) of the first place of the body that is a point.
    Point(usize),
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name: the header in CSV, the column in Parquet.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    from: From,
}

const fn column(name: &'static str, kind: Kind, from: From) -> Column {
    Column { name, kind, from }
}

const fn attribute(name: &'static str) -> Column {
    column(name, Kind::Text, From::Attribute(name))
}

const fn moment(name: &'static str) -> Column {
    column(name, Kind::Time, From::Attribute(name))
}

const fn word(name: &'static str, pointer: &'static str) -> Column {
    column(name, Kind::Text, From::Data(pointer))
}

const fn number(name: &'static str, pointer: &'static str) -> Column {
    column(name, Kind::Integer, From::Data(pointer))
}

const fn facet(name: &'static str, set: &'static str) -> Column {
    column(name, Kind::List, From::Facet(set))
}

/// The columns, in order. New ones are added at the end: programs may count on the places of the others.
pub(super) const COLUMNS: &[Column] = &[
    column("seq", Kind::Integer, From::Seq),
    column("archived_at", Kind::Time, From::ArchivedAt),
    column("sha256", Kind::Text, From::Digest),
    column("tombstone", Kind::Text, From::Why),
    attribute("id"),
    attribute("source"),
    attribute("originator"),
    column("post", Kind::Text, From::Post),
    attribute("type"),
    attribute("subject"),
    moment("time"),
    moment("recordedtime"),
    attribute("purpose"),
    attribute("dataclassification"),
    attribute("datacategory"),
    attribute("dataregulation"),
    attribute("tlp"),
    attribute("handling"),
    attribute("evaluation"),
    attribute("audience"),
    attribute("exclude"),
    attribute("priority"),
    moment("expirytime"),
    moment("eraseby"),
    moment("reviewby"),
    attribute("correlationid"),
    attribute("causationid"),
    word("title", "/title"),
    word("narrative", "/narrative"),
    word("lang", "/lang"),
    word("level", "/level"),
    word("confidence", "/confidence"),
    word("validation", "/validation"),
    word("impact", "/impact"),
    word("status", "/status"),
    column("period_from", Kind::Time, From::Data("/period/from")),
    column("period_to", Kind::Time, From::Data("/period/to")),
    facet("countries", "country"),
    facet("nationalities", "nationality"),
    facet("routes", "route"),
    facet("transport", "transport"),
    column("source_kinds", Kind::List, From::Data("/sourceKinds")),
    column("vulnerable_groups", Kind::List, From::Data("/vulnerableGroups")),
    number("count_value", "/count/value"),
    number("count_min", "/count/min"),
    number("count_max", "/count/max"),
    word("count_basis", "/count/basis"),
    word("direction", "/direction"),
    word("trend", "/trend"),
    word("method", "/method"),
    number("deaths", "/deaths/value"),
    column("places", Kind::Integer, From::Length("/places")),
    word("place_name", "/places/0/name"),
    word("place_role", "/places/0/role"),
    word("place_locode", "/places/0/locode"),
    word("place_subdivision", "/places/0/subdivision"),
    column("lon", Kind::Real, From::Point(0)),
    column("lat", Kind::Real, From::Point(1)),
];

/// An item taken apart once for all its columns.
pub(super) struct Seen<'a> {
    item: &'a Item,
    event: Tree,
    facets: Facets,
}

impl<'a> Seen<'a> {
    /// Takes it apart. What is no JSON has no cells but those of the item.
    pub(super) fn of(item: &'a Item) -> Self {
        let event = match &item.content {
            Content::Event(bytes) => Tree::lenient(bytes).unwrap_or_default(),
            Content::Tombstone(_) => Tree::default(),
        };
        let text = |name: &str| event.root().at(name).as_str();
        let facets = if event.root().is_null() {
            Facets::default()
        } else {
            Facets::of(text("subject"), text("priority").unwrap_or("routine"), event.root().at("data"))
        };
        Self { item, event, facets }
    }

    /// True if there is an event, and it is JSON.
    #[cfg(feature = "parquet")]
    pub(super) fn is_json(&self) -> bool {
        self.event.root().is_object()
    }

    fn data(&self, pointer: &str) -> Option<Node<'_>> {
        self.event.root().get("data")?.pointer(pointer)
    }
}

impl Column {
    /// The value of an item in this column.
    pub(super) fn cell(&self, seen: &Seen<'_>) -> Cell {
        let item = seen.item;
        match self.from {
            From::Seq => Cell::Integer(i64::try_from(item.seq).unwrap_or(i64::MAX)),
            From::ArchivedAt => Cell::Time(item.archived_at.as_microsecond()),
            From::Digest => Cell::Text(item.digest.hex()),
            From::Why => match &item.content {
                Content::Tombstone(members) => {
                    let why = members.get("why").and_then(|why| why.as_str());
                    why.map_or(Cell::None, |why| Cell::Text(why.to_owned()))
                }
                Content::Event(_) => Cell::None,
            },
            From::Attribute(name) => self.typed(seen.event.root().get(name)),
            From::Post => {
                let source = seen.event.root().at("source").as_str().and_then(Source::parse);
                source.as_ref().and_then(Source::post).map_or(Cell::None, |post| Cell::Text(post.to_string()))
            }
            From::Data(pointer) => self.typed(seen.data(pointer)),
            From::Facet(set) => match seen.facets.get(set) {
                Some(members) if !members.is_empty() => {
                    Cell::List(members.iter().map(str::to_owned).collect())
                }
                _ => Cell::None,
            },
            From::Length(pointer) => {
                let list = seen.data(pointer).and_then(Node::as_array);
                list.and_then(|list| i64::try_from(list.len()).ok()).map_or(Cell::None, Cell::Integer)
            }
            From::Point(at) => first_point(seen, at).map_or(Cell::None, Cell::Real),
        }
    }

    /// A value, if it is of the column's kind.
    fn typed(&self, value: Option<Node<'_>>) -> Cell {
        let Some(value) = value else { return Cell::None };
        let cell = match self.kind {
            Kind::Integer => value.as_i64().map(Cell::Integer),
            Kind::Real => value.as_f64().map(Cell::Real),
            Kind::Time => value.as_str().and_then(time::parse).map(|at| Cell::Time(at.as_microsecond())),
            Kind::Text => value.as_str().map(|text| Cell::Text(text.to_owned())),
            Kind::List => value
                .as_array()
                .map(|list| Cell::List(list.filter_map(Node::as_str).map(str::to_owned).collect())),
        };
        cell.unwrap_or(Cell::None)
    }
}

fn first_point(seen: &Seen<'_>, at: usize) -> Option<f64> {
    let places = seen.data("/places")?.as_array()?;
    let mut points = places.filter(|place| place.at("geometry").at("type") == "Point");
    points.next()?.pointer("/geometry/coordinates")?.items().nth(at)?.as_f64()
}

/// A moment as CSV has it: RFC 3339 in UTC, with as many decimals as it has.
pub(super) fn time_text(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map(|at| at.to_string()).unwrap_or_default()
}
