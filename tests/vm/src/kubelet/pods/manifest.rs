//! The manifests of static pods. A field that the stand-in does not honour is refused, never ignored.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::kubelet::label;

/// A static pod with its defaults, as kubernetes `pkg/kubelet/config/common.go` gives them.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    /// The manifest's name and the Node's.
    pub(super) name: String,
    pub(super) namespace: String,
    /// The same as long as Node, path and manifest are: by it a restarted kubelet knows its pods.
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) spec: Spec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) containers: Vec<Container>,
    #[serde(default)]
    pub(super) dns_policy: DnsPolicy,
    #[serde(default)]
    pub(super) host_network: bool,
    #[serde(default, rename = "restartPolicy")]
    _restart_policy: RestartPolicy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<Variable>,
    #[serde(default)]
    pub(super) working_dir: String,
    image_pull_policy: Option<PullPolicy>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum DnsPolicy {
    #[default]
    ClusterFirst,
    /// The node's own.
    Default,
}

/// A static pod runs until its manifest is gone.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum RestartPolicy {
    #[default]
    Always,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The pods of a folder's manifests, and what is wrong with the others. Names that begin with a dot are passed over.
pub(super) fn read_all(dir: &Path, node: &str) -> (Vec<Pod>, Vec<String>) {
    let (mut pods, mut wrong) = (Vec::new(), Vec::new());
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || !path.is_file() {
            continue;
        }
        let pod = fs::read_to_string(&path).context("read it").and_then(|text| parse(&text, &path, node));
        match pod.with_context(|| format!("Could not process manifest file {}", path.display())) {
            Ok(pod) => pods.push(pod),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    (pods, wrong)
}

/// The pod of a manifest's text.
pub(super) fn parse(text: &str, path: &Path, node: &str) -> Result<Pod> {
    let Manifest { api_version, kind, metadata, spec } = serde_yaml::from_str(text).context("couldn't parse as pod")?;
    ensure!(api_version == "v1" && kind == "Pod", "couldn't parse as pod: no kind {kind} of {api_version}");
    ensure!(!spec.containers.is_empty(), "invalid pod: spec.containers: Required value");
    let names = spec.containers.iter().map(|container| &container.name).chain([&metadata.name]);
    for name in names {
        ensure!(label::is_name(name), "invalid pod: {name:?} is no lowercase RFC 1123 label");
    }
    let hash: String = Sha256::digest(format!("{node}\n{}\n{text}", path.display()))[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let namespace = if metadata.namespace.is_empty() { "default".to_owned() } else { metadata.namespace };
    let mut annotations = metadata.annotations;
    annotations.insert("kubernetes.io/config.hash".to_owned(), hash.clone());
    annotations.insert("kubernetes.io/config.source".to_owned(), "file".to_owned());
    let (name, labels) = (format!("{}-{node}", metadata.name), metadata.labels);
    Ok(Pod { name, namespace, uid: hash, labels, annotations, spec })
}

impl Container {
    /// By default an image is pulled each time if its tag is `latest`, said or not.
    pub(super) fn pull_policy(&self) -> PullPolicy {
        let last = self.image.rsplit('/').next().unwrap_or_default();
        let latest = match last.split_once(':') {
            Some((_, tag)) => tag == "latest",
            None => true,
        };
        let default = if latest && !last.contains('@') { PullPolicy::Always } else { PullPolicy::IfNotPresent };
        self.image_pull_policy.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: ";

    fn pod(rest: &str) -> Result<Pod> {
        parse(&format!("{POD}{rest}"), Path::new("/m/web.yaml"), "edge-1")
    }

    #[test]
    fn a_pod_gets_the_nodes_name_a_namespace_and_an_identity_that_its_text_decides() {
        let first = pod("x:1").unwrap();
        assert_eq!((first.name.as_str(), first.namespace.as_str()), ("web-edge-1", "default"));
        assert_eq!(first.uid, pod("x:1").unwrap().uid);
        assert_ne!(first.uid, pod("x:2").unwrap().uid);
    }

    #[test]
    fn what_is_not_honoured_is_refused() {
        for rest in [
            "x:1\n    volumeMounts: []",
            "x:1\n    resources: {}",
            "x:1\n    env: [{name: A, valueFrom: {}}]",
            "x:1\n  restartPolicy: Never",
            "x:1\n  hostPID: true",
            "x:1\nstatus: {}",
        ] {
            assert!(pod(rest).is_err(), "{rest}");
        }
        assert!(
            parse("apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {containers: []}", Path::new("/m"), "n")
                .is_err()
        );
    }

    #[test]
    fn only_latest_is_pulled_each_time() {
        let policy = |image: &str| pod(image).unwrap().spec.containers[0].pull_policy();
        assert_eq!(policy("registry:5000/a/b"), PullPolicy::Always);
        assert_eq!(policy("a:latest"), PullPolicy::Always);
        assert_eq!(policy("registry:5000/a/b:1"), PullPolicy::IfNotPresent);
        assert_eq!(policy("a@sha256:00"), PullPolicy::IfNotPresent);
        assert_eq!(policy("a:latest\n    imagePullPolicy: Never"), PullPolicy::Never);
    }
}
