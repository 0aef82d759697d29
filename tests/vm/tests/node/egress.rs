//! What a node sends from power-on until it has joined: to Azure, and to nobody else.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use flexnode_vm::azure::{Cloud, contoso};
use flexnode_vm::node::Entry;

use super::node;
use super::unit::firstboot;

#[test]
fn from_power_on_until_it_has_joined_a_node_talks_to_azure_and_to_nobody_else() {
    let node = node(contoso::world().cloud(Cloud::Public));
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", guest.ask("journalctl", &["--no-pager", "--boot"]).unwrap());
    let traffic = node.traffic().unwrap();
    let ready = &node.azure.nodes(&contoso::cluster_id())[0]["status"]["conditions"];
    assert!(ready.as_array().unwrap().iter().any(|one| one["type"] == "Ready" && one["status"] == "True"), "{ready}");

    let none: [&Entry; 0] = [];
    assert_eq!(traffic.elsewhere(), none, "\n{traffic}");
    let endpoints = node.azure.endpoints();
    let names: BTreeSet<&str> = endpoints.iter().filter_map(|endpoint| endpoint.name.as_deref()).collect();
    assert_eq!(names.len(), 3, "{endpoints:?}");
    assert_eq!(traffic.names(), names, "\n{traffic}");
    let places: BTreeSet<SocketAddr> =
        endpoints.iter().map(|endpoint| SocketAddr::new(endpoint.address, endpoint.port)).collect();
    assert_eq!(traffic.connections(), places, "\n{traffic}");
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
        let unit = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=-/bin/bash -c \"{script}\"\n"
        );
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
