//! Where a walk over a body stands, and the places found at fault on the way.
//!
//! One walk serves all rules of the body: a pointer is put together only when something is wrong. It knows no rule.

use crate::message::outcome::{Code, Fault, Refused};
use crate::message::tree::{Kind, Node};

/// One step from a value to a part of it.
enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

/// Where the walk stands.
pub(super) struct Path<'a> {
    prefix: &'a str,
    steps: Vec<Step<'a>>,
}

impl<'a> Path<'a> {
    /// The JSON Pointer, RFC 6901.
    pub(super) fn pointer(&self) -> String {
        let mut text = self.prefix.to_owned();
        for step in &self.steps {
            text.push('/');
            match step {
                Step::Member(name) => text.push_str(&name.replace('~', "~0").replace('/', "~1")),
                Step::Item(at) => text.push_str(&at.to_string()),
            }
        }
        text
    }

    /// The pointer to something below, `below` being written as a pointer.
    pub(super) fn below(&self, below: &str) -> String {
        self.pointer() + below
    }

    /// The name of the member that holds this value, lists looked through.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Member(name) => Some(*name),
            Step::Item(_) => None,
        })
    }
}

/// In which order the members of an object are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As written: the quick one.
    Document,
    /// By name, so that a refusal names the same places however a message is written.
    Names,
}

/// Visits a value and all its parts. The nesting is bounded by S-1.
pub(super) fn walk<'a>(
    prefix: &'a str,
    value: Node<'a>,
    order: Order,
    visit: &mut impl FnMut(&Path<'a>, Node<'a>),
) {
    let mut path = Path { prefix, steps: Vec::with_capacity(12) };
    step(&mut path, value, order, visit);
}

fn step<'a>(path: &mut Path<'a>, value: Node<'a>, order: Order, visit: &mut impl FnMut(&Path<'a>, Node<'a>)) {
    visit(path, value);
    let mut member = |name: &'a str, value: Node<'a>| {
        path.steps.push(Step::Member(name));
        step(path, value, order, visit);
        path.steps.pop();
    };
    match value.kind() {
        Kind::List => {
            for (at, item) in value.items().enumerate() {
                path.steps.push(Step::Item(at));
                step(path, item, order, visit);
                path.steps.pop();
            }
        }
        Kind::Object if order == Order::Document => {
            value.members().for_each(|(name, value)| member(name, value));
        }
        Kind::Object => {
            let mut members: Vec<(&str, Node<'_>)> = value.members().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            members.into_iter().for_each(|(name, value)| member(name, value));
        }
        _ => {}
    }
}

/// Places at fault under one rule, as many as a refusal can name.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a place; `path` is asked for only while there is room.
    pub(super) fn add(&mut self, path: impl FnOnce() -> String, message: &str) {
        if self.0.len() < Refused::MOST_FAULTS {
            self.0.push(Fault { path: path(), message: message.to_owned() });
        }
    }

    /// Adds the places found elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// True if nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses with this code if anything was found.
    pub(super) fn refuse(self, code: Code) -> Result<(), Refused> {
        if self.0.is_empty() { Ok(()) } else { Err(Refused::many(code, self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tree::Tree;
    use serde_json::json;

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let value = Tree::of(&json!({"a/b": [{"~": 1}]}));
        let mut seen = Vec::new();
        walk("/data", value.root(), Order::Names, &mut |path, _| {
            seen.push((path.pointer(), path.name().map(str::to_owned)))
        });
        let seen: Vec<_> = seen.iter().map(|(path, name)| (path.as_str(), name.as_deref())).collect();
        let expected = [
            ("/data", None),
            ("/data/a~1b", Some("a/b")),
            ("/data/a~1b/0", Some("a/b")),
            ("/data/a~1b/0/~0", Some("~")),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn no_more_places_than_a_refusal_names() {
        let mut faults = Faults::default();
        for at in 0..50 {
            faults.add(|| format!("/{at}"), "wrong");
        }
        let refused = faults.refuse(Code::Range).expect_err("faults");
        assert_eq!(refused.detail.len(), Refused::MOST_FAULTS);
    }
}
