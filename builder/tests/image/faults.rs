//! Everything that can be wrong with a root, one fault at a time.

use std::fs;
use std::process::Command;

use flexnode_build::finding::Severity;

use super::good_root::GoodRoot;

pub(super) type Break = fn(&GoodRoot);

/// A name for the fault, how to bring it about, and the one finding that it must be.
pub(super) const FAULTS: [(&str, Break, Severity, &str); 47] = [
    ("no os-release", |root| root.remove("usr/lib/os-release"), Severity::Error, "os-release"),
    ("Debian", |root| root.write("usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n"), Severity::Note, "release"),
    (
        "Ubuntu 20.04",
        |root| root.write("usr/lib/os-release", "ID=ubuntu\nVERSION_ID=\"20.04\"\n"),
        Severity::Warning,
        "release",
    ),
    ("Fedora", |root| root.write("usr/lib/os-release", "ID=fedora\nVERSION_ID=41\n"), Severity::Warning, "release"),
    ("no systemd", |root| root.remove("usr/lib/systemd/systemd"), Severity::Error, "systemd"),
    ("old systemd", |root| rename(root, "libsystemd-shared-237.so"), Severity::Error, "systemd-version"),
    (
        "old systemd by package",
        |root| {
            root.remove("usr/lib/systemd/libsystemd-shared-249.so");
            root.write(
                "var/lib/dpkg/status",
                "Package: systemd\nStatus: install ok installed\nVersion: 237-3ubuntu10\n",
            );
        },
        Severity::Error,
        "systemd-version",
    ),
    (
        "systemd of no version",
        |root| {
            root.remove("usr/lib/systemd/libsystemd-shared-249.so");
            root.remove("var/lib/dpkg/status");
        },
        Severity::Warning,
        "systemd-version",
    ),
    ("no init", |root| root.remove("usr/sbin/init"), Severity::Error, "init"),
    ("no clock", |root| root.remove("usr/lib/systemd/systemd-timesyncd"), Severity::Note, "clock"),
    ("no curl", |root| root.remove("usr/bin/curl"), Severity::Error, "curl"),
    ("empty curl", |root| root.write("usr/bin/curl", ""), Severity::Error, "curl"),
    ("no mount", |root| root.remove("usr/bin/mount"), Severity::Error, "mount"),
    ("no umount", |root| root.remove("usr/bin/umount"), Severity::Error, "umount"),
    ("modprobe leads nowhere", |root| root.remove("usr/bin/kmod"), Severity::Error, "modprobe"),
    ("no dpkg", |root| root.remove("usr/bin/dpkg"), Severity::Error, "dpkg"),
    ("no ip", |root| root.remove("usr/bin/ip"), Severity::Warning, "ip"),
    ("no openssl", |root| root.remove("usr/bin/openssl"), Severity::Warning, "openssl"),
    ("no iptables", |root| root.remove("usr/sbin/xtables-nft-multi"), Severity::Error, "iptables"),
    (
        "nft alone",
        |root| {
            root.remove("usr/sbin/iptables");
            root.program("usr/sbin/nft");
        },
        Severity::Warning,
        "iptables",
    ),
    ("no conntrack", |root| root.remove("usr/sbin/conntrack"), Severity::Warning, "conntrack"),
    ("no certificates", |root| root.write("etc/ssl/certs/ca-certificates.crt", ""), Severity::Error, "ca-certificates"),
    ("no AppArmor", |root| root.remove("usr/sbin/apparmor_parser"), Severity::Note, "apparmor"),
    ("no depmod", |root| keep_a_kernel_without_dependencies(root), Severity::Error, "modules"),
    ("no overlay", |root| without_module(root, "overlay"), Severity::Error, "modules"),
    ("no br_netfilter", |root| without_module(root, "br_netfilter"), Severity::Error, "modules"),
    ("no nf_conntrack", |root| without_module(root, "nf_conntrack"), Severity::Error, "modules"),
    (
        "no vxlan",
        |root| root.remove("usr/lib/modules/5.15.0-125-generic/modules.builtin"),
        Severity::Warning,
        "modules",
    ),
    (
        "cgroup v1",
        |root| {
            root.append(
                "etc/default/grub",
                "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet systemd.unified_cgroup_hierarchy=0\"\n",
            );
        },
        Severity::Warning,
        "cgroups",
    ),
    (
        "cgroup v1 in a drop-in",
        |root| {
            root.write(
                "etc/default/grub.d/50-site.cfg",
                "GRUB_CMDLINE_LINUX='systemd.unified_cgroup_hierarchy=false'\n",
            );
        },
        Severity::Warning,
        "cgroups",
    ),
    ("swap in fstab", |root| root.append("etc/fstab", "/swap.img\tnone\tswap\tsw\t0\t0\n"), Severity::Error, "swap"),
    (
        "a swap unit",
        |root| root.write("etc/systemd/system/swap.img.swap", "[Swap]\nWhat=/swap.img\n"),
        Severity::Error,
        "swap",
    ),
    (
        "zram",
        |root| {
            package(root, "zram-tools", "0.3.3.1-1");
            root.write("etc/default/zramswap", "PERCENT=50\n");
        },
        Severity::Error,
        "swap",
    ),
    (
        "swap that the kubelet bears",
        |root| {
            root.append("etc/fstab", "/swap.img none swap sw 0 0\n");
            root.write(
                "var/lib/kubelet/config.yaml",
                "{\"failSwapOn\": false, \"resolvConf\": \"/run/systemd/resolve/resolv.conf\"}\n",
            );
        },
        Severity::Note,
        "swap",
    ),
    ("a second kubelet", |root| package(root, "kubelet", "1.30.1-1.1"), Severity::Error, "rival-package"),
    ("a second containerd", |root| package(root, "containerd", "1.7.12-0ubuntu2"), Severity::Warning, "rival-package"),
    ("Docker's containerd", |root| package(root, "containerd.io", "1.7.22-1"), Severity::Warning, "rival-package"),
    ("Docker", |root| package(root, "docker.io", "24.0.7-0ubuntu2"), Severity::Warning, "rival-package"),
    ("CRI-O", |root| package(root, "cri-o", "1.30.0-1.1"), Severity::Warning, "rival-package"),
    ("ufw", |root| root.write("etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n"), Severity::Warning, "firewall"),
    (
        "firewalld",
        |root| {
            root.link(
                "etc/systemd/system/multi-user.target.wants/firewalld.service",
                "/lib/systemd/system/firewalld.service",
            );
        },
        Severity::Warning,
        "firewall",
    ),
    (
        "no resolved for the next bundle",
        |root| root.remove("etc/systemd/system/sysinit.target.wants"),
        Severity::Warning,
        "resolver",
    ),
    (
        "no resolved for this bundle",
        |root| {
            root.remove("usr/lib/systemd/systemd-resolved");
            root.write("var/lib/kubelet/config.yaml", "{\"resolvConf\": \"/run/systemd/resolve/resolv.conf\"}\n");
        },
        Severity::Error,
        "resolver",
    ),
    (
        "masked resolved",
        |root| {
            root.link("etc/systemd/system/systemd-resolved.service", "/dev/null");
            root.write("var/lib/kubelet/config.yaml", "{\"resolvConf\": \"/run/systemd/resolve/resolv.conf\"}\n");
        },
        Severity::Error,
        "resolver",
    ),
    (
        "DNS that asks itself",
        |root| root.write("var/lib/kubelet/config.yaml", "{\"resolvConf\": \"/etc/resolv.conf\"}\n"),
        Severity::Error,
        "resolver",
    ),
    (
        "a package without what it depends on",
        |root| {
            waiting_package(root, "alone", "Depends: systemd (>= 245), nowhere | neither:any\n");
            waiting_package(root, "other", "Depends: alone (= 1), virtual\nProvides: virtual\n");
        },
        Severity::Error,
        "package-depends",
    ),
    (
        "a package that is none",
        |root| root.write("usr/share/flexnode/debs/agent_1.deb", "<html>"),
        Severity::Error,
        "package",
    ),
];

fn rename(root: &GoodRoot, library: &str) {
    let systemd = root.at("usr/lib/systemd");
    fs::rename(systemd.join("libsystemd-shared-249.so"), systemd.join(library)).unwrap();
}

pub(super) fn package(root: &GoodRoot, name: &str, version: &str) {
    root.append(
        "var/lib/dpkg/status",
        &format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n"),
    );
}

fn without_module(root: &GoodRoot, module: &str) {
    let path = "usr/lib/modules/5.15.0-125-generic/modules.dep";
    let text = fs::read_to_string(root.at(path)).unwrap();
    let kept: Vec<_> = text.lines().filter(|line| !line.contains(&format!("/{module}.ko:"))).collect();
    root.write(path, &(kept.join("\n") + "\n"));
}

fn keep_a_kernel_without_dependencies(root: &GoodRoot) {
    root.remove("usr/lib/modules/5.15.0-125-generic/modules.dep");
    root.write("usr/lib/modules/5.15.0-125-generic/kernel/fs/overlayfs/overlay.ko", "\x7fELF");
}

/// A Debian package among those that first boot installs.
fn waiting_package(root: &GoodRoot, name: &str, fields: &str) {
    let tree = root.outside();
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n{fields}Description: x\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let deb = root.at("usr/share/flexnode/debs").join(format!("{name}_1.deb"));
    fs::create_dir_all(deb.parent().unwrap()).unwrap();
    assert!(Command::new("dpkg-deb").arg("--build").args([&tree, &deb]).output().unwrap().status.success());
    fs::remove_dir_all(tree).unwrap();
}
