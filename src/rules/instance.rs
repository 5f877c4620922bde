//! A tree as the schema validator sees it, so that no value is built to check a message.
//!
//! It decides nothing: the meaning of every keyword is the library's. Errors are asked for on values, by `schemas`.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node as Instance, NodeIdentity, Object, cmp, unique};
use serde_json::{Number, Value};

use crate::message::tree::{Items, Kind, Members, Node, Tree};

/// Lists up to this length are compared pair by pair.
const FEW: usize = 16;

/// The representation.
pub(super) struct Trees;

impl Json for Trees {
    type Node<'a> = Node<'a>;
    type PreparedKey = String;
    type StringBuffer = Tree;

    // A look-up walks the members; one pass finds all.
    const KEYS_PER_LOOKUP: usize = 8;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Tree, string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        buffer.become_text(string);
        f(buffer.root())
    }
}

impl<'a> Instance<'a, Trees> for Node<'a> {
    type Object = Fields<'a>;
    type Array = List<'a>;
    type Number = Number;

    fn as_object(&self) -> Option<Fields<'a>> {
        Node::as_object(*self).map(|members| Fields { of: *self, members })
    }

    fn as_array(&self) -> Option<List<'a>> {
        Node::as_array(*self).map(List)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Number> {
        Node::as_number(*self)
    }

    fn as_boolean(&self) -> Option<bool> {
        self.as_bool()
    }

    fn is_null(&self) -> bool {
        Node::is_null(*self)
    }

    fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Bool => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::Text => JsonType::String,
            Kind::List => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn string_length_within(&self, min: u64, max: u64) -> Option<bool> {
        let text = self.as_str()?;
        // A character takes one to four bytes: mostly that decides.
        let bytes = text.len() as u64;
        let fewest = bytes.div_ceil(4);
        if bytes < min || fewest > max {
            return Some(false);
        }
        if min <= fewest && bytes <= max {
            return Some(true);
        }
        Some((min..=max).contains(&(text.chars().count() as u64)))
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match expected {
            Value::Null => Node::is_null(*self),
            Value::Bool(expected) => self.as_bool() == Some(*expected),
            Value::String(expected) => self.as_str() == Some(expected),
            Value::Number(expected) => {
                Node::as_number(*self).is_some_and(|number| cmp::equal_numbers(&number, expected))
            }
            Value::Array(_) | Value::Object(_) => {
                matches!(self.kind(), Kind::List | Kind::Object)
                    && cmp::equal(&Node::to_value(*self), expected)
            }
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(Node::to_value(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let (tree, at) = Node::identity(*self);
        Some(NodeIdentity::tagged(tree, at))
    }
}

/// Equal as JSON Schema has it: numbers by what they are worth, members in any order.
fn is_same(one: Node<'_>, other: Node<'_>) -> bool {
    match (one.kind(), other.kind()) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Bool, Kind::Bool) => one.as_bool() == other.as_bool(),
        (Kind::Text, Kind::Text) => one.as_str() == other.as_str(),
        (Kind::Number, Kind::Number) => {
            let numbers = Node::as_number(one).zip(Node::as_number(other));
            numbers.is_some_and(|(one, other)| cmp::equal_numbers(&one, &other))
        }
        (Kind::List, Kind::List) => {
            let (one, other) = (one.items(), other.items());
            one.len() == other.len() && one.zip(other).all(|(one, other)| is_same(one, other))
        }
        // Each name is looked up by a walk: not for as many as somebody may send.
        (Kind::Object, Kind::Object) if one.members().len() > FEW => {
            cmp::equal(&Node::to_value(one), &Node::to_value(other))
        }
        (Kind::Object, Kind::Object) => {
            let find = |name: &str, value| other.get(name).is_some_and(|other| is_same(value, other));
            one.members().len() == other.members().len()
                && one.members().all(|(name, value)| find(name, value))
        }
        _ => false,
    }
}

/// An object.
pub(super) struct Fields<'a> {
    of: Node<'a>,
    members: Members<'a>,
}

impl<'a> Object<'a, Trees> for Fields<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.members.len()
    }

    fn get(&self, key: &String) -> Option<Node<'a>> {
        self.of.get(key)
    }

    fn members(&self) -> Members<'a> {
        self.members.clone()
    }
}

/// A list.
pub(super) struct List<'a>(Items<'a>);

impl<'a> Array<'a, Trees> for List<'a> {
    type Node = Node<'a>;
    type ElementsIter = Items<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Items<'a> {
        self.0.clone()
    }

    fn is_unique(&self) -> bool {
        let items = || self.0.clone();
        if self.0.len() <= 1 {
            return true;
        }
        if self.0.len() <= FEW {
            return items().enumerate().all(|(at, item)| items().take(at).all(|other| !is_same(item, other)));
        }
        let values: Vec<Value> = items().map(Node::to_value).collect();
        unique::is_unique(&values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use jsonschema::Validator;
    use jsonschema::json::conformance;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn trees_keep_the_contract_of_the_validator() {
        let tree = Tree::of(&conformance::document());
        conformance::assert_conformance::<Trees>(&tree.root());
    }

    /// Every keyword that looks at a value in another way.
    fn schemas() -> Vec<Value> {
        let any_of = [json!(1), json!("a"), json!(null), json!([1.0]), json!({"a": -0.0}), json!(1e300)];
        vec![
            json!({"enum": any_of}),
            json!({"const": {"a": [1, "b"]}}),
            json!({"type": "integer", "minimum": -1, "maximum": 18_446_744_073_709_551_615_u64}),
            json!({"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0}),
            json!({"type": "integer", "multipleOf": 3}),
            json!({"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^[a-z]"}),
            json!({"uniqueItems": true, "minItems": 1}),
            json!({"items": {"type": ["string", "boolean"]}, "contains": {"const": "a"}}),
            json!({"required": ["a", "b"], "properties": {"a": {"type": "string"}, "b": true}}),
            json!({"properties": {"a": {"type": "number"}}, "additionalProperties": false}),
            json!({"propertyNames": {"maxLength": 1, "enum": ["a", "b"]}}),
            json!({"dependentRequired": {"a": ["b"]}, "minProperties": 1, "maxProperties": 3}),
            json!({"if": {"required": ["a"]}, "then": {"not": {"required": ["b"]}}}),
            json!({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"a": {"$ref": "#/$defs/x"}}, "not": {"type": "null"}}}}),
        ]
    }

    static BOTH: LazyLock<Vec<(Value, Validator<Trees>, Validator)>> = LazyLock::new(|| {
        let both = schemas().into_iter().map(|schema| {
            let quick = jsonschema::options_for::<Trees>().build(&schema).expect("a schema");
            let telling = jsonschema::validator_for(&schema).expect("a schema");
            (schema, quick, telling)
        });
        both.collect()
    });

    fn value() -> impl Strategy<Value = Value> {
        let numbers = vec![
            "0",
            "-0",
            "1",
            "1.0",
            "-1",
            "1.5",
            "3",
            "6.0",
            "1e2",
            "1e300",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "0.1",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            prop::sample::select(numbers).prop_map(|number| serde_json::from_str(number).expect("a number")),
            prop::sample::select(vec!["", "a", "b", "ab", "abc", "\u{e9}a", "\u{1f600}"])
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map("[abc]{0,2}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// What says valid and what says why not never disagree.
        #[test]
        fn trees_and_values_are_judged_alike(values in prop::collection::vec(value(), 1..4)) {
            for (schema, quick, telling) in BOTH.iter() {
                for value in &values {
                    let tree = Tree::of(value);
                    prop_assert_eq!(quick.is_valid(tree.root()), telling.is_valid(value), "{} {}", schema, value);
                }
            }
        }
    }
}
