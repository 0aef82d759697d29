//! One file's text, read as a tree; and how a later tree is laid over an earlier one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_yaml::{Location, MergeKeyPolicy, NonFiniteFloatPolicy, UserMessageFormatter};
use sha2::{Digest as _, Sha256};

use super::problem::key_in;
use super::{Flaw, NodeConfig, Problem, Problems, input, shape};

/// One config file or drop-in: a tree whose keys and types fit the schema, and what did not fit.
pub struct Fragment {
    source: String,
    tree: Value,
    problems: Problems,
}

impl Fragment {
    /// Reads YAML or JSON; `source` names the text in messages.
    ///
    /// # Errors
    /// Text that is neither, repeats a key, or holds more than one document.
    /// Unknown keys and wrong types are kept and told with all others when the fragments are put together.
    pub fn parse(text: &str, source: impl Into<String>) -> Result<Self, Problems> {
        let source = source.into();
        let mut tree = read(text).map_err(|(message, hint)| Problems::of_file(&source, message, hint))?;
        let problems = shape::check(&mut tree, &input::schema(), &source);
        Ok(Self { source, tree, problems })
    }

    /// What names this text in messages.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether a secret stands in the text itself.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.tree.pointer("/azure/servicePrincipal/clientSecret").is_some_and(Value::is_string)
    }

    /// The path of the file that holds the secret, as written.
    #[must_use]
    pub fn secret_file(&self) -> Option<&str> {
        self.tree.pointer("/azure/servicePrincipal/clientSecretFile")?.as_str()
    }

    /// Notes what is wrong with the file as a whole.
    pub(super) fn refuse(&mut self, flaw: Flaw) {
        self.problems.push(Problem { source: self.source.clone(), key: String::new(), flaw });
    }

    /// What is wrong with each fragment by itself.
    pub(super) fn problems_of(fragments: impl IntoIterator<Item = Self>) -> Problems {
        let mut problems = Problems::default();
        fragments.into_iter().for_each(|fragment| problems.append(fragment.problems));
        problems
    }

    /// SHA-256, in hex, of what the fragments say together, whatever the order of their keys and without the
    /// operator's section, which may hold a secret.
    pub(super) fn digest(fragments: &[Self]) -> String {
        let mut tree = Value::Object(Map::new());
        for fragment in fragments {
            lay_over(&mut tree, without(&fragment.tree, &["azure", "servicePrincipal"]));
        }
        drop_nulls(&mut tree);
        tree.sort_all_objects();
        Sha256::digest(tree.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Lays the fragments over each other, first to last.
    pub(super) fn merge(fragments: impl IntoIterator<Item = Self>) -> (NodeConfig, Problems) {
        let mut tree = Value::Object(Map::new());
        let mut problems = Problems::default();
        for fragment in fragments {
            lay_over(&mut tree, fragment.tree);
            problems.append(fragment.problems);
        }
        drop_nulls(&mut tree);
        let config = serde_json::from_value(tree).unwrap_or_else(|_| {
            // Unreachable while schema and types are derived from the same source, which a test holds.
            // serde's own message is withheld: it may repeat a secret.
            problems.append(Problems::of_file("config", "does not fit its own schema", "please report this as a bug"));
            NodeConfig::default()
        });
        (config, problems)
    }
}

/// Shows the source alone: the tree may hold a secret.
impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Maps merge key by key, however deep; everything else is replaced, by null too. But null leaves a map as it is:
/// a section whose keys are all commented out must not wipe the one below.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Object(_), Value::Null) => {}
        (below, above) => *below = above,
    }
}

/// A copy without what lies at `path`; what is left out is not copied at any time.
fn without(tree: &Value, path: &[&str]) -> Value {
    let (Value::Object(map), [first, rest @ ..]) = (tree, path) else { return tree.clone() };
    let kept = map.iter().filter(|(key, _)| !(rest.is_empty() && key == first));
    kept.map(|(key, value)| (key.clone(), if key == first { without(value, rest) } else { value.clone() })).collect()
}

fn drop_nulls(tree: &mut Value) {
    match tree {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// JSON where it is JSON, since a few escapes of JSON are none in YAML; YAML otherwise.
fn read(text: &str) -> Result<Value, (String, &'static str)> {
    if text.trim_start().starts_with('{')
        && let Ok(Tree(value)) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let options = serde_yaml::options! {
        // Snippets would print the lines around an error, and one of those may be the secret.
        with_snippet: false,
        // A value that starts with `!` is a tag; ignored, it would turn `!secret x` into `x`.
        reject_unsupported_tags: true,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    match serde_yaml::from_str_with_options(text, options) {
        Ok(Tree(Value::Null)) => Ok(Value::Object(Map::new())),
        Ok(Tree(value)) => Ok(value),
        Err(error) => {
            let hint = "write one YAML or JSON document; quote values that hold `: ` or ` #` or start with a sign";
            Err((without_values(&error), hint))
        }
    }
}

/// The reader's message; in our own words where it repeats what may be a secret (a missing space makes it part of a key).
fn without_values(error: &serde_yaml::Error) -> String {
    let at = |location: &Location| format!("at line {}, column {}", location.line(), location.column());
    match error {
        serde_yaml::Error::UnsupportedTag { location, .. } => {
            format!("an unquoted value starts with `!` {}", at(location))
        }
        serde_yaml::Error::DuplicateMappingKey { key, location } => {
            let key = key_in("", key.as_deref().unwrap_or_default());
            format!("a second `{key}` in the same map {}", at(location))
        }
        other => other.render_with_formatter(&UserMessageFormatter),
    }
}

/// A JSON value that refuses a repeated key, in which the last would silently win.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Self)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list, a string, a number, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    // No key takes any of these: that it was a number is of interest, which one is not.
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(f64::MAX.into())
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(f64::MAX.into())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(f64::MAX.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Tree(value))) = entries.next_entry::<String, Tree>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key appears twice in one map"));
            }
        }
        Ok(Value::Object(map))
    }
}
