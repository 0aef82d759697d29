//! What is rendered: all files for each format of containerd's config, and what holds for every Kubernetes minor.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flexnode_build::artifact::Arch;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Entry, Overlay, OverlayPath};
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use flexnode_firstboot::paths;
use serde_json::{Value, json};

fn facts(kubernetes: &str, containerd: &str) -> Facts {
    Facts {
        kubernetes: kubernetes.parse().expect("a version"),
        containerd: containerd.parse().expect("a version"),
        arch: Arch::Amd64,
        target: Target::Ubuntu2204,
        pause_image: "registry.k8s.io/pause:3.9".into(),
    }
}

fn values(layer: Value) -> Values {
    Values::from_layers(&[layer], &[]).expect("good values")
}

fn tree(facts: &Facts, values: &Values, overrides: Option<&Path>) -> anyhow::Result<Overlay> {
    let mut overlay = Overlay::default();
    for (path, entry) in render(facts, values, overrides)? {
        overlay.insert(path, entry)?;
    }
    Ok(overlay)
}

fn text(overlay: &Overlay, path: &str) -> String {
    let path: OverlayPath = path.trim_start_matches('/').parse().expect("a path");
    match overlay.get(&path) {
        Some(Entry::File(file)) => {
            let mut text = String::new();
            file.content.reader().read_to_string(&mut text).expect("UTF-8");
            text
        }
        other => panic!("{path}: {other:?}"),
    }
}

/// The whole tree as text.
fn listing(overlay: &Overlay) -> String {
    let mut listing = String::new();
    for (path, entry) in overlay {
        match entry {
            Entry::Directory(mode) => writeln!(listing, "=== {mode} {path}/"),
            Entry::Link { target } => writeln!(listing, "=== link {path} -> {target}"),
            Entry::File(file) => writeln!(listing, "=== {} {path}\n{}", file.mode, text(overlay, path.as_str())),
        }
        .expect("a string takes everything");
    }
    listing
}

fn refusal(result: anyhow::Result<Overlay>) -> String {
    let error = result.expect_err("must be refused");
    let (class, hint) = Failure::describe(&error);
    assert_eq!(class, Class::Usage, "{error:#}");
    format!("{error:#}\n  hint: {}", hint.unwrap_or("none"))
}

#[test]
fn the_tree_for_containerd_1_7_and_kubernetes_1_28() {
    let overlay = tree(&facts("1.28.15", "1.7.34"), &Values::default(), None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}

#[test]
fn the_tree_for_containerd_2_1_and_kubernetes_1_30_with_many_values() {
    let values = values(json!({
        "kubelet": {
            "clusterDns": ["10.2.0.10", "fd00::a"],
            "clusterDomain": "1.30",
            "evictionHard": {"memory.available": "500Mi"},
            "featureGates": {"NodeSwap": true},
            "kubeReserved": {"cpu": "100m", "memory": "1Gi"},
            "nodeLabels": {"example.com/pool": "edge"},
            "registerWithTaints": [{"key": "edge", "value": "on", "effect": "NoSchedule"}],
            "extraConfig": {"shutdownGracePeriod": "30s", "tlsMinVersion": null},
        },
        "containerd": {
            "maxConcurrentDownloads": 8,
            "metricsAddress": null,
            "mirrors": {
                "_default": {"endpoints": ["https://mirror.example:8443/v2/all"], "overridePath": true},
                "docker.io": {
                    "endpoints": ["https://one.example", "http://two.example:5000"],
                    "ca": "/etc/ssl/certs/mirror.pem",
                },
                "registry.local:5000": {"endpoints": ["https://registry.local:5000"], "skipVerify": true},
            },
        },
    }));
    let overlay = tree(&facts("1.30.14", "2.1.9"), &values, None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}

#[test]
fn the_tree_for_containerd_2_3_and_kubernetes_1_37() {
    let overlay = tree(&facts("1.37.1", "2.3.4"), &Values::default(), None).expect("renders");
    insta::assert_snapshot!(listing(&overlay));
}
