//! From the spec's values and `--set key=value` to typed [`Values`].

use anyhow::{Context as _, Result, bail};
use flexnode_firstboot::suggest;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::values::Values;
use crate::failure::{Class, Failure};

impl Values {
    /// Merges `layers` in order, applies `sets` in order, and checks the result.
    ///
    /// A later layer wins over an earlier one and over the defaults; maps merge by key, everything else is replaced. A set is `a.b.c=value`; a key with a dot
    /// in it is quoted: `containerd.mirrors."docker.io".endpoints=["https://mirror"]`. The value is taken as JSON
    /// where it is JSON and the key's type agrees, and as text otherwise, so `kubelet.clusterDomain=1.30` stays the
    /// text `1.30`, which as a number would be 1.3.
    ///
    /// # Errors
    /// A [`Class::Usage`] failure that names the key, what was expected there, and the nearest right key.
    pub fn from_layers(layers: &[Value], sets: &[String]) -> Result<Self> {
        let mut merged = serde_json::to_value(Self::default()).context("write the default values")?;
        for layer in layers {
            merge(&mut merged, layer);
        }
        let mut values = parse(&merged)?;
        for set in sets {
            let (keys, text) = split(set)?;
            (merged, values) = apply(&merged, &keys, text)?;
        }
        values.check()?;
        Ok(values)
    }
}

/// Merges `over` into `base`: maps by key, everything else is replaced.
pub(super) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn apply(merged: &Value, keys: &[String], text: &str) -> Result<(Value, Values)> {
    let attempt = |value: Value| {
        let layer = keys.iter().rev().fold(value, |inner, key| json!({ key: inner }));
        let mut next = merged.clone();
        merge(&mut next, &layer);
        parse(&next).map(|values| (next, values))
    };
    let plain = || attempt(Value::String(text.to_owned()));
    match as_json(text) {
        Some(value) => attempt(value).or_else(|refusal| plain().map_err(|_also_refused| refusal)),
        None => plain(),
    }
}

/// The JSON that `text` is. A number that would print differently (`1.30`, `1e3`) is left to be text.
fn as_json(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.to_string() != text => None,
        parsed => parsed.ok(),
    }
}

fn parse(merged: &Value) -> Result<Values> {
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(merged, &mut track);
    Values::deserialize(deserializer).map_err(|error| refusal(&track.path().to_string(), &error.to_string()).into())
}

/// serde's words for a mistake, in those of people who write values and not Rust.
fn refusal(key: &str, why: &str) -> Failure {
    let failure = |why: &str| Failure::new(Class::Usage, format!("value `{key}`: {why}"));
    match suggest::hint_for_unknown(why) {
        Some(_) if key.starts_with("containerd.mirrors.") => failure("no such key")
            .hint("quote a registry host, it has dots: `containerd.mirrors.\"docker.io\".endpoints`"),
        Some(hint) => failure("no such key").hint(hint),
        None => {
            let why = match why.split_once("expected ") {
                Some((found, "u8")) => format!("{found}expected a number from 0 to 255"),
                Some((found, "u16" | "u32")) => format!("{found}expected a whole number"),
                Some((found, expected)) if expected.starts_with("struct ") => {
                    format!("{found}expected a map of values")
                }
                _ => why.to_owned(),
            };
            failure(&why).hint("docs/templates.md lists every key with its type")
        }
    }
}

/// `a."b.c".d=value` as keys and value text.
fn split(set: &str) -> Result<(Vec<String>, &str)> {
    let refuse = |why: &str| {
        Failure::new(Class::Usage, format!("`--set {set}`: {why}")).hint(
            "write `--set kubelet.maxPods=50`, or `--set 'containerd.mirrors.\"docker.io\"=…'` where a key has dots",
        )
    };
    let mut keys = vec![String::new()];
    let mut quoted = false;
    for (at, c) in set.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '=' if !quoted => {
                if keys.iter().any(String::is_empty) {
                    bail!(refuse("it has an empty key"));
                }
                return Ok((keys, &set[at + 1..]));
            }
            '.' if !quoted => keys.push(String::new()),
            other => keys.last_mut().into_iter().for_each(|key| key.push(other)),
        }
    }
    bail!(refuse(if quoted { "a quote is not closed" } else { "it has no `=`" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(sets: &[&str]) -> Result<Values> {
        Values::from_layers(&[], &sets.iter().map(|set| (*set).to_owned()).collect::<Vec<_>>())
    }

    fn refusal(sets: &[&str]) -> String {
        let error = set(sets).expect_err("must be refused");
        let (class, hint) = Failure::describe(&error);
        assert_eq!(class, Class::Usage);
        format!("{error} | {}", hint.unwrap_or("no hint"))
    }

    #[test]
    fn layers_merge_in_order_and_sets_win() {
        let layers = [
            json!({"kubelet": {"maxPods": 1, "featureGates": {"A": true}}}),
            json!({"kubelet": {"maxPods": 2, "featureGates": {"B": false}}}),
        ];
        let values = Values::from_layers(&layers, &["kubelet.featureGates.B=true".into()]).expect("good values");
        assert_eq!(values.kubelet.max_pods, 2);
        assert_eq!(values.kubelet.feature_gates, [("A".to_owned(), true), ("B".to_owned(), true)].into());
        assert_eq!(values.kubelet.cluster_domain, "cluster.local");
    }

    #[test]
    fn a_sets_type_is_its_keys_type() {
        let values = set(&[
            "kubelet.maxPods=50",
            "kubelet.failSwapOn=false",
            "kubelet.clusterDomain=1.30",
            "kubelet.resolvConf=null",
            "kubelet.systemReserved.cpu=1",
            "kubelet.clusterDns=[\"10.2.0.10\"]",
            "kubelet.nodeLabels.\"example.com/on\"=on",
            "kubelet.nodeLabels.\"example.com/yes\"=true",
            "containerd.mirrors.\"docker.io\"={\"endpoints\":[\"https://mirror.example\"]}",
            "custom.version=1.30",
            "custom.mode=0644",
            "custom.count=3",
            "custom.text=a=b",
        ])
        .expect("good sets");
        assert_eq!(values.kubelet.max_pods, 50);
        assert!(!values.kubelet.fail_swap_on);
        assert_eq!(values.kubelet.cluster_domain, "1.30");
        assert_eq!(values.kubelet.system_reserved["cpu"], "1");
        assert_eq!(values.kubelet.node_labels["example.com/on"], "on");
        assert_eq!(values.kubelet.node_labels["example.com/yes"], "true");
        assert_eq!(values.kubelet.node_labels["kubernetes.azure.com/managed"], "false");
        assert_eq!(values.containerd.mirrors["docker.io"].endpoints, ["https://mirror.example"]);
        let custom = json!({"version": "1.30", "mode": "0644", "count": 3, "text": "a=b"});
        assert_eq!(Value::Object(values.custom), custom);
    }

    #[test]
    fn a_wrong_set_names_its_key_the_type_and_the_nearest_key() {
        insta::assert_snapshot!([
            refusal(&["kubelet.maxPods=many"]),
            refusal(&["kubelet.maxPods=1e2"]),
            refusal(&["kubelet.maxPods=-1"]),
            refusal(&["kubelet.failSwapOn=no"]),
            refusal(&["kubelet.maxPod=5"]),
            refusal(&["kubelt.maxPods=5"]),
            refusal(&["kubelet.clusterDns=[\"ten\"]"]),
            refusal(&["kubelet.maxPods.x=5"]),
            refusal(&["kubelet=5"]),
            refusal(&["containerd.mirrors.docker.io.endpoints=[]"]),
            refusal(&["maxPods"]),
            refusal(&["=5"]),
            refusal(&["a..b=5"]),
            refusal(&["a.\"b=5"]),
        ]
        .join("\n"), @r#"
value `kubelet.maxPods`: invalid type: string "many", expected a whole number | docs/templates.md lists every key with its type
value `kubelet.maxPods`: invalid type: string "1e2", expected a whole number | docs/templates.md lists every key with its type
value `kubelet.maxPods`: invalid value: integer `-1`, expected a whole number | docs/templates.md lists every key with its type
value `kubelet.failSwapOn`: invalid type: string "no", expected a boolean | docs/templates.md lists every key with its type
value `kubelet.maxPod`: no such key | did you mean `maxPods` instead of `maxPod`?
value `kubelt`: no such key | did you mean `kubelet` instead of `kubelt`?
value `kubelet.clusterDns[0]`: invalid IP address syntax | docs/templates.md lists every key with its type
value `kubelet.maxPods`: invalid type: map, expected a whole number | docs/templates.md lists every key with its type
value `kubelet`: invalid type: integer `5`, expected a map of values | docs/templates.md lists every key with its type
value `containerd.mirrors.docker.io`: no such key | quote a registry host, it has dots: `containerd.mirrors."docker.io".endpoints`
`--set maxPods`: it has no `=` | write `--set kubelet.maxPods=50`, or `--set 'containerd.mirrors."docker.io"=…'` where a key has dots
`--set =5`: it has an empty key | write `--set kubelet.maxPods=50`, or `--set 'containerd.mirrors."docker.io"=…'` where a key has dots
`--set a..b=5`: it has an empty key | write `--set kubelet.maxPods=50`, or `--set 'containerd.mirrors."docker.io"=…'` where a key has dots
`--set a."b=5`: a quote is not closed | write `--set kubelet.maxPods=50`, or `--set 'containerd.mirrors."docker.io"=…'` where a key has dots
"#);
    }

    #[test]
    fn what_would_not_work_on_a_node_is_refused() {
        insta::assert_snapshot!([
            refusal(&["kubelet.imageGcLowThresholdPercent=90"]),
            refusal(&["kubelet.nodeLabels.\"node-role.kubernetes.io/worker\"=x"]),
            refusal(&["kubelet.nodeLabels.\"a b\"=x"]),
            refusal(&["kubelet.nodeLabels.\"Example/a\"=x"]),
            refusal(&["kubelet.nodeLabels.a=$(reboot)"]),
            refusal(&["containerd.metricsAddress=0.0.0.0:1338"]),
            refusal(&["containerd.mirrors.\"../..\"={\"endpoints\":[\"https://m\"]}"]),
            refusal(&["containerd.mirrors.\"docker.io\"={\"endpoints\":[]}"]),
            refusal(&["containerd.mirrors.\"docker.io\"={\"endpoints\":[\"mirror\"]}"]),
            refusal(&["containerd.mirrors.\"docker.io\"={\"endpoints\":[\"https://m\"],\"ca\":\"ca.crt\"}"]),
            refusal(&["network.cniBinDir=opt/cni/bin"]),
            refusal(&["himds.endpoint=http://169.254.169.254"]),
            refusal(&["himds.endpoint=http://localhost@evil.example"]),
            refusal(&["himds.endpoint=https://localhost"]),
            refusal(&["himds.tokensDirectory=/var/../tmp"]),
            refusal(&["himds.resource=a&b"]),
            refusal(&["himds.timeoutSeconds=0"]),
        ]
        .join("\n"), @r#"
value `kubelet.imageGcLowThresholdPercent`: 90 must be below imageGcHighThresholdPercent | imageGcHighThresholdPercent is 85, and must be 100 at most
value `kubelet.nodeLabels."node-role.kubernetes.io/worker"`: a kubelet may not set this label on its own Node | use a prefix of your own or `node.kubernetes.io/`, or set it later with `kubectl label node`
value `kubelet.nodeLabels."a b"`: its key is not a qualified name | write `name` or `prefix/name`; prefix a lower-case domain, name at most 63 letters, digits, `-`, `_`, `.`
value `kubelet.nodeLabels."Example/a"`: its key is not a qualified name | write `name` or `prefix/name`; prefix a lower-case domain, name at most 63 letters, digits, `-`, `_`, `.`
value `kubelet.nodeLabels."a"`: its value is not a label value | write at most 63 letters, digits, `-`, `_`, `.`, with a letter or digit at both ends
value `containerd.metricsAddress`: "0.0.0.0:1338" is not on the loopback interface | metrics name every image and container of the node: serve them through an agent
value `containerd.mirrors."../.."`: "../.." is no registry host | write the host as image names spell it, without scheme and path: `docker.io`, `_default`
value `containerd.mirrors."docker.io".endpoints`: "[]" names no endpoint | no hint
value `containerd.mirrors."docker.io".endpoints`: "mirror" is no plain http or https URL | no hint
value `containerd.mirrors."docker.io".ca`: "ca.crt" is no absolute path | write it in full, without `.`, `..` and a slash at the end
value `network.cniBinDir`: "opt/cni/bin" is no absolute path | write it in full, without `.`, `..` and a slash at the end
value `himds.endpoint`: "http://169.254.169.254" is not on the loopback interface | the Arc agent listens on `http://localhost:40342`
value `himds.endpoint`: "http://localhost@evil.example" is no plain http or https URL | no hint
value `himds.endpoint`: "https://localhost" is not on the loopback interface | the Arc agent listens on `http://localhost:40342`
value `himds.tokensDirectory`: "/var/../tmp" is no absolute path | write it in full, without `.`, `..` and a slash at the end
value `himds.resource`: "a&b" must be letters, digits and `:/.-_` | no hint
value `himds.timeoutSeconds`: 0 would wait forever | a second is the least
"#);
    }
}
