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
