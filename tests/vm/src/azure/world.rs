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
use super::cloud::Cloud;
use super::inventory::{App, Subscription};
use super::throttle::Throttle;

/// Everything that exists before the first request.
#[derive(Debug)]
pub struct World {
    pub(super) cloud: Cloud,
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
            cloud: Cloud::default(),
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

    /// By whose names the services go. By Azure's own they are reached through [`Emulator::proxy`](super::Emulator::proxy).
    #[must_use]
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.cloud = cloud;
        self
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
