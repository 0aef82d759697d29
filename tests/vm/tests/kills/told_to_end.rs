//! SIGTERM in each of the long waits: the run ends at once, cleanly, and says so.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use flexnode_vm::azure::{Fault, Operation, Recorded, When};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpgid};
use serde_json::Value;

use super::machine::{Machine, said};

#[test]
fn during_the_delay_of_the_start() {
    let machine = Machine::new();
    let path = machine.dir().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let mut agent = slow(&machine);
    let agent = start(agent.env("NOTIFY_SOCKET", path).args(["--max-start-delay", "60m"]));
    let mut status = [0; 256];
    let length = systemd.recv(&mut status).unwrap();
    assert!(status[..length].starts_with(b"STATUS=starts in "), "{}", String::from_utf8_lossy(&status[..length]));
    ends(&machine, agent, "arc");
    assert!(machine.site.game.emulator.requests().is_empty());
}

#[test]
fn while_azcmagent_connects() {
    let machine = Machine::new();
    machine.site.game.emulator.inject(When::operation(Operation::MachineWrite), Fault::Hang);
    let asked = asked(&machine, |request| request.operation == Operation::MachineWrite);
    let agent = start(&mut slow(&machine));
    asked.recv().unwrap();
    let file = machine.path("run/flexnode/azcmagent-connect.json");
    assert!(file.exists(), "the secret's file is there while azcmagent runs");
    ends(&machine, agent, "arc");
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 0, "the secret's file has stayed");
    // A run after it is not in anybody's way.
    machine.site.game.emulator.behave();
    machine.joins();
}

#[test]
fn while_the_role_does_not_arrive() {
    let machine = Machine::new();
    let denied = Fault::Answer {
        status: 403,
        headers: Vec::new(),
        body: r#"{"error":{"code":"AuthorizationFailed","message":"not yet"}}"#.to_owned(),
    };
    machine.site.game.emulator.inject(When::operation(Operation::ClusterUserCredential), denied);
    let asked = asked(&machine, |request| request.operation == Operation::ClusterUserCredential);
    let agent = start(&mut slow(&machine));
    // The second time it has waited already, and it will again.
    asked.recv().unwrap();
    asked.recv().unwrap();
    ends(&machine, agent, "kubeconfig");
    machine.site.game.emulator.behave();
    machine.joins();
}

#[test]
fn while_the_node_is_not_ready() {
    let machine = Machine::new();
    let kubelet = machine.dir().join("kubelet-start");
    let script = fs::read_to_string(&kubelet).unwrap();
    fs::write(&kubelet, "#!/bin/sh\n").unwrap();
    let asked = asked(&machine, |request| request.operation == Operation::NodeRead);
    let agent = start(&mut slow(&machine));
    asked.recv().unwrap();
    asked.recv().unwrap();
    ends(&machine, agent, "services");
    fs::write(&kubelet, script).unwrap();
    machine.site.systemctl().args(["restart", "kubelet.service"]).status().unwrap();
    machine.joins();
}

/// The agent at a node's own pace: each of these waits would take minutes.
fn slow(machine: &Machine) -> Command {
    machine.site.join_at(1.0)
}

fn start(command: &mut Command) -> Child {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn asked(machine: &Machine, what: fn(&Recorded) -> bool) -> Receiver<()> {
    let (sender, receiver) = channel();
    machine.site.game.emulator.observe(move |request| {
        if what(request) {
            // The test may have seen enough.
            let _ = sender.send(());
        }
    });
    receiver
}

/// Tells the agent to end; it does, in this step, and what it ran has been killed.
fn ends(machine: &Machine, agent: Child, step: &str) {
    let group = Pid::from_child(&agent);
    kill_process(group, Signal::TERM).unwrap();
    let output = agent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", said(&output));
    assert!(said(&output).contains("error: ended by SIGTERM") && said(&output).contains("hint: "), "{}", said(&output));
    // What is left of its group are programs that it had no time to bury.
    while let Ok(Some((_, status))) = waitpgid(group, WaitOptions::empty()) {
        assert_eq!(status.terminating_signal(), Some(9), "a program that the agent ran has outlived it");
    }
    let state: Value = serde_json::from_slice(&fs::read(machine.path("var/lib/flexnode/state.json")).unwrap()).unwrap();
    let told = state["steps"].as_array().unwrap().iter().find(|told| told["phase"] == "failed").unwrap();
    assert_eq!(told["step"], step, "{state}");
    assert!(told["error"].as_str().unwrap().contains("SIGTERM"), "{state}");
    let left = fs::read_dir(machine.path("var/lib/flexnode")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("joined")), "a marker");
}
