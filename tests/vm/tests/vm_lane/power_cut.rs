//! Power that fails in the middle of the first boot, on a disk that keeps only what was flushed.

use std::sync::mpsc;

use flexnode_vm::azure::{Operation, contoso};
use flexnode_vm::node::NAME;

use super::{PATIENCE, firstboot, journal, node};

#[test]
fn a_machine_whose_power_fails_as_it_is_registered_joins_at_the_next_boot_as_the_same_machine() {
    let node = node(contoso::world());
    let (tell, told) = mpsc::channel();
    node.azure.observe(move |request| {
        if request.operation == Operation::MachineWrite {
            // Only the first one is awaited.
            let _ = tell.send(());
        }
    });
    let guest = node.boot().unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    drop(guest);
    assert!(!node.path("/var/lib/kubelet/kubeconfig").exists(), "the power failed before the join was over");
    let registered = node.azure.machines();
    assert_eq!(registered.len(), 1);

    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    node.await_ready(&guest, NAME, PATIENCE).unwrap();
    let machines = node.azure.machines();
    assert_eq!(machines.len(), 1);
    assert_eq!(machines[0].principal_id, registered[0].principal_id);
}
