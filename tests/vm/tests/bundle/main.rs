//! From the lab's real programs to a node's root: the promises of a bundle, end to end, with the programs as users run
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod air_gap;
mod audit;
mod faults;
mod interruptions;
mod root;
mod same_bytes;
mod sbom;
mod signed;
mod spec;

use std::fs;
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
