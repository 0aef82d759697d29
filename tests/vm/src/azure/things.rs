//! The things that exist: machines, role assignments, clusters, and what is not seen everywhere yet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::ClusterRole;
use super::inventory::Cluster;
use super::world::Lag;

/// An Arc machine in ARM.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its resource id.
    pub id: String,
    /// Its name, as it was registered.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its tags.
    pub tags: Value,
    /// What the agent calls itself.
    pub vm_id: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Object id of its identity.
    pub principal_id: String,
    /// Client id of its identity.
    pub client_id: String,
    pub(super) shown: Pending,
}

/// A role assignment.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its name, a GUID.
    pub name: String,
    /// Where it applies.
    pub scope: String,
    /// The role's id.
    pub role: String,
    /// Object id of who has it.
    pub principal: String,
    pub(super) created: Duration,
    pub(super) by: String,
    pub(super) sequence: u64,
    pub(super) pending: Pending,
}

/// A cluster, with what is in it.
#[derive(Debug)]
pub(super) struct ClusterState {
    pub(super) facts: Cluster,
    pub(super) subscription: String,
    pub(super) server: String,
    pub(super) ca: String,
    pub(super) nodes: BTreeMap<String, Value>,
    pub(super) leases: BTreeMap<String, Value>,
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) bindings: Vec<(String, ClusterRole)>,
    pub(super) revision: u64,
}

/// Something that is not seen everywhere yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pending {
    requests: u32,
    until: Duration,
}

impl Pending {
    pub(super) fn new(lag: Lag, now: Duration) -> Self {
        Self { requests: lag.requests, until: now + lag.time }
    }

    /// Whether the request that asks sees it; if not, it has been counted.
    pub(super) fn arrived(&mut self, now: Duration) -> bool {
        if self.requests > 0 {
            self.requests -= 1;
            return false;
        }
        now >= self.until
    }
}

impl ClusterState {
    pub(super) fn new(facts: Cluster, subscription: &str) -> Self {
        Self {
            facts,
            subscription: subscription.to_owned(),
            server: String::new(),
            ca: String::new(),
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            pods: BTreeMap::new(),
            bindings: Vec::new(),
            revision: 1,
        }
    }

    pub(super) fn id(&self) -> String {
        let Self { facts: Cluster { group, name, .. }, subscription, .. } = self;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerService/managedClusters/{name}"
        )
    }
}

/// Whether `scope` is `above` or below it.
pub(super) fn covers(above: &str, scope: &str) -> bool {
    let (above, scope) = (above.trim_end_matches('/').to_ascii_lowercase(), scope.to_ascii_lowercase());
    scope.strip_prefix(&above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
