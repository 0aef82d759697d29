//! What the lab puts on a machine beside the bundle: its config, the Arc agent's stand-in, a network of pods.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{NAME, Node, NodeLane};
use crate::azcmagent::{self, Whereabouts};
use crate::azure::contoso;

/// The version of the Arc agent's stand-in.
const AGENT: &str = "1.61";

/// A network of pods on a bridge, with addresses from a range: the bundle's own CNI plugins.
const NETWORK: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [{
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.85.0.0/24"}]]}
  }]
}
"#;

const RESOLVED: &str = "d /run/systemd/resolve 0755 - - -
f /run/systemd/resolve/resolv.conf 0644 - - - nameserver\\040127.0.0.53\\n
";

impl Node {
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

    pub(super) fn configure(&self, stand_in: &Path) -> Result<()> {
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
        self.write("/etc/cni/net.d/10-lab.conflist", NETWORK, 0o644)?;
        // What systemd-resolved, which a stock Ubuntu has, would keep there.
        self.write("/etc/tmpfiles.d/flexnode-lab.conf", RESOLVED, 0o644)?;
        // It stops quickly.
        self.write("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTimeoutStopSec=5s\n", 0o644)?;
        self.write("/etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\n", 0o644)?;
        if let NodeLane::Vm { .. } = self.lane {
            return Ok(());
        }
        // Root of a container may not lower anybody's oom_score_adj (no CAP_SYS_RESOURCE).
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
