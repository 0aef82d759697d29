//! A bundle on a machine that has joined: still as it was installed, and gone without a trace but what others made.

use flexnode_build::progress::Progress;
use flexnode_build::root::{Removing, remove, verify};
use flexnode_vm::azure::contoso;

use super::node;
use super::unit::firstboot;

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
