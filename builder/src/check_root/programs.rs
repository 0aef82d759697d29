//! Programs and files that the node's programs call.

use anyhow::Result;
use semver::Version;

use super::Check;
use crate::finding::Severity;
use crate::image_root::Found;

/// Name, package, how bad, and who calls it. `mount`, `ip` and `iptables` are those that kubeadm's preflight insists on.
const PROGRAMS: [(&str, &str, Severity, &str); 7] = [
    ("curl", "curl", Severity::Error, "token.sh asks the Arc agent for the kubelet's tokens with it"),
    ("mount", "mount", Severity::Error, "the kubelet mounts volumes with it"),
    ("umount", "mount", Severity::Error, "the kubelet unmounts volumes with it"),
    ("modprobe", "kmod", Severity::Error, "the kernel loads modules through it"),
    ("dpkg", "dpkg", Severity::Error, "the Arc agent is installed with it"),
    ("ip", "iproute2", Severity::Warning, "network add-ons call it, and kubeadm insists on it"),
    ("openssl", "openssl", Severity::Warning, "Azure lists it among what the Arc agent needs"),
];

pub(super) fn check(check: &mut Check<'_>, kubernetes: Option<&Version>) -> Result<()> {
    for (name, package, severity, why) in PROGRAMS {
        if !check.has_program(name)? {
            let cure = match name {
                "dpkg" => "take Ubuntu 22.04 or 24.04".to_owned(),
                _ => check.install(package),
            };
            check.find(severity, name, format!("{name} is not installed: {why}"), cure);
        }
    }
    packet_filter(check)?;
    connection_tracking(check, kubernetes)?;
    certificates(check)?;
    apparmor(check)
}

/// CNI plugins 1.6 and newer can use nft alone; the kubelet and most network add-ons cannot.
fn packet_filter(check: &mut Check<'_>) -> Result<()> {
    if check.has_program("iptables")? {
        return Ok(());
    }
    let cure = check.install("iptables");
    if check.has_program("nft")? {
        let message = "iptables is not installed: nft is, but many network plugins and older kubelets call iptables";
        check.warning("iptables", message, cure);
    } else {
        check.error("iptables", "neither iptables nor nft is installed: pods get no network", cure);
    }
    Ok(())
}

/// kubernetes#126952: kube-proxy does without it from 1.32 on.
fn connection_tracking(check: &mut Check<'_>, kubernetes: Option<&Version>) -> Result<()> {
    let done_without = kubernetes.is_some_and(|version| (version.major, version.minor) >= (1, 32));
    if !done_without && !check.has_program("conntrack")? {
        let cure = check.install("conntrack");
        let message = "conntrack is not installed: kube-proxy before 1.32 calls it, and kubeadm insists on it";
        check.warning("conntrack", message, cure);
    }
    Ok(())
}

fn certificates(check: &mut Check<'_>) -> Result<()> {
    let bundle = check.found("etc/ssl/certs/ca-certificates.crt")?;
    if !matches!(bundle, Some(Found::File { size: 1.., .. })) {
        let cure = check.install("ca-certificates");
        let message = "there is no /etc/ssl/certs/ca-certificates.crt: no connection to Azure could be trusted";
        check.error("ca-certificates", message, cure);
    }
    Ok(())
}

/// containerd uses AppArmor where the kernel has it and the parser is there.
fn apparmor(check: &mut Check<'_>) -> Result<()> {
    if !check.has_program("apparmor_parser")? {
        let cure = check.install("apparmor");
        let message = "apparmor_parser is not installed: pods that ask for an AppArmor profile do not start";
        check.note("apparmor", message, cure);
    }
    Ok(())
}
