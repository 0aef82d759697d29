//! Builders without a network: a mirror on a medium, and not one socket.

use std::fs;
use std::process::Command;

use super::{builder, bundle, cache, lab, program, run};

#[test]
fn a_mirror_feeds_a_builder_without_network() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, path) = (dir.path().join("mirror"), dir.path().join("bundle.tar.zst"));
    let mut fetch = builder(&cache(), &["fetch", "--k8s", "1.30", "--mirror-to"]);
    run(fetch.arg(&mirror));
    // No network, and every system call that could reach one is recorded.
    let calls = dir.path().join("calls");
    let mut build = Command::new("unshare");
    build.args(["--net", "--", "strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,bind", "-o"]).arg(&calls);
    build.arg(program()).args(["--k8s", "1.30", "--offline", "--manifests"]).arg(lab().manifests());
    build.arg("--mirror").arg(&mirror).arg("--cache-dir").arg(dir.path().join("cache")).arg("-o").arg(&path);
    run(&mut build);
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let calls = fs::read_to_string(&calls).unwrap();
    assert!(!calls.contains("socket(") && !calls.contains("connect("), "--offline opened a socket:\n{calls}");
}
