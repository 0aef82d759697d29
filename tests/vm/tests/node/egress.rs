//! What a node sends from power-on until it has joined: to Azure, and to nobody else.

use std::collections::BTreeSet;
use std::process::Command;

use flexnode_vm::azure::{Cloud, contoso};
use serde_json::Value;

use super::unit::firstboot;
use super::{bundle, node};

#[test]
fn from_power_on_until_it_has_joined_a_node_talks_to_azure_and_to_nobody_else() {
    let kept = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_flexnode-vm"))
        .arg("egress")
        .arg(bundle())
        .args(["--json", "--keep"])
        .arg(kept.path())
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{list}{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&seen["joined"], &seen["elsewhere"]), (&true.into(), &0.into()), "{list}");
    let all = |kind: &str, key: &str| -> BTreeSet<String> {
        let entries = seen["traffic"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind);
        entries.map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
    };
    let names = ["edge-0.hcp.westeurope.azmk8s.io", "login.microsoftonline.com", "management.azure.com"];
    assert_eq!(all("question", "name"), names.map(str::to_owned).into(), "{list}");
    assert_eq!(all("question", "server"), ["192.0.2.1".to_owned()].into(), "{list}");
    let services = ["192.0.2.10:443", "192.0.2.11:443", "192.0.2.12:443"];
    assert_eq!(all("connection", "to"), services.map(str::to_owned).into(), "{list}");
    // What is neither is the kernel's, and has not left the line.
    let kinds = [all("datagram", "to"), all("other", "to"), all("unreadable", "verdict")];
    assert_eq!(kinds, [const { BTreeSet::new() }; 3], "{list}");
    for name in ["traffic.txt", "traffic.json", "traffic.pcap", "journal.txt", "requests.txt"] {
        assert!(kept.path().join(name).metadata().unwrap().len() > 0, "{name}");
    }
}

/// What telemetry, time services and package archives do.
const CALLS: [(&str, &str, &str); 5] = [
    ("asks-a-name", "getent hosts telemetry.example.net", "DNS A     telemetry.example.net of 192.0.2.1"),
    ("asks-elsewhere", "exec 3<>/dev/udp/203.0.113.53/53; printf hello >&3", "UDP       203.0.113.53:53"),
    ("connects", "timeout 1 bash -c '</dev/tcp/203.0.113.9/443'", "TCP       203.0.113.9:443"),
    ("connects-by-ipv6", "timeout 1 bash -c '</dev/tcp/2001:db8:9::9/80'", "TCP       [2001:db8:9::9]:80"),
    ("asks-the-time", "exec 3<>/dev/udp/203.0.113.7/123; printf hello >&3", "UDP       203.0.113.7:123 (NTP)"),
];

#[test]
fn a_bundle_that_calls_elsewhere_is_caught_with_the_destination_of_each_call() {
    let node = node(contoso::world().cloud(Cloud::Public));
    for (name, script, _) in CALLS {
        let unit =
            format!("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=-/bin/bash -c \"{script}\"\n");
        node.write(&format!("/etc/systemd/system/{name}.service"), &unit, 0o644).unwrap();
    }
    let all: Vec<String> = CALLS.iter().map(|(name, ..)| format!("{name}.service")).collect();
    // Before anything else of the bundle is at work.
    let early = format!("[Unit]\nWants={0}\nAfter={0}\n", all.join(" "));
    node.write("/etc/systemd/system/flexnode-firstboot.service.d/calls.conf", &early, 0o644).unwrap();
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest));
    let traffic = node.traffic().unwrap();
    let told: Vec<String> = traffic.elsewhere().iter().map(|entry| entry.sent.to_string()).collect();
    for (name, _, words) in CALLS {
        assert!(told.iter().any(|told| told.starts_with(words)), "{name}\n{traffic}");
    }
    // It is told what was called, and nothing that was not.
    let expected = |told: &&String| CALLS.iter().any(|(.., words)| told.starts_with(words));
    let others: Vec<&String> = told.iter().filter(|told| !expected(told) && !told.contains("telemetry")).collect();
    assert!(others.is_empty(), "{others:?}\n{traffic}");
}
