//! Inputs to settings: each value parsed, each default filled in, each contradiction refused, all told at once.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use super::azure::{Cloud, Guid, Region, Tenant};
use super::endpoint::Endpoint;
use super::kubernetes::{self, Taint, UNMANAGED};
use super::operator::operator;
use super::problem::key_in;
use super::resource_id::{ClusterId, Scope};
use super::{ArcMachine, Flaw, Node, NodeConfig, Problems, Proxy, RoleGrant, Settings, input};

/// Settings, if neither the inputs nor what was read before (`problems`) has a flaw.
pub(super) fn prove(config: NodeConfig, mut problems: Problems) -> Result<Settings, Problems> {
    let NodeConfig { azure, node, networking, rbac } = config;
    let found = &mut problems;
    let cluster = cluster(&azure, found);
    let cluster_location = found.parse("azure.targetCluster.location", azure.target_cluster.location);
    let cloud = found.parse("azure.cloud", azure.cloud).unwrap_or_default();
    let resource_manager = resource_manager(azure.resource_manager_endpoint, cloud, found);
    let tenant = tenant(azure.tenant_id, azure.service_principal.as_ref(), found);
    let operator = operator(azure.service_principal, tenant.as_ref(), found);
    let arc = arc_machine(azure.arc, cluster.as_ref(), cluster_location.as_ref(), found);
    let node = node_settings(node, found);
    let dns_service_ip = dns_service_ip(networking.dns_service_ip, found);
    let roles = roles(rbac, cluster.as_ref(), found);
    let proxy = proxy(networking.http_proxy_config, found);
    let ca_cert_file = absolute_path("networking.caCertFile", networking.ca_cert_file, found);

    match (cluster, resource_manager, tenant, operator, arc) {
        (Some(cluster), Some(resource_manager), Some(tenant), Some(operator), Some(arc)) if problems.is_empty() => {
            Ok(Settings {
                cluster,
                cluster_location,
                tenant,
                cloud,
                resource_manager,
                operator,
                arc,
                node,
                dns_service_ip,
                roles,
                proxy,
                ca_cert_file,
            })
        }
        _ => Err(problems),
    }
}

fn cluster(azure: &input::Azure, problems: &mut Problems) -> Option<ClusterId> {
    const KEY: &str = "azure.targetCluster.resourceId";
    let subscription: Option<Guid> = problems.parse("azure.subscriptionId", azure.subscription_id.as_ref());
    if azure.target_cluster.resource_id.is_none() {
        problems.missing(KEY, "`az aks show -g GROUP -n CLUSTER --query id -o tsv` prints it");
    }
    let cluster: ClusterId = problems.parse(KEY, azure.target_cluster.resource_id.as_ref())?;
    if subscription.is_some_and(|subscription| subscription != cluster.subscription) {
        let hint = "remove it: it defaults to the subscription of the resource id";
        problems.refuse("azure.subscriptionId", Flaw::new(format!("not the subscription in {KEY}"), hint));
    }
    Some(cluster)
}

fn resource_manager(endpoint: Option<String>, cloud: Cloud, problems: &mut Problems) -> Option<Endpoint> {
    const KEY: &str = "azure.resourceManagerEndpoint";
    let default = || cloud.facts().resource_manager.to_owned();
    let endpoint: Endpoint = problems.parse(KEY, Some(endpoint.unwrap_or_else(default)))?;
    if endpoint.is_secure() || endpoint.is_loopback() {
        return Some(endpoint);
    }
    problems.refuse(KEY, Flaw::new("not https", "tokens travel to it: write `https://`; http is for loopback alone"));
    None
}

fn tenant(
    cluster_tenant: Option<String>,
    principal: Option<&input::ServicePrincipal>,
    problems: &mut Problems,
) -> Option<Tenant> {
    let of_principal = principal.and_then(|principal| principal.tenant_id.as_ref());
    match (cluster_tenant, of_principal) {
        (Some(own), _) => problems.parse("azure.tenantId", Some(own)),
        // A flaw in it is told under its own key.
        (None, Some(of_principal)) => of_principal.parse().ok(),
        (None, None) => {
            problems.missing("azure.tenantId", "`az account show --query tenantId -o tsv` prints it");
            None
        }
    }
}

fn arc_machine(
    arc: input::Arc,
    cluster: Option<&ClusterId>,
    cluster_location: Option<&Region>,
    problems: &mut Problems,
) -> Option<ArcMachine> {
    if arc.machine_name.as_deref().is_some_and(|name| !is_machine_name(name)) {
        let hint = "write 1 to 54 letters, digits, `-`, `_`, `.`";
        problems.refuse("azure.arc.machineName", Flaw::new("not the name of an Azure Arc machine", hint));
    }
    check_tags(&arc.tags, problems);
    let location = problems.parse("azure.arc.location", arc.location).or_else(|| cluster_location.cloned());
    let resource_group = match arc.resource_group {
        Some(group) => problems.parse("azure.arc.resourceGroup", Some(group)),
        None => cluster.map(|cluster| cluster.resource_group.clone()),
    };
    Some(ArcMachine { name: arc.machine_name, resource_group: resource_group?, location, tags: arc.tags })
}

/// The pattern in Azure's own API description of Microsoft.HybridCompute/machines.
fn is_machine_name(name: &str) -> bool {
    (1..=54).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Azure's limits on tags, and those of `azcmagent`, which takes all of them as one string `name=value,name=value`.
fn check_tags(tags: &BTreeMap<String, String>, problems: &mut Problems) {
    if tags.len() > 50 {
        problems.refuse("azure.arc.tags", Flaw::new("more than 50 tags", "Azure allows 50 tags on a resource"));
    }
    for (name, value) in tags {
        let name_holds = (1..=512).contains(&name.chars().count()) && !name.contains(|c| "<>%&\\?/=,'\"".contains(c));
        let value_holds = value.chars().count() <= 256 && !value.contains([',', '\'', '"']);
        if !name_holds || !value_holds || format!("{name}{value}").contains(char::is_control) {
            let hint = "names have 1 to 512 characters without < > % & \\ ? / = and values at most 256; \
                        neither has commas, quotes or control characters";
            problems.refuse(key_in("azure.arc.tags", name), Flaw::new("not a tag that azcmagent can set", hint));
        }
    }
}

fn node_settings(node: input::Node, problems: &mut Problems) -> Node {
    let mut labels = node.labels;
    for (key, value) in &labels {
        if let Err(flaw) = kubernetes::check_label(key, value) {
            problems.refuse(key_in("node.labels", key), flaw);
        }
    }
    labels.insert(UNMANAGED.0.into(), UNMANAGED.1.into());
    Node {
        name: problems.parse("node.name", node.name),
        labels,
        taints: taints(node.taints, problems),
        max_pods: max_pods(node.max_pods, problems),
        ip: problems.parse("node.kubelet.nodeIP", node.kubelet.node_ip),
    }
}

fn taints(texts: Vec<String>, problems: &mut Problems) -> Vec<Taint> {
    let mut taints = Vec::new();
    let mut seen = HashSet::new();
    for (nth, text) in texts.into_iter().enumerate() {
        let key = format!("node.taints[{nth}]");
        let Some(taint) = problems.parse::<Taint>(key.clone(), Some(text)) else { continue };
        if seen.insert((taint.key.clone(), taint.effect)) {
            taints.push(taint);
        } else {
            let hint = "keep one of them; to change a list in a drop-in, write it there as a whole";
            problems.refuse(key, Flaw::new("a second taint with this key and effect", hint));
        }
    }
    taints
}

/// 250 is AKS's limit for a node.
fn max_pods(count: Option<i64>, problems: &mut Problems) -> Option<u16> {
    let count = count?;
    let within = u16::try_from(count).ok().filter(|count| (1..=250).contains(count));
    if within.is_none() {
        let hint = "write 1 to 250, the most that AKS supports on a node";
        problems.refuse("node.maxPods", Flaw::new(format!("{count} is out of range"), hint));
    }
    within
}

fn dns_service_ip(address: Option<String>, problems: &mut Problems) -> Option<IpAddr> {
    match kubernetes::parse_ip(&address?) {
        Ok(address) => Some(address),
        Err(flaw) => {
            problems.refuse("networking.dnsServiceIP", flaw);
            None
        }
    }
}

fn roles(rbac: input::Rbac, cluster: Option<&ClusterId>, problems: &mut Problems) -> Vec<RoleGrant> {
    let mut grants = Vec::new();
    for (nth, entry) in rbac.roles.into_iter().enumerate() {
        let key = format!("rbac.roles[{nth}]");
        if entry.role.is_none() {
            problems.missing(&format!("{key}.role"), "write the role's name or the GUID of its definition");
        }
        let role = problems.parse(format!("{key}.role"), entry.role);
        let scope = match entry.scope {
            Some(scope) => problems.parse(format!("{key}.scope"), Some(scope)),
            None => cluster.map(Scope::from),
        };
        grants.extend(role.zip(scope).map(|(role, scope)| RoleGrant { role, scope }));
    }
    grants
}

fn proxy(config: input::HttpProxyConfig, problems: &mut Problems) -> Proxy {
    const SECTION: &str = "networking.httpProxyConfig";
    for (nth, entry) in config.no_proxy.iter().enumerate() {
        if entry.is_empty() || entry.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
            let hint = "write a host, a .domain, an address or a network, one per entry";
            problems.refuse(format!("{SECTION}.noProxy[{nth}]"), Flaw::new("not one host or network", hint));
        }
    }
    Proxy {
        http: problems.parse(format!("{SECTION}.httpProxy"), config.http_proxy),
        https: problems.parse(format!("{SECTION}.httpsProxy"), config.https_proxy),
        bypass: config.no_proxy,
    }
}

pub(super) fn absolute_path(key: &str, path: Option<String>, problems: &mut Problems) -> Option<PathBuf> {
    let path = path?;
    let climbs = Path::new(&path).components().any(|part| part == Component::ParentDir);
    if path.starts_with('/') && !path.ends_with('/') && !climbs && !path.contains(char::is_control) {
        return Some(path.into());
    }
    problems.refuse(key, Flaw::new("not the absolute path of a file", "write `/directory/file`, without `..`"));
    None
}
