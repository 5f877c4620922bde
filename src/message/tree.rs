//! A JSON value as one text and one list: what a message is while it is judged.
//!
//! Two allocations hold a whole message, which the thread that is done with it frees in two calls. Values are looked up
//! by walking: objects of the network have few members. It is read only; [`super::json`] fills it.

mod node;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Number, Value};

pub use node::{Items, Kind, Members, Node};

/// One value, or the name of a member, which stands before its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item {
    Null,
    Bool(bool),
    /// An integer from zero up.
    Unsigned(u64),
    /// An integer below zero.
    Signed(i64),
    /// What is written with a fraction or exponent, or is too large for an integer.
    Real(f64),
    /// Where it stands in the text of the tree.
    Text(Span),
    /// How many values, and the index behind the last.
    List {
        len: u32,
        end: u32,
    },
    /// How many members, and the index behind the last.
    Object {
        len: u32,
        end: u32,
    },
}

impl Item {
    /// A list of so many values.
    pub(super) fn list(len: usize, end: u32) -> Self {
        Self::List { len: count(len), end }
    }

    /// An object of so many members.
    pub(super) fn object(len: usize, end: u32) -> Self {
        Self::Object { len: count(len), end }
    }
}

/// A piece of the tree's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The piece of this length at this byte.
    pub(super) fn new(start: usize, len: usize) -> Self {
        Self { start: count(start), len: count(len) }
    }
}

/// Offsets and counts of a tree: its texts are far below 4 GiB, [`super::json::read`] sees to that.
fn count(of: usize) -> u32 {
    u32::try_from(of).expect("a tree must have less than 4 GiB")
}

/// A JSON value and all its parts.
#[derive(Default, Clone)]
pub struct Tree {
    /// The document, then what was not written in it as it is meant.
    text: String,
    items: Vec<Item>,
}

impl fmt::Debug for Tree {
    /// Never a value: it may be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("values", &self.items.len()).finish_non_exhaustive()
    }
}

impl Tree {
    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        Node::first(self)
    }

    /// The same as an owned value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.root().to_value()
    }

    /// The tree of a value, its members in the value's order.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let mut tree = Self::default();
        tree.add(value);
        tree
    }

    /// Reads what another version, or nobody, may have judged: the last of two equal members counts, and any value may be
    /// outermost. For messages that come in there is [`super::json::read`].
    #[must_use]
    pub fn lenient(bytes: &[u8]) -> Option<Self> {
        super::json::read(bytes).ok().or_else(|| {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            Some(Self::of(&value))
        })
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::Null => self.push(Item::Null),
            Value::Bool(value) => self.push(Item::Bool(*value)),
            Value::Number(number) => self.push(item_of(number)),
            Value::String(text) => {
                let span = self.keep(text);
                self.push(Item::Text(span));
            }
            Value::Array(values) => {
                let at = self.open();
                values.iter().for_each(|value| self.add(value));
                self.close(at, |end| Item::list(values.len(), end));
            }
            Value::Object(members) => {
                let at = self.open();
                for (name, value) in members {
                    let span = self.keep(name);
                    self.push(Item::Text(span));
                    self.add(value);
                }
                self.close(at, |end| Item::object(members.len(), end));
            }
        }
    }

    /// Becomes one text, in the room that it has.
    pub(crate) fn become_text(&mut self, text: &str) {
        self.text.clear();
        self.items.clear();
        let span = self.keep(text);
        self.push(Item::Text(span));
    }

    /// An empty tree for a document of which pieces are its texts.
    pub(super) fn over(document: &str, items: usize) -> Self {
        Self { text: document.to_owned(), items: Vec::with_capacity(items) }
    }

    /// Adds a text that the document does not hold as it is meant.
    pub(super) fn keep(&mut self, text: &str) -> Span {
        let span = Span::new(self.text.len(), text.len());
        self.text.push_str(text);
        span
    }

    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// How many values and names it has so far.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Begins a list or object.
    pub(super) fn open(&mut self) -> usize {
        self.items.push(Item::Null);
        self.items.len() - 1
    }

    /// Ends the list or object that began there.
    pub(super) fn close(&mut self, at: usize, item: impl FnOnce(u32) -> Item) {
        self.items[at] = item(count(self.items.len()));
    }

    #[inline]
    pub(super) fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..][..span.len as usize]
    }

    /// The names between two indices, of the object that begins before the first.
    pub(super) fn names(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        let mut at = count(from);
        std::iter::from_fn(move || {
            let name = self.items.get(at as usize).filter(|_| (at as usize) < to)?;
            at = self.after(at + 1);
            match name {
                Item::Text(span) => Some(self.text(*span)),
                _ => None,
            }
        })
    }

    #[inline]
    fn item(&self, at: u32) -> Item {
        self.items.get(at as usize).copied().unwrap_or(Item::Null)
    }

    /// The index behind a value.
    #[inline]
    fn after(&self, at: u32) -> u32 {
        match self.item(at) {
            Item::List { end, .. } | Item::Object { end, .. } => end,
            _ => at + 1,
        }
    }
}

fn item_of(number: &Number) -> Item {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(value), ..) => Item::Unsigned(value),
        (_, Some(value), _) => Item::Signed(value),
        (.., value) => Item::Real(value.unwrap_or_default()),
    }
}
