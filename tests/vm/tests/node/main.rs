//! The bundle and the agent on a machine that really boots, in a network that holds nothing but the emulated Azure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clone;
mod cri;
#[path = "../../../../builder/tests/debian/mod.rs"]
mod debian;
mod debian_11;
mod egress;
mod image;
mod images;
mod packages;
mod pods;
mod power;
mod root;
mod trouble;
mod unit;
mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flexnode_vm::azure::World;
use flexnode_vm::lab;
use flexnode_vm::node::Node;

/// The lab's bundle, built with the programs of this build.
fn bundle() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    let busybox = || lab::shared().unwrap().images().busybox.as_str();
    BUNDLE.get_or_init(|| build("bundle.tar.zst", &["--k8s", "1.30", "--image", busybox()]).0)
}

/// A bundle of the lab's programs, and what was said when it was built.
fn build(name: &str, arguments: &[&str]) -> (PathBuf, String) {
    let lab = lab::shared().unwrap();
    let dir = lab.dir().with_file_name("node-bundle");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    let output = Command::new(program("flexnode-build"))
        .args(arguments)
        .args(["--offline", "--level", "1", "--manifests"])
        .arg(lab.manifests())
        .arg("--mirror")
        .arg(lab.mirror())
        .arg("-o")
        .arg(&path)
        .env("FLEXNODE_CACHE_DIR", dir.join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (path, said)
}

/// A program of this build.
fn program(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("..").join(name).canonicalize().unwrap()
}

/// The builder on the machine itself, as somebody puts it there who has no other.
fn put_builder(node: &Node) {
    fs::copy(program("flexnode-build"), node.path("/root/flexnode-build")).unwrap();
}

/// A machine as it is shipped; its record is called like the test.
fn as_shipped(world: World) -> Node {
    let test = std::thread::current().name().unwrap_or("node").replace("::", "-");
    prepare(world, &test)
}

fn prepare(world: World, name: &str) -> Node {
    let node = Node::prepare(world, bundle(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm"))).unwrap();
    node.recorded(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("node").join(name)).unwrap()
}

/// The same in a hurry.
fn node(world: World) -> Node {
    let node = as_shipped(world);
    node.hurry().unwrap();
    node
}
