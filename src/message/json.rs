//! Strict JSON (S-1): one object, UTF-8 without byte order mark, no member twice, depth at most 32.
//!
//! `serde_json` silently keeps the last of two equal members, so `"audience"` twice could widen a message behind a
//! filter that saw the first. This reader looks. It keeps no position of values it refuses, only pointers.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::outcome::{Code, Fault, Refused, is_tellable};
use super::tree::{Item, Span, Tree};

/// Nesting allowed, the outer object counted.
pub const DEEPEST: usize = 32;
/// Values allowed in one message; 256 KiB of `[[],[],…` would otherwise cost more than it carries.
pub const MOST_NODES: usize = 50_000;
/// Bytes read at all: offsets in a tree have 32 bits, and an escape may be written as often again.
const LARGEST: usize = 1 << 30;
/// Room for values and names made at once, whatever the size of the document.
const MOST_ROOM: usize = 4_096;

/// Reads one message.
///
/// # Errors
/// `E-JSON` with the place: a pointer for duplicate members and depth, line and column in the text for syntax.
pub fn read(bytes: &[u8]) -> Result<Tree, Refused> {
    let refuse = |path: String, message: String| Refused::many(Code::Json, vec![Fault { path, message }]);
    if bytes.is_empty() {
        return Err(refuse(String::new(), "the payload is empty".into()));
    }
    if bytes.len() > LARGEST {
        return Err(refuse(String::new(), "is too large to be read".into()));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(refuse(String::new(), "begins with a byte order mark".into()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| refuse(String::new(), format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut reading = Reading {
        // Reports have a value or name for every ten to fourteen bytes.
        tree: Tree::over(text, (text.len() / 8 + 8).min(MOST_ROOM)),
        start: text.as_ptr() as usize,
        path: Vec::with_capacity(DEEPEST),
        values: 0,
        fault: None,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Fill(&mut reading).deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Ok(()) if reading.tree.root().is_object() => Ok(reading.tree),
        Ok(()) => Err(refuse(String::new(), "the outermost value must be an object".into())),
        Err(error) => Err(match reading.fault {
            Some(fault) => refuse(reading.pointer(), fault.into()),
            None => refuse(
                reading.pointer(),
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

#[derive(Clone, Copy)]
enum Step {
    Member(Span),
    Item(usize),
}

/// A tree that is being filled, and where the reader stands.
struct Reading {
    tree: Tree,
    /// Address of the first byte of the document.
    start: usize,
    path: Vec<Step>,
    values: usize,
    fault: Option<&'static str>,
}

impl Reading {
    fn pointer(&self) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Member(name) => {
                    let name = self.tree.text(*name);
                    if !is_tellable(name) {
                        break;
                    }
                    text.push('/');
                    text.push_str(name);
                }
                Step::Item(at) => write!(text, "/{at}").expect("writing to a String must not fail"),
            }
        }
        text
    }

    fn fail<E: serde::de::Error>(&mut self, fault: &'static str) -> E {
        self.fault = Some(fault);
        E::custom(fault)
    }

    /// Where a text stands that is a piece of the document, which the tree begins with.
    fn find(&self, text: &str) -> Span {
        Span::new(text.as_ptr() as usize - self.start, text.len())
    }

    /// True if one of the names of the object that begins at `first` is that of its last member, at `last`.
    fn is_twice(&self, names: &mut Names, first: usize, last: usize, name: Span) -> bool {
        let name = self.tree.text(name);
        names.may_hold(name, || self.tree.names(first, last))
            && self.tree.names(first, last).any(|known| known == name)
    }
}

/// The names of one object, as far as a look at all of them is saved by it.
#[derive(Default)]
struct Names {
    count: usize,
    /// One bit for each length and outer bytes.
    bits: u64,
    /// Hashes, once there are many: with a key of this process, so that nobody can make them collide.
    many: Option<(RandomState, HashSet<u64>)>,
}

impl Names {
    /// Names that are looked at one by one.
    const FEW: usize = 24;

    /// Adds a name; false if it is certainly new. `known` are those before it.
    fn may_hold<'a, I: Iterator<Item = &'a str>>(&mut self, name: &str, known: impl Fn() -> I) -> bool {
        self.count += 1;
        if self.count > Self::FEW {
            let (state, hashes) = self.many.get_or_insert_with(|| {
                let state = RandomState::new();
                let hashes = known().map(|name| state.hash_one(name)).collect();
                (state, hashes)
            });
            return !hashes.insert(state.hash_one(name));
        }
        let bytes = name.as_bytes();
        let outer = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
        let mark = (bytes.len() * 7 + outer(bytes.first()) * 3 + outer(bytes.last()) * 11) % 64;
        let is_marked = self.bits >> mark & 1 == 1;
        self.bits |= 1 << mark;
        is_marked
    }
}

/// Reads the name of a member.
struct Name<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Span;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Span, E> {
        Ok(self.0.find(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Span, E> {
        Ok(self.0.tree.keep(name))
    }
}

/// Reads a value with all its parts.
struct Fill<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.values += 1;
        if self.0.values > MOST_NODES {
            return Err(self.0.fail("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl Fill<'_> {
    fn put<E>(self, item: Item) -> Result<(), E> {
        self.0.tree.push(item);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Item::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(u64::try_from(value).map_or(Item::Signed(value), Item::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(Item::Unsigned(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if value.is_finite() { self.put(Item::Real(value)) } else { Err(E::custom("not a finite number")) }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        let span = self.0.find(value);
        self.put(Item::Text(span))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let span = self.0.tree.keep(value);
        self.put(Item::Text(span))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Item::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.0.path.len() >= DEEPEST {
            return Err(self.0.fail("nested deeper than 32"));
        }
        let at = self.0.tree.open();
        let mut len = 0;
        loop {
            self.0.path.push(Step::Item(len));
            if items.next_element_seed(Fill(self.0))?.is_none() {
                break;
            }
            self.0.path.pop();
            len += 1;
        }
        self.0.path.pop();
        self.0.tree.close(at, |end| Item::list(len, end));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.0.path.len() >= DEEPEST {
            return Err(self.0.fail("nested deeper than 32"));
        }
        let at = self.0.tree.open();
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Name(self.0))? {
            let last = self.0.tree.len();
            self.0.tree.push(Item::Text(name));
            self.0.path.push(Step::Member(name));
            members.next_value_seed(Fill(self.0))?;
            if self.0.is_twice(&mut names, at + 1, last, name) {
                return Err(self.0.fail("member given twice"));
            }
            self.0.path.pop();
        }
        self.0.tree.close(at, |end| Item::object(names.count, end));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
