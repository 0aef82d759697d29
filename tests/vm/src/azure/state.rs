//! What exists and who may do what: one state behind all services, so that a role really gates a call.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::clock::Clock;
use super::cloud::Cloud;
use super::guid;
use super::inventory::App;
use super::role::Role;
use super::things::{Assignment, ClusterState, Machine, Pending, covers};
use super::throttle::Buckets;
use super::token::{Bearer, Issued};
use super::token::{Claims, Signer};
use super::world::{Lags, Lifetimes, Limits, Tenant, World};

/// AKS's Entra ID server application, the audience of every API server in every cloud.
pub const AKS_SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";

/// What ARM's tokens are for. Names of its own: a client that takes the public cloud's for granted fails.
pub const ARM_AUDIENCES: [&str; 2] =
    ["https://management.core.flexnode-lab.test/", "https://management.flexnode-lab.test/"];

pub(super) struct State {
    pub(super) cloud: Cloud,
    pub(super) clock: Clock,
    pub(super) signer: Signer,
    pub(super) tenant: Tenant,
    pub(super) endpoints: Endpoints,
    /// Each subscription's groups.
    pub(super) subscriptions: BTreeMap<String, Vec<String>>,
    pub(super) apps: Vec<App>,
    pub(super) principals: HashMap<String, Pending>,
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) clusters: Vec<ClusterState>,
    pub(super) buckets: Buckets,
    pub(super) lags: Lags,
    pub(super) limits: Limits,
    pub(super) lifetimes: Lifetimes,
    pub(super) cached_tokens_are_stale: bool,
    /// Every token so far.
    pub(super) issued: Vec<String>,
    sequence: u64,
}

/// Where the services are.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    pub(super) entra: String,
    pub(super) arm: String,
}

impl State {
    pub(super) fn new(world: World) -> Result<Self> {
        let World {
            cloud,
            tenant,
            subscriptions,
            apps,
            lags,
            limits,
            throttle,
            clock,
            lifetimes,
            cached_tokens_are_stale,
            ports: _,
        } = world;
        let mut state = Self {
            cloud,
            clock,
            signer: Signer::new()?,
            tenant,
            endpoints: Endpoints::default(),
            subscriptions: BTreeMap::new(),
            apps: Vec::new(),
            principals: HashMap::new(),
            machines: BTreeMap::new(),
            assignments: Vec::new(),
            clusters: Vec::new(),
            buckets: Buckets::new(throttle),
            lags,
            limits,
            lifetimes,
            cached_tokens_are_stale,
            issued: Vec::new(),
            sequence: 0,
        };
        for subscription in subscriptions {
            let id = subscription.id.to_ascii_lowercase();
            let clusters = subscription.clusters.into_iter().map(|facts| ClusterState::new(facts, &id));
            state.clusters.extend(clusters);
            state.subscriptions.insert(id, subscription.groups);
        }
        for mut app in apps {
            let object_id = app.object_id.take().map_or_else(guid::fresh, Ok)?;
            state.principals.insert(object_id.clone(), Pending::default());
            for (role, scope) in &app.grants {
                state.grant(&object_id, role, scope)?;
            }
            state.apps.push(App { object_id: Some(object_id), ..app });
        }
        Ok(state)
    }

    /// An assignment that everybody sees at once.
    pub(super) fn grant(&mut self, principal: &str, role: &str, scope: &str) -> Result<()> {
        let name = guid::fresh()?;
        self.assign(name, scope, role, principal, "");
        if let Some(assignment) = self.assignments.last_mut() {
            assignment.pending = Pending::default();
        }
        Ok(())
    }

    /// An assignment that is seen after the lag for roles.
    pub(super) fn assign(&mut self, name: String, scope: &str, role: &str, principal: &str, by: &str) {
        let now = self.clock.now();
        let (scope, role, principal) = (scope.to_owned(), role.to_ascii_lowercase(), principal.to_ascii_lowercase());
        let pending = Pending::new(self.lags.role, now);
        let sequence = self.next();
        self.assignments.push(Assignment {
            name,
            scope,
            role,
            principal,
            created: now,
            by: by.to_owned(),
            sequence,
            pending,
        });
    }

    /// Whether a role lets `who` do this at `scope`.
    pub(super) fn allows(&mut self, who: &Claims, action: &str, scope: &str, is_data: bool) -> bool {
        let now = self.clock.now();
        let stale = self.cached_tokens_are_stale && who.xms_mirid.is_some();
        let mut fitting = self.assignments.iter_mut().filter(|assignment| {
            assignment.principal == who.oid
                && covers(&assignment.scope, scope)
                && Role::with_id(&assignment.role).is_some_and(|role| role.allows(action, is_data))
                && !(stale && assignment.sequence > who.sequence)
        });
        fitting.any(|assignment| assignment.pending.arrived(now))
    }

    /// Registers a machine, with a new identity.
    pub(super) fn register(&mut self, id: &str, name: &str) -> Result<()> {
        let now = self.clock.now();
        let (principal_id, client_id) = (guid::fresh()?, guid::fresh()?);
        self.principals.insert(principal_id.clone(), Pending::new(self.lags.directory, now));
        let machine = Machine {
            id: id.to_owned(),
            name: name.to_owned(),
            location: String::new(),
            tags: Value::Null,
            vm_id: String::new(),
            agent_version: String::new(),
            principal_id,
            client_id,
            shown: Pending::new(self.lags.identity, now),
        };
        self.machines.insert(id.to_ascii_lowercase(), machine);
        Ok(())
    }

    /// Removes a machine and its identity. Its role assignments stay behind, as Azure's do.
    pub(super) fn unregister(&mut self, id: &str) -> bool {
        let removed = self.machines.remove(&id.to_ascii_lowercase());
        if let Some(machine) = &removed {
            self.principals.remove(&machine.principal_id);
        }
        removed.is_some()
    }

    /// A signed token for an application or, with `machine`, a machine's identity.
    pub(super) fn issue(&mut self, to: Bearer<'_>, audience: &str, now: Duration) -> Result<Issued> {
        let lifetime = if to.machine.is_some() { self.lifetimes.machine } else { self.lifetimes.app };
        let (iat, exp) = (now.as_secs(), (now + lifetime).as_secs());
        let claims = Claims {
            aud: audience.to_owned(),
            iss: format!("https://sts.windows.net/{}/", self.tenant.id),
            iat,
            nbf: iat,
            exp,
            appid: to.client_id.to_owned(),
            idtyp: "app".to_owned(),
            oid: to.object_id.to_ascii_lowercase(),
            tid: self.tenant.id.clone(),
            uti: guid::fresh()?,
            ver: "1.0".to_owned(),
            xms_mirid: to.machine.map(str::to_owned),
            sequence: self.next(),
        };
        let token = self.signer.sign(&claims)?;
        self.issued.push(token.clone());
        Ok(Issued { token, claims })
    }

    /// Whether tokens are issued for this resource.
    pub(super) fn knows_resource(&self, resource: &str) -> bool {
        let bare = resource.trim_end_matches('/');
        let arm = self.cloud.audiences().iter().any(|audience| audience.trim_end_matches('/') == bare);
        arm || bare == AKS_SERVER || bare == format!("api://{AKS_SERVER}")
    }

    /// The group's name as it was created.
    pub(super) fn group(&self, subscription: &str, group: &str) -> Option<&str> {
        let groups = self.subscriptions.get(&subscription.to_ascii_lowercase())?;
        groups.iter().find(|name| name.eq_ignore_ascii_case(group)).map(String::as_str)
    }

    pub(super) fn cluster(&mut self, id: &str) -> Option<&mut ClusterState> {
        self.clusters.iter_mut().find(|cluster| cluster.id().eq_ignore_ascii_case(id))
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
