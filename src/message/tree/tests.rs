//! A tree says what `serde_json::Value` says, for whatever JSON.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::json::read;
use super::*;

/// Any value, names and texts with all that must be escaped.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        prop::sample::select(vec!["1.0", "-0", "-0.0", "1e2", "18446744073709551616", "5e-324"])
            .prop_map(|number| serde_json::from_str(number).expect("a number")),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\\n\u{e9}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"\\\\/~\u{e9}]{0,3}", inner, 0..40)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every part of a value reads the same.
fn same(node: Node<'_>, value: &Value) {
    assert_eq!(node.is_null(), value.is_null());
    assert_eq!(node.is_object(), value.is_object());
    assert_eq!(node.as_str(), value.as_str());
    assert_eq!(node.as_bool(), value.as_bool());
    assert_eq!(node.as_number().as_ref(), value.as_number());
    assert_eq!((node.as_i64(), node.as_f64()), (value.as_i64(), value.as_f64()));
    assert_eq!(node.as_array().map(|items| items.len()), value.as_array().map(Vec::len));
    assert_eq!(node.as_object().map(|members| members.len()), value.as_object().map(Map::len));
    let items = value.as_array().into_iter().flatten();
    assert_eq!(node.items().count(), items.clone().count());
    node.items().zip(items).for_each(|(node, value)| same(node, value));
    for (name, member) in value.as_object().into_iter().flatten() {
        same(node.get(name).expect("a member"), member);
        same(node.at(name), member);
    }
    let names: Vec<&str> = node.members().map(|(name, _)| name).collect();
    assert_eq!(names.len(), value.as_object().map_or(0, Map::len));
    assert!(names.iter().all(|name| value.get(name).is_some()));
    assert!(node.get("absent").is_none() && node.at("absent").is_null());
}

/// Every pointer into a value.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        pointers(item, &format!("{at}/{index}"), all);
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        pointers(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
    }
}

proptest! {
    #[test]
    fn a_tree_reads_like_a_value(value in value(), pretty in any::<bool>()) {
        let document = json!({ "x": value });
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let text = text.expect("JSON");
        // What is read back, for a number may be written as another kind than it was made.
        let document: Value = serde_json::from_str(&text).expect("JSON");
        for tree in [read(text.as_bytes()).expect("strict"), Tree::of(&document)] {
            same(tree.root(), &document);
            prop_assert_eq!(&tree.to_value(), &document);
            prop_assert_eq!(&serde_json::to_value(tree.root()).expect("a value"), &document);
            let mut all = Vec::new();
            pointers(&document, "", &mut all);
            all.extend(["x", "/x/-", "/x/+1", "/x/01", "/x/9999", "/y", "/x/0/0/0"].map(str::to_owned));
            for pointer in all {
                let part = tree.root().pointer(&pointer).map(Node::to_value);
                prop_assert_eq!(part.as_ref(), document.pointer(&pointer), "{}", pointer);
            }
        }
    }
}

#[test]
fn what_is_not_there_is_null_all_the_way_down() {
    let tree = read(br#"{"a":{"b":[1]}}"#).expect("JSON");
    let none = tree.root().at("x").at("y");
    assert!(none.is_null() && none.items().next().is_none() && none.members().next().is_none());
    assert!(tree.root().at("a").at("b").at("c").is_null());
    assert!(Tree::default().root().is_null());
}

#[test]
fn nothing_shows_a_value_in_passing() {
    let tree = read(br#"{"a":"secret"}"#).expect("JSON");
    assert!(!format!("{tree:?} {:?}", tree.root().at("a")).contains("secret"));
}

#[test]
fn what_the_strict_reader_refuses_is_read_leniently_by_the_last_word() {
    let twice = br#"{"a":1,"a":2}"#;
    assert!(read(twice).is_err());
    assert_eq!(Tree::lenient(twice).expect("JSON").to_value(), json!({"a": 2}));
    assert_eq!(Tree::lenient(b"[1]").expect("JSON").to_value(), json!([1]));
    assert!(Tree::lenient(b"{").is_none());
}
