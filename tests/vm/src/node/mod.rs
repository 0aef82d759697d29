//! Nodes that really boot: a root file system, a bundle over it, and an emulated Azure that is all they can reach.

mod bundle;
mod configure;
mod guest;
mod lossy;
mod namespace;
mod network;
mod nspawn;
mod qemu;
mod record;
mod rootfs;
mod timeline;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use flexnode_build::bundle::{Source, Verified};
use flexnode_build::progress::Progress;
use flexnode_build::root::{self, Applying};
use tempfile::TempDir;

use self::guest::Kind;
use self::lossy::LossyDisk;
use self::nspawn::Container;
use self::qemu::{Disk, Machine};
use self::record::Record;
use self::rootfs::unpack;

use crate::azure::{Emulator, Himds, World, contoso};

pub use self::bundle::{Built, bundle, bundle_of};
pub use self::guest::{Guest, Lane};
pub use self::namespace::Namespace;
pub use self::network::{Entry, GATEWAY, GUEST, LINE, Network, Sent, Traffic, Verdict};
pub use self::rootfs::{debian, rootfs};
pub use self::timeline::Timeline;

/// A machine before its first boot, and the Azure that it will meet.
#[derive(Debug)]
pub struct Node {
    /// Emulated Azure, in the machine's own network.
    pub azure: Emulator,
    lane: NodeLane,
    network: Network,
    record: Option<Record>,
    lossy: Option<LossyDisk>,
    place: TempDir,
}

#[derive(Debug)]
enum NodeLane {
    /// The emulator serves its HIMDS.
    Container {
        _himds: Himds,
    },
    Vm {
        disk: Arc<Disk>,
    },
}

/// The Node's name.
pub const NAME: &str = "edge-node-01";

impl Node {
    /// [`Node::prepare_on`] for the lane of containers.
    ///
    /// # Errors
    /// As there.
    pub fn prepare(world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        Self::prepare_on(Lane::Container, world, bundle, stand_in)
    }

    /// A machine with a bundle, a config and the Arc agent's package; `stand_in` is a flexnode-vm. Any network plugin is
    /// the cluster's affair: its configuration is there.
    ///
    /// # Errors
    /// When the root cannot be made, or a service does not start.
    pub fn prepare_on(lane: Lane, world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        Self::prepare_in(&rootfs()?, lane, world, bundle, stand_in)
    }

    /// The same in the root file system that is in `archive`.
    ///
    /// # Errors
    /// As for [`Node::prepare_on`].
    pub fn prepare_in(archive: &Path, lane: Lane, world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        let place = tempfile::tempdir().context("create the machine's folder")?;
        let root = place.path().join("root");
        fs::create_dir(&root).context("create the machine's root")?;
        unpack(archive, &root)?;
        let progress = Progress::detect(true);
        let bundle = Verified::verify(Source::open(bundle)?, &progress)?;
        // The lab's guest is a Debian, unless FLEXNODE_ROOTFS names an Ubuntu.
        root::apply(&bundle, &root, Applying { any_release: true, ..Applying::default() }, &progress)?;
        let name = place.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let name = format!("flexnode-{name}");
        let network = match lane {
            Lane::Container => Network::veth(&name, place.path())?,
            Lane::Vm => Network::tap(&name, place.path())?,
        };
        let azure = network.azure(world)?;
        let lane = match network.guest() {
            Some(guest) => NodeLane::Container { _himds: guest.inside(|| azure.himds_of(&root))? },
            None => {
                qemu::equip(&root)?;
                NodeLane::Vm { disk: Arc::new(Disk::new(place.path().join("disk.img"), root)) }
            }
        };
        let node = Self { azure, lane, network, record: None, lossy: None, place };
        node.configure(stand_in)?;
        Ok(node)
    }

    /// Boots it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn boot(&self) -> Result<Guest> {
        let console = self.console();
        let kind = match &self.lane {
            NodeLane::Container { .. } => {
                let namespace = self.network.guest().context("find the machine's namespace")?;
                Kind::Container(Container::boot(&self.root(), namespace, &console)?)
            }
            NodeLane::Vm { disk } => Kind::Vm(Machine::boot(disk, self.network.site(), &console)?),
        };
        Ok(Guest::new(kind))
    }

    /// Cuts its power. What nobody has synced is lost where it is [on a disk](Self::on_a_disk).
    ///
    /// # Errors
    /// When the disk cannot be mounted again.
    pub fn cut_power(&self, guest: Guest) -> Result<()> {
        self.lossy.as_ref().map_or(Ok(()), LossyDisk::fail)?;
        drop(guest);
        self.lossy.as_ref().map_or(Ok(()), LossyDisk::mount_again)
    }

    /// Keeps console, journal, traffic and requests in `folder` when the run is over.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn recorded(mut self, folder: &Path) -> Result<Self> {
        self.record = Some(Record::begin(folder)?);
        Ok(self)
    }

    /// Keeps a text of this run with its record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, name: &str, text: &str) -> Result<()> {
        self.record.as_ref().map_or(Ok(()), |record| record.note(name, text))
    }

    /// Puts its root on a disk of its own; see [`Node::cut_power`].
    ///
    /// # Errors
    /// When the disk cannot be made.
    pub fn on_a_disk(mut self) -> Result<Self> {
        self.lossy = Some(LossyDisk::of(&self.root())?);
        Ok(self)
    }

    /// Lets the agent begin at once, without the random delay by which the machines of a site spread, and systemd try
    /// again soon.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn hurry(&self) -> Result<()> {
        let text = "[Service]\nExecStart=\nExecStart=/usr/local/bin/flexnode-firstboot\nRestartSec=1\n";
        self.write("/etc/systemd/system/flexnode-firstboot.service.d/lab.conf", text, 0o644)
    }

    /// Whether the API server holds the Node called `name` for ready.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> bool {
        self.azure.nodes(&contoso::cluster_id()).iter().any(|node| is_ready(node, name))
    }

    /// Waits until the API server hears from the Node called `name`, booted as `guest`, that it is ready; when that was.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub fn await_ready(&self, guest: &Guest, name: &str, patience: Duration) -> Result<Instant> {
        let (tell, told) = mpsc::channel();
        let status = format!("/api/v1/nodes/{name}/status");
        // Who no longer waits needs not be told.
        self.azure.observe(move |request| drop(tell.send(request.path.clone())));
        let deadline = Instant::now() + patience;
        loop {
            let since = SystemTime::now() - guest.powered_on().elapsed();
            let since = since.duration_since(UNIX_EPOCH).context("read this machine's clock")?;
            let mut requests = self.azure.requests().into_iter();
            if self.is_ready(name) && requests.any(|request| request.path == status && request.at > since) {
                return Ok(Instant::now());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            told.recv_timeout(left).with_context(|| format!("wait for {name} to be ready"))?;
        }
    }

    /// What its console has shown, in all boots.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.place.path().join("console.log")
    }

    /// What the lab keeps of it: `console.log`, `traffic.pcap`, the root.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Its root, as long as it is off; a container's can be read at any time.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// A file of it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// All that it has sent since power-on; it must run.
    ///
    /// # Errors
    /// When the record has a gap, or the machine does not answer.
    pub fn traffic(&self) -> Result<Traffic> {
        self.network.traffic(&self.azure)
    }
}

fn is_ready(node: &serde_json::Value, name: &str) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    node["metadata"]["name"] == name
        && conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            record.end(self);
        }
    }
}
