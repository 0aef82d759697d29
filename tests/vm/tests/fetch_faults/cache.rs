//! What happens to the cache: two at once, killed, damaged, full, read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flexnode_build::failure::Class;
use flexnode_build::fetch::Origin;
use flexnode_vm::faults::Fault;

use crate::bench::{Bench, PATH, artifact};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn two_fetches_at_once_ask_once() {
    let bench = Bench::new(MIB);
    bench.server.once(PATH, [Fault::Slow { chunk: 100_000, pause: Duration::from_millis(30) }]);
    let (one, two) = tokio::join!(bench.fetch_good(), bench.fetch_good());
    assert_eq!(bench.ranges(), [None]);
    let from_cache = [one, two].iter().filter(|blob| *blob.origin() == Origin::Cache).count();
    assert_eq!(from_cache, 1);
    assert!(bench.said().contains("waiting for another build"), "{}", bench.said());
}

#[test]
fn two_processes_at_once_ask_once() {
    let bench = Bench::new(MIB);
    bench.server.once(PATH, [Fault::Slow { chunk: 100_000, pause: Duration::from_millis(30) }]);
    let url = bench.artifact().url;
    let children = [bench.child(&url).spawn(), bench.child(&url).spawn()];
    for child in children {
        let output = child.and_then(std::process::Child::wait_with_output).expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(bench.ranges(), [None]);
}

#[test]
fn a_killed_download_is_resumed_by_the_next_run() {
    // More than sockets hold back: when half of it is out, the child has read millions of bytes.
    let bench = Bench::new(48 * MIB);
    bench.server.once(PATH, [Fault::Stall { after: 40 * MIB as u64 }]);
    let mut child = bench.child(&bench.artifact().url).stderr(Stdio::null()).spawn().expect("a child");
    bench.server.wait_sent(32 * MIB as u64).expect("a child that reads");
    child.kill().expect("a child to kill");
    child.wait().expect("a dead child");
    assert!(!bench.entry(bench.artifact().sha256).exists());
    let have = fs::metadata(bench.partial()).expect("a partial").len();
    assert!(have > 0, "nothing was kept");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(bench.fetch_good());
    assert_eq!(bench.ranges()[1], Some(format!("bytes={have}-")));
    assert!(!bench.partial().exists());
}

#[tokio::test]
async fn a_bad_entry_is_removed_with_a_warning_and_fetched_again() {
    let bench = Bench::new(MIB);
    bench.fetch_good().await;
    assert_eq!(*bench.fetch_good().await.origin(), Origin::Cache);
    assert_eq!(bench.ranges().len(), 1, "the second one needed no request");

    let entry = bench.entry(bench.artifact().sha256);
    let mut damaged = bench.body.clone();
    damaged[MIB - 1] ^= 0x80;
    fs::write(&entry, damaged).expect("an entry");
    bench.fetch_good().await;
    assert_eq!(bench.ranges().len(), 2);
    let said = bench.said();
    let warning = said.lines().find(|line| line.starts_with("warning: ")).expect("a warning");
    assert!(warning.contains(entry.to_str().expect("text")), "{warning}");
}

#[tokio::test]
async fn a_cache_that_cannot_be_is_a_local_failure() {
    let bench = Bench::new(1000);
    fs::write(bench.cache_dir(), "a file").expect("a file");
    let (class, message, hint) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Local, "{message}");
    assert!(hint.contains("--cache-dir"), "{hint}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_costs_nothing_that_is_there() {
    let bench = Bench::new(4 * MIB);
    let Some(_mount) = Mount::tmpfs(&bench.cache_dir()) else { return };
    bench.publish("/small", b"small");
    let small = artifact(&format!("{}/small", bench.server.url()), b"small");
    bench.fetch(std::slice::from_ref(&small)).await.expect("the right bytes");

    let (class, message, hint) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Local, "{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(hint.contains("make room") && hint.contains("--cache-dir"), "{hint}");
    assert_eq!(bench.ranges(), [None], "a full disk is not tried again");
    assert!(bench.entry(small.sha256).exists());
}

#[tokio::test]
async fn a_read_only_cache_serves_what_it_has_and_no_more() {
    let bench = Bench::new(1000);
    let Some(mount) = Mount::tmpfs(&bench.cache_dir()) else { return };
    bench.fetch_good().await;
    mount.make_read_only();
    assert_eq!(*bench.fetch_good().await.origin(), Origin::Cache);

    bench.publish("/small", b"small");
    let small = artifact(&format!("{}/small", bench.server.url()), b"small");
    let (class, message, hint) = bench.fetch_bad(&[small]).await;
    assert_eq!(class, Class::Local, "{message}");
    assert!(message.contains("Read-only file system"), "{message}");
    assert!(hint.contains("--cache-dir"), "{hint}");
}

/// A small file system of its own; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// One mebibyte at `dir`, or a word of why the test is skipped.
    fn tmpfs(dir: &Path) -> Option<Self> {
        fs::create_dir_all(dir).expect("a directory");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir).output();
        let output = output.expect("mount(8)");
        if output.status.success() {
            return Some(Self(dir.to_owned()));
        }
        eprintln!("SKIPPED, for mounting is not permitted: {}", String::from_utf8_lossy(&output.stderr).trim());
        None
    }

    fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(status.expect("mount(8)").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.0.display());
        }
    }
}
