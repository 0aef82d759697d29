//! From power-on to a ready Node, again after a reboot, and as another machine from a copy of the disk.

use std::path::Path;
use std::sync::mpsc;

use flexnode_vm::azure::{Operation, Service, contoso};
use flexnode_vm::lab;
use flexnode_vm::node::{NAME, Node, Timeline};

use super::{PATIENCE, firstboot, journal, node, show};

const CLONE: &str = "edge-node-02";

/// One machine in a row, because each boot takes a minute where its processor is emulated.
#[test]
fn a_virtual_machine_joins_at_its_first_boot_is_ready_after_the_next_without_azure_and_cloned_joins_as_another() {
    let node = node(contoso::world());
    joins_at_its_first_boot(&node);
    is_ready_again_without_asking_azure(&node);
    joins_as_another_machine_with_another_machine_id(&node);
}

fn joins_at_its_first_boot(node: &Node) {
    let image = &lab::shared().unwrap().images().busybox;
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{containers: [{{name: main, image: {image:?}, \
         command: [sleep, \"86400\"], imagePullPolicy: Never}}]}}}}"
    );
    node.write("/etc/kubernetes/manifests/web.yaml", &pod, 0o644).unwrap();
    let (tell, told) = mpsc::channel();
    node.azure.observe(move |request| {
        if request.operation == Operation::PodWrite {
            // Who no longer listens needs not be told.
            let _ = tell.send(());
        }
    });
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    // Of the bundle's image, sandbox included, by its runc and its CNI plugins.
    let web = loop {
        let pods = node.azure.pods(&contoso::cluster_id());
        match pods.into_iter().find(|pod| pod["status"]["phase"] == "Running") {
            Some(pod) => break pod,
            None => told.recv_timeout(PATIENCE).unwrap(),
        }
    };
    assert!(web["status"]["podIP"].as_str().unwrap().starts_with("10.85.0."), "{web}");
    assert_eq!(guest.ask("ctr", &["-n", "k8s.io", "tasks", "ls"]).unwrap().matches("RUNNING").count(), 2);
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
    let set = guest.ask("sysctl", &["--values", "net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward"]);
    assert_eq!(set.unwrap(), "1\n1\n");
    assert_eq!(guest.ask("systemctl", &["--failed", "--no-legend", "--plain"]).unwrap(), "");
    let traffic = node.traffic().unwrap();
    assert!(traffic.elsewhere().is_empty(), "{traffic}");
    guest.power_off().unwrap();
}

fn is_ready_again_without_asking_azure(node: &Node) {
    node.azure.forget_requests();
    let guest = node.boot().unwrap();
    let ready = node.await_ready(&guest, NAME, PATIENCE).unwrap();
    assert!(firstboot(&guest));
    println!("reboot\n{}", Timeline::of(&guest, Some(ready)).unwrap());
    assert_eq!(show(&guest, "flexnode-firstboot.service", "ConditionResult"), "no");
    assert!(node.azure.requests().iter().all(|request| request.service != Service::Arm), "nothing is asked of Azure");
    guest.power_off().unwrap();
}

/// The parent is off while its clone boots: one disk is enough for both.
fn joins_as_another_machine_with_another_machine_id(node: &Node) {
    let parent = node.azure.machines().remove(0);
    node.write("/etc/machine-id", "", 0o444).unwrap();
    node.write("/etc/hostname", &format!("{CLONE}\n"), 0o644).unwrap();
    let [ca, secret] = ["/etc/flexnode/ca.pem", "/etc/flexnode/client-secret"].map(Path::new);
    node.write("/etc/flexnode/client-secret", contoso::SECRET, 0o600).unwrap();
    node.write("/etc/flexnode/config.yaml", &node.azure.config(ca, secret, CLONE, None), 0o600).unwrap();
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    node.await_ready(&guest, CLONE, PATIENCE).unwrap();
    let machines = node.azure.machines();
    assert_eq!(machines.len(), 2, "{machines:#?}");
    let clone = machines.iter().find(|machine| machine.name == CLONE).unwrap();
    assert!(clone.vm_id != parent.vm_id && clone.principal_id != parent.principal_id);
    let nodes = node.azure.nodes(&contoso::cluster_id());
    let names: Vec<_> = nodes.iter().map(|node| node["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, [NAME, CLONE]);
}
