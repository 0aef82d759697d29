//! The config with which a node joins the emulated cloud.

use std::path::Path;

use super::{Emulator, contoso};

impl Emulator {
    /// A config for `flexnode-firstboot`: contoso's cluster and application, with the secret in a file of its own.
    #[must_use]
    pub fn config(&self, ca: &Path, secret: &Path, machine: &str) -> String {
        format!(
            "azure:
  tenantId: {tenant}
  resourceManagerEndpoint: {arm}
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
  caCertFile: {ca}
rbac:
  roles:
    - role: Azure Kubernetes Service RBAC Cluster Admin
",
            tenant = contoso::TENANT,
            arm = self.arm(),
            cluster = contoso::cluster_id(),
            app = contoso::APP,
            secret = secret.display(),
            group = contoso::MACHINES,
            ca = ca.display(),
        )
    }
}
