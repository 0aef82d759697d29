//! The config with which a node joins the emulated cloud.

use std::path::Path;

use super::{Cloud, Emulator, Proxy, contoso};

impl Emulator {
    /// A config for `flexnode-firstboot`: contoso's cluster and application, with the secret in a file of its own. A
    /// cloud of Azure's is named, and found through `proxy`; the lab's own is found by its address.
    #[must_use]
    pub fn config(&self, ca: &Path, secret: &Path, machine: &str, proxy: Option<&Proxy>) -> String {
        let cloud = match self.cloud {
            Cloud::Lab => format!("resourceManagerEndpoint: {}", self.arm()),
            cloud => format!("cloud: {}", cloud.name()),
        };
        let proxy =
            proxy.map(|proxy| format!("\n  httpProxyConfig:\n    httpsProxy: {}", proxy.url())).unwrap_or_default();
        format!(
            "azure:
  tenantId: {tenant}
  {cloud}
  targetCluster:
    resourceId: {cluster}
  servicePrincipal:
    clientId: {app}
    clientSecretFile: {secret}
  arc:
    machineName: {machine}
    resourceGroup: {group}
    location: westeurope
node:
  name: {machine}
networking:
  caCertFile: {ca}{proxy}
rbac:
  roles:
    - role: Azure Kubernetes Service RBAC Cluster Admin
",
            tenant = contoso::TENANT,
            cluster = contoso::cluster_id(),
            app = contoso::APP,
            secret = secret.display(),
            group = contoso::MACHINES,
            ca = ca.display(),
        )
    }
}
