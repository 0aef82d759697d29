//! What the server adds to every object, and how a patch changes one.

use serde_json::{Map, Value, json};

use super::status::status;
use crate::azure::call::Reply;
use crate::azure::clock::rfc3339;
use crate::azure::guid;
use crate::azure::state::State;

/// The name in an object's metadata, if it is one.
pub(super) fn name(object: &Value, kind: &str) -> Result<String, Reply> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() <= 253 && name.chars().all(plain) && name.starts_with(alphanumeric) && name.ends_with(alphanumeric) {
        return Ok(name.to_owned());
    }
    let message = format!(
        "{kind} \"{name}\" is invalid: metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must \
         consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric \
         character"
    );
    Err(status(422, "Invalid", &message))
}

/// Stamps a new object.
pub(super) fn create(state: &mut State, cluster: &str, object: &mut Value) {
    object["metadata"]["uid"] = json!(guid::fresh().unwrap_or_default());
    object["metadata"]["creationTimestamp"] = json!(rfc3339(state.clock.now()));
    touch(state, cluster, object);
}

/// Stamps a changed object.
pub(super) fn touch(state: &mut State, cluster: &str, object: &mut Value) {
    if let Some(cluster) = state.cluster(cluster) {
        cluster.revision += 1;
        object["metadata"]["resourceVersion"] = json!(cluster.revision.to_string());
    }
}

/// Refuses a change of an object that has changed since it was read.
pub(super) fn is_current(kind: &str, old: &Value, new: &Value) -> Result<(), Reply> {
    let (have, sent) = (&old["metadata"]["resourceVersion"], &new["metadata"]["resourceVersion"]);
    if sent.is_null() || sent == have {
        return Ok(());
    }
    let message = format!(
        "Operation cannot be fulfilled on {kind} {}: the object has been modified; please apply your changes to the \
         latest version and try again",
        old["metadata"]["name"]
    );
    Err(status(409, "Conflict", &message))
}

/// Merges as RFC 7386 has it; with `strategic`, lists of conditions and addresses merge by their `type`.
pub(super) fn merge(object: &mut Value, patch: &Value, strategic: bool) {
    match (&mut *object, patch) {
        (_, Value::Object(patch)) => {
            if !object.is_object() {
                *object = Value::Object(Map::new());
            }
            for (key, value) in patch {
                if value.is_null() {
                    object.as_object_mut().and_then(|object| object.remove(key));
                } else if !key.starts_with('$') {
                    merge(&mut object[key.as_str()], value, strategic);
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if strategic && new.iter().all(|item| item["type"].is_string()) => {
            for item in new {
                match old.iter_mut().find(|other| other["type"] == item["type"]) {
                    Some(other) => merge(other, item, strategic),
                    None => old.push(item.clone()),
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_merge_maps_and_conditions_and_replace_the_rest() {
        let mut node = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]},
                              "spec": {"a": 1}, "list": ["a"]});
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk"}]},
                           "spec": {"a": null, "b": 2}, "list": ["b"]});
        let mut merged = node.clone();
        merge(&mut merged, &patch, true);
        let conditions = json!([{"type": "Ready", "status": "True", "reason": "x"}, {"type": "Disk"}]);
        assert_eq!(merged, json!({"status": {"conditions": conditions}, "spec": {"b": 2}, "list": ["b"]}));
        merge(&mut node, &patch, false);
        assert_eq!(node["status"]["conditions"][0], json!({"type": "Ready", "status": "True"}));
    }
}
