//! The runs that are cut off: a first join, and those that come after one.

use std::fs;

use flexnode_vm::azure::contoso;

use super::machine::Machine;
use super::matrix::Story;

/// A prepared machine joins, and its operator wants the secret gone then.
pub(crate) const FIRST_JOIN: Story = Story { name: "first join", before: wants_the_secret_removed, meanwhile: |_| {} };

/// A node that has joined, and of which nothing has changed.
pub(crate) const SETTLED: Story = Story { name: "settled node", before: Machine::joins, meanwhile: only_looks };

/// The cluster has another CA (`az aks rotate-certs`).
pub(crate) const ROTATED: Story = Story {
    name: "rotated CA",
    before: |machine| {
        machine.joins();
        machine.site.game.emulator.rotate_cluster_ca(&contoso::cluster_id()).unwrap();
        // Nobody needs the operator for it.
        fs::remove_file(machine.secret()).unwrap();
    },
    meanwhile: |_| {},
};

/// The node's config has changed, and the operator has put the secret back, to be removed once more.
pub(crate) const CHANGED: Story = Story {
    name: "changed config",
    before: |machine| {
        wants_the_secret_removed(machine);
        machine.joins();
        assert!(!machine.secret().exists());
        machine.gets_the_secret();
        machine.is_configured("20-change.yaml", "node: {labels: {example.com/rack: b7}, maxPods: 60}");
    },
    meanwhile: |_| {},
};

/// The disk of a node that has joined, in another machine.
pub(crate) const CLONE: Story = Story {
    name: "clone",
    before: |machine| {
        machine.joins();
        let pki = machine.path("var/lib/kubelet/pki");
        fs::create_dir_all(&pki).unwrap();
        fs::write(pki.join("kubelet-client-2026.pem"), "the parent's certificate and key").unwrap();
        std::os::unix::fs::symlink("kubelet-client-2026.pem", pki.join("kubelet-client-current.pem")).unwrap();
        fs::write(machine.path("etc/machine-id"), "fedcba9876543210fedcba9876543210\n").unwrap();
        let name = "{azure: {arc: {machineName: edge-node-02}}, node: {name: edge-node-02}}";
        machine.is_configured("10-machine.yaml", name);
    },
    meanwhile: the_clones_kubelet_is_never_the_parents,
};

fn wants_the_secret_removed(machine: &Machine) {
    machine.is_configured("30-farewell.yaml", "azure: {servicePrincipal: {removeSecretAfterJoin: true}}");
}

/// Since the join nobody asked systemd for anything.
fn only_looks(machine: &Machine) {
    let log = machine.site.systemctl_log();
    let (_, since) = log.rsplit_once("start kubelet.service\n").unwrap();
    assert!(since.lines().all(|line| line.starts_with("is-")), "{since}");
}

/// A kubelet that may run goes by the clone's own name, and none has the parent's key once nobody would remove it.
fn the_clones_kubelet_is_never_the_parents(machine: &Machine) {
    let state = machine.path("var/lib/flexnode");
    if state.join("kubelet-may-run.fedcba9876543210fedcba9876543210").exists() {
        let environment = fs::read_to_string(machine.path("etc/flexnode/kubelet.env")).unwrap();
        assert!(environment.contains("--hostname-override=edge-node-02"), "{environment}");
    }
    if !state.join("joined.0123456789abcdef0123456789abcdef").exists() {
        let keys = fs::read_dir(machine.path("var/lib/kubelet/pki")).unwrap().count();
        assert_eq!(keys, 0, "the parent's certificates are there, and no run would know whose they are");
    }
}
