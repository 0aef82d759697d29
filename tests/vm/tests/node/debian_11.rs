//! A guest older than the bundle's target: systemd 247 and glibc 2.31, where Ubuntu 22.04 has 249 and 2.35. What works
//! here needs nothing newer than Ubuntu 22.04 has.
//!
//! The agent is the one that ships. Debian 12's containerd, runc and CNI plugins, and the stand-ins, are made on Debian 12
//! and would not start: they bring its libc along. Upstream's own are static or made for an older one, as the gates of
//! the build see to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexnode_vm::azure::contoso;
use flexnode_vm::lab;
use flexnode_vm::node::{Lane, Node, debian};
use flexnode_vm::standin::StandIn;

use super::unit::{firstboot, journal};
use super::{STAND_IN, bundle};

/// Where the libraries of this machine lie in the guest.
const LIBRARIES: &str = "/opt/flexnode-lab";

const UNITS: [&str; 3] = ["flexnode-firstboot.service", "containerd.service", "kubelet.service"];

#[test]
fn units_and_agent_need_nothing_newer_than_debian_11_has() {
    let stand_in = tempfile::NamedTempFile::new().unwrap();
    fs::copy(STAND_IN, stand_in.path()).unwrap();
    bring_libraries(stand_in.path());
    let archive = debian("bullseye").unwrap();
    let node = Node::prepare_in(&archive, Lane::Container, contoso::world(), bundle(), stand_in.path()).unwrap();
    fs::copy(agent(), node.path("/usr/local/bin/flexnode-firstboot")).unwrap();
    copy_libraries(Path::new(STAND_IN), &node.path(LIBRARIES));
    for directory in ["/usr/local/bin", "/usr/local/sbin", "/opt/cni/bin"] {
        for entry in fs::read_dir(node.path(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() != "flexnode-firstboot" && is_dynamic(&path) {
                bring_libraries(&path);
            }
        }
    }

    // patchelf takes the stamp off.
    for one in StandIn::ALL {
        let to = node.path("/usr/local/bin").join(one.name());
        one.write(stand_in.path(), &lab::KUBERNETES.to_string(), &to).unwrap();
    }

    let guest = node.boot().unwrap();
    assert!(guest.ask("systemctl", &["--version"]).unwrap().starts_with("systemd 247 "));
    assert!(firstboot(&guest), "{}", journal(&guest));
    for unit in UNITS {
        assert_eq!(guest.ask("systemctl", &["is-active", unit]).unwrap(), "active\n");
    }
    // At boot they were read before the journal was there.
    guest.ask("systemctl", &["daemon-reload"]).unwrap();
    let journal = journal(&guest);
    assert!(!journal.contains("Unknown key name") && !journal.contains("Failed to parse"), "{journal}");
    assert_eq!(node.azure.nodes(&contoso::cluster_id()).len(), 1);
    guest.power_off().unwrap();
}

/// The agent as it ships; cargo builds it again if it is older than its source.
fn agent() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(repository.join(".ci/agent")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    repository.join("target/agent/flexnode-firstboot")
}

fn is_dynamic(program: &Path) -> bool {
    let output = Command::new("patchelf").arg("--print-interpreter").arg(program).output().unwrap();
    output.status.success()
}

fn bring_libraries(program: &Path) {
    let loader = format!("{LIBRARIES}/ld-linux-x86-64.so.2");
    let output = Command::new("patchelf")
        .args(["--set-interpreter", &loader, "--set-rpath", LIBRARIES])
        .arg(program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Those that ldd(1) lists for `program`, and what Debian's containerd needs beside them.
fn copy_libraries(program: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let output = Command::new("ldd").arg(program).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for path in said.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        fs::copy(path, to.join(path.file_name().unwrap())).unwrap();
    }
}
