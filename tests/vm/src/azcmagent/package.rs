//! The stand-in as a Debian package, like the one that a bundle carries.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Writes `azcmagent_<version>_amd64.deb` into `to`, made of `program` (a flexnode-vm). It has the program under
/// `/opt/azcmagent/bin`, a link to it in `/usr/bin` and one named `himdsd`, and a unit of that name. That unit only
/// tells an emulated HIMDS to take itself for restarted; [`HIMDSD_DAEMON`] in its place is a HIMDS.
///
/// # Errors
/// `dpkg-deb` is missing or fails, or the disk refuses.
pub fn package(program: &Path, version: &str, to: &Path) -> Result<PathBuf> {
    let tree = tempfile::tempdir().context("create a temporary directory")?;
    let root = tree.path();
    // dpkg takes the modes of directories as they are, and ours is nobody else's business.
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).context("set a directory's mode")?;
    for directory in ["DEBIAN", "opt/azcmagent/bin", "usr/bin", "usr/lib/systemd/system"] {
        fs::create_dir_all(root.join(directory)).with_context(|| format!("create `{directory}`"))?;
    }
    let installed = root.join("opt/azcmagent/bin/azcmagent");
    crate::standin::stamp(program, super::NAME, version, &installed)?;
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o755)).context("set the program's mode")?;
    symlink("../../opt/azcmagent/bin/azcmagent", root.join("usr/bin/azcmagent")).context("link the program")?;
    symlink("azcmagent", root.join("opt/azcmagent/bin/himdsd")).context("link the identity service")?;
    fs::write(root.join("usr/lib/systemd/system/himdsd.service"), HIMDSD).context("write the unit")?;
    let control = format!(
        "Package: azcmagent
Version: {version}
Architecture: amd64
Maintainer: Flexnode lab <nobody@localhost>
Description: stand-in of the Flexnode lab for the Azure Connected Machine agent
"
    );
    fs::write(root.join("DEBIAN/control"), control).context("write the package's control file")?;
    let deb = to.join(format!("azcmagent_{version}_amd64.deb"));
    // Uncompressed: it is made for one test and thrown away.
    let output = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([root, deb.as_path()])
        .output()
        .context("run dpkg-deb")?;
    ensure!(output.status.success(), "dpkg-deb failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(deb)
}

/// The identity service itself, for `/etc/systemd/system` of a machine whose loopback no emulator serves.
pub const HIMDSD_DAEMON: &str = "[Unit]
Description=Stand-in of the Flexnode lab for the Arc agent's identity service
After=network-online.target
Wants=network-online.target
[Service]
Type=notify
ExecStart=/opt/azcmagent/bin/himdsd
";

/// Starts it when dpkg has unpacked the package, as the real one's scripts do: the stand-in's has none, so that it can be
/// installed where there is no shell.
pub const HIMDSD_PATH: &str = "[Unit]
Description=Waits for the Arc agent's package
[Path]
PathExists=/var/lib/dpkg/info/azcmagent.list
";

const HIMDSD: &str = "[Unit]
Description=Stand-in of the Flexnode lab for the Arc agent's identity service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'date +%%N >/var/opt/azcmagent/himdsd'
";
