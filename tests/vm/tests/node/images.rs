//! The bundle's images on a machine that boots: there before the kubelet, pinned, and usable with no network.

use std::fs;

use flexnode_vm::azure::contoso;
use flexnode_vm::lab;
use flexnode_vm::node::{Guest, Node};

use super::cri;
use super::node;
use super::unit::{firstboot, journal, show};

const UNIT: &str = "flexnode-images.service";

/// Name by tag and name by digest, of the lab's both images.
fn names() -> Vec<String> {
    let images = lab::shared().unwrap().images();
    let both = |image: &String| {
        let (tagged, digest) = image.split_once('@').unwrap();
        let (name, _) = tagged.rsplit_once(':').unwrap();
        [tagged.to_owned(), format!("{name}@{digest}")]
    };
    [&images.busybox, &images.pause].into_iter().flat_map(both).collect()
}

/// Lines of `ctr images ls` that are pinned.
fn pinned(guest: &Guest) -> Vec<String> {
    let listed = guest.ask("ctr", &["--namespace", "k8s.io", "images", "ls"]).unwrap();
    let lines = listed.lines().filter(|line| line.contains("io.cri-containerd.pinned=pinned"));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// When something happened, in microseconds since the machine was powered on.
fn time(guest: &Guest, unit: &str, what: &str) -> u64 {
    show(guest, unit, &format!("{what}TimestampMonotonic")).parse().unwrap()
}

fn joined() -> (Node, Guest) {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    (node, guest)
}

#[test]
fn images_are_there_and_pinned_before_the_kubelet_starts() {
    let (node, guest) = joined();
    assert_eq!(pinned(&guest), names(), "{}", journal(&guest));
    assert!(time(&guest, UNIT, "ExecMainExit") < time(&guest, "kubelet.service", "ExecMainStart"));
    assert!(journal(&guest).contains("importing images:"));
    guest.power_off().unwrap();

    let guest = node.boot().unwrap();
    guest.ask("systemctl", &["start", "kubelet.service"]).unwrap();
    assert_eq!(pinned(&guest), names());
    assert_eq!(show(&guest, UNIT, "Result"), "success");
    assert!(time(&guest, UNIT, "ExecMainExit") < time(&guest, "kubelet.service", "ExecMainStart"));
    assert!(!journal(&guest).contains("importing images:"), "there is nothing to do: {}", journal(&guest));
}

#[test]
fn the_sandbox_image_of_the_configuration_resolves_and_runs_without_a_network() {
    let (_node, guest) = joined();
    let images = lab::shared().unwrap().images();
    for name in names().iter().chain([&images.pause, &images.busybox]) {
        let status = cri::image_status(&guest, name).unwrap();
        assert!(status.is_there, "{name}");
        // containerd 1.6 does not tell; its kubelet keeps the sandbox image by name.
        assert!(status.is_pinned || guest.ask("containerd", &["--version"]).unwrap().contains(" 1.6."), "{name}");
    }
    assert!(!cri::image_status(&guest, "registry.k8s.io/pause:nowhere").unwrap().is_there);
    let sandbox = cri::run_pod_sandbox(&guest).unwrap();
    let tasks = guest.ask("ctr", &["--namespace", "k8s.io", "tasks", "ls"]).unwrap();
    assert!(tasks.lines().any(|line| line.starts_with(&sandbox) && line.contains("RUNNING")), "{tasks}");
}

#[test]
fn an_import_that_was_cut_off_is_done_again_from_the_start() {
    let (node, guest) = joined();
    // As a power cut leaves it: images whose snapshots were never synced, and the note that says so.
    let listed = |guest: &Guest| guest.ask("ctr", &["--namespace", "k8s.io", "snapshots", "ls"]).unwrap();
    let before = listed(&guest);
    assert!(before.lines().count() > 3, "{before}");
    let damaged = find(&node, "bin/busybox");
    assert_eq!(damaged.len(), 1, "images share the layer: {damaged:?}");
    fs::write(&damaged[0], "").unwrap();
    node.write("/var/lib/flexnode/images-import-due", "", 0o600).unwrap();
    drop(guest);

    let guest = node.boot().unwrap();
    guest.ask("systemctl", &["start", "kubelet.service"]).unwrap();
    assert!(journal(&guest).contains("an import was cut off"), "{}", journal(&guest));
    assert_eq!(pinned(&guest), names());
    let whole = find(&node, "bin/busybox");
    assert!(whole.iter().all(|path| fs::metadata(path).unwrap().len() > 100_000), "{whole:?}");
    assert!(!node.path("/var/lib/flexnode/images-import-due").exists());
}

#[test]
fn what_was_removed_by_hand_comes_back_with_the_next_start_of_the_kubelet() {
    let (_node, guest) = joined();
    let gone = &names()[3];
    guest.ask("ctr", &["--namespace", "k8s.io", "images", "rm", "--sync", gone]).unwrap();
    guest.ask("systemctl", &["restart", "kubelet.service"]).unwrap();
    assert_eq!(pinned(&guest), names(), "{}", journal(&guest));
}

/// Files of unpacked snapshots, on the machine's disk.
fn find(node: &Node, name: &str) -> Vec<std::path::PathBuf> {
    let snapshots = node.path("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots");
    let paths = fs::read_dir(snapshots).unwrap().map(|entry| entry.unwrap().path().join("fs").join(name));
    paths.filter(|path| path.exists()).collect()
}
