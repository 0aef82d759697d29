//! What a test may do to the emulated cloud, and ask of it, behind the backs of its services.

use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::clock::Clock;
use super::fault::{Fault, When};
use super::operation::{Operation, Service};
use super::record::Recorded;
use super::things::{Assignment, Machine};
use super::tls::{Identity, TlsFault};
use super::token::Bearer;
use super::{ARM, ClusterRole, ENTRA, Emulator, cluster_authority};

/// Faults.
impl Emulator {
    /// Plans a fault. Of several that would befall a request, the first planned one does.
    pub fn inject(&self, when: When, fault: Fault) {
        self.shared.schedule.add(when, fault);
    }

    /// Forgets every planned fault, those of connections too.
    pub fn behave(&self) {
        self.shared.schedule.clear();
        self.identities.values().for_each(|identity| identity.behave());
    }

    /// One fault for each of the next connections to Entra ID, ARM or every API server, in this order. HIMDS has no
    /// TLS, and nothing happens to it.
    pub fn inject_tls(&self, service: Service, faults: &[TlsFault]) {
        let clusters = |name: &&String| ![ENTRA, ARM].contains(&name.as_str());
        let identities: Vec<&Identity> = match service {
            Service::Entra => self.identities.get(ENTRA).map(AsRef::as_ref).into_iter().collect(),
            Service::Arm => self.identities.get(ARM).map(AsRef::as_ref).into_iter().collect(),
            Service::Kubernetes => self
                .identities
                .iter()
                .filter(|(name, _)| clusters(name))
                .map(|(_, identity)| identity.as_ref())
                .collect(),
            Service::Himds => Vec::new(),
        };
        for identity in identities {
            identity.plan(faults.iter().copied());
        }
    }

    /// The emulator's clock.
    pub fn with_clock<T>(&self, look: impl FnOnce(&Clock) -> T) -> T {
        look(&self.shared.state().clock)
    }
}

/// Records.
impl Emulator {
    /// All requests so far, in the order in which they were answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// The requests for one operation so far.
    #[must_use]
    pub fn requests_for(&self, operation: Operation) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.operation == operation).collect()
    }

    /// Every token that was issued so far. They are secrets: for a search where they must not be.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.shared.state().issued.clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.log.clear();
    }

    /// Calls `observer` with each request from now on, before its answer is sent.
    pub fn observe(&self, observer: impl Fn(&Recorded) + Send + 'static) {
        self.shared.log.observe(Box::new(observer));
    }
}

/// The world.
impl Emulator {
    /// Grants a role by its id; everybody sees it at once.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn grant(&self, object_id: &str, role: &str, scope: &str) -> Result<()> {
        self.shared.state().grant(object_id, role, scope)
    }

    /// Takes every role of a principal.
    pub fn revoke_all(&self, object_id: &str) {
        self.shared.state().assignments.retain(|one| !one.principal.eq_ignore_ascii_case(object_id));
    }

    /// Binds a ClusterRole to an object id in a cluster, as `kubectl create clusterrolebinding` does.
    ///
    /// # Errors
    /// When there is no such cluster.
    pub fn bind(&self, cluster: &str, object_id: &str, role: ClusterRole) -> Result<()> {
        let mut state = self.shared.state();
        let cluster = state.cluster(cluster).context("find the cluster")?;
        cluster.bindings.push((object_id.to_ascii_lowercase(), role));
        Ok(())
    }

    /// Gives an application another secret.
    pub fn change_secret(&self, client_id: &str, secret: &str) {
        for app in self.shared.state().apps.iter_mut().filter(|app| app.client_id == client_id) {
            secret.clone_into(&mut app.secret);
        }
    }

    /// Lets the API server be of another version.
    ///
    /// # Errors
    /// When there is no such cluster.
    pub fn upgrade(&self, cluster: &str, version: &str) -> Result<()> {
        let mut state = self.shared.state();
        version.clone_into(&mut state.cluster(cluster).context("find the cluster")?.facts.version);
        Ok(())
    }

    /// Gives a cluster a new authority; new connections meet a certificate of it.
    ///
    /// # Errors
    /// When there is no such cluster, or no randomness.
    pub fn rotate_cluster_ca(&self, cluster: &str) -> Result<()> {
        let key = cluster.to_ascii_lowercase();
        let authority = cluster_authority()?;
        self.identities.get(&key).context("find the cluster")?.change(&authority)?;
        let mut state = self.shared.state();
        authority.pem().clone_into(&mut state.cluster(cluster).context("find the cluster")?.ca);
        self.cluster_authorities.lock().unwrap_or_else(PoisonError::into_inner).insert(key, authority);
        Ok(())
    }

    /// A cluster's API server: its URL and its CA.
    #[must_use]
    pub fn api_server(&self, cluster: &str) -> Option<(String, String)> {
        let mut state = self.shared.state();
        state.cluster(cluster).map(|cluster| (cluster.server.clone(), cluster.ca.clone()))
    }

    /// A registered machine, by its resource id.
    #[must_use]
    pub fn machine(&self, id: &str) -> Option<Machine> {
        self.shared.state().machines.get(&id.to_ascii_lowercase()).cloned()
    }

    /// All registered machines.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        self.shared.state().machines.values().cloned().collect()
    }

    /// Deletes a machine and its identity, as somebody in the portal may.
    pub fn delete_machine(&self, id: &str) -> bool {
        self.shared.state().unregister(id)
    }

    /// Deletes a cluster, which ARM then does not know. Its API server answers nobody any more once a fault says so.
    pub fn delete_cluster(&self, id: &str) -> bool {
        let mut state = self.shared.state();
        let before = state.clusters.len();
        state.clusters.retain(|cluster| !cluster.id().eq_ignore_ascii_case(id));
        state.clusters.len() < before
    }

    /// The role assignments of a principal.
    #[must_use]
    pub fn assignments(&self, object_id: &str) -> Vec<Assignment> {
        let state = self.shared.state();
        state.assignments.iter().filter(|one| one.principal.eq_ignore_ascii_case(object_id)).cloned().collect()
    }

    /// The nodes of a cluster.
    #[must_use]
    pub fn nodes(&self, cluster: &str) -> Vec<Value> {
        let mut state = self.shared.state();
        state.cluster(cluster).map(|cluster| cluster.nodes.values().cloned().collect()).unwrap_or_default()
    }

    /// The pods that kubelets mirror in a cluster.
    #[must_use]
    pub fn pods(&self, cluster: &str) -> Vec<Value> {
        let mut state = self.shared.state();
        state.cluster(cluster).map(|cluster| cluster.pods.values().cloned().collect()).unwrap_or_default()
    }

    /// A token for any audience, as if Entra ID had issued it to this object id; for requests of a test's own.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn token(&self, object_id: &str, audience: &str) -> Result<String> {
        let mut state = self.shared.state();
        let now = state.clock.now();
        let bearer = Bearer { client_id: object_id, object_id, machine: None };
        Ok(state.issue(bearer, audience, now)?.token)
    }

    /// The same as if another tenant had issued it, in this cloud and so with this key.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn foreign_token(&self, tenant: &str, object_id: &str, audience: &str) -> Result<String> {
        let mut state = self.shared.state();
        let now = state.clock.now();
        let bearer = Bearer { client_id: object_id, object_id, machine: None };
        let mut claims = state.issue(bearer, audience, now)?.claims;
        (claims.tid, claims.iss) = (tenant.to_owned(), format!("https://sts.windows.net/{tenant}/"));
        state.signer.sign(&claims)
    }
}
