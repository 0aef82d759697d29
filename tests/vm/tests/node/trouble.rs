//! What goes wrong around a first boot: the state that systemd and `status` show, and the cure that they name.

use std::sync::mpsc::channel;
use std::time::Duration;

use flexnode_vm::azure::{App, Fault, Lag, Service, When, contoso, role};
use flexnode_vm::node::{Guest, NAME};

use super::node;
use super::power::add_script;
use super::unit::{firstboot, journal, show};

const UNIT: &str = "flexnode-firstboot.service";

fn status(guest: &Guest) -> String {
    guest.ask("flexnode-firstboot", &["status"]).unwrap()
}

/// It has failed for good, with this exit code; what `status` says then.
fn has_failed(guest: &Guest, code: &str) -> String {
    assert!(!firstboot(guest), "{}", journal(guest));
    let shown = ["ActiveState", "ExecMainStatus", "NRestarts"].map(|property| show(guest, UNIT, property));
    assert_eq!(shown, ["failed", code, "0"], "{}", journal(guest));
    status(guest)
}

fn is_cured(guest: &Guest) {
    assert!(guest.run("systemctl", &["restart", UNIT]).unwrap().status.success(), "{}", journal(guest));
}

#[test]
fn azure_may_be_down_for_the_first_minutes() {
    let node = node(contoso::world());
    node.azure.inject(When::service(Service::Arm), Fault::Status(503));
    let (tell, told) = channel();
    node.azure.observe(move |request| {
        // Who no longer listens needs not be told.
        let _ = tell.send(request.service);
    });
    let guest = node.boot().unwrap();
    for _ in 0..3 {
        assert_eq!(told.recv_timeout(Duration::from_secs(120)), Ok(Service::Arm));
    }
    // Two attempts have failed and are told; the unit is at work, nothing has failed yet.
    assert_eq!(show(&guest, UNIT, "ActiveState"), "activating");
    let text = show(&guest, UNIT, "StatusText");
    assert!(text.contains("503"), "{text}");
    let status = status(&guest);
    assert!(status.starts_with("not joined") && status.contains("arc: error: ") && status.contains("503"), "{status}");
    node.azure.behave();
    assert!(firstboot(&guest), "{}", journal(&guest));
    assert!(node.is_ready(NAME));
}

#[test]
fn a_role_that_propagates_late_is_waited_for() {
    let node = node(contoso::world().role_lag(Lag::requests(2)));
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    assert!(node.is_ready(NAME));
    let refused = node.azure.requests().iter().filter(|request| request.status == Some(403)).count();
    assert_eq!(refused, 2, "{:#?}", node.azure.requests());
    let status = status(&guest);
    let attempts = status.lines().find(|line| line.starts_with("kubeconfig")).unwrap();
    assert!(attempts.contains("done") && !attempts.ends_with(" 0"), "{status}");
}

#[test]
fn an_operator_who_may_not_assign_roles_stops_it_and_the_hint_is_the_cure() {
    let app = App::new(contoso::APP, contoso::SECRET).object_id(contoso::APP_OBJECT);
    let app = app.grant(role::ONBOARDING, &contoso::group_id(contoso::MACHINES));
    let app = app.grant(role::READER, &contoso::cluster_id());
    let node = node(contoso::world().app(app));
    let guest = node.boot().unwrap();
    let status = has_failed(&guest, "77");
    let principal = node.azure.machines()[0].principal_id.clone();
    let line = format!("az role assignment create --assignee-object-id {principal} ");
    assert!(status.contains("AuthorizationFailed") && status.contains(&line), "{status}");
    node.azure.grant(&principal, role::CLUSTER_USER, &contoso::cluster_id()).unwrap();
    node.azure.grant(&principal, role::RBAC_CLUSTER_ADMIN, &contoso::cluster_id()).unwrap();
    is_cured(&guest);
    assert!(node.is_ready(NAME));
}

#[test]
fn a_cluster_that_is_gone_before_the_join_stops_it() {
    let node = node(contoso::world());
    assert!(node.azure.delete_cluster(&contoso::cluster_id()));
    let guest = node.boot().unwrap();
    let status = has_failed(&guest, "78");
    assert!(status.contains("ResourceNotFound") && status.contains("az aks list"), "{status}");
    assert!(node.azure.machines().is_empty(), "nothing was registered for a cluster that is not there");
}

#[test]
fn a_cluster_that_is_gone_after_the_join_leaves_the_node_at_work_and_a_run_by_hand_says_so() {
    let node = node(contoso::world());
    let guest = node.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    guest.power_off().unwrap();
    assert!(node.azure.delete_cluster(&contoso::cluster_id()));
    node.azure.inject(When::service(Service::Kubernetes), Fault::Reset);

    let guest = node.boot().unwrap();
    assert!(firstboot(&guest));
    assert_eq!(show(&guest, UNIT, "ConditionResult"), "no");
    guest.ask("systemctl", &["start", "kubelet.service"]).unwrap();
    for unit in ["containerd.service", "kubelet.service"] {
        assert_eq!(show(&guest, unit, "ActiveState"), "active", "{unit}");
    }
    assert!(status(&guest).starts_with("joined: "), "asked of the disk alone");
    let by_hand = guest.run("flexnode-firstboot", &[]).unwrap();
    let said = String::from_utf8_lossy(&by_hand.stderr);
    assert_eq!(by_hand.status.code(), Some(78), "{said}");
    assert!(said.contains("ResourceNotFound") && said.contains("az aks list"), "{said}");
}

#[test]
fn a_package_that_does_not_install_stops_it_and_a_good_one_cures_it() {
    let node = node(contoso::world());
    let package = "/usr/share/flexnode/debs/azcmagent_1.61_amd64.deb";
    std::fs::copy(node.path(package), node.path("/root/good.deb")).unwrap();
    add_script(&node, "postinst", "echo no room for the agent >&2; exit 1");
    let guest = node.boot().unwrap();
    let status = has_failed(&guest, "1");
    assert!(status.contains("no room for the agent") && status.contains("dpkg --configure --pending"), "{status}");
    assert!(node.azure.machines().is_empty(), "half an agent registers nothing");
    guest.ask("cp", &["/root/good.deb", package]).unwrap();
    is_cured(&guest);
    let installed = guest.ask("dpkg-query", &["--show", "--showformat=${db:Status-Status}", "azcmagent"]).unwrap();
    assert_eq!(installed, "installed");
    assert!(node.is_ready(NAME));
}
