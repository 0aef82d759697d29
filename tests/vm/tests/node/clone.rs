//! The disk of a node that has joined, cloned to another machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use flexnode_vm::azure::contoso;
use flexnode_vm::node::{NAME, Node};

use super::unit::{firstboot, journal};
use super::{node, programs};

const CLONE: &str = "edge-node-02";

#[test]
fn a_clone_with_a_machine_id_of_its_own_joins_as_another_machine() {
    joins_as_another_machine(|node| node.write("/etc/machine-id", "", 0o444).unwrap());
}

#[test]
fn a_clone_of_a_sealed_disk_joins_as_another_machine() {
    joins_as_another_machine(|node| {
        let root = node.root();
        let seal = |arguments: &[&str]| {
            Command::new(programs().join("flexnode-build"))
                .args(["seal", "--root"])
                .arg(&root)
                .args(arguments)
                .output()
                .unwrap()
        };
        assert_eq!(seal(&[]).status.code(), Some(8), "a joined disk is no image");
        let sealed = seal(&["--fix"]);
        assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
        for gone in
            ["/var/lib/kubelet/kubeconfig", "/var/opt/azcmagent/agentconfig.json", "/etc/flexnode/client-secret"]
        {
            assert!(!node.path(gone).exists(), "{gone}");
        }
        // A file of the stand-in alone: the real agent has this in its agentconfig.json.
        fs::remove_file(node.path("/var/opt/azcmagent/vmid")).unwrap();
    });
}

/// The parent is off while its clone boots: one disk is enough for both.
fn joins_as_another_machine(prepare: impl Fn(&Node)) {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    guest.power_off().unwrap();
    let parent = node.azure.machines().remove(0);
    let node_of_parent = node.azure.nodes(&contoso::cluster_id()).remove(0);
    let roles = node.azure.assignments(&parent.principal_id).len();

    prepare(&node);
    node.write("/etc/hostname", &format!("{CLONE}\n"), 0o644).unwrap();
    node.write("/etc/flexnode/client-secret", contoso::SECRET, 0o600).unwrap();
    let [ca, secret] = ["/etc/flexnode/ca.pem", "/etc/flexnode/client-secret"].map(Path::new);
    node.write("/etc/flexnode/config.yaml", &node.azure.config(ca, secret, CLONE, None), 0o600).unwrap();
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));

    assert!(node.is_ready(CLONE));
    let machines = node.azure.machines();
    assert_eq!(machines.len(), 2, "{machines:#?}");
    let clone = machines.iter().find(|machine| machine.name == CLONE).unwrap();
    assert!(clone.vm_id != parent.vm_id && clone.principal_id != parent.principal_id);
    let stays = machines.iter().find(|machine| machine.name == NAME).unwrap();
    assert_eq!((&stays.vm_id, &stays.principal_id), (&parent.vm_id, &parent.principal_id));
    assert_eq!(node.azure.assignments(&parent.principal_id).len(), roles);
    assert_eq!(node.azure.assignments(&clone.principal_id).len(), roles);
    let nodes = node.azure.nodes(&contoso::cluster_id());
    assert_eq!(nodes.len(), 2);
    let of = |name: &str| nodes.iter().find(|node| node["metadata"]["name"] == name).unwrap();
    assert_eq!(of(NAME), &node_of_parent, "the parent's Node is as it was");
    assert_ne!(of(CLONE)["status"]["nodeInfo"]["machineID"], node_of_parent["status"]["nodeInfo"]["machineID"]);
}
