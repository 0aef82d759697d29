//! Nodes that really boot: a root file system, a bundle over it, and an emulated Azure that is all they can reach.

mod namespace;
mod network;
mod nspawn;
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

use self::rootfs::unpack;
use crate::azcmagent::{self, Whereabouts};
use crate::azure::{Emulator, Himds, World, contoso};

pub use self::namespace::Namespace;
pub use self::network::{Entry, GATEWAY, GUEST, LINE, Network, Sent, Traffic, Verdict};
pub use self::nspawn::Guest;
pub use self::rootfs::{debian, rootfs};

/// A machine before its first boot, and the Azure that it will meet.
#[derive(Debug)]
pub struct Node {
    /// Emulated Azure, in the machine's own network.
    pub azure: Emulator,
    _himds: Himds,
    network: Network,
    place: TempDir,
}

/// The Node's name.
pub const NAME: &str = "edge-node-01";

/// The version of the Arc agent's stand-in.
const AGENT: &str = "1.61";

impl Node {
    /// A machine with a bundle, a config and the Arc agent's package; `stand_in` is a flexnode-vm. Any network plugin is
    /// the cluster's affair: its configuration is there.
    ///
    /// # Errors
    /// When the root cannot be made, or a service does not start.
    pub fn prepare(world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        Self::prepare_in(&rootfs()?, world, bundle, stand_in)
    }

    /// The same in the root file system that is in `archive`.
    ///
    /// # Errors
    /// As for [`Node::prepare`].
    pub fn prepare_in(archive: &Path, world: World, bundle: &Path, stand_in: &Path) -> Result<Self> {
        let place = tempfile::tempdir().context("create the machine's folder")?;
        let root = place.path().join("root");
        fs::create_dir(&root).context("create the machine's root")?;
        unpack(archive, &root)?;
        let progress = Progress::detect(true);
        let bundle = Verified::verify(Source::open(bundle)?, &progress)?;
        // The lab's guest is a Debian, unless FLEXNODE_ROOTFS names an Ubuntu.
        root::apply(&bundle, &root, Applying { any_release: true, ..Applying::default() }, &progress)?;
        let name = place.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let network = Network::veth(&format!("flexnode-{name}"), place.path())?;
        let azure = network.azure(world)?;
        let himds = network.guest().context("find the machine's namespace")?.inside(|| azure.himds_of(&root))?;
        let node = Self { azure, _himds: himds, network, place };
        node.configure(stand_in)?;
        Ok(node)
    }

    /// Boots it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn boot(&self) -> Result<Guest> {
        let namespace = self.network.guest().context("find the machine's namespace")?;
        Guest::boot(&self.root(), namespace, &self.place.path().join("console.log"))
    }

    /// What the lab keeps of it: `console.log`, `traffic.pcap`, the root.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.place.path()
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

    /// All that it has sent since power-on; it must run.
    ///
    /// # Errors
    /// When the record has a gap, or the machine does not answer.
    pub fn traffic(&self) -> Result<Traffic> {
        self.network.traffic(&self.azure)
    }

    /// Puts the Arc agent's stand-in in the place of whatever agent the bundle brings: a real one talks to Azure's own
    /// services, with certificates that nobody can stand in for.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn replace_agent(&self, stand_in: &Path) -> Result<()> {
        let packages = self.path("/usr/share/flexnode/debs");
        for entry in fs::read_dir(&packages).context("list the packages")? {
            let path = entry.context("list the packages")?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("azcmagent_")) {
                fs::remove_file(&path).with_context(|| format!("replace `{}`", path.display()))?;
            }
        }
        azcmagent::package(stand_in, AGENT, &packages)?;
        Ok(())
    }

    fn configure(&self, stand_in: &Path) -> Result<()> {
        const CA: &str = "/etc/flexnode/ca.pem";
        const SECRET: &str = "/etc/flexnode/client-secret";
        // Empty, as in a golden image: systemd fills it at the first boot.
        self.write("/etc/machine-id", "", 0o444)?;
        self.write("/etc/hostname", &format!("{NAME}\n"), 0o644)?;
        // On Ubuntu a link to what systemd-resolved would write.
        let _ = fs::remove_file(self.path("/etc/resolv.conf"));
        self.write("/etc/resolv.conf", &self.network.resolv_conf(), 0o644)?;
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
            azcmagent::package(stand_in, AGENT, &packages)?;
        }
        let network = r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "loopback"}]}"#;
        self.write("/etc/cni/net.d/10-lab.conflist", network, 0o644)?;
        // Root of this container may not lower anybody's oom_score_adj (no CAP_SYS_RESOURCE), and stops quickly.
        self.write("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTimeoutStopSec=5s\n", 0o644)?;
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
