//! The shape of each type of message, read from the schemas: which members it has, which codes they may hold, how long
//! their lists may be.
//!
//! So a member that a schema gains is written by the simulation without a line of code. What a schema cannot say, that
//! parts add up, that a period ends after it began, is in `fill`. A shape is for making values, never for judging them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::rules::catalogue::Catalogue;
use crate::rules::schemas::Schemas;

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Shape {
    /// Exactly this.
    Fixed(Value),
    /// One of these.
    Choice(Vec<Value>),
    /// Text of at most so many characters.
    Text(usize),
    /// A whole number.
    Integer(u32, u32),
    /// A number up to this.
    Number(u32),
    /// True or false.
    Flag,
    /// A definition that `fill` knows by its name.
    Known(String),
    /// A list.
    List {
        /// Of these.
        item: Box<Shape>,
        /// At least so many.
        least: usize,
        /// At most so many.
        most: usize,
    },
    /// An object.
    Record(Vec<Member>),
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// Definitions that are made by hand.
const KNOWN: [&str; 19] = [
    "country",
    "nationality",
    "currency",
    "language",
    "authority",
    "uuid",
    "timestamp",
    "date",
    "partialDate",
    "period",
    "geometry",
    "place",
    "count",
    "money",
    "messageRef",
    "attachment",
    "icaoCode",
    "ageSexCell",
    "biometricRef",
];

static SHAPES: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    let schemas = Schemas::embedded().expect("the embedded schemas must compile");
    let defs: Value = serde_json::from_str(include_str!("../../../schemas/defs.json"))
        .expect("the embedded definitions must be readable");
    let kinds = Catalogue::embedded().types().filter_map(|(kind, _)| Some((kind, schemas.text(kind, 1)?)));
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("an embedded schema must be readable");
    kinds.map(|(kind, text)| (kind.to_owned(), shape(&read(text), &defs["$defs"]))).collect()
});

/// The members of the data of a type; none for what is no type.
pub(super) fn members(kind: &str) -> &'static [Member] {
    match SHAPES.get(kind) {
        Some(Shape::Record(members)) => members,
        _ => &[],
    }
}

fn shape(schema: &Value, defs: &Value) -> Shape {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return if KNOWN.contains(&name) { Shape::Known(name.to_owned()) } else { shape(&defs[name], defs) };
    }
    if let Some(value) = schema.get("const") {
        return Shape::Fixed(value.clone());
    }
    if let Some(values) = schema["enum"].as_array() {
        return Shape::Choice(values.clone());
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|name| schema[*name].as_array()?.first())
        && schema.get("properties").is_none()
    {
        return shape(first, defs);
    }
    let number = |name: &str| schema[name].as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
    let bound = |name: &str, other: u32| number(name).map_or(other, |value| value as u32);
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("integer") => Shape::Integer(bound("minimum", 0), bound("maximum", 1_000_000)),
        Some("number") => Shape::Number(bound("maximum", 100)),
        Some("boolean") => Shape::Flag,
        Some("array") => Shape::List {
            item: Box::new(shape(&schema["items"], defs)),
            least: bound("minItems", 0) as usize,
            most: bound("maxItems", 20) as usize,
        },
        Some("object") => {
            let required = |name: &str| {
                schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name))
            };
            let members = schema["properties"].as_object().into_iter().flatten();
            let member = |(name, schema): (&String, &Value)| Member {
                name: name.clone(),
                required: required(name),
                shape: shape(schema, defs),
            };
            Shape::Record(members.map(member).collect())
        }
        _ => Shape::Text(bound("maxLength", 200) as usize),
    }
}
