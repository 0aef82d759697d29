//! The kubelet's configuration, where a bundle has put one, against the rest of the root.

use anyhow::Result;
use flexnode_firstboot::paths;
use serde::Deserialize;

use super::Check;

/// The fields of a KubeletConfiguration that depend on the root.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    fail_swap_on: Option<bool>,
    resolv_conf: Option<String>,
}

/// Kubernetes' default is that it does.
pub(super) fn fails_on_swap(check: &mut Check<'_>) -> Result<bool> {
    Ok(configuration(check)?.fail_swap_on.unwrap_or(true))
}

fn configuration(check: &mut Check<'_>) -> Result<Configuration> {
    let text = check.text(paths::KUBELET_CONFIG)?;
    // One that does not parse is found by `verify`, which knows what it was.
    Ok(text.and_then(|text| serde_yaml::from_str(&text).ok()).unwrap_or_default())
}

const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The kubelet copies its `resolvConf` into pods: a file that is not there stops every pod, and systemd-resolved's own
/// address in it makes the cluster's DNS ask itself.
pub(super) fn check(check: &mut Check<'_>) -> Result<()> {
    let resolved =
        check.is_there("usr/lib/systemd/systemd-resolved")? || check.is_there("lib/systemd/systemd-resolved")?;
    let running = resolved && check.is_enabled("systemd-resolved.service")?;
    match configuration(check)?.resolv_conf {
        Some(file) if file == RESOLVED && !running => {
            let message =
                format!("the kubelet reads {RESOLVED}, which systemd-resolved would write, and that is not enabled");
            let cure = start_resolved(check, resolved)?;
            check.error("resolver", message, cure);
        }
        Some(file) if file == RESOLVED => {}
        Some(file) if running && asks_resolved(check, &file)? => {
            let cure = format!("build the bundle with `--set kubelet.resolvConf={RESOLVED}`");
            let message = format!("the kubelet reads {file}, which names systemd-resolved: CoreDNS would ask itself");
            check.error("resolver", message, cure);
        }
        Some(_) => {}
        // Without a bundle there is nothing to hold against each other; bundles for Ubuntu read systemd-resolved's file.
        None if !running && is_ubuntu(check)? => {
            let cure = start_resolved(check, resolved)?;
            let message = format!("systemd-resolved is not enabled, and bundles for Ubuntu read {RESOLVED}");
            check.warning("resolver", message, cure);
        }
        None => {}
    }
    Ok(())
}

fn start_resolved(check: &mut Check<'_>, installed: bool) -> Result<String> {
    let enable = check.shell.run("systemctl enable systemd-resolved");
    let cure = match (installed, check.is_masked("systemd-resolved.service")?) {
        (false, _) => check.install("systemd-resolved"),
        (true, true) => format!("{} && {enable}", check.shell.run("systemctl unmask systemd-resolved")),
        (true, false) => enable,
    };
    Ok(format!("{cure}; or build the bundle with `--set kubelet.resolvConf=/etc/resolv.conf`"))
}

/// systemd-resolved(8), "/etc/resolv.conf": the stub listens on 127.0.0.53.
fn asks_resolved(check: &mut Check<'_>, file: &str) -> Result<bool> {
    if let Some(target) = check.root.link_target(file)? {
        return Ok(target.ends_with("stub-resolv.conf"));
    }
    let text = check.text(file)?.unwrap_or_default();
    Ok(text.lines().any(|line| line.trim_start().starts_with("nameserver") && line.contains("127.0.0.53")))
}

fn is_ubuntu(check: &mut Check<'_>) -> Result<bool> {
    Ok(check.text("etc/os-release")?.is_some_and(|text| text.lines().any(|line| line == "ID=ubuntu")))
}
