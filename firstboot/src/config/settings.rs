//! A config that holds: what the join needs, in types that cannot hold anything else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::azure::{Cloud, Guid, Region, Role, Tenant};
use super::endpoint::Endpoint;
use super::kubernetes::{NodeIp, NodeName, Taint};
use super::prove::prove;
use super::resource_id::{ClusterId, ResourceGroup, Scope};
use super::{Fragment, NodeConfig, Problems, Secret};

/// What the join needs, proven.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster to join; its id holds the subscription.
    pub cluster: ClusterId,
    /// Region of the cluster, if the config says it.
    pub cluster_location: Option<Region>,
    /// Tenant of the cluster and of the machine's resource.
    pub tenant: Tenant,
    /// The cloud.
    pub cloud: Cloud,
    /// Azure Resource Manager.
    pub resource_manager: Endpoint,
    /// Who registers the machine.
    pub operator: Operator,
    /// The machine's resource in Azure Arc.
    pub arc: ArcMachine,
    /// The Node.
    pub node: Node,
    /// Address of the cluster's DNS service, if the config says it.
    pub dns_service_ip: Option<IpAddr>,
    /// Roles to grant besides Cluster User on the cluster.
    pub roles: Vec<RoleGrant>,
    /// The way out of the site.
    pub proxy: Proxy,
    /// PEM file with certificates to trust besides the system's.
    pub ca_cert_file: Option<PathBuf>,
}

/// Who registers the machine and assigns its roles.
#[derive(Debug, Clone)]
pub enum Operator {
    /// The account that is logged in to Azure CLI.
    AzureCli,
    /// An application with a secret.
    ServicePrincipal(ServicePrincipal),
}

/// An application with a secret.
#[derive(Debug, Clone)]
pub struct ServicePrincipal {
    /// The application's tenant.
    pub tenant: Tenant,
    /// The application.
    pub client_id: Guid,
    /// Where its secret is.
    pub secret: SecretSource,
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In the config.
    Inline(Secret),
    /// In a file of its own.
    File {
        /// Absolute path.
        path: PathBuf,
        /// Whether the file is deleted once the node has joined.
        remove_after_join: bool,
    },
    /// In the systemd credential of this name.
    Credential(String),
}

/// The machine's resource in Azure Arc.
#[derive(Debug, Clone)]
pub struct ArcMachine {
    /// Its name; otherwise that of the Node.
    pub name: Option<String>,
    /// Its resource group.
    pub resource_group: ResourceGroup,
    /// Its region; otherwise that of the cluster.
    pub location: Option<Region>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The Node as the kubelet registers it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name; otherwise the host's in lower case.
    pub name: Option<NodeName>,
    /// Its labels, `kubernetes.azure.com/managed=false` among them.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Most pods on it; otherwise what the bundle says.
    pub max_pods: Option<u16>,
    /// Its address; otherwise the kubelet's choice.
    pub ip: Option<NodeIp>,
}

/// A role for the machine's own identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleGrant {
    /// The role.
    pub role: Role,
    /// Where it applies.
    pub scope: Scope,
}

/// The way out of the site.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// For http.
    pub http: Option<Endpoint>,
    /// For https.
    pub https: Option<Endpoint>,
    /// Hosts, domains and networks reached directly.
    pub bypass: Vec<String>,
}

impl Settings {
    /// Puts the fragments together, first to last, and proves the whole.
    ///
    /// # Errors
    /// All problems of all fragments.
    pub fn from_fragments(fragments: impl IntoIterator<Item = Fragment>) -> Result<Self, Problems> {
        let (config, problems) = Fragment::merge(fragments);
        prove(config, problems)
    }
}

impl TryFrom<NodeConfig> for Settings {
    type Error = Problems;

    fn try_from(config: NodeConfig) -> Result<Self, Problems> {
        prove(config, Problems::default())
    }
}
