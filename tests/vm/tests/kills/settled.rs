//! A node that has joined: looked at, and left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use flexnode_vm::azure::{Fault, Operation, Recorded, Service, When};

use super::end_state::{end_state, walk};
use super::machine::{Machine, said};

#[test]
fn a_further_run_asks_three_questions_at_most_and_touches_no_file_and_no_unit() {
    let machine = Machine::new();
    machine.joins();
    let (state, inodes, asked) = (end_state(&machine), inodes(&machine), machine.site.systemctl_log().len());
    machine.site.game.emulator.forget_requests();
    machine.joins();
    let requests = machine.site.game.emulator.requests();
    // Reading the kubeconfig is a POST, by ARM's convention.
    let reads = |request: &Recorded| request.method == "GET" || request.operation == Operation::ClusterUserCredential;
    assert!((1..=3).contains(&requests.len()) && requests.iter().all(reads), "{requests:#?}");
    assert_only_looked(&machine, asked);
    assert_eq!(self::inodes(&machine), inodes, "written, or replaced by the same");
    // What was made before is not in the record of requests any more.
    let made = |(name, _): &(&String, &String)| !name.starts_with("things made");
    assert!(end_state(&machine).iter().filter(made).eq(state.iter().filter(made)));
}

#[test]
fn without_a_network_it_stays_settled_and_says_so() {
    for (how, arc_agent_too) in [
        ("Azure does not answer", (|_| {}) as fn(&Machine)),
        ("the Arc agent says that it is disconnected", says_that_it_is_disconnected),
        ("the Arc agent gives no token", |machine| {
            machine.site.game.emulator.inject(When::service(Service::Himds), Fault::Reset);
        }),
    ] {
        let machine = Machine::new();
        machine.joins();
        // Nothing that only the operator could do is needed.
        fs::remove_file(machine.secret()).unwrap();
        let (inodes, asked) = (inodes(&machine), machine.site.systemctl_log().len());
        for service in [Service::Entra, Service::Arm, Service::Kubernetes] {
            machine.site.game.emulator.inject(When::service(service), Fault::Reset);
        }
        arc_agent_too(&machine);
        let output = machine.site.join().output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{how}: {}", said(&output));
        assert!(said(&output).contains("the cluster's CA cannot be compared"), "{how}: {}", said(&output));
        assert_only_looked(&machine, asked);
        assert_eq!(self::inodes(&machine), inodes, "{how}");
    }
}

/// As the real Arc agent does after a while without Azure; it is still registered.
fn says_that_it_is_disconnected(machine: &Machine) {
    let agent = machine.site.game.programs.join("azcmagent");
    let real = machine.site.game.programs.join("real");
    fs::create_dir(&real).unwrap();
    fs::rename(&agent, real.join("azcmagent")).unwrap();
    let script =
        format!("#!/bin/sh\n'{}/azcmagent' \"$@\" | sed 's/\"Connected\"/\"Disconnected\"/'\n", real.display());
    fs::write(&agent, script).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
}

fn assert_only_looked(machine: &Machine, asked: usize) {
    let since = machine.site.systemctl_log()[asked..].to_owned();
    assert!(since.lines().all(|line| line.starts_with("is-")), "{since}");
}

/// Inode and times of everything on the machine.
fn inodes(machine: &Machine) -> BTreeMap<String, (u64, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    walk(&machine.path(""), "root", &mut |name, path| {
        let metadata = path.symlink_metadata().unwrap();
        let (changed, modified) =
            ((metadata.ctime(), metadata.ctime_nsec()), (metadata.mtime(), metadata.mtime_nsec()));
        found.insert(name.to_owned(), (metadata.ino(), changed.0, changed.1, modified.0, modified.1));
    });
    found
}
