//! The keys a config may hold, as written: shapes only. What the values must be is told by `settings`.
//!
//! Names are those of AKS Flex Node (`docs/usages/configuration.md` there) wherever the meaning is the same.
//! Every field's text below becomes a `description` in the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;

use super::Secret;

/// Config of one node, `/etc/flexnode/config.yaml`. Files in `config.d/` have the same shape and are
/// laid over it: maps merge key by key, other values and lists are replaced, null takes a value or a list back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// Where the node belongs in Azure, and who may put it there.
    #[serde(default)]
    pub azure: Azure,
    /// What the kubelet registers.
    #[serde(default)]
    pub node: Node,
    /// The cluster's network, the way to Azure.
    #[serde(default)]
    pub networking: Networking,
    /// What the machine's own identity is granted.
    #[serde(default)]
    pub rbac: Rbac,
}

/// Where the node belongs in Azure, and who may put it there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Azure {
    /// Subscription of the cluster (GUID). Default: the one in `targetCluster.resourceId`; if given, it must be that one.
    pub subscription_id: Option<String>,
    /// Microsoft Entra tenant of the cluster: GUID or domain. Default: `servicePrincipal.tenantId`.
    pub tenant_id: Option<String>,
    /// Azure cloud. Default: `AzurePublicCloud`.
    #[schemars(extend("enum" = ["AzurePublicCloud", "AzureUSGovernment", "AzureChinaCloud", null]))]
    pub cloud: Option<String>,
    /// Azure Resource Manager endpoint, `https://host[:port]`; plain http only on loopback. Default: that of `cloud`.
    pub resource_manager_endpoint: Option<String>,
    /// The AKS cluster to join.
    #[serde(default)]
    pub target_cluster: TargetCluster,
    /// Registers the machine and assigns its roles. Without it the account logged in to Azure CLI does.
    pub service_principal: Option<ServicePrincipal>,
    /// The machine's resource in Azure Arc.
    #[serde(default)]
    pub arc: Arc,
}

/// The AKS cluster to join.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetCluster {
    /// Required. ARM resource id, in any case:
    /// `/subscriptions/<guid>/resourceGroups/<group>/providers/Microsoft.ContainerService/managedClusters/<name>`.
    pub resource_id: Option<String>,
    /// Azure region of the cluster. Default: what Azure Resource Manager says.
    pub location: Option<String>,
}

/// An application that may register machines and assign roles. Exactly one of the three secret keys is needed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePrincipal {
    /// Tenant of the application: GUID or domain. Default: `azure.tenantId`.
    pub tenant_id: Option<String>,
    /// Required. Application (client) id, a GUID.
    pub client_id: Option<String>,
    /// The secret itself; the file that holds it must not be readable by others (mode 0600).
    pub client_secret: Option<Secret>,
    /// Absolute path of a file that holds the secret and nothing else.
    pub client_secret_file: Option<String>,
    /// Name of a systemd credential of `flexnode-firstboot.service` that holds the secret.
    pub client_secret_credential: Option<String>,
    /// Deletes the file named by `clientSecretFile` once the node has joined. Default: false.
    pub remove_secret_after_join: Option<bool>,
}

/// The machine's resource in Azure Arc.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arc {
    /// Name of the resource, at most 54 letters, digits, `-`, `_`, `.`. Default: the node's name.
    pub machine_name: Option<String>,
    /// Resource group of the resource. Default: that of the cluster.
    pub resource_group: Option<String>,
    /// Azure region of the resource. Default: that of the cluster.
    pub location: Option<String>,
    /// Tags of the resource.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// What the kubelet registers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Name of the Node, DNS-1123, at most 63 characters. Default: the machine's host name in lower case.
    pub name: Option<String>,
    /// Labels of the Node; values are strings, so quote `"true"` and `"1.30"`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node, each `key=value:Effect` or `key:Effect`.
    #[serde(default)]
    pub taints: Vec<String>,
    /// Most pods on this node, 1 to 250. Default: the bundle's kubelet config.
    #[schemars(range(min = 1, max = 250))]
    pub max_pods: Option<i64>,
    /// The kubelet's own values for this machine.
    #[serde(default)]
    pub kubelet: Kubelet,
}

/// The kubelet's own values for this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubelet {
    /// Address of the node (`--node-ip`): one, or one of each family as `10.0.0.4,fd00::4`. Default: the kubelet's choice.
    #[serde(rename = "nodeIP")]
    pub node_ip: Option<String>,
}

/// The cluster's network, the way to Azure.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Networking {
    /// Address of the cluster's DNS service. Default: what Azure Resource Manager says.
    #[serde(rename = "dnsServiceIP")]
    pub dns_service_ip: Option<String>,
    /// The way out of the site. Without it, a direct connection.
    #[serde(default)]
    pub http_proxy_config: HttpProxyConfig,
    /// Absolute path of a PEM file with certificates to trust besides the system's.
    pub ca_cert_file: Option<String>,
}

/// The way out of the site; the key names are those of an AKS cluster's own `httpProxyConfig`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProxyConfig {
    /// Proxy for http, `http://host:port`, without user and password.
    pub http_proxy: Option<String>,
    /// Proxy for https, `http://host:port`, without user and password.
    pub https_proxy: Option<String>,
    /// Hosts, domains and networks reached directly.
    #[serde(default)]
    pub no_proxy: Vec<String>,
}

/// What the machine's own identity is granted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rbac {
    /// Azure roles besides `Azure Kubernetes Service Cluster User Role` on the cluster, which is always granted.
    #[serde(default)]
    pub roles: Vec<Role>,
}

/// One Azure role at one scope.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Required. Name of the role, or the GUID of its definition.
    pub role: Option<String>,
    /// Resource id of a subscription, a resource group or a resource. Default: the cluster.
    pub scope: Option<String>,
}

/// The JSON Schema of the config (draft 2020-12), also for drop-ins: no key is `required` in each of the files.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    generator.into_root_schema_for::<NodeConfig>().to_value()
}
