//! The operator's secret in the agent's memory, once nothing needs it any more.
//!
//! The body of azure_identity's request for a token, a form, is not wiped when it is freed: that copy is told and not
//! counted. All others are the agent's own.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;

use flexnode_vm::lab::KUBERNETES;
use rustix::process::Signal;

use crate::bench::Bench;
use crate::canaries::count;
use crate::processes::{FOREVER, Pause, child, send};

#[test]
fn the_secret_is_wiped_when_the_roles_have_been_assigned() {
    let bench = Bench::new();
    let pause = Pause::at(bench.path("kubelet-pause"));
    let kubelet = bench.site.game.programs.join("kubelet");
    // Asked for its version after the last step that the operator's credential is for.
    let text = format!("#!/bin/sh\nread -r _ <{}\necho Kubernetes v{KUBERNETES}\n", pause.path().display());
    fs::remove_file(&kubelet).unwrap();
    fs::write(&kubelet, text).unwrap();
    fs::set_permissions(&kubelet, fs::Permissions::from_mode(0o755)).unwrap();
    let connect = bench.hold_connect();
    let mut agent = bench.site.join().spawn().unwrap();
    connect.recv_timeout(FOREVER).unwrap();
    let (needed, _) = copies(agent.id(), &bench.core);
    assert!(needed > 0, "while it connects it has one, or this search is blind");
    // The one that is held up is answered when its client goes, and the next as usual.
    bench.site.game.emulator.behave();
    send(Signal::KILL, child(agent.id()));
    let held = pause.reached();
    let (left, of_azure_identity) = copies(agent.id(), &bench.core);
    drop(held);
    assert!(agent.wait().unwrap().success());
    eprintln!("copies while it connects: {needed}, later: {left}, and {of_azure_identity} of azure_identity");
    assert_eq!(left, 0);
}

/// How often the secret is in a process's memory, and how often besides in a form.
fn copies(process: u32, secret: &str) -> (usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let form = format!("client_secret={secret}");
    let (mut all, mut in_forms) = (0, 0);
    // What the kernel maps into every process cannot be read, and holds nothing of it.
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[v")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        memory.seek(SeekFrom::Start(start)).unwrap();
        let mut bytes = vec![0; (end - start).try_into().unwrap()];
        memory.read_exact(&mut bytes).unwrap();
        all += count(&bytes, secret.as_bytes());
        in_forms += count(&bytes, form.as_bytes());
    }
    (all - in_forms, in_forms)
}
