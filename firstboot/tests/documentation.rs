//! `docs/node-config.md` holds: its examples are sound, its table is the schema's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use flexnode_firstboot::config::{Fragment, Settings, schema};
use serde_json::Value;

const DOC: &str = include_str!("../../docs/node-config.md");

/// The fenced blocks of a language.
fn examples(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOC.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_example_is_a_sound_config_or_a_sound_drop_in() {
    let (yaml, json) = (examples("yaml"), examples("json"));
    assert_eq!((yaml.len(), json.len()), (3, 1), "an example was added or lost: see that it is tested here");
    let read = |text: &str| Fragment::parse(text, "doc").unwrap();
    for whole in &yaml[..2] {
        Settings::from_fragments([read(whole)]).unwrap();
        for drop_in in yaml[2..].iter().chain(&json) {
            Settings::from_fragments([read(whole), read(drop_in)]).unwrap();
        }
    }
}

#[test]
fn the_table_lists_the_keys_of_the_schema_and_no_other() {
    let keys = DOC.split("## Keys").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut documented: Vec<String> = keys
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect();
    let mut known = Vec::new();
    collect(&schema(), "", &mut known);
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}

#[test]
fn every_key_of_the_schema_is_described_and_no_other_is_allowed() {
    fn walk(schema: &Value, path: &str) {
        let schema = schema["anyOf"].get(0).unwrap_or(schema);
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            assert_eq!(schema["additionalProperties"], false, "{path} allows any key");
            assert!(
                of["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{path}.{name} is not described"
            );
            walk(of, &format!("{path}.{name}"));
            walk(&of["items"], &format!("{path}.{name}[]"));
        }
    }
    walk(&schema(), "");
}

/// Paths of all keys that hold a value or a list; `[]` stands for any entry.
fn collect(schema: &Value, path: &str, keys: &mut Vec<String>) {
    let schema = schema["anyOf"].get(0).unwrap_or(schema);
    match schema["properties"].as_object() {
        Some(properties) => {
            let join = |name: &String| if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            properties.iter().for_each(|(name, of)| collect(of, &join(name), keys));
        }
        None => {
            keys.push(path.to_owned());
            if schema["items"]["properties"].is_object() {
                collect(&schema["items"], &format!("{path}[]"), keys);
            }
        }
    }
}
