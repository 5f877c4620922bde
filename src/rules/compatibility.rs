//! Compares two versions of a schema: does the new one still take everything that the old one took?
//!
//! It compares what our schemas use: members, required, enumerations, types and bounds, place by place. What it does
//! not know it reports as a change that breaks; it never calls a change harmless that it did not understand.

use std::collections::BTreeSet;

use serde_json::Value;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// JSON Pointer into the schema.
    pub path: String,
    /// What changed.
    pub change: String,
    /// True if a message that was valid may be refused now.
    pub breaks: bool,
}

/// All differences, in document order.
#[must_use]
pub fn compare(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", old, new, &mut found);
    found
}

fn walk(path: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        if old != new {
            found.push(Difference { path: path.to_owned(), change: "changed".to_owned(), breaks: true });
        }
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let at = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (name.as_str(), old.get(name), new.get(name)) {
            ("title" | "description" | "$comment" | "examples" | "$id", _, _) => {}
            (_, Some(before), Some(after)) if before == after => {}
            ("properties" | "$defs", before, after) => members(&at, before, after, found),
            ("required", before, after) => required(&at, before, after, found),
            ("enum", Some(before), Some(after)) => values(&at, before, after, found),
            ("maximum" | "maxLength" | "maxItems", Some(before), Some(after)) => {
                bound(&at, before, after, |before, after| after < before, found);
            }
            ("minimum" | "minLength" | "minItems", Some(before), Some(after)) => {
                bound(&at, before, after, |before, after| after > before, found);
            }
            (_, Some(before), Some(after)) => walk(&at, before, after, found),
            (_, Some(_), None) => push(found, at, "dropped", false),
            (_, None, _) => push(found, at, "added", true),
        }
    }
}

fn push(found: &mut Vec<Difference>, path: String, change: &str, breaks: bool) {
    found.push(Difference { path, change: change.to_owned(), breaks });
}

fn members(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let none = serde_json::Map::new();
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let (old, new) = (object(old).unwrap_or_else(|| none.clone()), object(new).unwrap_or(none));
    for (name, before) in &old {
        match new.get(name) {
            Some(after) => walk(&format!("{path}/{name}"), before, after, found),
            None => push(found, format!("{path}/{name}"), "member dropped", true),
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        push(found, format!("{path}/{name}"), "member added", false);
    }
}

fn required(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let set = |value: Option<&Value>| -> BTreeSet<String> {
        value
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let (old, new) = (set(old), set(new));
    for name in new.difference(&old) {
        push(found, path.to_owned(), &format!("{name} is now required"), true);
    }
    for name in old.difference(&new) {
        push(found, path.to_owned(), &format!("{name} is no longer required"), false);
    }
}

fn values(path: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    if old.iter().any(|value| !new.contains(value)) {
        push(found, path.to_owned(), "values dropped", true);
    }
    if new.iter().any(|value| !old.contains(value)) {
        push(found, path.to_owned(), "values added", false);
    }
}

fn bound(
    path: &str,
    old: &Value,
    new: &Value,
    tighter: impl Fn(f64, f64) -> bool,
    found: &mut Vec<Difference>,
) {
    let breaks = match (old.as_f64(), new.as_f64()) {
        (Some(before), Some(after)) => tighter(before, after),
        _ => true,
    };
    push(found, path.to_owned(), if breaks { "bound tightened" } else { "bound widened" }, breaks);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_optional_member_is_harmless_and_a_required_one_is_not() {
        let old = json!({"type":"object","required":["a"],"properties":{"a":{"enum":["x"]}}});
        let wider = json!({"type":"object","required":["a"],"properties":{"a":{"enum":["x","y"]},"b":{}}});
        assert!(compare(&old, &wider).iter().all(|difference| !difference.breaks));
        assert!(compare(&wider, &old).iter().any(|difference| difference.breaks));
        let stricter = json!({"type":"object","required":["a","b"],"properties":{"a":{"enum":["x"]},"b":{}}});
        assert!(compare(&old, &stricter).iter().any(|difference| difference.breaks));
    }
}
