//! A tree against the schema: every unknown key and every value of the wrong type, not only the first.
//!
//! serde would stop at the first and repeat the offending value in its message, which may be a secret.

use serde_json::{Map, Value};

use super::problem::key_in;
use super::{Flaw, Problem, Problems, aks_flex_node};
use crate::suggest;

/// Drops from `tree` what does not fit `schema` and tells why. No message holds a value.
pub(super) fn check(tree: &mut Value, schema: &Value, source: &str) -> Problems {
    let mut check = Check { source, problems: Problems::default() };
    if !check.fits(tree, schema, "") {
        *tree = Value::Object(Map::new());
    }
    check.problems
}

struct Check<'a> {
    source: &'a str,
    problems: Problems,
}

impl Check<'_> {
    fn fits(&mut self, value: &mut Value, schema: &Value, key: &str) -> bool {
        let schema = unless_null(schema);
        let expected = expected_type(schema);
        match (expected, &mut *value) {
            ("object", Value::Object(map)) => {
                map.retain(|name, value| self.member_fits(name, value, schema, key));
                true
            }
            ("array", Value::Array(items)) => {
                let mut all_fit = true;
                for (nth, item) in items.iter_mut().enumerate() {
                    all_fit &= self.fits(item, &schema["items"], &format!("{key}[{nth}]"));
                }
                // As a whole or not at all: with one entry dropped, the others would be told by a wrong number.
                all_fit
            }
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => true,
            ("integer", Value::Number(number)) if number.is_i64() => true,
            _ => {
                self.problems.leave_gap(key);
                self.refuse(key, mismatch(expected, value));
                false
            }
        }
    }

    fn member_fits(&mut self, name: &str, value: &mut Value, schema: &Value, section: &str) -> bool {
        let key = key_in(section, name);
        if let Some(schema) = schema["properties"].get(name) {
            // Null is "not set"; in a drop-in it takes back what an earlier file set.
            return value.is_null() || self.fits(value, schema, &key);
        }
        if schema["additionalProperties"].is_object() {
            return self.fits(value, &schema["additionalProperties"], &key);
        }
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let resembles = |name: &str| suggest::nearest(name, known.iter().copied()).is_some();
        if holds_secret(schema) && !resembles(name.split(':').next().unwrap_or_default()) {
            // What stands beside a secret and is no key may be the secret, its key lost.
            let hint = format!("quote the value of each key; known here: {}", known.join(", "));
            self.refuse(
                section,
                Flaw::new("holds an unknown key, which is not shown since it may be the secret", hint),
            );
        } else if let Some(cure) = aks_flex_node::cure(&key) {
            self.refuse(&key, Flaw::new("a key of AKS Flex Node that has no place here", cure));
        } else if name.contains(':') {
            self.problems.leave_gap(section);
            self.refuse(&key, Flaw::new("unknown key", "put a space after the colon: `key: value`"));
        } else if let Some(right) = suggest::nearest(name, known.iter().copied()) {
            self.problems.leave_gap(&key_in(section, right));
            self.refuse(&key, Flaw::new("unknown key", format!("did you mean `{right}`?")));
        } else {
            self.refuse(&key, Flaw::new("unknown key", format!("known here: {}", known.join(", "))));
        }
        false
    }

    fn refuse(&mut self, key: &str, flaw: Flaw) {
        self.problems.push(Problem { source: self.source.into(), key: key.into(), flaw });
    }
}

/// Whether one of a section's keys is for a secret.
fn holds_secret(section: &Value) -> bool {
    section["properties"].as_object().is_some_and(|keys| keys.values().any(|key| key["writeOnly"] == true))
}

fn mismatch(expected: &str, value: &Value) -> Flaw {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) if expected == "integer" => "a fraction or too large",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let (wanted, hint) = match (expected, value) {
        ("string", Value::Null) => ("a string", "write a value, or \"\" for an empty one"),
        ("string", Value::Bool(_)) => ("a string", "quote it: YAML reads true, yes, on, y and their like as booleans"),
        ("string", Value::Number(_)) => ("a string", "quote it: YAML would turn 1.30 into 1.3 and 0644 into a number"),
        ("string", _) => ("a string", "write one value: `key: value`"),
        ("integer", Value::Number(_)) => ("a whole number", "write it without fraction or exponent"),
        ("integer", _) => ("a whole number", "write digits without quotes"),
        ("boolean", _) => ("true or false", "write true or false without quotes"),
        ("array", _) => ("a list", "write `[first, second]`, or one `- entry` a line"),
        _ => ("a map", "write `key: value` lines, indented below it"),
    };
    Flaw::new(format!("must be {wanted}, is {found}"), hint)
}

/// An optional section is `anyOf: [section, null]`.
fn unless_null(schema: &Value) -> &Value {
    schema["anyOf"].get(0).unwrap_or(schema)
}

/// An optional value is `type: [its type, null]`.
fn expected_type(schema: &Value) -> &str {
    schema["type"].get(0).unwrap_or(&schema["type"]).as_str().unwrap_or_default()
}
