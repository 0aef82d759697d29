//! The bundle and the agent on a machine that really boots, in a network that holds nothing but the emulated Azure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../../builder/tests/debian/mod.rs"]
mod debian;
mod debian_11;
mod egress;
mod packages;
mod root;
mod unit;

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
    BUNDLE.get_or_init(|| build("bundle.tar.zst", &["--k8s", "1.30"]).0)
}

/// A bundle of the lab's programs, and what was said when it was built.
fn build(name: &str, arguments: &[&str]) -> (PathBuf, String) {
    let lab = lab::shared().unwrap();
    let dir = lab.dir().with_file_name("node-bundle");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    let program = std::env::current_exe().unwrap().with_file_name("../flexnode-build").canonicalize().unwrap();
    let output = Command::new(program)
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

fn node(world: World) -> Node {
    Node::prepare(world, bundle(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm"))).unwrap()
}
