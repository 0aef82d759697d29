//! The bundle and the agent on a machine that really boots, in a network that holds nothing but the emulated Azure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod egress;
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
    BUNDLE.get_or_init(|| {
        let lab = lab::shared().unwrap();
        let dir = lab.dir().with_file_name("node-bundle");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("bundle.tar.zst");
        let program = std::env::current_exe().unwrap().with_file_name("../flexnode-build").canonicalize().unwrap();
        let output = Command::new(program)
            .args(["--k8s", "1.30", "--offline", "--level", "1", "--manifests"])
            .arg(lab.manifests())
            .arg("--mirror")
            .arg(lab.mirror())
            .arg("-o")
            .arg(&path)
            .env("FLEXNODE_CACHE_DIR", dir.join("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    })
}

fn node(world: World) -> Node {
    Node::prepare(world, bundle(), Path::new(env!("CARGO_BIN_EXE_flexnode-vm"))).unwrap()
}
