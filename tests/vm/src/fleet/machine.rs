//! One machine of a fleet: what the agent finds on it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use flexnode_firstboot::command::Commands;
use flexnode_firstboot::config::{self, Loaded};
use flexnode_firstboot::host::Host;
use flexnode_firstboot::join::{self, Outcome};
use flexnode_firstboot::progress::Progress;
use flexnode_firstboot::retry::Pace;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use crate::azure::{Emulator, Himds, contoso};
use crate::lab::KUBERNETES;

/// What all machines share: programs, and the pipe that tells whose kubelet was started. A folder of its own, where
/// programs may run.
pub(super) struct Programs(TempDir);

pub(super) struct Machine {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) himds: Himds,
    pub(super) tokens: PathBuf,
    host: Host,
    config: Loaded,
}

impl Programs {
    /// The Arc agent's stand-in is `program` itself; the others are as small as they can be, since each machine starts
    /// them a dozen times.
    pub(super) fn install(program: &Path) -> Result<Self> {
        let programs = Self(tempfile::tempdir().context("create a temporary directory")?);
        symlink(program, programs.path(crate::azcmagent::NAME)).context("link the Arc agent's stand-in")?;
        script(&programs.path("systemctl"), include_str!("../join/systemctl.sh"))?;
        script(&programs.path("kubelet"), &format!("#!/bin/sh\necho Kubernetes v{KUBERNETES}\n"))?;
        let started = programs.started();
        let start = format!("#!/bin/sh\necho \"$FLEXNODE_MACHINE\" >{}\n", started.display());
        script(&programs.path("kubelet-start"), &start)?;
        mkfifoat(CWD, &started, Mode::RUSR | Mode::WUSR).context("make a pipe")?;
        Ok(programs)
    }

    pub(super) fn started(&self) -> PathBuf {
        self.path("started")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Machine {
    /// `timing` is the agent's pace, and what its start is delayed by at most.
    pub(super) fn prepare(
        dir: &Path,
        nth: usize,
        azure: &Emulator,
        programs: &Programs,
        timing: (Pace, Duration),
    ) -> Result<Self> {
        let name = format!("edge-{nth:04}");
        let id = format!("{nth:032x}");
        let dir = dir.join(&name);
        let [root, state, tokens] = ["root", "azcmagent", "tokens"].map(|folder| dir.join(folder));
        for folder in ["etc/flexnode", "var/lib/kubelet"] {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("create `{}`", root.display()))?;
        }
        write(&root.join("etc/machine-id"), &id)?;
        write(&root.join("etc/hostname"), &name)?;
        // One Arc agent's state per machine, and one way to the emulator for all.
        let fleet = dir.parent().context("find the fleet's folder")?;
        for folder in [&state, &dir.join("units")] {
            fs::create_dir(folder).with_context(|| format!("create `{}`", folder.display()))?;
        }
        symlink(fleet.join("emulator.json"), state.join("emulator.json")).context("lead to the emulator")?;
        symlink(programs.path("kubelet-start"), dir.join("kubelet-start")).context("link the kubelet's start")?;
        let (secret, config) = (root.join("etc/flexnode/client-secret"), root.join("etc/flexnode/config.yaml"));
        write(&secret, contoso::SECRET)?;
        write(&config, &azure.config(&fleet.join("ca.pem"), &secret, &name, None))?;
        let himds = azure.himds(&state, &tokens, 0)?;
        let mut host = Host::new(&root)?;
        himds.url().clone_into(&mut host.himds);
        host.himds_tokens.clone_from(&tokens);
        (host.pace, host.max_start_delay) = timing;
        host.commands = Commands {
            path: Some(format!("{}:/usr/bin:/bin", programs.0.path().display()).into()),
            environment: vec![
                ("FLEXNODE_LAB".into(), dir.into()),
                ("FLEXNODE_MACHINE".into(), nth.to_string().into()),
                ("AZCMAGENT_STATE".into(), state.into()),
            ],
        };
        Ok(Self { name, id, himds, tokens, host, config: config::load(&config, None)? })
    }

    pub(super) async fn join(&self) -> Result<Outcome> {
        join::join(&self.host, &self.config, &Progress::silent()).await
    }
}

fn script(path: &Path, text: &str) -> Result<()> {
    write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).with_context(|| format!("write `{}`", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("write `{}`", path.display()))
}
