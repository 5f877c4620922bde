//! What is looked at in a schema before it is compiled: keywords that nobody knows, references that lead nowhere new.
//!
//! Both would silently check nothing. Whether a schema can be compiled is the compiler's word.

use serde_json::Value;

/// Keywords that our schemas may use. A misspelt keyword would silently check nothing.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$ref",
    "$defs",
    "$comment",
    "title",
    "description",
    "note",
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "dependentRequired",
    "contains",
    "default",
    "examples",
];

/// Keywords whose value maps names to schemas.
const MAPS: &[&str] = &["properties", "$defs"];
/// Keywords whose value is a list of schemas.
const LISTS: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is a schema.
const NESTED: &[&str] =
    &["items", "not", "if", "then", "else", "additionalProperties", "propertyNames", "contains"];
/// Most references in a row; beyond that they go round.
const IN_A_ROW: usize = 32;

/// What is wrong with a schema, place by place.
pub(super) fn lint(name: &str, schema: &Value, faults: &mut Vec<String>) {
    walk(name, "", schema, schema, faults);
}

/// True if following the references within the file never comes to a schema that says anything.
fn leads_back(reference: &Value, root: &Value) -> bool {
    let mut at = Some(reference);
    for _ in 0..IN_A_ROW {
        let Some(pointer) = at.and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) else {
            return false;
        };
        at = root.pointer(pointer).and_then(|schema| schema.get("$ref"));
    }
    true
}

fn walk(name: &str, path: &str, schema: &Value, root: &Value, faults: &mut Vec<String>) {
    let Some(members) = schema.as_object() else {
        if !schema.is_boolean() {
            faults.push(format!("{name}#{path}: not a schema"));
        }
        return;
    };
    for (keyword, value) in members {
        let at = format!("{path}/{keyword}");
        if !KEYWORDS.contains(&keyword.as_str()) {
            faults.push(format!("{name}#{at}: unknown keyword"));
        } else if keyword == "$ref" && leads_back(value, root) {
            faults.push(format!("{name}#{at}: leads back to itself"));
        } else if MAPS.contains(&keyword.as_str()) {
            for (member, schema) in value.as_object().into_iter().flatten() {
                walk(name, &format!("{at}/{member}"), schema, root, faults);
            }
        } else if LISTS.contains(&keyword.as_str()) {
            for (index, schema) in value.as_array().into_iter().flatten().enumerate() {
                walk(name, &format!("{at}/{index}"), schema, root, faults);
            }
        } else if NESTED.contains(&keyword.as_str()) {
            walk(name, &at, value, root, faults);
        }
    }
}
