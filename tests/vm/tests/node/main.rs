//! The bundle and the agent on a machine that really boots, in a network that holds nothing but the emulated Azure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clone;
mod cri;
#[path = "../../../../builder/tests/debian/mod.rs"]
mod debian;
mod debian_11;
mod egress;
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
use std::sync::OnceLock;

use flexnode_vm::azure::World;
use flexnode_vm::lab;
use flexnode_vm::node::{self, Built, Lane, Node};

/// The lab's bundle, built with the programs of this build.
fn bundle() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| node::bundle(lab::shared().unwrap(), programs(), &folder()).unwrap())
}

/// Another, of this catalog.
fn build(name: &str, catalog: &Path, arguments: &[&str]) -> Built {
    node::bundle_of(lab::shared().unwrap(), catalog, programs(), &folder().join(name), arguments).unwrap()
}

fn folder() -> PathBuf {
    lab::shared().unwrap().dir().with_file_name("node-bundle")
}

const STAND_IN: &str = env!("CARGO_BIN_EXE_flexnode-vm");

/// Where the programs of this build are.
fn programs() -> &'static Path {
    Path::new(STAND_IN).parent().unwrap()
}

/// The builder on the machine itself, as somebody puts it there who has no other.
fn put_builder(node: &Node) {
    fs::copy(programs().join("flexnode-build"), node.path("/root/flexnode-build")).unwrap();
}

/// A machine as it is shipped; its record is called like the test.
fn as_shipped(world: World) -> Node {
    let test = std::thread::current().name().unwrap_or("node").replace("::", "-");
    prepare(world, &test)
}

fn prepare(world: World, name: &str) -> Node {
    let node = Node::prepare_on(lane(), world, bundle(), Path::new(STAND_IN)).unwrap();
    node.recorded(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("node").join(name)).unwrap()
}

/// `FLEXNODE_LANE=vm` runs the scenarios in virtual machines; those that write to a machine at work from outside cannot.
fn lane() -> Lane {
    match std::env::var("FLEXNODE_LANE").as_deref() {
        Ok("vm") => Lane::Vm,
        Ok("container") | Err(_) => Lane::Container,
        Ok(other) => panic!("FLEXNODE_LANE is `{other}`, not `vm` or `container`"),
    }
}

/// The same in a hurry.
fn node(world: World) -> Node {
    let node = as_shipped(world);
    node.hurry().unwrap();
    node
}
