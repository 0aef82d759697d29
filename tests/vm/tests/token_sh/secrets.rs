//! Every process can read the arguments of every other, and root's tools log environments: neither holds a secret.

use std::fs;

use flexnode_vm::azure::{Fault, Operation, When};

use super::node::{DASH, Node};

#[test]
fn no_argument_and_no_environment_of_any_program_it_runs_holds_a_key_or_a_token() {
    let node = Node::joined();
    let log = node.dir().join("strace");
    // Whole arguments and environments of everything that is started.
    let strace = ["/usr/bin/strace", "-f", "-qq", "-v", "-s", "65536", "-e", "trace=execve", "-e", "signal=none", "-o"];
    let line = [&strace[..], &[log.to_str().unwrap()], DASH, &[node.script.to_str().unwrap()]].concat();

    let token = node.runs_as(&line).credential().token;
    let granted = fs::read_to_string(&log).unwrap();
    node.site.game.emulator.inject(When::operation(Operation::MachineToken), Fault::Truncate { after: 400 });
    assert_eq!(node.runs_as(&line).status(), 69);
    let cut_off = fs::read_to_string(&log).unwrap();

    let keys = node.keys();
    assert_eq!(keys.len(), 4, "one try that was granted, three that were cut off");
    for seen in [granted, cut_off] {
        assert!(seen.matches("curl").count() >= 2, "strace saw the requests being made: {seen}");
        assert!(!seen.contains(&token) && !seen.contains("eyJ"), "a token");
        for key in &keys {
            assert!(!seen.contains(key), "a key");
        }
    }
}
