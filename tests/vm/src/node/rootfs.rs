//! A root file system to boot: Debian's, from the archive that this machine uses, made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Cache, Source};

/// What a stock Ubuntu server has and a minimal Debian does not.
const PACKAGES: &str =
    "ca-certificates,conntrack,curl,dbus,iproute2,iptables,kmod,procps,systemd,systemd-sysv,udev,zstd";

/// Counts up whenever the same packages give another root.
const RECIPE: u32 = 1;

/// A Debian 12 to unpack, or what `FLEXNODE_ROOTFS` names: a tar archive of an Ubuntu 22.04, say.
///
/// # Errors
/// When mmdebstrap is missing or fails.
pub fn rootfs() -> Result<PathBuf> {
    std::env::var_os("FLEXNODE_ROOTFS").map_or_else(|| debian("bookworm"), |path| Ok(path.into()))
}

/// A release of Debian to unpack.
///
/// # Errors
/// When mmdebstrap is missing or fails.
pub fn debian(suite: &str) -> Result<PathBuf> {
    let cache = Cache::open(&Cache::default_dir()?)?;
    let path = cache.note(&format!("rootfs-{suite}-{RECIPE}.tar"));
    if !path.exists() {
        eprintln!("node: making a root file system of {suite}");
        let partial = cache.scratch()?;
        let (archive, sources) = (partial.path().join("rootfs.tar"), partial.path().join("lab.sources"));
        fs::write(&sources, Source::of_system()?.stanza(suite)).context("write apt's sources")?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), suite]);
        run(command.arg(&archive).arg(&sources))?;
        fs::rename(&archive, &path).with_context(|| format!("keep `{}`", path.display()))?;
    }
    Ok(path)
}

/// Unpacks a tar archive, of whatever compression, into `root`.
///
/// # Errors
/// When tar fails.
pub(super) fn unpack(archive: &Path, root: &Path) -> Result<()> {
    run(Command::new("tar").args(["--extract", "--preserve-permissions", "--file"]).arg(archive).arg("-C").arg(root))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), said.trim_end());
    Ok(())
}
