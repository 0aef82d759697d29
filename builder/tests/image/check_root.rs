//! What `check-root` promises: each fault of a root is one finding with its cure, and nothing in the root is touched.

use std::fs;
use std::process::{Command, Output};

use crate::good_root::GoodRoot;
use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::check_root::{Needs, check};
use flexnode_build::finding::{Finding, Severity};
use flexnode_build::overlay::Overlay;
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use flexnode_build::target::Target;
use rustix::fs::{CWD, FileType, Mode, mknodat};

const ANY: Needs = Needs { target: None, kubernetes: None, bytes: 0 };

fn findings(root: &GoodRoot) -> Vec<Finding> {
    check(&root.open(), &ANY).unwrap()
}

fn flexnode_build(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flexnode-build")).env_clear().args(args).output().unwrap()
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

#[test]
fn a_good_root_has_no_findings() {
    assert_eq!(findings(&GoodRoot::new()), []);
}

type Break = fn(&GoodRoot);

/// A name for the fault, how to bring it about, and the one finding that it must be.
const FAULTS: [(&str, Break, Severity, &str); 47] = [
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

fn package(root: &GoodRoot, name: &str, version: &str) {
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

#[test]
fn each_fault_is_one_finding_with_its_cure() {
    let mut said = String::new();
    for (fault, break_it, severity, name) in FAULTS {
        let root = GoodRoot::new();
        break_it(&root);
        let found = findings(&root);
        let kinds: Vec<_> = found.iter().map(|finding| (finding.severity, finding.name)).collect();
        assert_eq!(kinds, [(severity, name)], "{fault}: {found:#?}");
        assert!(!found[0].cure.is_empty() && !found[0].cure.contains('\n'), "{fault}");
        let shown = found[0].to_string().replace(root.path().to_str().unwrap(), "/mnt");
        said += &format!("# {fault}\n{shown}\n");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn the_cures_that_edit_files_cure() {
    let mut run = 0;
    for (fault, break_it, ..) in FAULTS {
        let root = GoodRoot::new();
        break_it(&root);
        let cure = findings(&root).remove(0).cure;
        // What follows needs the programs of a whole root.
        let edit = cure.split(" && chroot ").next().unwrap();
        if edit.starts_with("sed ") || edit.starts_with("rm ") {
            assert!(Command::new("sh").args(["-c", edit]).status().unwrap().success(), "{edit}");
            assert_eq!(findings(&root), [], "{fault}");
            run += 1;
        }
    }
    assert_eq!(run, 5);
}

#[test]
fn modules_of_every_spelling_and_compression_count() {
    let root = GoodRoot::new();
    root.write(
        "usr/lib/modules/6.8.0-45-generic/modules.dep",
        "kernel/fs/overlayfs/overlay.ko.zst:\nkernel/net/bridge/br-netfilter.ko.xz: a\n\
         kernel/net/netfilter/nf_conntrack.ko.gz:\nkernel/drivers/net/vxlan/vxlan.ko.zst:\n",
    );
    // What a headers package leaves is no kernel.
    fs::create_dir_all(root.at("usr/lib/modules/6.8.0-46-generic")).unwrap();
    assert_eq!(findings(&root), []);
}

#[test]
fn a_root_is_held_against_what_the_bundle_was_built_for() {
    let root = GoodRoot::new();
    root.remove("usr/sbin/conntrack");
    let found = |target, kubernetes: &str, bytes| {
        let needs = Needs { target: Some(target), kubernetes: Some(kubernetes.parse().unwrap()), bytes };
        let found = check(&root.open(), &needs).unwrap();
        found.iter().map(|finding| format!("{} {}", finding.severity, finding.name)).collect::<Vec<_>>()
    };
    assert_eq!(found(Target::Ubuntu2204, "1.32.0", 0), [""; 0]);
    assert_eq!(found(Target::Ubuntu2204, "1.31.9", 0), ["warning conntrack"]);
    assert_eq!(found(Target::Ubuntu2404, "1.32.0", 0), ["error release"], "its C library is too old");
    assert_eq!(found(Target::Ubuntu2004, "1.32.0", 0), ["warning release"]);
    assert_eq!(found(Target::Ubuntu2204, "1.32.0", u64::MAX), ["error space"]);
}

fn manifest(target: Target) -> Manifest {
    let request = Request { kubernetes: Some("1.33".parse().unwrap()), target: Some(target), ..Request::default() };
    let lock = resolve(request, &Catalog::embedded().unwrap()).unwrap().lock;
    Manifest::new(&lock, Vec::new(), &Overlay::default(), 0)
}

#[test]
fn the_bundle_that_is_installed_or_named_says_what_is_needed() {
    let root = GoodRoot::new();
    root.remove("usr/sbin/conntrack");
    let path = root.path();
    let said = |args: &[&str]| {
        let output = flexnode_build(&[&["check-root", "--quiet", path.to_str().unwrap()], args].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&[]).starts_with("warning: conntrack"), "{}", said(&[]));
    root.write("usr/share/flexnode/bundle.json", &serde_json::to_string(&manifest(Target::Ubuntu2204)).unwrap());
    assert_eq!(said(&[]), "");

    fs::create_dir(root.outside()).unwrap();
    let bundle = root.outside().join("bundle.tar.zst");
    let manifest = manifest(Target::Ubuntu2404);
    let packing = Packing { level: 1, jobs: 1, epoch: 0 };
    pack(&manifest, &Overlay::default(), Partial::create(&bundle).unwrap(), packing, &|_| ()).unwrap();
    assert!(said(&["--bundle", bundle.to_str().unwrap()]).starts_with("error: this is ubuntu-22.04"));
}

#[test]
fn links_out_of_the_root_lead_nowhere() {
    let root = GoodRoot::new();
    fs::create_dir(root.outside()).unwrap();
    fs::write(root.outside().join("curl"), "\x7fELF").unwrap();
    root.link("usr/bin/curl", root.outside().join("curl"));
    fs::write(root.outside().join("fstab"), "/swap.img none swap sw 0 0\n").unwrap();
    root.link("etc/fstab", "../../../../../../../outside/fstab");
    let found = findings(&root);
    assert_eq!(found.iter().map(|finding| finding.name).collect::<Vec<_>>(), ["curl"]);
}

#[test]
fn what_cannot_be_read_is_told_and_waits_for_nobody() {
    let root = GoodRoot::new();
    root.remove("etc/fstab");
    mknodat(CWD, root.at("etc/fstab"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    root.link("usr/bin/curl", "wget");
    root.link("usr/bin/wget", "curl");
    fs::File::create(root.at("var/lib/dpkg/status")).unwrap().set_len(1 << 40).unwrap();
    root.remove("etc/default/grub");
    fs::create_dir(root.at("etc/default/grub")).unwrap();
    let said: Vec<_> = findings(&root).into_iter().map(|finding| finding.message).collect();
    assert_eq!(
        said,
        [
            "/var/lib/dpkg/status has more than 67108864 bytes",
            "curl is not installed: token.sh asks the Arc agent for the kubelet's tokens with it",
            "/etc/default/grub is no regular file",
            "/etc/fstab is no regular file",
        ]
    );
}

#[test]
fn nothing_in_the_root_is_changed_and_the_order_is_the_same_every_time() {
    let root = GoodRoot::new();
    root.append("etc/fstab", "/swap.img none swap sw 0 0\n");
    root.remove("usr/bin/curl");
    package(&root, "docker.io", "24");
    let read_before = root.access_times();
    assert_eq!(findings(&root).len(), 3);
    assert_eq!(root.access_times(), read_before, "not even who looked at what");
    let before = root.listing();
    let first = findings(&root);
    assert_eq!(first, findings(&root));
    assert_eq!(root.listing(), before);
    let severities: Vec<_> = first.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted() && severities.len() == 3, "{severities:?}");
}

#[test]
fn errors_make_the_exit_code_and_warnings_do_not() {
    let root = GoodRoot::new();
    let path = root.path();
    let run = |args: &[&str]| flexnode_build(&[&["check-root", path.to_str().unwrap()], args].concat());
    root.remove("usr/bin/ip");
    assert_eq!(run(&[]).status.code(), Some(0));
    root.remove("usr/bin/curl");
    let output = run(&[]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap().replace(path.to_str().unwrap(), "/mnt");
    insta::assert_snapshot!(format!("{}\n{said}", output.status.code().unwrap()));

    let json: serde_json::Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!((&json["ok"], &json["findings"][0]["name"]), (&false.into(), &"curl".into()));
    assert_eq!(json["findings"][1]["severity"], "warning");
}

#[test]
fn a_directory_that_is_no_root_is_refused() {
    let root = GoodRoot::new();
    for (path, code) in [("usr", 2), ("etc/fstab", 1), ("nowhere", 1)] {
        let output = flexnode_build(&["check-root", root.at(path).to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("error: ") && said.contains("hint: ") && output.stdout.is_empty(), "{said}");
    }
}

#[test]
fn a_hostile_name_cannot_steer_the_terminal_or_the_cure() {
    let root = GoodRoot::new();
    root.append("etc/fstab", "/\u{1b}[2J none swap sw 0 0\n");
    root.write("etc/default/grub.d/a';reboot;'.cfg", "systemd.unified_cgroup_hierarchy=0\n");
    let output = flexnode_build(&["check-root", root.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r"\u{1b}[2J") && !said.contains('\u{1b}'), "{said}");
    assert!(said.contains(r"a'\'';reboot;'\''.cfg'"), "{said}");
}
