//! From power-on to a ready Node, and again after a reboot.

use flexnode_vm::azure::{Service, contoso};
use flexnode_vm::node::{NAME, Timeline};

use super::{PATIENCE, firstboot, journal, node, show};

#[test]
fn a_virtual_machine_joins_at_its_first_boot_and_is_ready_again_after_the_next_without_asking_azure() {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let ready = node.await_ready(&guest, NAME, PATIENCE).unwrap();
    println!("first boot\n{}", Timeline::of(&guest, Some(ready)).unwrap());
    for unit in ["containerd.service", "kubelet.service", "himdsd.service"] {
        assert_eq!(show(&guest, unit, "ActiveState"), "active", "{unit}");
    }
    // What a container's kernel does not show: the module and sysctl files of the bundle, and the newer cgroups.
    assert_eq!(guest.ask("stat", &["--file-system", "--format=%T", "/sys/fs/cgroup"]).unwrap().trim(), "cgroup2fs");
    for module in ["overlay", "br_netfilter"] {
        assert!(guest.run("test", &["-d", &format!("/sys/module/{module}")]).unwrap().status.success(), "{module}");
    }
    let bridged = guest.ask("sysctl", &["--values", "net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward"]);
    assert_eq!(bridged.unwrap(), "1\n1\n");
    assert_eq!(guest.ask("systemctl", &["--failed", "--no-legend", "--plain"]).unwrap(), "");
    guest.power_off().unwrap();

    node.azure.forget_requests();
    let guest = node.boot().unwrap();
    let ready = node.await_ready(&guest, NAME, PATIENCE).unwrap();
    assert!(firstboot(&guest));
    println!("reboot\n{}", Timeline::of(&guest, Some(ready)).unwrap());
    assert_eq!(show(&guest, "flexnode-firstboot.service", "ConditionResult"), "no");
    assert!(node.azure.requests().iter().all(|request| request.service != Service::Arm), "nothing is asked of Azure");
}
