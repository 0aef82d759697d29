//! Azure as far as a join meets it: Entra ID, Resource Manager, HIMDS and an API server, with one state behind them.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use flexnode_vm::azure::{Emulator, Fault, Operation, When, contoso};
//!
//! let azure = Emulator::start(contoso::world())?;
//! azure.inject(When::operation(Operation::ClusterRead).first(2), Fault::Throttled { retry_after: 3 });
//! // … let something join, with `azure.arm()` as its endpoint and `azure.ca_pem()` as its CA …
//! assert_eq!(azure.requests_for(Operation::RoleAssignmentWrite).len(), 1);
//! # Ok(())
//! # }
//! ```

mod arm;
mod call;
pub mod client;
mod clock;
mod cloud;
mod config;
pub mod contoso;
mod control;
mod entra;
mod fault;
pub(crate) mod guid;
mod himds;
mod himdsd;
mod inventory;
mod kubernetes;
mod operation;
mod place;
pub mod play;
mod proxy;
mod record;
pub mod role;
mod server;
mod state;
mod things;
mod throttle;
mod tls;
mod token;
mod wire;
mod world;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::himds::Site;
use self::server::{Desk, Shared};
use self::state::{Endpoints, State};
use self::tls::Identity;
use crate::faults::Authority;

pub use self::clock::Clock;
pub use self::cloud::{Cloud, Hosts};
pub use self::fault::{Fault, When};
pub use self::himds::AgentConfig;
pub use self::himdsd::HimdsDaemon;
pub use self::inventory::{App, Cluster, Subscription};
pub use self::kubernetes::ClusterRole;
pub use self::operation::{Operation, Service};
pub use self::place::{Addresses, Endpoint};
pub use self::proxy::Proxy;
pub use self::record::Recorded;
pub use self::state::{AKS_SERVER, ARM_AUDIENCES};
pub use self::things::{Assignment, Machine};
pub use self::throttle::{Bucket, Throttle};
pub use self::tls::TlsFault;
pub use self::token::Claims;
pub use self::world::{Lag, Lifetimes, Limits, Ports, World};

/// The emulator. Dropping it closes its ports and every connection.
pub struct Emulator {
    shared: Arc<Shared>,
    authority: Authority,
    identities: HashMap<String, Arc<Identity>>,
    /// The authority of each cluster, by its id; another one after a rotation.
    cluster_authorities: Mutex<HashMap<String, Authority>>,
    endpoints: Endpoints,
    cloud: Cloud,
    /// Where the services are, by `host:port` of their URLs.
    places: HashMap<String, SocketAddr>,
    runtime: Option<Runtime>,
}

/// One machine's HIMDS. Dropping it stops it.
pub struct Himds {
    site: Arc<Site>,
    url: String,
    task: JoinHandle<()>,
}

const ENTRA: &str = "entra";
const ARM: &str = "arm";

impl Emulator {
    /// Starts Entra ID, ARM and the API server of each cluster, on 127.0.0.1.
    ///
    /// # Errors
    /// When no port, thread or certificate can be had.
    pub fn start(world: World) -> Result<Self> {
        Self::start_at(world, Addresses::LOOPBACK)
    }

    /// The same on addresses of the network namespace that the calling thread is in. There a cloud of Azure's listens on
    /// Azure's port, and its API server has a name as AKS gives them.
    ///
    /// # Errors
    /// When no port, thread or certificate can be had.
    pub fn start_at(world: World, addresses: Addresses) -> Result<Self> {
        let (ports, cloud) = (world.ports, world.cloud);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the emulator's threads")?;
        let authority = Authority::named("Flexnode lab Azure")?;
        let state = Mutex::new(State::new(world)?);
        let shared = Arc::new(Shared { state, schedule: fault::Schedule::default(), log: record::Log::default() });
        let mut identities = HashMap::new();
        let mut places = HashMap::new();
        let mut serve = |name: &str, host: Option<&str>, at: (IpAddr, u16), desk: Desk, authority: &Authority| {
            let identity = Arc::new(Identity::new(authority, host, at.0)?);
            identities.insert(name.to_owned(), Arc::clone(&identity));
            let at = SocketAddr::new(at.0, place::port_of(host, at.0, at.1));
            let (address, _) = server::start(runtime.handle(), at, Some(identity), desk, &shared)
                .with_context(|| format!("start the service {name}"))?;
            // Azure's names have Azure's port: the URLs hold none.
            let (place, url) = match host {
                Some(host) => (format!("{host}:443"), format!("https://{host}")),
                None => (address.to_string(), format!("https://{address}")),
            };
            places.insert(place, address);
            anyhow::Ok(url)
        };
        let hosts = cloud.hosts();
        let endpoints = Endpoints {
            entra: serve(
                ENTRA,
                hosts.map(|hosts| hosts.entra),
                (addresses.entra, ports.entra),
                Desk::Entra,
                &authority,
            )?,
            arm: serve(ARM, hosts.map(|hosts| hosts.arm), (addresses.arm, ports.arm), Desk::Arm, &authority)?,
        };
        let mut cluster_authorities = HashMap::new();
        let ids: Vec<String> = shared.state().clusters.iter().map(things::ClusterState::id).collect();
        for (nth, id) in ids.into_iter().enumerate() {
            let key = id.to_ascii_lowercase();
            let own = cluster_authority()?;
            let port = if nth == 0 { ports.kubernetes } else { 0 };
            let host = cloud.api_server(nth, addresses.kubernetes);
            let at = (addresses.kubernetes, port);
            let server = serve(&key, host.as_deref(), at, Desk::Kubernetes(id.as_str().into()), &own)?;
            if let Some(cluster) = shared.state().cluster(&id) {
                (cluster.server, cluster.ca) = (server, own.pem().to_owned());
            }
            cluster_authorities.insert(key, own);
        }
        shared.state().endpoints = endpoints.clone();
        let cluster_authorities = Mutex::new(cluster_authorities);
        Ok(Self {
            shared,
            authority,
            identities,
            cluster_authorities,
            endpoints,
            cloud,
            places,
            runtime: Some(runtime),
        })
    }

    /// Starts the HIMDS of one machine, on plain http.
    ///
    /// `state` is where its Arc agent keeps `agentconfig.json`, `tokens` where the files of challenges go; port 0 takes
    /// any.
    ///
    /// # Errors
    /// When the port cannot be had or `tokens` cannot be made.
    pub fn himds(&self, state: &Path, tokens: &Path, port: u16) -> Result<Himds> {
        self.serve_himds(Site::new(state, tokens, tokens)?, port)
    }

    /// The same for a machine whose root is `root`, where a real one's HIMDS is: port 40342 of the network namespace that
    /// the calling thread is in.
    ///
    /// # Errors
    /// As for [`Emulator::himds`].
    pub fn himds_of(&self, root: &Path) -> Result<Himds> {
        const STATE: &str = "/var/opt/azcmagent";
        let named = Path::new(STATE).join("tokens");
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        self.serve_himds(Site::new(&inside(Path::new(STATE)), &inside(&named), &named)?, 40342)
    }

    fn serve_himds(&self, site: Site, port: u16) -> Result<Himds> {
        let site = Arc::new(site);
        let runtime = self.runtime.as_ref().context("the emulator has been stopped")?;
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let (address, task) = server::start(runtime.handle(), at, None, Desk::Himds(Arc::clone(&site)), &self.shared)?;
        Ok(Himds { site, url: format!("http://{address}"), task })
    }

    /// Entra ID: `https://127.0.0.1:PORT`, or its name, without a final slash.
    #[must_use]
    pub fn entra(&self) -> &str {
        &self.endpoints.entra
    }

    /// ARM: `https://127.0.0.1:PORT`, or its name, without a final slash.
    #[must_use]
    pub fn arm(&self) -> &str {
        &self.endpoints.arm
    }

    /// The authority of Entra ID's and ARM's certificates. Clusters have their own.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }
}

fn cluster_authority() -> Result<Authority> {
    Authority::named("Flexnode lab cluster")
}

impl Himds {
    /// `http://127.0.0.1:PORT`, without a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets cached tokens and open challenges, as `systemctl restart himdsd` does.
    pub fn restart(&self) {
        self.site.restart();
    }

    /// The secret of every challenge so far, for a search where they must not be.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.site.secrets()
    }
}

impl Drop for Himds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The ordinary drop would wait, which a test inside another runtime may not.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl fmt::Debug for Himds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Himds").field("url", &self.url).finish_non_exhaustive()
    }
}
