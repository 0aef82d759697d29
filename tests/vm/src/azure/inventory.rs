//! What a world holds: subscriptions with their groups and clusters, and applications.

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
