//! Types, as Go's JSON decoder insists on them.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use super::fields::{Field, Kind};
use crate::kubelet::duration;

/// Checks that an object has fields that 1.`minor` knows, each of its type. `null` is as good as absent.
pub(super) fn object(path: &str, object: &Map<String, Value>, known: &[Field], minor: u64) -> Result<()> {
    for (name, value) in object {
        let field = known.iter().find(|(field, _, since)| field == name && *since <= minor);
        let (_, kind, _) =
            field.with_context(|| format!("strict decoding error: unknown field \"{}\"", within(path, name)))?;
        field_of(&format!("{path}.{name}"), value, *kind, minor)?;
    }
    Ok(())
}

/// Strict errors leave the outermost type out of a field's path.
fn within(path: &str, name: &str) -> String {
    match path.split_once('.') {
        Some((_, path)) => format!("{path}.{name}"),
        None => name.to_owned(),
    }
}

fn field_of(path: &str, value: &Value, kind: Kind, minor: u64) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let refused = |of: &str| {
        let found = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        format!("json: cannot unmarshal {found} into Go struct field {path} of type {of}")
    };
    let integer = |bits: u32| {
        let fits = value.as_i64().is_some_and(|number| bits == 64 || i32::try_from(number).is_ok());
        ensure!(fits, refused(&format!("int{bits}")));
        Ok(())
    };
    match kind {
        Kind::Bool => ensure!(value.is_boolean(), refused("bool")),
        Kind::Duration => {
            let text = value.as_str().with_context(|| refused("string"))?;
            duration::parse(text)?;
        }
        Kind::Float => ensure!(value.is_number(), refused("float64")),
        Kind::Free => {}
        Kind::Int32 => integer(32)?,
        Kind::Int64 => integer(64)?,
        Kind::List => {
            let items = value.as_array().with_context(|| refused("[]string"))?;
            ensure!(items.iter().all(Value::is_string), refused("string"));
        }
        Kind::Map(of) => {
            for (key, value) in value.as_object().with_context(|| refused("map"))? {
                field_of(&format!("{path}.{key}"), value, *of, minor)?;
            }
        }
        Kind::Object(known) => {
            let value = value.as_object().with_context(|| refused("object"))?;
            object(path, value, known, minor)?;
        }
        Kind::Objects(known) => {
            for (nth, item) in value.as_array().with_context(|| refused("array"))?.iter().enumerate() {
                let item = item.as_object().with_context(|| refused("object"))?;
                object(&format!("{path}[{nth}]"), item, known, minor)?;
            }
        }
        Kind::Taints => {
            const TAINT: &[Field] = &[
                ("effect", Kind::Text, 0),
                ("key", Kind::Text, 0),
                ("timeAdded", Kind::Text, 0),
                ("value", Kind::Text, 0),
            ];
            field_of(path, value, Kind::Objects(TAINT), minor)?;
        }
        Kind::Text => {
            if !value.is_string() {
                bail!(refused("string"));
            }
        }
    }
    Ok(())
}
