//! A newer bundle on a node at work: the next minor's kubelet, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use flexnode_build::digest::Digest;
use flexnode_vm::azure::contoso;
use flexnode_vm::lab;
use flexnode_vm::node::{Guest, NAME, Node};
use flexnode_vm::standin::StandIn;
use serde_json::Value;

use super::unit::{firstboot, journal, show};
use super::{STAND_IN, build, bundle, node, put_builder};

#[test]
fn the_next_minors_bundle_is_applied_to_a_running_node_and_taken_back() {
    let node = node(contoso::world());
    put_builder(&node);
    fs::copy(bundle(), node.path("/root/1.30.tar.zst")).unwrap();
    fs::copy(next_minor(), node.path("/root/1.31.tar.zst")).unwrap();
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    // A cluster's API server goes first.
    node.azure.upgrade(&contoso::cluster_id(), "1.31.0").unwrap();
    let containerd = show(&guest, "containerd.service", "InvocationID");

    for (version, starts) in [("1.31", 2), ("1.30", 3)] {
        let bundle = format!("/root/{version}.tar.zst");
        let output = guest.run("/root/flexnode-build", &["apply", &bundle, "--root", "/", "--any-release"]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let command = "systemctl daemon-reload && systemctl try-restart kubelet.service";
        assert!(output.status.success() && said.contains(&format!("to run what is new: {command}\n")), "{said}");
        guest.ask("sh", &["-c", command]).unwrap();
        is_at(&node, &format!("v{version}.0"));
        assert!(node.is_ready(NAME));
        assert_eq!(started(&guest, "kubelet.service"), starts, "{version}");
    }
    assert_eq!(show(&guest, "containerd.service", "InvocationID"), containerd, "nothing of containerd's has changed");
    assert_eq!(show(&guest, "flexnode-firstboot.service", "NRestarts"), "0");
}

#[test]
fn containers_outlive_a_restart_of_containerd() {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let script = "mkdir /root/box && cp --parents --dereference /bin/sleep $(ldd /bin/sleep | grep --only-matching '/[^ ]*') \
                  /root/box && ctr run --detach --rootfs /root/box sleeper /bin/sleep 1000";
    guest.ask("sh", &["-c", script]).unwrap();
    let tasks = || guest.ask("ctr", &["tasks", "list"]).unwrap();
    let before = tasks();
    assert!(before.contains("sleeper") && before.contains("RUNNING"), "{before}");
    let daemon = show(&guest, "containerd.service", "MainPID");
    guest.ask("systemctl", &["restart", "containerd.service"]).unwrap();
    assert_ne!(show(&guest, "containerd.service", "MainPID"), daemon);
    assert_eq!(tasks(), before, "the same process");
}

/// Waits until the API server has heard of a kubelet of this version.
fn is_at(node: &Node, version: &str) {
    let (tell, told) = channel();
    node.azure.observe(move |_| {
        // Who no longer listens needs not be told.
        let _ = tell.send(());
    });
    let is = |node: &Value| node["status"]["nodeInfo"]["kubeletVersion"] == version;
    while !node.azure.nodes(&contoso::cluster_id()).iter().any(is) {
        told.recv_timeout(Duration::from_secs(120)).unwrap();
    }
}

/// How often a unit was started since power-on.
fn started(guest: &Guest, unit: &str) -> usize {
    let said =
        guest.ask("journalctl", &["--boot", "--output=cat", "--identifier=systemd", "--no-pager", "--unit", unit]);
    said.unwrap().lines().filter(|line| line.starts_with("Started ")).count()
}

/// The same bundle with stand-ins for the next minor's kubelet and kubeadm. kubectl stays the lab's, under a new version:
/// nothing on a node runs it.
fn next_minor() -> PathBuf {
    let (lab, stand_in) = (lab::shared().unwrap(), Path::new(STAND_IN));
    let dir = tempfile::tempdir().unwrap();
    let (manifests, mirror) = (dir.path().join("manifests"), dir.path().join("mirror"));
    fs::create_dir(&manifests).unwrap();
    for entry in fs::read_dir(lab.manifests()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = match name {
            "compat" => text.replacen("  \"1.30\":\n", "  \"1.31\":\n", 1),
            "kubectl" | "kubeadm" | "kubelet" => {
                let url = text.lines().find_map(|line| line.strip_prefix("url: https://")).unwrap();
                let place = |version| url.replace("{version}", version).replace("{arch}", "amd64");
                let (old, new) = (lab.mirror().join(place("1.30.0")), mirror.join(place("1.31.0")));
                fs::create_dir_all(new.parent().unwrap()).unwrap();
                match name {
                    "kubelet" => StandIn::Kubelet.write(stand_in, "1.31.0", &new).unwrap(),
                    "kubeadm" => StandIn::Kubeadm.write(stand_in, "1.31.0", &new).unwrap(),
                    _ => drop(fs::copy(&old, &new).unwrap()),
                }
                let [old, new] = [old, new].map(|path| Digest::of(&fs::read(path).unwrap()).to_string());
                text.replacen("version: \"1.30.0\"", "version: \"1.31.0\"", 1).replace(&old, &new)
            }
            _ => text,
        };
        fs::write(manifests.join(path.file_name().unwrap()), text).unwrap();
    }
    let mirror = mirror.to_str().unwrap();
    let arguments = ["--k8s", "1.31", "--image", &lab.images().busybox, "--mirror", mirror];
    build("next.tar.zst", &manifests, &arguments).path
}
