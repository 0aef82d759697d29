//! The bundle unpacked: real programs that run, configuration that they accept, and what inspect and verify say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{bundle, program, refused, run, unpacked};

#[test]
fn gnu_tar_makes_a_root_whose_programs_run() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let says = |program: &str, args: &[&str]| {
        let output = run(Command::new(root.path().join(program)).args(args));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(says("usr/local/bin/containerd", &["--version"]).starts_with("containerd "));
    assert!(says("usr/local/sbin/runc", &["--version"]).starts_with("runc version "));
    assert!(says("usr/local/bin/kubectl", &["version", "--client"]).contains("Client Version: v1.30.0"));
    assert!(says("usr/local/bin/kubelet", &["--version"]).contains("v1.30.0"));
    assert!(says("usr/local/bin/flexnode-firstboot", &["--version"]).starts_with("flexnode-firstboot "));
    let bridge = Command::new(root.path().join("opt/cni/bin/bridge")).env("CNI_COMMAND", "VERSION").output().unwrap();
    assert!(String::from_utf8_lossy(&bridge.stdout).contains("supportedVersions"));
}

#[test]
fn the_bundled_containerd_accepts_its_configuration() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let config = root.path().join("etc/containerd/config.toml");
    let output = run(Command::new(root.path().join("usr/local/bin/containerd"))
        .arg("--config")
        .arg(&config)
        .args(["config", "dump"]));
    let dumped = String::from_utf8(output.stdout).unwrap();
    for setting in
        ["SystemdCgroup = true", "registry.k8s.io/pause:3.9@sha256:", "/etc/containerd/certs.d", "/opt/cni/bin"]
    {
        assert!(dumped.contains(setting), "{setting} is missing in\n{dumped}");
    }
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(!complaints.contains("unknown") && !complaints.contains("deprecat"), "{complaints}");
}

#[test]
fn modes_and_owners_are_as_a_node_needs_them() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let mode = |path: &str| fs::symlink_metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("usr/local/bin/kubelet"), 0o755);
    assert_eq!(mode("var/lib/kubelet/token.sh") & 0o077 & 0o022, 0);
    let setuid = run(Command::new("find").arg(root.path()).args(["-perm", "/7000"]));
    assert!(setuid.stdout.is_empty(), "{}", String::from_utf8_lossy(&setuid.stdout));
    let foreign = run(Command::new("find").arg(root.path()).args(["-mindepth", "1", "-not", "-uid", "0"]));
    assert!(foreign.stdout.is_empty());
    let enabled =
        fs::read_link(root.path().join("etc/systemd/system/multi-user.target.wants/flexnode-firstboot.service"));
    assert_eq!(enabled.unwrap(), Path::new("../flexnode-firstboot.service"));
    assert!(!root.path().join("etc/systemd/system/multi-user.target.wants/kubelet.service").exists());
}

#[test]
fn inspect_names_every_component_with_its_source_and_digest() {
    let output = run(Command::new(program()).args(["inspect", "--json"]).arg(bundle()));
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let components = manifest["components"].as_array().unwrap();
    let names: Vec<&str> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    let programs = ["cni-plugins", "containerd", "crictl", "flexnode-firstboot", "kubeadm", "kubectl", "kubelet"];
    assert_eq!(names, [&programs[..], &["registry.k8s.io/pause:3.9", "runc"]].concat());
    for component in components {
        assert!(!component["url"].as_str().unwrap().is_empty() && component["sha256"].as_str().unwrap().len() == 64);
        let stand_in = ["crictl", "kubeadm", "kubelet"].contains(&component["name"].as_str().unwrap());
        assert_eq!(component["standIn"].as_bool().unwrap_or(false), stand_in, "{component}");
    }
    let kubectl = components.iter().find(|component| component["name"] == "kubectl").unwrap();
    assert_eq!(kubectl["sha256"], "7c3807c0f5c1b30110a2ff1e55da1d112a6d0096201f1beb81b269f582b5d1c5");
    assert_eq!(kubectl["url"], "https://dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubectl");
}

#[test]
fn verify_passes_and_a_flipped_byte_does_not() {
    run(Command::new(program()).arg("verify").arg(bundle()));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("bundle.tar.zst");
    let mut bytes = fs::read(bundle()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&copy, bytes).unwrap();
    let stderr = refused(Command::new(program()).arg("verify").arg(&copy), 6);
    assert!(stderr.contains("error: ") && stderr.contains("hint: "), "{stderr}");
}
