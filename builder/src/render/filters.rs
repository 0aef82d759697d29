//! The filters that write values safely into each format.

use std::collections::BTreeMap;

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Value as Json;

use super::layers;

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("json", |value: &Value| Ok::<_, Error>(escape(&to_json(value)?.to_string())));
    environment.add_filter("json_document", |value: &Value| {
        let mut document = to_json(value)?;
        drop_nulls(&mut document);
        Ok::<_, Error>(escape(&format!("{document:#}")))
    });
    environment.add_filter("labels", |labels: Serde<BTreeMap<String, String>>| {
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    environment.add_filter("merge", |base: &Value, over: &Value| {
        let mut merged = to_json(base)?;
        layers::merge(&mut merged, &to_json(over)?);
        Ok::<_, Error>(Value::from(Serde(merged)))
    });
    environment.add_filter("sh", |text: String| format!("'{}'", text.replace('\'', r"'\''")));
}

/// The value as JSON. minijinja would write an undefined value inside a map as null; strict means strict here too.
fn to_json(value: &Value) -> Result<Json, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::new(ErrorKind::UndefinedError, "undefined value")),
        ValueKind::Map => value
            .try_iter()?
            .map(|key| {
                let inner = to_json(&value.get_item(&key)?)
                    .map_err(|error| Error::new(error.kind(), format!("undefined value for the key `{key}`")))?;
                Ok((key.to_string(), inner))
            })
            .collect::<Result<serde_json::Map<_, _>, Error>>()
            .map(Json::Object),
        ValueKind::Seq => value.try_iter()?.map(|item| to_json(&item)).collect::<Result<_, _>>().map(Json::Array),
        _ => serde_json::to_value(value).map_err(|error| {
            Error::new(ErrorKind::BadSerialization, "this cannot be written as JSON").with_source(error)
        }),
    }
}

fn drop_nulls(value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// JSON allows characters that YAML 1.1 takes for line ends or refuses (DEL, C1 controls, U+2028, U+2029, U+FEFF),
/// and TOML refuses DEL. Escaped, all three read the same text.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use minijinja::{UndefinedBehavior, context};

    use super::*;

    fn render(template: &str) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        register(&mut environment);
        environment.render_str(template, context! { odd => "a'b\"\u{2028}\u{7f}$x", map => context! { a => 1 } })
    }

    #[test]
    fn text_stays_text_in_each_format() {
        assert_eq!(render("{{ odd|json }}").expect("renders"), r#""a'b\"\u2028\u007f$x""#);
        assert_eq!(render("{{ odd|sh }}").expect("renders"), "'a'\\''b\"\u{2028}\u{7f}$x'");
    }

    #[test]
    fn an_undefined_value_is_an_error_at_any_depth() {
        for template in
            ["{{ map.b|json }}", "{{ {\"a\": [map.b]}|json }}", "{{ map|merge(map.b) }}", "{{ map.b or 1 }}"]
        {
            let error = render(template).expect_err(template);
            assert_eq!(error.kind(), ErrorKind::UndefinedError, "{template}: {error}");
        }
    }

    #[test]
    fn merging_is_deep_and_null_leaves_a_key_out() {
        let merged = render(r#"{{ {"a": {"b": 1, "c": 2}}|merge({"a": {"b": none, "d": 3}})|json_document }}"#);
        assert_eq!(merged.expect("renders"), "{\n  \"a\": {\n    \"c\": 2,\n    \"d\": 3\n  }\n}");
    }
}
