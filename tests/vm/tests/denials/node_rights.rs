//! A machine's identity that may not act as a kubelet.

use flexnode_vm::azure::{Cluster, Fault, Operation, When, contoso};
use serde_json::json;

use crate::bench::{Bench, ends_with};
use crate::hint::{self, follow};

/// The roles that the config of the lab asks for besides Cluster User.
const ROLES: &str = "rbac:\n  roles:\n    - role: Azure Kubernetes Service RBAC Cluster Admin\n";

#[test]
fn with_azure_rbac_the_hint_grants_a_role_that_holds_even_for_a_cached_token() {
    let bench = Bench::new(contoso::world());
    bench.change_config(ROLES, "");
    let said = bench.ends_with(77);
    let line = format!(
        "az role assignment create --assignee-object-id {} --assignee-principal-type ServicePrincipal --role \"Azure \
         Kubernetes Service RBAC Cluster Admin\" --scope \"{}\"",
        bench.principal(),
        contoso::cluster_id()
    );
    assert_eq!(hint::of(&said), line);
    assert!(said.contains("may not act as a kubelet, it lacks: create nodes, get nodes, patch nodes/status"), "{said}");
    assert!(!bench.site.systemctl_log().contains("kubelet"), "{}", bench.site.systemctl_log());
    assert!(!bench.site.path("var/lib/kubelet/kubeconfig").exists());
    // Five permissions, with HIMDS's token and with a new one.
    assert_eq!(bench.count(Operation::AccessReview), 10);

    follow(&bench, &said);
    bench.joins();
}

#[test]
fn without_azure_rbac_the_hint_binds_a_cluster_role() {
    let cluster = Cluster::new(contoso::GROUP, contoso::CLUSTER).azure_rbac(false);
    let bench = Bench::new(contoso::with_cluster(cluster));
    bench.change_config(ROLES, "");
    let said = bench.ends_with(77);
    let line = format!(
        "kubectl create clusterrolebinding flexnode-edge-node-01 --clusterrole=system:node --user={}",
        bench.principal()
    );
    assert_eq!(hint::of(&said), line);
    assert_eq!((bench.count(Operation::AccessReview), bench.restarts()), (5, 0), "a binding needs no new token");
    follow(&bench, &said);
    bench.joins();
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn a_role_of_the_config_that_does_not_suffice_is_told_after_roles_have_had_their_time() {
    let bench = Bench::new(contoso::world());
    bench.change_config("Azure Kubernetes Service RBAC Cluster Admin", "Reader");
    let said = ends_with(&mut bench.site.join_at(0.003), 77);
    assert!(hint::of(&said).contains("Azure Kubernetes Service RBAC Cluster Admin"), "{said}");
    assert_eq!(bench.restarts(), 1);
    follow(&bench, &said);
    bench.joins();
}

#[test]
fn a_cluster_without_entra_id_is_told_at_once() {
    let bench = Bench::new(contoso::world());
    let body = json!({"location": "westeurope", "properties": {"networkProfile": {"dnsServiceIP": "10.0.0.10"}}});
    let answer = Fault::Answer { status: 200, headers: Vec::new(), body: body.to_string() };
    bench.azure().inject(When::operation(Operation::ClusterRead), answer);
    let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "message": "Unauthorized", "code": 401});
    let refused = Fault::Answer { status: 401, headers: Vec::new(), body: refusal.to_string() };
    bench.azure().inject(When::operation(Operation::ServerVersion), refused);
    let said = bench.ends_with(77);
    assert!(hint::of(&said).ends_with("az aks update -g edge-rg -n edge --enable-aad"), "{said}");
    assert_eq!(bench.count(Operation::ServerVersion), 1);
    bench.azure().behave();
    bench.joins();
}
