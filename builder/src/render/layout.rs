//! What the tree of templates cannot say: modes, empty directories and links.

/// Where containerd looks for registries' `hosts.toml`.
pub(super) const REGISTRIES: &str = "etc/containerd/certs.d";

/// Directories that are ours or that components expect; none of them is the distribution's.
pub(super) const DIRECTORIES: [(&str, &str); 15] = [
    ("etc/cni", "0755"),
    ("etc/cni/net.d", "0755"),
    ("etc/containerd", "0755"),
    (REGISTRIES, "0755"),
    ("etc/containerd/conf.d", "0755"),
    // The node's config may hold a client secret.
    ("etc/flexnode", "0700"),
    ("etc/kubernetes", "0755"),
    ("etc/kubernetes/manifests", "0755"),
    ("etc/kubernetes/pki", "0755"),
    ("opt/cni", "0755"),
    ("opt/cni/bin", "0755"),
    ("usr/share/flexnode", "0755"),
    ("var/lib/flexnode", "0700"),
    // As the kubelet makes it (kubernetes pkg/kubelet/kubelet.go, setupDataDirs).
    ("var/lib/kubelet", "0750"),
    ("var/lib/kubelet/pki", "0700"),
];

/// Links. Only firstboot is enabled; it enables containerd and the kubelet once they can work.
pub(super) const LINKS: [(&str, &str); 1] =
    [("etc/systemd/system/multi-user.target.wants/flexnode-firstboot.service", "../flexnode-firstboot.service")];

/// The mode of a built-in template's file.
pub(super) fn mode(path: &str) -> &'static str {
    match path {
        // CIS Kubernetes benchmark 4.1.9.
        "var/lib/kubelet/config.yaml" => "0600",
        "var/lib/kubelet/token.sh" => "0700",
        _ => "0644",
    }
}
