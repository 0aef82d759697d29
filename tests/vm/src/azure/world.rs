//! The world to emulate: a tenant with its applications, a subscription with its groups and clusters, and how slow it is.
//!
//! ```
//! use std::time::Duration;
//! use flexnode_vm::azure::{App, Clock, Cluster, Lag, Limits, Subscription, World, role};
//!
//! let cluster = Cluster::new("edge-rg", "edge").version("1.31.4").azure_rbac(false);
//! let installer = App::new("5c6a7d1e-0f0c-4b77-9a51-3f2d3f0a9b11", "s3cret")
//!     .grant(role::ONBOARDING, "/subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/edge-rg");
//! let world = World::new("70a036f6-8e4d-4615-bad6-149c02e7720d", "contoso.onmicrosoft.com")
//!     .subscription(Subscription::new("44654aed-2753-4b88-9142-af7132933b6b").group("edge-rg").cluster(cluster))
//!     .app(installer)
//!     .limits(Limits { machines: 100, ..Limits::default() })
//!     .role_lag(Lag::time(Duration::from_secs(240)))
//!     .clock(Clock::running(60.0));
//! # drop(world);
//! ```

use std::time::Duration;

use super::clock::Clock;
use super::role;
use super::throttle::Throttle;

/// Everything that exists before the first request.
#[derive(Debug)]
pub struct World {
    pub(super) tenant: Tenant,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) apps: Vec<App>,
    pub(super) lags: Lags,
    pub(super) limits: Limits,
    pub(super) throttle: Throttle,
    pub(super) clock: Clock,
    pub(super) lifetimes: Lifetimes,
    pub(super) cached_tokens_are_stale: bool,
    pub(super) ports: Ports,
}

#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) domain: String,
}

/// Where each service listens, on 127.0.0.1; 0 takes any free port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Entra ID.
    pub entra: u16,
    /// Azure Resource Manager.
    pub arm: u16,
    /// The API server of the first cluster; the others take any.
    pub kubernetes: u16,
}

/// A subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(super) id: String,
    pub(super) groups: Vec<String>,
    pub(super) clusters: Vec<Cluster>,
}

/// An application with a secret, and what it was granted.
#[derive(Debug, Clone)]
pub struct App {
    pub(super) client_id: String,
    pub(super) object_id: Option<String>,
    pub(super) secret: String,
    pub(super) secret_expired: bool,
    pub(super) grants: Vec<(String, String)>,
}

/// An AKS cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) location: String,
    pub(super) version: String,
    pub(super) dns_service_ip: String,
    pub(super) azure_rbac: bool,
}

/// How long something takes to be seen everywhere: until so many requests have met its absence, and for so long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lag {
    /// Requests that do not see it yet.
    pub requests: u32,
    /// Time by the emulator's clock in which nobody sees it.
    pub time: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lags {
    pub(super) identity: Lag,
    pub(super) directory: Lag,
    pub(super) role: Lag,
}

/// How much may exist.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Arc machines in one resource group; Azure's limit was 5,000.
    pub machines: usize,
    /// Role assignments in one subscription; Azure's limit is 4,000.
    pub role_assignments: usize,
}

/// How long tokens hold.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// An application's; Entra ID gives an hour less a second.
    pub app: Duration,
    /// A machine's; HIMDS gives a day.
    pub machine: Duration,
}

impl World {
    /// A tenant (GUID and domain) with nothing in it, without lag or throttling, by the real clock.
    #[must_use]
    pub fn new(tenant: &str, domain: &str) -> Self {
        Self {
            tenant: Tenant { id: tenant.to_owned(), domain: domain.to_owned() },
            subscriptions: Vec::new(),
            apps: Vec::new(),
            lags: Lags::default(),
            limits: Limits::default(),
            throttle: Throttle::none(),
            clock: Clock::real(),
            lifetimes: Lifetimes::default(),
            cached_tokens_are_stale: true,
            ports: Ports::default(),
        }
    }

    /// Adds a subscription.
    #[must_use]
    pub fn subscription(mut self, subscription: Subscription) -> Self {
        self.subscriptions.push(subscription);
        self
    }

    /// Adds an application; one with the same client id is replaced.
    #[must_use]
    pub fn app(mut self, app: App) -> Self {
        self.apps.retain(|other| other.client_id != app.client_id);
        self.apps.push(app);
        self
    }

    /// How late ARM shows `identity.principalId` of a new machine; requests count its GETs.
    #[must_use]
    pub fn identity_lag(mut self, lag: Lag) -> Self {
        self.lags.identity = lag;
        self
    }

    /// How late a new identity is found when a role is assigned to it; requests count `PrincipalNotFound` answers.
    #[must_use]
    pub fn directory_lag(mut self, lag: Lag) -> Self {
        self.lags.directory = lag;
        self
    }

    /// How late a new role assignment grants anything; requests count those refused meanwhile.
    #[must_use]
    pub fn role_lag(mut self, lag: Lag) -> Self {
        self.lags.role = lag;
        self
    }

    /// How much may exist.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// ARM's token buckets.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// The emulator's clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long tokens hold.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// Whether a role granted after a machine's token was issued stays invisible to that token. True by default, as
    /// Azure/AKSFlexNode#294 and #299 saw it: HIMDS hands out the same token until it is restarted.
    #[must_use]
    pub fn cached_tokens_are_stale(mut self, stale: bool) -> Self {
        self.cached_tokens_are_stale = stale;
        self
    }

    /// Where the services listen.
    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }
}

impl Subscription {
    /// An empty subscription with this GUID.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), groups: Vec::new(), clusters: Vec::new() }
    }

    /// Adds a resource group.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.groups.push(name.to_owned());
        self
    }

    /// Adds a cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.clusters.push(cluster);
        self
    }
}

impl App {
    /// An application by its client id.
    #[must_use]
    pub fn new(client_id: &str, secret: &str) -> Self {
        let (client_id, secret) = (client_id.to_owned(), secret.to_owned());
        Self { client_id, object_id: None, secret, secret_expired: false, grants: Vec::new() }
    }

    /// The object id of its service principal; a random one otherwise.
    #[must_use]
    pub fn object_id(mut self, id: &str) -> Self {
        self.object_id = Some(id.to_owned());
        self
    }

    /// Lets the secret be past its end.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.secret_expired = true;
        self
    }

    /// Grants a role by its id, at a scope.
    #[must_use]
    pub fn grant(mut self, role: &str, scope: &str) -> Self {
        self.grants.push((role.to_owned(), scope.to_owned()));
        self
    }
}

impl Cluster {
    /// A cluster of Kubernetes 1.30.0 in westeurope with Azure RBAC.
    #[must_use]
    pub fn new(group: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
            location: "westeurope".to_owned(),
            version: "1.30.0".to_owned(),
            dns_service_ip: "10.0.0.10".to_owned(),
            azure_rbac: true,
        }
    }

    /// Version of the API server, without a `v`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Region.
    #[must_use]
    pub fn location(mut self, location: &str) -> Self {
        self.location = location.to_owned();
        self
    }

    /// Address of the DNS service.
    #[must_use]
    pub fn dns_service_ip(mut self, address: &str) -> Self {
        self.dns_service_ip = address.to_owned();
        self
    }

    /// Whether Azure roles count inside the cluster; otherwise bindings alone do.
    #[must_use]
    pub fn azure_rbac(mut self, on: bool) -> Self {
        self.azure_rbac = on;
        self
    }
}

impl Lag {
    /// A lag in requests.
    #[must_use]
    pub fn requests(requests: u32) -> Self {
        Self { requests, time: Duration::ZERO }
    }

    /// A lag in time.
    #[must_use]
    pub fn time(time: Duration) -> Self {
        Self { requests: 0, time }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { machines: 5000, role_assignments: 4000 }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { app: Duration::from_secs(3599), machine: Duration::from_secs(86_399) }
    }
}

/// The world of the documentation, ready to be joined.
pub mod contoso {
    use super::{App, Cluster, Subscription, World, role};

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
}
