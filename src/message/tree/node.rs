//! One value of a tree, with what is asked of it. It is an index: copied, never owned.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};

use super::{Item, Span, Tree};

/// Index of what is not there: it reads as null.
const ABSENT: u32 = u32::MAX;

/// What kind of value a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`, or not there.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

/// One value of a tree. What is not there is null.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: &'a Tree,
    at: u32,
}

impl fmt::Debug for Node<'_> {
    /// Never a value: it may be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.kind()).finish()
    }
}

impl PartialEq<&str> for Node<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl<'a> Node<'a> {
    /// The outermost value.
    pub(super) fn first(tree: &'a Tree) -> Self {
        Self { tree, at: 0 }
    }

    #[inline]
    fn item(self) -> Item {
        self.tree.item(self.at)
    }

    /// What it is.
    #[must_use]
    #[inline]
    pub fn kind(self) -> Kind {
        match self.item() {
            Item::Null => Kind::Null,
            Item::Bool(_) => Kind::Bool,
            Item::Unsigned(_) | Item::Signed(_) | Item::Real(_) => Kind::Number,
            Item::Text(_) => Kind::Text,
            Item::List { .. } => Kind::List,
            Item::Object { .. } => Kind::Object,
        }
    }

    /// Tells it from all other values of all trees that are there at the same time.
    #[must_use]
    pub fn identity(self) -> (usize, u32) {
        (std::ptr::from_ref(self.tree) as usize, self.at)
    }

    /// True if it is null or not there.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.item() == Item::Null
    }

    /// True if it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        matches!(self.item(), Item::Object { .. })
    }

    /// Its text, if it is one.
    #[must_use]
    #[inline]
    pub fn as_str(self) -> Option<&'a str> {
        match self.item() {
            Item::Text(span) => Some(self.tree.text(span)),
            _ => None,
        }
    }

    /// Its truth, if it has one.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.item() {
            Item::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number as read, if it is one: `1` and `1.0` are told apart.
    #[must_use]
    pub fn as_number(self) -> Option<Number> {
        match self.item() {
            Item::Unsigned(value) => Some(value.into()),
            Item::Signed(value) => Some(value.into()),
            Item::Real(value) => Number::from_f64(value),
            _ => None,
        }
    }

    /// The number as a fraction, if it is one.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    /// The number as an integer, if it is written as one and fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// Its values, if it is a list.
    #[must_use]
    #[inline]
    pub fn as_array(self) -> Option<Items<'a>> {
        match self.item() {
            Item::List { len, .. } => Some(Items { tree: self.tree, at: self.at + 1, left: len }),
            _ => None,
        }
    }

    /// Its values; none if it is no list.
    #[must_use]
    pub fn items(self) -> Items<'a> {
        self.as_array().unwrap_or(Items { tree: self.tree, at: ABSENT, left: 0 })
    }

    /// Its members, if it is an object.
    #[must_use]
    #[inline]
    pub fn as_object(self) -> Option<Members<'a>> {
        match self.item() {
            Item::Object { len, .. } => Some(Members { tree: self.tree, at: self.at + 1, left: len }),
            _ => None,
        }
    }

    /// Its members in the order of the document; none if it is no object.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        self.as_object().unwrap_or(Members { tree: self.tree, at: ABSENT, left: 0 })
    }

    /// The value of a member, if it is an object that has it.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        let Item::Object { end, .. } = self.item() else { return None };
        let text = self.tree.text.as_bytes();
        let mut at = self.at + 1;
        while at < end {
            // Lengths differ mostly: then the text is not looked at.
            if let Item::Text(Span { start, len }) = self.tree.item(at)
                && len as usize == name.len()
                && text[start as usize..][..len as usize] == *name.as_bytes()
            {
                return Some(Node { at: at + 1, ..self });
            }
            at = self.tree.after(at + 1);
        }
        None
    }

    /// The value of a member; null if there is none.
    #[must_use]
    pub fn at(self, name: &str) -> Node<'a> {
        self.get(name).unwrap_or(Node { at: ABSENT, ..self })
    }

    /// The part that a JSON Pointer (RFC 6901) names.
    #[must_use]
    pub fn pointer(self, pointer: &str) -> Option<Node<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut steps = pointer.strip_prefix('/')?.split('/');
        steps.try_fold(self, |node, step| match node.item() {
            Item::Object { .. } if step.contains('~') => {
                node.get(&step.replace("~1", "/").replace("~0", "~"))
            }
            Item::Object { .. } => node.get(step),
            Item::List { .. } => {
                let plain = !step.starts_with('+') && (step == "0" || !step.starts_with('0'));
                node.items().nth(step.parse().ok().filter(|_| plain)?)
            }
            _ => None,
        })
    }

    /// The same as an owned value. It costs what a tree saves: for what is rare.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self.item() {
            Item::Null => Value::Null,
            Item::Bool(value) => Value::Bool(value),
            Item::Text(span) => Value::String(self.tree.text(span).to_owned()),
            Item::List { .. } => Value::Array(self.items().map(Node::to_value).collect()),
            Item::Object { .. } => {
                let members = self.members().map(|(name, value)| (name.to_owned(), value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            _ => self.as_number().map_or(Value::Null, Value::Number),
        }
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.item() {
            Item::Null => serializer.serialize_unit(),
            Item::Bool(value) => serializer.serialize_bool(value),
            Item::Unsigned(value) => serializer.serialize_u64(value),
            Item::Signed(value) => serializer.serialize_i64(value),
            Item::Real(value) => serializer.serialize_f64(value),
            Item::Text(span) => serializer.serialize_str(self.tree.text(span)),
            Item::List { len, .. } => {
                let mut list = serializer.serialize_seq(Some(len as usize))?;
                self.items().try_for_each(|item| list.serialize_element(&item))?;
                list.end()
            }
            Item::Object { len, .. } => {
                let mut object = serializer.serialize_map(Some(len as usize))?;
                self.members().try_for_each(|(name, value)| object.serialize_entry(name, &value))?;
                object.end()
            }
        }
    }
}

/// The values of a list.
#[derive(Clone)]
pub struct Items<'a> {
    tree: &'a Tree,
    at: u32,
    left: u32,
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    #[inline]
    fn next(&mut self) -> Option<Node<'a>> {
        self.left = self.left.checked_sub(1)?;
        let node = Node { tree: self.tree, at: self.at };
        self.at = self.tree.after(self.at);
        Some(node)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The members of an object, in the order of the document.
#[derive(Clone)]
pub struct Members<'a> {
    tree: &'a Tree,
    at: u32,
    left: u32,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<(&'a str, Node<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let Item::Text(name) = self.tree.item(self.at) else { return None };
        let node = Node { tree: self.tree, at: self.at + 1 };
        self.at = self.tree.after(self.at + 1);
        Some((self.tree.text(name), node))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Members<'_> {}
