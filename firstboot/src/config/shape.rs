//! A tree against the schema: every unknown key and every value of the wrong type, not only the first.
//!
//! serde would stop at the first and repeat the offending value in its message, which may be a secret.

use serde_json::{Map, Value};

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
                let mut index = 0..;
                items.retain_mut(|item| {
                    let nth: usize = index.next().unwrap_or_default();
                    self.fits(item, &schema["items"], &format!("{key}[{nth}]"))
                });
                true
            }
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => true,
            ("integer", Value::Number(number)) if number.is_i64() => true,
            _ => {
                self.refuse(key, mismatch(expected, value));
                false
            }
        }
    }

    fn member_fits(&mut self, name: &str, value: &mut Value, schema: &Value, parent: &str) -> bool {
        let key = join(parent, name);
        if let Some(schema) = schema["properties"].get(name) {
            // Null is "not set"; in a drop-in it takes back what an earlier file set.
            return value.is_null() || self.fits(value, schema, &key);
        }
        if schema["additionalProperties"].is_object() {
            return self.fits(value, &schema["additionalProperties"], &key);
        }
        self.refuse(&key, unknown(name, &key, &schema["properties"]));
        false
    }

    fn refuse(&mut self, key: &str, flaw: Flaw) {
        self.problems.push(Problem { source: self.source.into(), key: key.into(), flaw });
    }
}

fn unknown(name: &str, key: &str, properties: &Value) -> Flaw {
    if let Some(cure) = aks_flex_node::cure(key) {
        return Flaw::new("a key of AKS Flex Node that has no place here", cure);
    }
    if name.contains(':') {
        return Flaw::new("unknown key", "put a space after the colon: `key: value`");
    }
    let known = || properties.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let hint = match suggest::nearest(name, known()) {
        Some(right) => format!("did you mean `{right}`?"),
        None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Flaw::new("unknown key", hint)
}

fn mismatch(expected: &str, value: &Value) -> Flaw {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
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

/// `node` and `labels` give `node.labels`; names that are not plain words are bracketed and cut short:
/// a colon without its space makes a whole `clientSecret:value` a key, and the value must not be shown.
fn join(parent: &str, name: &str) -> String {
    let name = name.split(':').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
        if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
    } else {
        format!("{parent}[{:?}]", name.chars().take(64).collect::<String>())
    }
}
