//! The world of the documentation, ready to be joined.

use super::role;
use super::{App, Cluster, Subscription, World};

/// The tenant.
pub const TENANT: &str = "70a036f6-8e4d-4615-bad6-149c02e7720d";
/// The tenant's domain.
pub const DOMAIN: &str = "contoso.onmicrosoft.com";
/// The subscription.
pub const SUBSCRIPTION: &str = "44654aed-2753-4b88-9142-af7132933b6b";
/// The application that registers machines and assigns roles.
pub const APP: &str = "5c6a7d1e-0f0c-4b77-9a51-3f2d3f0a9b11";
/// Its object id.
pub const APP_OBJECT: &str = "a1b2c3d4-0f0c-4b77-9a51-3f2d3f0a9b12";
/// Its secret, unless another is given.
pub const SECRET: &str = "lab~secret-of-nobody";
/// Resource group of the cluster.
pub const GROUP: &str = "edge-rg";
/// Resource group for machines.
pub const MACHINES: &str = "edge-machines";
/// The cluster.
pub const CLUSTER: &str = "edge";

/// Resource id of the cluster.
#[must_use]
pub fn cluster_id() -> String {
    format!("{}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}", group_id(GROUP))
}

/// Resource id of a group.
#[must_use]
pub fn group_id(group: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}")
}

/// Resource id of a machine in the group for machines.
#[must_use]
pub fn machine_id(name: &str) -> String {
    format!("{}/providers/Microsoft.HybridCompute/machines/{name}", group_id(MACHINES))
}

/// The application with the least roles that docs/node-config.md asks for.
#[must_use]
pub fn app(secret: &str) -> App {
    App::new(APP, secret)
        .object_id(APP_OBJECT)
        .grant(role::ONBOARDING, &group_id(MACHINES))
        .grant(role::ONBOARDING, &group_id(GROUP))
        .grant(role::RBAC_ADMINISTRATOR, &cluster_id())
}

/// One subscription, one cluster with Azure RBAC, one application.
#[must_use]
pub fn world() -> World {
    with_cluster(Cluster::new(GROUP, CLUSTER))
}

/// The same with another cluster, which is called [`CLUSTER`] in [`GROUP`].
#[must_use]
pub fn with_cluster(cluster: Cluster) -> World {
    let subscription = Subscription::new(SUBSCRIPTION).group(GROUP).group(MACHINES).cluster(cluster);
    World::new(TENANT, DOMAIN).subscription(subscription).app(app(SECRET))
}
