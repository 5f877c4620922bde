//! Strict JSON (S-1): one object, UTF-8 without byte order mark, no member twice, depth at most 32.
//!
//! `serde_json` silently keeps the last of two equal members, so `"audience"` twice could widen a message behind a
//! filter that saw the first. This reader looks. It keeps no position of values it refuses, only pointers.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::outcome::{Code, Fault, Refused};

/// Nesting allowed, the outer object counted.
pub const DEEPEST: usize = 32;
/// Values allowed in one message; 256 KiB of `[[],[],…` would otherwise cost more than it carries.
pub const MOST_NODES: usize = 50_000;

/// Reads one message.
///
/// # Errors
/// `E-JSON` with the place: a pointer for duplicate members and depth, line and column in the text for syntax.
pub fn read(bytes: &[u8]) -> Result<Value, Refused> {
    let refuse = |path: String, message: String| Refused::many(Code::Json, vec![Fault { path, message }]);
    if bytes.is_empty() {
        return Err(refuse(String::new(), "the payload is empty".into()));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(refuse(String::new(), "begins with a byte order mark".into()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| refuse(String::new(), format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut place = Place { path: Vec::new(), nodes: 0, fault: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read =
        Node { place: &mut place }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(refuse(String::new(), "the outermost value must be an object".into())),
        Err(error) => Err(match place.fault {
            Some(fault) => refuse(place.pointer(), fault.into()),
            None => refuse(
                place.pointer(),
                format!("{} at line {} column {}", syntax(&error), error.line(), error.column()),
            ),
        }),
    }
}

/// What is wrong, in words that cannot carry a value: `serde_json` quotes nothing for syntax errors, but its custom
/// messages could.
fn syntax(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "ends in the middle",
        _ => "not JSON",
    }
}

enum Step {
    Member(String),
    Item(usize),
}

struct Place {
    path: Vec<Step>,
    nodes: usize,
    fault: Option<&'static str>,
}

impl Place {
    fn pointer(&self) -> String {
        use fmt::Write as _;
        self.path.iter().fold(String::new(), |mut text, step| {
            match step {
                Step::Member(name) => {
                    text.push('/');
                    text.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Step::Item(at) => write!(text, "/{at}").expect("writing to a String must not fail"),
            }
            text
        })
    }

    fn fail<E: serde::de::Error>(&mut self, fault: &'static str) -> E {
        self.fault = Some(fault);
        E::custom(fault)
    }
}

struct Node<'a> {
    place: &'a mut Place,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.place.nodes += 1;
        if self.place.nodes > MOST_NODES {
            return Err(self.place.fail("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if self.place.path.len() >= DEEPEST {
            return Err(self.place.fail("nested deeper than 32"));
        }
        let mut list = Vec::new();
        loop {
            self.place.path.push(Step::Item(list.len()));
            let Some(item) = items.next_element_seed(Node { place: self.place })? else { break };
            self.place.path.pop();
            list.push(item);
        }
        self.place.path.pop();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        if self.place.path.len() >= DEEPEST {
            return Err(self.place.fail("nested deeper than 32"));
        }
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.place.path.push(Step::Member(name));
            let value = members.next_value_seed(Node { place: self.place })?;
            let Some(Step::Member(name)) = self.place.path.pop() else { continue };
            match map.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(twice) => {
                    self.place.path.push(Step::Member(twice.key().clone()));
                    return Err(self.place.fail("member given twice"));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_whatever_their_spelling() {
        let refused = read(br#"{"a":{"id":1,"\u0069d":2}}"#).expect_err("twice");
        assert_eq!((refused.code, refused.detail[0].path.as_str()), (Code::Json, "/a/id"));
    }

    #[test]
    fn depth_counts_the_outer_object() {
        let nested = |n: usize| format!("{}{}{}", "{\"a\":".repeat(n - 1), "{}", "}".repeat(n - 1));
        assert!(read(nested(32).as_bytes()).is_ok());
        assert!(read(nested(33).as_bytes()).is_err());
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
    }
}
