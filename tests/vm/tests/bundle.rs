//! From the lab's real programs to a node's root: the promises of a bundle, end to end, with the programs as users run
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flexnode_vm::lab::{self, Lab};

fn lab() -> &'static Lab {
    lab::shared().unwrap()
}

/// The builder of this build.
fn program() -> PathBuf {
    let beside = std::env::current_exe().unwrap().with_file_name("../flexnode-build").canonicalize();
    beside.expect("`cargo build --workspace` makes flexnode-build beside the tests")
}

/// The builder with the lab's manifests and mirror, a cache of its own, and nothing of this machine's environment.
fn builder(cache: &Path, args: &[&str]) -> Command {
    let (verb, flags) = args.split_at(args.iter().take_while(|arg| !arg.starts_with('-')).count());
    let mut command = Command::new(program());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("FLEXNODE_CACHE_DIR", cache).args(verb);
    command.arg("--manifests").arg(lab().manifests()).arg("--mirror").arg(lab().mirror()).arg("--offline");
    command.args(flags);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn refused(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

/// The bundle that all tests share.
fn bundle() -> &'static Path {
    static BUNDLE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUNDLE.get_or_init(|| {
        let dir = lab().dir().with_file_name("lab-bundle");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("bundle.tar.zst");
        run(builder(&dir.join("cache"), &["--k8s", "1.30", "-o"]).arg(&path));
        path
    })
}

fn cache() -> PathBuf {
    bundle().with_file_name("cache")
}

fn unpacked(into: &Path) {
    run(Command::new("tar").args(["--zstd", "-xpf"]).arg(bundle()).arg("-C").arg(into));
}

#[test]
fn gnu_tar_makes_a_root_whose_programs_run() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let says = |program: &str, args: &[&str]| {
        let output = run(Command::new(root.path().join(program)).args(args));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(says("usr/local/bin/containerd", &["--version"]).starts_with("containerd "));
    assert!(says("usr/local/sbin/runc", &["--version"]).starts_with("runc version "));
    assert!(says("usr/local/bin/kubectl", &["version", "--client"]).contains("Client Version: v1.30.0"));
    assert!(says("usr/local/bin/kubelet", &["--version"]).contains("v1.30.0"));
    assert!(says("usr/local/bin/flexnode-firstboot", &["--version"]).starts_with("flexnode-firstboot "));
    let bridge = Command::new(root.path().join("opt/cni/bin/bridge")).env("CNI_COMMAND", "VERSION").output().unwrap();
    assert!(String::from_utf8_lossy(&bridge.stdout).contains("supportedVersions"));
}

#[test]
fn the_bundled_containerd_accepts_its_configuration() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let config = root.path().join("etc/containerd/config.toml");
    let output = run(Command::new(root.path().join("usr/local/bin/containerd"))
        .arg("--config")
        .arg(&config)
        .args(["config", "dump"]));
    let dumped = String::from_utf8(output.stdout).unwrap();
    for setting in
        ["SystemdCgroup = true", "registry.k8s.io/pause:3.9@sha256:", "/etc/containerd/certs.d", "/opt/cni/bin"]
    {
        assert!(dumped.contains(setting), "{setting} is missing in\n{dumped}");
    }
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(!complaints.contains("unknown") && !complaints.contains("deprecat"), "{complaints}");
}

#[test]
fn modes_and_owners_are_as_a_node_needs_them() {
    let root = tempfile::tempdir().unwrap();
    unpacked(root.path());
    let mode = |path: &str| fs::symlink_metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("usr/local/bin/kubelet"), 0o755);
    assert_eq!(mode("var/lib/kubelet/token.sh") & 0o077 & 0o022, 0);
    let setuid = run(Command::new("find").arg(root.path()).args(["-perm", "/7000"]));
    assert!(setuid.stdout.is_empty(), "{}", String::from_utf8_lossy(&setuid.stdout));
    let foreign = run(Command::new("find").arg(root.path()).args(["-mindepth", "1", "-not", "-uid", "0"]));
    assert!(foreign.stdout.is_empty());
    let enabled =
        fs::read_link(root.path().join("etc/systemd/system/multi-user.target.wants/flexnode-firstboot.service"));
    assert_eq!(enabled.unwrap(), Path::new("../flexnode-firstboot.service"));
    assert!(!root.path().join("etc/systemd/system/multi-user.target.wants/kubelet.service").exists());
}

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_the_machine() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let firstboot = program().with_file_name("flexnode-firstboot");
    run(Command::new("cp").arg("-rL").args([&program(), &firstboot, &lab().manifests(), &lab().mirror(), &at("")]));
    let output = at("another name.tar.zst");

    // Another directory, user, umask, locale, time zone, number of threads; a cold cache.
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]);
    other.arg(
        "umask 077; exec ./flexnode-build --k8s 1.30 --jobs 1 --offline --manifests manifests --mirror mirror \
         --cache-dir cold -o 'another name.tar.zst'",
    );
    other.current_dir(elsewhere.path()).env_clear().env("PATH", "/usr/bin:/bin");
    run(other.env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Pacific/Kiritimati"));
    assert!(fs::read(&output).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");

    // Warm, with more threads.
    run(builder(&at("cold"), &["--k8s", "1.30", "--jobs", "4", "-o"]).arg(&output).env("TZ", "UTC"));
    assert!(fs::read(&output).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
}

#[test]
fn source_date_epoch_is_every_members_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    run(builder(&cache(), &["--k8s", "1.30", "--level", "1", "-o"]).arg(&path).env("SOURCE_DATE_EPOCH", "1700000000"));
    let listed = run(Command::new("tar").args(["--zstd", "--full-time", "--utc", "-tvf"]).arg(&path));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().all(|line| line.contains("root/root") || line.contains("0/0")), "{listed}");
    assert!(listed.lines().all(|line| line.contains("2023-11-14 22:13:20")), "{listed}");
    assert!(listed.lines().next().unwrap().ends_with("usr/share/flexnode/bundle.json"));

    let refusal = refused(builder(&cache(), &["--k8s", "1.30", "-o"]).arg(&path).env("SOURCE_DATE_EPOCH", "today"), 2);
    assert!(refusal.contains("error: SOURCE_DATE_EPOCH is `today`") && refusal.contains("hint: "), "{refusal}");
}

#[test]
fn inspect_names_every_component_with_its_source_and_digest() {
    let output = run(Command::new(program()).args(["inspect", "--json"]).arg(bundle()));
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let components = manifest["components"].as_array().unwrap();
    let names: Vec<&str> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["cni-plugins", "containerd", "crictl", "flexnode-firstboot", "kubeadm", "kubectl", "kubelet", "runc"]
    );
    for component in components {
        assert!(!component["url"].as_str().unwrap().is_empty() && component["sha256"].as_str().unwrap().len() == 64);
        let stand_in = ["crictl", "kubeadm", "kubelet"].contains(&component["name"].as_str().unwrap());
        assert_eq!(component["standIn"].as_bool().unwrap_or(false), stand_in, "{component}");
    }
    let kubectl = components.iter().find(|component| component["name"] == "kubectl").unwrap();
    assert_eq!(kubectl["sha256"], "7c3807c0f5c1b30110a2ff1e55da1d112a6d0096201f1beb81b269f582b5d1c5");
    assert_eq!(kubectl["url"], "https://dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubectl");
}

#[test]
fn verify_passes_and_a_flipped_byte_does_not() {
    run(Command::new(program()).arg("verify").arg(bundle()));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("bundle.tar.zst");
    let mut bytes = fs::read(bundle()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&copy, bytes).unwrap();
    let stderr = refused(Command::new(program()).arg("verify").arg(&copy), 6);
    assert!(stderr.contains("error: ") && stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_lock_builds_the_same_bundle_and_refuses_another_request() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, path) = (dir.path().join("flexnode.lock"), dir.path().join("bundle.tar.zst"));
    let mut make = Command::new(program());
    run(make.args(["lock", "--k8s", "1.30", "--manifests"]).arg(lab().manifests()).arg("-o").arg(&lock));
    // The lock alone is enough: no catalog of the lab, only its mirror.
    let locked = |args: &[&str]| {
        let mut command = Command::new(program());
        command.args(["--offline", "--mirror"]).arg(lab().mirror()).arg("--lock").arg(&lock).args(args);
        command.env("FLEXNODE_CACHE_DIR", cache());
        command
    };
    run(locked(&["-o"]).arg(&path));
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let stderr = refused(&mut locked(&["--k8s", "1.31", "-o", "/nonexistent/bundle"]), 3);
    assert!(
        stderr.contains("it has Kubernetes 1.30.0, --k8s asks for 1.31") && stderr.contains("hint: renew it: "),
        "{stderr}"
    );
}

#[test]
fn a_mirror_feeds_a_builder_without_network() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, path) = (dir.path().join("mirror"), dir.path().join("bundle.tar.zst"));
    let mut fetch = builder(&cache(), &["fetch", "--k8s", "1.30", "--mirror-to"]);
    run(fetch.arg(&mirror));
    let mut build = Command::new("unshare");
    build
        .args(["--net", "--"])
        .arg(program())
        .args(["--k8s", "1.30", "--offline", "--manifests"])
        .arg(lab().manifests());
    build.arg("--mirror").arg(&mirror).arg("--cache-dir").arg(dir.path().join("cache")).arg("-o").arg(&path);
    run(&mut build);
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_any_download() {
    let empty = tempfile::tempdir().unwrap();
    let cache = empty.path().join("cache");
    let stderr = refused(&mut builder(&cache, &["--k8s", "1.30", "-o", "/proc/bundle.tar.zst"]), 1);
    assert!(stderr.contains("error: ") && stderr.contains("hint: "), "{stderr}");
    assert!(!cache.join("sha256").exists(), "something was downloaded");
    let stderr = refused(&mut builder(&cache, &["--k8s", "1.30", "-o", "/tmp"]), 2);
    assert!(stderr.contains("error: /tmp is a directory"), "{stderr}");
}

#[test]
fn a_full_disk_leaves_the_old_bundle_and_says_what_to_do() {
    let disk = tempfile::tempdir().unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(disk.path()));
    let path = disk.path().join("bundle.tar.zst");
    fs::write(&path, "the old one").unwrap();
    let output = builder(&cache(), &["--k8s", "1.30", "--level", "1", "-o"]).arg(&path).output().unwrap();
    let (kept, left) = (fs::read(&path), fs::read_dir(disk.path()).unwrap().count());
    run(Command::new("umount").arg(disk.path()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device") && stderr.contains("hint: free some space"), "{stderr}");
    assert_eq!((kept.unwrap(), left), (b"the old one".to_vec(), 1));
}

#[test]
fn killed_at_any_moment_and_run_again_it_completes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    // Killed after its n-th write to any file, by the kernel: no clock is involved.
    for writes in [1, 3, 10, 40, 160, 640, 2560] {
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write,pwrite64,renameat,renameat2,rename,fsync"]);
        traced.arg("-e").arg(format!("inject=write,pwrite64:signal=KILL:when={writes}"));
        let build =
            builder(&dir.path().join("cache"), &["--k8s", "1.30", "--level", "1", "-o", path.to_str().unwrap()]);
        traced.arg(build.get_program()).args(build.get_args());
        for (name, value) in build.get_envs() {
            if let Some(value) = value {
                traced.env(name, value);
            }
        }
        let killed = traced.output().unwrap();
        if killed.status.success() {
            break;
        }
        assert!(!path.exists(), "a bundle appeared although its build was killed after {writes} writes");
    }
    run(builder(&dir.path().join("cache"), &["--k8s", "1.30", "-o"]).arg(&path));
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?} should be the bundle, its digest and the cache");
}
