//! systemd: there, new enough for our units, started at boot, and a clock that it keeps.

use anyhow::Result;

use super::Check;
use super::dpkg::Packages;

/// Ubuntu 20.04's, the oldest that bundles are built for.
const OLDEST: u32 = 245;

pub(super) fn check(check: &mut Check<'_>, packages: &Packages) -> Result<()> {
    if !check.is_there("usr/lib/systemd/systemd")? && !check.is_there("lib/systemd/systemd")? {
        let cure = check.install("systemd systemd-sysv");
        check.error("systemd", "systemd is not installed: it starts the agent, containerd and the kubelet", cure);
        return Ok(());
    }
    let version = match version_of_library(check)? {
        Some(version) => Some(version),
        None => packages.version("systemd").and_then(leading_number),
    };
    match version {
        Some(version) if version < OLDEST => {
            let message = format!("systemd is {version}, the units need {OLDEST}");
            check.error("systemd-version", message, "take Ubuntu 22.04 or 24.04");
        }
        Some(_) => {}
        None => {
            let cure = check.shell.run("systemctl --version");
            check.warning("systemd-version", format!("the version of systemd is not known, {OLDEST} is needed"), cure);
        }
    }
    if !check.is_there("sbin/init")? && !check.is_there("usr/sbin/init")? {
        let cure = check.install("systemd-sysv");
        check.error("init", "there is no /sbin/init: no kernel would start systemd", cure);
    }
    time_synchronisation(check)
}

/// `libsystemd-shared-249.so`: where Debian and Ubuntu keep it moves between releases, the name does not.
fn version_of_library(check: &mut Check<'_>) -> Result<Option<u32>> {
    let mut directories = vec!["usr/lib/systemd".to_owned(), "lib/systemd".to_owned()];
    let multiarch = check.names("usr/lib")?.into_iter().filter(|name| name.ends_with("-linux-gnu"));
    directories.extend(multiarch.map(|name| format!("usr/lib/{name}/systemd")));
    for directory in directories {
        for name in check.names(&directory)? {
            if let Some(version) = name.strip_prefix("libsystemd-shared-").and_then(leading_number) {
                return Ok(Some(version));
            }
        }
    }
    Ok(None)
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn time_synchronisation(check: &mut Check<'_>) -> Result<()> {
    let daemons =
        ["usr/sbin/chronyd", "usr/lib/systemd/systemd-timesyncd", "lib/systemd/systemd-timesyncd", "usr/sbin/ntpd"];
    for daemon in daemons {
        if check.is_there(daemon)? {
            return Ok(());
        }
    }
    let cure = check.install("chrony");
    let message = "nothing keeps the clock: Azure and the API server refuse tokens and certificates when it is off";
    check.note("clock", message, cure);
    Ok(())
}
