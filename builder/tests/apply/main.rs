//! What `apply`, `verify --root` and `remove` promise, with small bundles in roots of the test's own. Needs root: mounts
//! are made in namespaces of their own, and owners are set.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fitting;
mod hostile;
mod kills;
mod like_tar;
mod model;
mod removal;
mod signed;
mod upgrades;
mod verification;
mod words;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;

use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use flexnode_build::lock::Lock;
use flexnode_build::overlay::{Content, Entry, FileEntry, Overlay};
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use tempfile::TempDir;

/// Files by path: `("etc/x", "0644", "content")`; a directory's path ends with `/`, a link's mode is `->`.
type Files<'a> = &'a [(&'a str, &'a str, &'a str)];

const EPOCH: u64 = 315_532_800;

/// The bundle that most tests begin with.
const OLD: Files<'static> = &[
    ("etc/app/", "0755", ""),
    ("etc/app/changes.conf", "0644", "changes: 1\n"),
    ("etc/app/gone.conf", "0644", "gone: 1\n"),
    ("etc/app/same.conf", "0644", "same: 1\n"),
    ("etc/flexnode/", "0700", ""),
    ("etc/systemd/system/wants/a.service", "->", "../a.service"),
    ("opt/app/", "0755", ""),
    ("opt/app/old/", "0755", ""),
    ("opt/app/old/plugin", "0755", "an old plugin"),
    ("usr/local/bin/kubelet", "0755", "kubelet 1"),
    ("usr/local/bin/runc", "0755", "runc"),
    ("usr/share/flexnode/", "0755", ""),
    ("var/lib/kubelet/", "0750", ""),
    ("var/lib/kubelet/config.yaml", "0600", "kind: 1\n"),
];

/// Its successor: a changed program and changed configuration, things that are gone, things that are new.
const NEW: Files<'static> = &[
    ("etc/app/", "0755", ""),
    ("etc/app/changes.conf", "0644", "changes: 2\n"),
    ("etc/app/new/", "0755", ""),
    ("etc/app/new/new.conf", "0644", "new: 2\n"),
    ("etc/app/same.conf", "0644", "same: 1\n"),
    ("etc/flexnode/", "0700", ""),
    ("etc/systemd/system/wants/a.service", "->", "../b.service"),
    ("opt/app/", "0755", ""),
    ("opt/app/plugin", "0755", "a new plugin"),
    ("usr/local/bin/kubelet", "0755", "kubelet 2"),
    ("usr/local/bin/runc", "0755", "runc"),
    ("usr/share/flexnode/", "0755", ""),
    ("var/lib/kubelet/", "0750", ""),
    ("var/lib/kubelet/config.yaml", "0600", "kind: 2\n"),
];

/// A directory with room for bundles and roots, in memory, where syncing costs nothing.
fn scratch() -> TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Packs a bundle.
fn bundle(dir: &Path, name: &str, files: Files) -> PathBuf {
    bundle_of(dir, name, files, &lock().kubernetes.to_string(), EPOCH)
}

/// The same for a version of Kubernetes and a time.
fn bundle_of(dir: &Path, name: &str, files: Files, kubernetes: &str, epoch: u64) -> PathBuf {
    let path = dir.join(name);
    let mut overlay = Overlay::default();
    for (path, mode, content) in files {
        let entry = match (path.strip_suffix('/'), *mode) {
            (Some(_), mode) => Entry::Directory(mode.parse().unwrap()),
            (None, "->") => Entry::Link { target: (*content).to_owned() },
            (None, mode) => Entry::File(FileEntry {
                mode: mode.parse().unwrap(),
                size: content.len() as u64,
                sha256: Digest::of(content.as_bytes()),
                content: Content::Bytes(content.as_bytes().into()),
                component: None,
            }),
        };
        overlay.insert(path.trim_end_matches('/').parse().unwrap(), entry).unwrap();
    }
    let mut manifest = Manifest::new(lock(), Vec::new(), &overlay, epoch);
    manifest.kubernetes = kubernetes.parse().unwrap();
    let packing = Packing { level: 3, jobs: 1, epoch };
    pack(&manifest, &overlay, Partial::create(&path).unwrap(), packing, &|_| ()).unwrap();
    path
}

fn lock() -> &'static Lock {
    static LOCK: OnceLock<Lock> = OnceLock::new();
    LOCK.get_or_init(|| {
        let request = Request { kubernetes: Some("1.30".parse().unwrap()), ..Request::default() };
        resolve(request, &Catalog::embedded().unwrap()).unwrap().lock
    })
}

/// A root as a stock Ubuntu has it, as far as anybody looks: usr-merge links, and a shell that is an ELF header.
fn root(dir: &Path, name: &str) -> PathBuf {
    let root = dir.join(name);
    for directory in ["etc/systemd/system", "usr/bin", "usr/lib", "usr/local/bin", "usr/share", "opt", "var/lib"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    fs::write(root.join("usr/lib/os-release"), "ID=ubuntu\nVERSION_ID=\"22.04\"\n").unwrap();
    fs::write(root.join("usr/bin/sh"), elf(62)).unwrap();
    fs::write(root.join("etc/hostname"), "node\n").unwrap();
    // The same in every root, so that whole trees can be compared.
    for file in ["usr/lib/os-release", "usr/bin/sh", "etc/hostname"] {
        File::options().append(true).open(root.join(file)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    root
}

/// The beginning of a program for a machine.
fn elf(machine: u8) -> Vec<u8> {
    let mut header = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 57]].concat();
    (header[16], header[18]) = (2, machine);
    header
}

/// A root in which `files` are applied.
fn installed(dir: &Path, name: &str, files: Files) -> PathBuf {
    let root = root(dir, name);
    apply(&bundle(dir, &format!("{name}.tar.zst"), files), &root);
    root
}

fn flexnode_build(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexnode-build"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(args);
    command
}

/// Standard output of a command that must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must end with `code`.
fn refused(command: &mut Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}\n{stderr}");
    stderr
}

fn applying(bundle: &Path, root: &Path) -> Command {
    flexnode_build(&["apply", bundle.to_str().unwrap(), "--root", root.to_str().unwrap()])
}

/// What an apply did, line by line.
fn apply(bundle: &Path, root: &Path) -> String {
    run(&mut applying(bundle, root))
}

fn on_root(verb: &str, root: &Path) -> Command {
    flexnode_build(&[verb, "--root", root.to_str().unwrap()])
}

fn remove(root: &Path) -> String {
    run(&mut on_root("remove", root))
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything below a directory, by path: type, mode, owner, time and content; directories without their time, which
/// tar sets for those of the archive and the system for the others.
fn tree(root: &Path) -> BTreeMap<String, String> {
    walk(root, &|path, found| {
        let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
        let content = if found.is_symlink() {
            fs::read_link(path).unwrap().display().to_string()
        } else if found.is_file() {
            format!("{} {}", found.mtime(), Digest::of(&fs::read(path).unwrap()))
        } else {
            String::new()
        };
        format!("{mode:o} {uid}:{gid} {content}")
    })
}

/// The same without the state that apply keeps for itself.
fn tree_but_state(root: &Path) -> BTreeMap<String, String> {
    let mut tree = tree(root);
    tree.retain(|path, _| !path.starts_with("var/lib/flexnode"));
    tree
}

/// Every path below a directory.
fn paths(root: &Path) -> Vec<String> {
    walk(root, &|_, _| String::new()).into_keys().collect()
}

/// All that the system knows of these paths: nothing can be touched unseen. They are not listed for it, because that
/// moves the access time of directories; that of links is left out, because any look at one moves it.
fn stats(root: &Path, paths: &[String]) -> Vec<String> {
    let describe = |path: &String| {
        let found = fs::symlink_metadata(root.join(path)).unwrap();
        let accessed = if found.is_symlink() { 0 } else { found.atime_nsec() + found.atime() };
        let times = (accessed, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
        format!("{path} {} {:o} {} {} {times:?}", found.ino(), found.mode(), found.nlink(), found.size())
    };
    paths.iter().map(describe).collect()
}

/// Sets all access times far back, so that any reading would move them.
fn unread(root: &Path) {
    run(Command::new("find").arg(root).args(["-exec", "touch", "-h", "-a", "-d", "1990-01-01", "{}", "+"]));
}

fn walk(root: &Path, describe: &dyn Fn(&Path, &fs::Metadata) -> String) -> BTreeMap<String, String> {
    let (mut found, mut directories) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), describe(&path, &metadata));
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

/// Runs a shell script in a mount namespace of its own.
fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script]);
    command
}

/// A copy that differs in nothing.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}
