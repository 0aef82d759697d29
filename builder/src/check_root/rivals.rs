//! Packages that bring a second kubelet or a second container runtime.

use super::Check;
use super::dpkg::Packages;
use crate::finding::Severity;

/// Package, how bad, and how it fights with the bundle.
const RIVALS: [(&str, Severity, &str); 8] = [
    (
        "kubelet",
        Severity::Error,
        "its drop-in /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf changes our unit's command line",
    ),
    ("cri-o", Severity::Warning, "a second container runtime"),
    ("containerd", Severity::Warning, CONTAINERD),
    ("containerd.io", Severity::Warning, CONTAINERD),
    ("docker.io", Severity::Warning, DOCKER),
    ("docker-ce", Severity::Warning, DOCKER),
    ("podman-docker", Severity::Note, "what calls docker gets podman"),
    ("microk8s", Severity::Warning, "a Kubernetes of its own"),
];

const CONTAINERD: &str = "a second containerd, whose updates restart ours";
const DOCKER: &str = "it sets iptables' FORWARD policy to DROP, which cuts pods off, and brings a second containerd";

pub(super) fn check(check: &mut Check<'_>, packages: &Packages) {
    for (package, severity, why) in RIVALS {
        if let Some(version) = packages.version(package) {
            let cure = check.shell.run(&format!("apt-get purge -y {package}"));
            let message = format!("the package {package} {version} is installed: {why}");
            check.find(severity, "rival-package", message, cure);
        }
    }
}
