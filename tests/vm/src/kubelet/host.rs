//! What the kubelet insists on about its machine before it starts.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::config::Config;

/// Checks the machine whose `/proc`, `/sys` and `/dev` are below `root`; in the words of kubernetes `pkg/kubelet/cm`.
pub(super) fn check(root: &Path, config: &Config) -> Result<()> {
    let unified = root.join("sys/fs/cgroup/cgroup.controllers").exists();
    ensure!(
        unified || !config.fails_on_cgroup_v1,
        "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be \
         removed in a future release"
    );
    // The real one reads there whom the kernel killed for memory.
    File::open(root.join("dev/kmsg")).context("failed to create kubelet: open /dev/kmsg")?;
    if config.fails_on_swap {
        swap(root)?;
    }
    if config.protects_kernel_defaults {
        tunables(root)?;
    }
    Ok(())
}

fn swap(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join("proc/swaps")).context("read /proc/swaps")?;
    let swaps: Vec<&str> = text.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
    ensure!(
        swaps.is_empty(),
        "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false. /proc/swaps \
         contained: {swaps:?}"
    );
    Ok(())
}

/// What `protectKernelDefaults` compares.
const TUNABLES: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

fn tunables(root: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, expected) in TUNABLES {
        let path = root.join("proc/sys").join(name);
        let actual = fs::read_to_string(&path).with_context(|| format!("open /proc/sys/{name}"))?;
        let actual = actual.trim();
        if actual != expected {
            wrong.push(format!("invalid kernel flag: {name}, expected value: {expected}, actual value: {actual}"));
        }
    }
    ensure!(wrong.is_empty(), "failed to start ContainerManager: [{}]", wrong.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::config::{self, Config};

    /// A machine with `lines` in its /proc/swaps and everything as it must be but the tunables of `other`.
    fn machine(lines: &str, other: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("dev/kmsg", "");
        write("proc/swaps", &format!("Filename\tType\tSize\n{lines}"));
        for (name, value) in TUNABLES.iter().chain(other) {
            write(&format!("proc/sys/{name}"), &format!("{value}\n"));
        }
        root
    }

    fn config(text: &str, minor: u64) -> Config {
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        Config::of(&config::parse(&format!("{head}{text}"), minor).unwrap(), minor).unwrap()
    }

    #[test]
    fn swap_keeps_it_from_starting_unless_told_otherwise() {
        let root = machine("/dev/dm-1 partition 16760828\n", &[]);
        let error = check(root.path(), &config("", 30)).unwrap_err().to_string();
        assert!(error.starts_with("running with swap on is not supported"), "{error}");
        check(root.path(), &config("failSwapOn: false", 30)).unwrap();
        check(machine("", &[]).path(), &config("", 30)).unwrap();
    }

    #[test]
    fn kernel_defaults_are_compared_when_they_are_to_be_protected() {
        let root = machine("", &[("kernel/panic", "0")]);
        check(root.path(), &config("", 30)).unwrap();
        let error = check(root.path(), &config("protectKernelDefaults: true", 30)).unwrap_err().to_string();
        assert!(error.contains("invalid kernel flag: kernel/panic, expected value: 10, actual value: 0"), "{error}");
        check(machine("", &[]).path(), &config("protectKernelDefaults: true", 30)).unwrap();
    }

    #[test]
    fn cgroups_of_version_1_are_refused_from_1_35_on_unless_told_otherwise() {
        let root = machine("", &[]);
        check(root.path(), &config("", 34)).unwrap();
        assert!(check(root.path(), &config("", 35)).is_err());
        check(root.path(), &config("failCgroupV1: false", 35)).unwrap();
        assert!(check(root.path(), &config("failCgroupV1: true", 31)).is_err());
    }
}
