//! Reads back what was rendered, where a mistake would only show on the node.

use anyhow::{Result, bail};
use flexnode_firstboot::suggest;
use serde_json::Value;

use super::context::Facts;
use super::kubelet_fields;
use crate::failure::{Class, Failure};
use crate::overlay::OverlayPath;

/// Refuses a rendered file that its reader would refuse.
pub(super) fn check(path: &OverlayPath, bytes: &[u8], facts: &Facts) -> Result<()> {
    match path.as_str() {
        "var/lib/kubelet/config.yaml" => kubelet_config(&mapping(path, bytes)?, facts),
        "etc/crictl.yaml" => mapping(path, bytes).map(drop),
        "var/lib/kubelet/token.sh" if !bytes.starts_with(b"#!/") => {
            bail!(refuse(path, "has no `#!` line, so the kubelet could not run it").hint("start it with `#!/bin/sh`"))
        }
        _ if bytes.starts_with(b"#!") && bytes.contains(&b'\r') => {
            bail!(refuse(path, "is a script with Windows line ends").hint("save the template with Unix line ends"))
        }
        _ => Ok(()),
    }
}

fn kubelet_config(config: &serde_json::Map<String, Value>, facts: &Facts) -> Result<()> {
    let path = "/var/lib/kubelet/config.yaml";
    let kind = (config.get("apiVersion").and_then(Value::as_str), config.get("kind").and_then(Value::as_str));
    if kind != (Some("kubelet.config.k8s.io/v1beta1"), Some("KubeletConfiguration")) {
        let failure = Failure::new(Class::Usage, format!("rendered `{path}` is no KubeletConfiguration"));
        bail!(failure.hint("it needs `apiVersion: kubelet.config.k8s.io/v1beta1` and `kind: KubeletConfiguration`"));
    }
    for field in config.keys().filter(|field| !matches!(field.as_str(), "apiVersion" | "kind")) {
        let (known, later) = kubelet_fields::known_at(facts.kubernetes.minor);
        if known.contains(&field.as_str()) {
            continue;
        }
        let minor = facts.kubernetes.minor;
        let failure = Failure::new(
            Class::Usage,
            format!("rendered `{path}`: Kubernetes 1.{minor} has no field `{field}`, its kubelet would not start"),
        );
        bail!(match later.iter().find(|(name, _)| name == field) {
            Some((_, since)) => failure.hint(format!("the field exists from 1.{since} on")),
            None => match suggest::nearest(field, known) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("the fields are those of `KubeletConfiguration` v1beta1"),
            },
        });
    }
    Ok(())
}

fn mapping(path: &OverlayPath, bytes: &[u8]) -> Result<serde_json::Map<String, Value>> {
    let text = std::str::from_utf8(bytes).map_err(|_| refuse(path, "is not UTF-8"))?;
    match serde_yaml::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => bail!(refuse(path, "is YAML, but no mapping")),
        Err(error) => bail!(refuse(path, &format!("is not YAML: {error}"))),
    }
}

fn refuse(path: &OverlayPath, why: &str) -> Failure {
    Failure::new(Class::Usage, format!("rendered `/{path}` {why}"))
}
