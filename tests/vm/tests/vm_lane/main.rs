//! The bundle and the agent on a virtual machine: a kernel of its own, cgroup v2, and a real loss of power.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod first_boot;
mod power_cut;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use flexnode_vm::azure::World;
use flexnode_vm::lab;
use flexnode_vm::node::{Guest, Lane, Node, bundle};

/// For a Node to be ready, emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn node(world: World) -> Node {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    let stand_in = Path::new(env!("CARGO_BIN_EXE_flexnode-vm"));
    let bundle = BUNDLE.get_or_init(|| {
        let lab = lab::shared().unwrap();
        bundle(lab, stand_in.parent().unwrap(), &lab.dir().with_file_name("vm-bundle")).unwrap()
    });
    Node::prepare_on(Lane::Vm, world, bundle, stand_in).unwrap()
}

/// Waits for the unit's job, which began at boot; whether it succeeded.
fn firstboot(guest: &Guest) -> bool {
    guest.run("systemctl", &["start", "flexnode-firstboot.service"]).unwrap().status.success()
}

fn show(guest: &Guest, unit: &str, property: &str) -> String {
    let value = guest.ask("systemctl", &["show", "--value", "--property", property, unit]).unwrap();
    value.trim_end().to_owned()
}

/// What the journal says of this boot.
fn journal(guest: &Guest) -> String {
    guest.ask("journalctl", &["--no-pager", "--boot"]).unwrap()
}
