//! What happens to machines: no permission, no room, SIGKILL at any moment. Nothing is lost, and the next run completes.

use std::fs;
use std::process::Command;

use super::{builder, bundle, cache, refused, run};

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
