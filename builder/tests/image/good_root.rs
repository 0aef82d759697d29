//! A small root with everything that a node needs and nothing that an image must not hold, to be broken in one way.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flexnode_build::image_root::ImageRoot;

/// A root in a temporary directory.
pub(crate) struct GoodRoot {
    dir: tempfile::TempDir,
}

impl GoodRoot {
    /// Ubuntu 22.04 with a kernel.
    pub(crate) fn new() -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(root.path()).unwrap();
        for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
            fs::create_dir_all(root.at(target)).unwrap();
            symlink(target, root.at(link)).unwrap();
        }
        root.write("usr/lib/os-release", "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\n");
        root.link("etc/os-release", "../usr/lib/os-release");
        root.program("usr/lib/systemd/systemd");
        root.program("usr/lib/systemd/systemd-resolved");
        root.program("usr/lib/systemd/systemd-timesyncd");
        root.write("usr/lib/systemd/libsystemd-shared-249.so", "\x7fELF");
        root.link("usr/sbin/init", "/lib/systemd/systemd");
        root.link(
            "etc/systemd/system/sysinit.target.wants/systemd-resolved.service",
            "/lib/systemd/system/systemd-resolved.service",
        );
        root.link("etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf");
        for program in ["bin/curl", "bin/mount", "bin/umount", "bin/dpkg", "bin/openssl", "bin/kmod", "bin/ip"] {
            root.program(&format!("usr/{program}"));
        }
        root.link("usr/sbin/modprobe", "../bin/kmod");
        root.program("usr/sbin/conntrack");
        root.program("usr/sbin/apparmor_parser");
        // Debian's way: two links, both absolute.
        root.program("usr/sbin/xtables-nft-multi");
        root.link("etc/alternatives/iptables", "/usr/sbin/iptables-nft");
        root.link("usr/sbin/iptables-nft", "xtables-nft-multi");
        root.link("usr/sbin/iptables", "/etc/alternatives/iptables");
        root.write("etc/ssl/certs/ca-certificates.crt", "-----BEGIN CERTIFICATE-----\n");
        root.write(
            "var/lib/dpkg/status",
            "Package: systemd\nStatus: install ok installed\nVersion: 249.11-0ubuntu3\n\n",
        );
        root.write(
            "etc/fstab",
            "LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1\n#/swap.img none swap sw 0 0\n/swap.img none swap noauto 0 0\n",
        );
        root.write("etc/default/grub", "GRUB_CMDLINE_LINUX=\"console=ttyS0\"\n");
        root.write(
            "usr/lib/modules/5.15.0-125-generic/modules.dep",
            "kernel/fs/overlayfs/overlay.ko:\nkernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko\n\
             kernel/net/netfilter/nf_conntrack.ko: kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko\n",
        );
        root.write("usr/lib/modules/5.15.0-125-generic/modules.builtin", "kernel/drivers/net/vxlan/vxlan.ko\n");
        root.write("etc/machine-id", "");
        root.link("var/lib/dbus/machine-id", "/etc/machine-id");
        root
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory beside it, which nothing may touch.
    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Where a path of it is.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub(crate) fn open(&self) -> ImageRoot {
        ImageRoot::open(&self.path()).unwrap()
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.make_way(path);
        fs::write(self.at(path), text).unwrap();
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.at(path)).unwrap_or_default();
        self.write(path, &(before + text));
    }

    pub(crate) fn program(&self, path: &str) {
        self.write(path, "\x7fELF");
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes `path` a link, whatever was there.
    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        self.make_way(path);
        self.remove(path);
        symlink(target, self.at(path)).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.at(path);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
    }

    /// Every path with type, mode and content: what must stay as it is where nothing may be changed.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(self.dir.path(), &mut lines);
        lines.sort();
        lines
    }

    /// When each file was last read.
    pub(crate) fn access_times(&self) -> Vec<(PathBuf, i64, i64)> {
        let mut times = Vec::new();
        let mut due = vec![self.path()];
        while let Some(directory) = due.pop() {
            let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
            for path in entries {
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_file() {
                    times.push((path, metadata.atime(), metadata.atime_nsec()));
                } else if metadata.is_dir() {
                    due.push(path);
                }
            }
        }
        times.sort();
        times
    }

    fn make_way(&self, path: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
    }
}

fn list(directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            // A sparse giant would fill the memory.
            kind if kind.is_file() && metadata.len() < 1 << 20 => fs::read_to_string(&path).unwrap_or_default(),
            _ => String::new(),
        };
        // The size of a directory is the file system's own affair.
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        lines.push(format!("{} {:o} {size} {content}", path.display(), metadata.permissions().mode()));
        if metadata.is_dir() {
            list(&path, lines);
        }
    }
}
