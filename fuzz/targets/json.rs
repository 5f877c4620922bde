//! Strict JSON: what is read, written and read again is the same; serde_json reads the same from it; a refusal names a place.

use liaison::message::json;
use serde_json::Value;

/// Worth putting anywhere.
pub const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "\\u0061",
    "null",
    "true",
    "-0",
    "1e308",
    "1e-400",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1",
    "\"a\":1,",
    "\u{feff}",
    "[[[[[[[[",
    "{\"a\":",
];

/// Any bytes.
pub fn run(bytes: &[u8]) {
    let tree = match json::read(bytes) {
        Ok(tree) => tree,
        Err(refused) => {
            assert!(!refused.detail.is_empty() && refused.detail.len() <= 20, "a refusal names its places");
            assert!(refused.detail.iter().all(|fault| fault.path.is_empty() || fault.path.starts_with('/')));
            return;
        }
    };
    let value = tree.to_value();
    let other: Value = serde_json::from_slice(bytes).expect("what the strict reader takes is JSON");
    assert_eq!(value, other, "both readers read the same");
    let written = value.to_string();
    let again = json::read(written.as_bytes()).expect("what was written is read").to_value();
    assert!(same(&value, &again), "written and read again it is the same");
}

/// Equal but for the last digit of a fraction: serde_json reads the shortest text of a number only nearly.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| same(left, right)))
        }
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            match (left.as_f64(), right.as_f64()) {
                (Some(left), Some(right)) => (left - right).abs() <= left.abs() * 1e-14,
                _ => false,
            }
        }
        _ => one == other,
    }
}
