//! Nodes that really boot: a root file system, a bundle over it, and an emulated Azure that is all they can reach.

mod disk;
mod namespace;
mod nspawn;
mod record;
mod rootfs;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flexnode_build::bundle::{Source, Verified};
use flexnode_build::progress::Progress;
use flexnode_build::root::{self, Applying};
use tempfile::TempDir;

use self::disk::Disk;
use self::record::Record;
use self::rootfs::unpack;
use crate::azcmagent::{self, Whereabouts};
use crate::azure::{Emulator, Himds, World, contoso};

pub use self::namespace::Namespace;
pub use self::nspawn::Guest;
pub use self::rootfs::rootfs;

/// A machine before its first boot, and the Azure that it will meet.
#[derive(Debug)]
pub struct Node {
    /// Emulated Azure, on loopback in the machine's own network.
    pub azure: Emulator,
    _himds: Himds,
    namespace: Namespace,
    record: Option<Record>,
    disk: Option<Disk>,
    place: TempDir,
}

/// The Node's name.
pub const NAME: &str = "edge-node-01";

impl Node {
    /// A machine with a bundle, a config and the Arc agent's package; `stand_in` is a flexnode-vm. Any network plugin is
    /// the cluster's affair: its configuration is there.
    ///
    /// # Errors
    /// When the root cannot be made, or a service does not start.
    pub fn prepare(world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        let place = tempfile::tempdir().context("create the machine's folder")?;
        let name = place.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let namespace = Namespace::new(&format!("flexnode-{name}"))?;
        let root = place.path().join("root");
        fs::create_dir(&root).context("create the machine's root")?;
        unpack(&rootfs()?, &root)?;
        let progress = Progress::detect(true);
        let bundle = Verified::verify(Source::open(bundle)?, &progress)?;
        // The lab's guest is a Debian, unless FLEXNODE_ROOTFS names an Ubuntu.
        root::apply(&bundle, &root, Applying { any_release: true, ..Applying::default() }, &progress)?;
        let azure = namespace.inside(|| Emulator::start(world))?;
        let himds = namespace.inside(|| azure.himds_of(&root))?;
        let node = Self { azure, _himds: himds, namespace, record: None, disk: None, place };
        node.configure(stand_in)?;
        Ok(node)
    }

    /// Boots it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn boot(&self) -> Result<Guest> {
        Guest::boot(&self.root(), &self.namespace, &self.console())
    }

    /// Cuts its power. What nobody has synced is lost where it is [on a disk](Self::on_a_disk).
    ///
    /// # Errors
    /// When the disk cannot be mounted again.
    pub fn cut_power(&self, guest: Guest) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), Disk::fail)?;
        drop(guest);
        self.disk.as_ref().map_or(Ok(()), Disk::mount_again)
    }

    /// Keeps console, journal and requests in `folder` when the run is over.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn recorded(mut self, folder: &Path) -> Result<Self> {
        self.record = Some(Record::begin(folder)?);
        Ok(self)
    }

    /// Puts its root on a disk of its own; see [`Node::cut_power`].
    ///
    /// # Errors
    /// When the disk cannot be made.
    pub fn on_a_disk(mut self) -> Result<Self> {
        self.disk = Some(Disk::of(&self.root())?);
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

    /// What its console has shown.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.place.path().join("console.log")
    }

    /// Its root, as long as it is off; reading is possible at any time.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// A file of it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn configure(&self, stand_in: &Path) -> Result<()> {
        const CA: &str = "/etc/flexnode/ca.pem";
        const SECRET: &str = "/etc/flexnode/client-secret";
        // Empty, as in a golden image: systemd fills it at the first boot.
        self.write("/etc/machine-id", "", 0o444)?;
        self.write("/etc/hostname", &format!("{NAME}\n"), 0o644)?;
        self.write(CA, self.azure.ca_pem(), 0o644)?;
        self.write(SECRET, contoso::SECRET, 0o600)?;
        self.write(
            "/etc/flexnode/config.yaml",
            &self.azure.config(Path::new(CA), Path::new(SECRET), NAME, None),
            0o600,
        )?;
        let there = Whereabouts {
            arm: self.azure.arm().to_owned(),
            authority: self.azure.entra().to_owned(),
            ca: CA.into(),
            cloud: self.azure.azcmagent_cloud().to_owned(),
        };
        self.write("/etc/flexnode-lab/azcmagent.json", &serde_json::to_string(&there)?, 0o644)?;
        let packages = self.path("/usr/share/flexnode/debs");
        // A bundle that brings packages brings the Arc agent's.
        if !packages.exists() {
            fs::create_dir_all(&packages).context("create the packages' folder")?;
            azcmagent::package(stand_in, "1.61", &packages)?;
        }
        let network = r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "loopback"}]}"#;
        self.write("/etc/cni/net.d/10-lab.conflist", network, 0o644)?;
        // Root of this container may not lower anybody's oom_score_adj (no CAP_SYS_RESOURCE), and stops quickly.
        self.write("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTimeoutStopSec=5s\n", 0o644)?;
        self.write("/etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\n", 0o644)?;
        let config = self.path("/etc/containerd/config.toml");
        let text = fs::read_to_string(&config).context("read containerd's configuration")?;
        let (off, on) = ("restrict_oom_score_adj = false", "restrict_oom_score_adj = true");
        anyhow::ensure!(text.contains(off), "containerd's configuration has no `{off}`");
        fs::write(&config, text.replace(off, on)).context("write containerd's configuration")
    }

    /// Writes a file of the machine.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.path(path);
        let context = || format!("write `{}`", path.display());
        fs::create_dir_all(path.parent().context("the root has no parent")?).with_context(context)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(context)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            record.end(self);
        }
    }
}
