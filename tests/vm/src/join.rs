//! The join lab: the agent, run as on a node, against the emulated Azure. Rendered configuration, the Arc agent's and
//! the kubelet's stand-ins, and a systemctl that remembers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use flexnode_build::artifact::Arch;
use flexnode_build::overlay::Entry;
use flexnode_build::render::{Facts, Values, render};
use flexnode_build::target::Target;
use serde_json::json;

use crate::azure::play::{Game, Playground};
use crate::azure::{World, contoso};
use crate::lab::KUBERNETES;

/// The Node that joins.
pub const NODE: &str = "edge-node-01";

/// A machine before its first boot, and the Azure that it will meet.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    /// The emulator and what belongs to it.
    pub game: Game,
    agent: PathBuf,
}

impl Site {
    /// Prepares a machine in `dir`; `stand_in` is a flexnode-vm, `agent` a flexnode-firstboot.
    ///
    /// # Errors
    /// The disk refuses, or the emulator does not start.
    pub fn open(dir: &Path, stand_in: &Path, agent: &Path) -> Result<Self> {
        Self::open_world(contoso::world(), dir, stand_in, agent)
    }

    /// The same in another world, which has contoso's names in it.
    ///
    /// # Errors
    /// As for [`Site::open`].
    pub fn open_world(world: World, dir: &Path, stand_in: &Path, agent: &Path) -> Result<Self> {
        let game = Playground { dir: dir.to_owned(), port: None }.open_world(world, stand_in)?;
        let site = Self { dir: dir.canonicalize().context("find the site")?, game, agent: agent.to_owned() };
        // Not a stamped copy of a program: labs are made by the hundred.
        let kubelet = include_str!("join/kubelet.sh").replace("VERSION", &KUBERNETES.to_string());
        script(&site.game.programs.join("kubelet"), &kubelet)?;
        site.prepare_root()?;
        script(&site.game.programs.join("systemctl"), include_str!("join/systemctl.sh"))?;
        script(&site.game.programs.join("journalctl"), include_str!("join/journalctl.sh"))?;
        script(&site.dir.join("kubelet-start"), include_str!("join/kubelet-start.sh"))?;
        Ok(site)
    }

    /// Whether `dir` holds a site, from an earlier run perhaps.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        dir.join("kubelet-start").is_file() && dir.join("root/etc/machine-id").is_file()
    }

    /// The machine's root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A file of the machine.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// The agent, about to join. Pauses and deadlines are a fiftieth of the real ones.
    #[must_use]
    pub fn join(&self) -> Command {
        self.join_at(0.02)
    }

    /// The same, with pauses and deadlines multiplied by `scale`.
    #[must_use]
    pub fn join_at(&self, scale: f64) -> Command {
        let mut command = self.command(&self.agent);
        command.arg("--root").arg(self.root()).arg("--config").arg(&self.game.config);
        command.args([
            "--himds-endpoint",
            self.game.himds.url(),
            "--retry-scale",
            &scale.to_string(),
            "--himds-tokens",
        ]);
        command.arg(&self.game.tokens);
        command
    }

    /// `flexnode-firstboot status --json`
    #[must_use]
    pub fn status(&self) -> Command {
        let mut command = self.command(&self.agent);
        command.args(["status", "--json", "--root"]).arg(self.root());
        command
    }

    /// `kubectl` with the machine's kubeconfig.
    #[must_use]
    pub fn kubectl(&self, kubectl: &Path) -> Command {
        let mut command = self.command(kubectl);
        command.arg("--kubeconfig").arg(self.path("var/lib/kubelet/kubeconfig"));
        command
    }

    /// The machine's systemctl.
    #[must_use]
    pub fn systemctl(&self) -> Command {
        self.command(&self.game.programs.join("systemctl"))
    }

    /// What systemctl was asked for.
    #[must_use]
    pub fn systemctl_log(&self) -> String {
        fs::read_to_string(self.dir.join("systemctl.log")).unwrap_or_default()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.game.programs.display());
        command.env_clear().env("PATH", path).env("HOME", &self.dir);
        command.env("FLEXNODE_LAB", &self.dir).env("AZCMAGENT_STATE", &self.game.state);
        command
    }

    /// What the bundle would have put there, with this lab's HIMDS.
    fn prepare_root(&self) -> Result<()> {
        let himds = json!({"himds": {
            "endpoint": self.game.himds.url(),
            "tokensDirectory": self.game.tokens,
            "timeoutSeconds": 2,
            "retryDelaySeconds": 0,
        }});
        let values = Values::from_layers(&[himds], &[])?;
        let facts = Facts {
            kubernetes: KUBERNETES,
            containerd: semver::Version::new(2, 1, 9),
            arch: Arch::Amd64,
            target: Target::Ubuntu2204,
            pause_image: "registry.k8s.io/pause:3.9".to_owned(),
        };
        for (path, entry) in render(&facts, &values, None)? {
            let path = self.path(path.as_str());
            fs::create_dir_all(path.parent().context("the root has no parent")?)?;
            match entry {
                Entry::Directory(mode) => {
                    fs::create_dir_all(&path)?;
                    fs::set_permissions(&path, Permissions::from_mode(mode.bits()))?;
                }
                Entry::Link { target } => std::os::unix::fs::symlink(target, &path)?,
                Entry::File(file) => {
                    std::io::copy(&mut file.content.reader(), &mut fs::File::create(&path)?)?;
                    fs::set_permissions(&path, Permissions::from_mode(file.mode.bits()))?;
                }
            }
        }
        fs::write(self.path("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?;
        fs::write(self.path("etc/hostname"), format!("{NODE}\n"))?;
        Ok(())
    }
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write `{}`", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).with_context(|| format!("write `{}`", path.display()))
}
