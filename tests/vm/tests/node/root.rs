//! A bundle on a machine that has joined: still as it was installed, and gone without a trace but what others made.

use std::fs;

use flexnode_build::progress::Progress;
use flexnode_build::root::{Removing, remove, verify};
use flexnode_vm::azure::contoso;

use super::unit::{firstboot, journal};
use super::{node, put_builder};

/// What the lab itself changes for its guest.
const CHANGED: &str = "etc/containerd/config.toml";

#[test]
fn a_join_leaves_the_bundle_as_it_was_installed_and_a_removal_leaves_what_is_not_its_own() {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest));
    guest.power_off().unwrap();

    let report = verify(&node.root(), false).unwrap();
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(found, [CHANGED, "usr/share/flexnode/debs"], "{:#?}", report.findings);

    remove(&node.root(), Removing::default(), &Progress::detect(true)).unwrap();
    for gone in ["usr/local/bin/kubelet", "usr/local/bin/flexnode-firstboot", "opt/cni/bin", "etc/crictl.yaml"] {
        assert!(!node.path(gone).exists(), "{gone}");
    }
    for stays in [CHANGED, "etc/flexnode/config.yaml", "var/lib/kubelet/kubeconfig", "usr/bin/azcmagent"] {
        assert!(node.path(stays).exists(), "{stays}");
    }
}

#[test]
fn a_running_node_is_stopped_before_the_bundle_is_removed_from_it() {
    let node = node(contoso::world());
    put_builder(&node);
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let remove = || guest.run("/root/flexnode-build", &["remove", "--root", "/"]).unwrap();
    let refused = remove();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(" runs, as process "), "{said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    let (command, _) = hint.split_once(';').unwrap();
    guest.ask("test", &["-x", "/usr/local/bin/kubelet"]).unwrap();

    guest.ask("sh", &["-c", command]).unwrap();
    let removed = remove();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    guest.power_off().unwrap();
    let wants = fs::read_dir(node.path("/etc/systemd/system/multi-user.target.wants")).into_iter().flatten();
    let wants: Vec<_> = wants.map(|entry| entry.unwrap().file_name()).collect();
    let ours = ["containerd.service", "kubelet.service", "flexnode-firstboot.service"];
    assert!(wants.iter().all(|name| ours.iter().all(|ours| name != ours)), "{wants:?}");
    for gone in ["usr/local/bin/containerd", "usr/local/sbin/runc", "opt/cni/bin", "etc/systemd/system/kubelet.service"]
    {
        assert!(!node.path(gone).exists(), "{gone}");
    }
    assert!(node.path(CHANGED).exists());
}
