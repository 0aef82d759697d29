//! The kubeconfig that `listClusterUserCredential` hands out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::azure::state::AKS_SERVER;
use crate::azure::things::ClusterState;

/// For `kubelogin`, a program that no node has: only server and CA are of use.
pub(super) fn of_user(cluster: &ClusterState, tenant: &str) -> String {
    let name = &cluster.facts.name;
    let user = format!("clusterUser_{}_{name}", cluster.facts.group);
    let (ca, server) = (BASE64.encode(&cluster.ca), &cluster.server);
    format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: {server}
  name: {name}
contexts:
- context:
    cluster: {name}
    user: {user}
  name: {name}
current-context: {name}
kind: Config
preferences: {{}}
users:
- name: {user}
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - get-token
      - --environment
      - AzurePublicCloud
      - --server-id
      - {AKS_SERVER}
      - --client-id
      - 80faf920-1908-4b52-b5ef-a8e7bedfc67a
      - --tenant-id
      - {tenant}
      - --login
      - devicecode
      command: kubelogin
      env: null
      provideClusterInfo: false
"
    )
}
