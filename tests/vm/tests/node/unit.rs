//! The agent's unit under systemd: what it does at boot, what it retries, what it shows, how it ends.

use std::time::Duration;

use flexnode_vm::azure::{Fault, Service, When, contoso};
use flexnode_vm::node::{Guest, NAME, Node, Timeline};

use super::{as_shipped, node};

/// Waits for the unit's job, which began at boot; whether it succeeded.
pub(crate) fn firstboot(guest: &Guest) -> bool {
    guest.run("systemctl", &["start", "flexnode-firstboot.service"]).unwrap().status.success()
}

pub(crate) fn show(guest: &Guest, unit: &str, property: &str) -> String {
    let value = guest.ask("systemctl", &["show", "--value", "--property", property, unit]).unwrap();
    value.trim_end().to_owned()
}

/// What the journal says of this boot.
pub(crate) fn journal(guest: &Guest) -> String {
    guest.ask("journalctl", &["--no-pager", "--boot"]).unwrap()
}

fn asked_of_arm(node: &Node) -> usize {
    node.azure.requests().iter().filter(|request| request.service == Service::Arm).count()
}

/// Shows and keeps what took how long until the Node was ready.
fn timeline(node: &Node, guest: &Guest, name: &str) {
    let ready = node.await_ready(guest, NAME, Duration::from_secs(120)).unwrap();
    let timeline = Timeline::of(guest, Some(ready)).unwrap().to_string();
    println!("{name}\n{timeline}");
    node.keep(&format!("timeline of the {name}.txt"), &timeline).unwrap();
}

#[test]
fn it_joins_at_the_first_boot_and_is_skipped_at_the_next() {
    let node = as_shipped(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let nodes = node.azure.nodes(&contoso::cluster_id());
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["metadata"]["name"], NAME);
    assert_eq!(nodes[0]["metadata"]["labels"]["kubernetes.azure.com/managed"], "false");
    for unit in ["containerd.service", "kubelet.service"] {
        assert_eq!(show(&guest, unit, "ActiveState"), "active", "{unit}");
        assert_eq!(show(&guest, unit, "UnitFileState"), "enabled", "{unit}");
    }
    assert_eq!(show(&guest, "flexnode-firstboot.service", "StatusText"), format!("{NAME} has joined"));
    // The package was installed by dpkg under the unit's own restrictions.
    assert!(guest.ask("dpkg", &["--status", "azcmagent"]).unwrap().contains("install ok installed"));
    let fields = ["--no-pager", "--output", "cat", "FLEXNODE_STEP=roles", "FLEXNODE_EVENT=done"];
    assert_eq!(guest.ask("journalctl", &fields).unwrap().trim_end(), "assigning roles: done");
    let all = guest.ask("journalctl", &["--no-pager", "--output", "export"]).unwrap();
    assert!(!all.contains(contoso::SECRET), "the secret is in the journal");
    assert!(guest.ask("flexnode-firstboot", &["status"]).unwrap().starts_with("joined: "));
    timeline(&node, &guest, "first boot");
    guest.power_off().unwrap();

    let before = asked_of_arm(&node);
    let guest = node.boot().unwrap();
    timeline(&node, &guest, "reboot");
    assert!(firstboot(&guest));
    assert_eq!(show(&guest, "flexnode-firstboot.service", "ConditionResult"), "no");
    assert_eq!(show(&guest, "kubelet.service", "ActiveState"), "active");
    assert_eq!(asked_of_arm(&node), before, "nothing is asked of Azure");
}

#[test]
fn a_wrong_secret_stops_it_and_its_cure_starts_it() {
    let node = node(contoso::world());
    node.azure.change_secret(contoso::APP, "another");
    let guest = node.boot().unwrap();
    assert!(!firstboot(&guest));
    let unit = "flexnode-firstboot.service";
    assert_eq!([show(&guest, unit, "ActiveState"), show(&guest, unit, "ExecMainStatus")], ["failed", "77"]);
    assert_eq!(show(&guest, unit, "NRestarts"), "0");
    let status = guest.ask("flexnode-firstboot", &["status"]).unwrap();
    assert!(status.contains("AADSTS7000215") && status.contains("az ad app credential reset"), "{status}");
    node.azure.change_secret(contoso::APP, contoso::SECRET);
    assert!(guest.run("systemctl", &["restart", unit]).unwrap().status.success(), "{}", journal(&guest));
    assert_eq!(show(&guest, unit, "ActiveState"), "active");
}

#[test]
fn what_passes_is_tried_again_by_systemd() {
    // Not in a hurry: there would be no time to see that it waits.
    let node = as_shipped(contoso::world());
    node.azure.inject(When::service(Service::Arm), Fault::Status(503));
    let (tell, told) = std::sync::mpsc::channel();
    node.azure.observe(move |request| {
        // Who no longer listens needs not be told.
        let _ = tell.send(request.service);
    });
    let guest = node.boot().unwrap();
    // It is at work, and waits for Azure. Told to end, it ends with 75, as it does when its patience ends.
    assert_eq!(told.recv_timeout(Duration::from_secs(120)), Ok(Service::Arm));
    let unit = "flexnode-firstboot.service";
    let main = show(&guest, unit, "MainPID");
    assert_ne!(main, "0");
    guest.ask("kill", &["-TERM", &main]).unwrap();
    // systemd reaps it when it knows what comes next.
    guest.ask("tail", &[&format!("--pid={main}"), "--follow", "/dev/null"]).unwrap();
    assert_eq!([show(&guest, unit, "SubState"), show(&guest, unit, "ExecMainStatus")], ["auto-restart", "75"]);
    node.azure.behave();
    assert!(firstboot(&guest), "{}", journal(&guest));
}

#[test]
fn the_secret_may_be_a_credential_of_the_unit() {
    let node = node(contoso::world());
    let config = std::fs::read_to_string(node.path("/etc/flexnode/config.yaml")).unwrap();
    let changed = config.replace("clientSecretFile: /etc/flexnode/client-secret", "clientSecretCredential: arc");
    assert_ne!(config, changed);
    node.write("/etc/flexnode/config.yaml", &changed, 0o600).unwrap();
    let drop_in = "[Service]\nLoadCredential=arc:/etc/flexnode/client-secret\n";
    node.write("/etc/systemd/system/flexnode-firstboot.service.d/credential.conf", drop_in, 0o644).unwrap();
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
}
