//! SIGKILL before every single change that the program makes: the next run completes, or another bundle does, or removal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{NEW, OLD, apply, bundle, copy, installed, on_root, remove, root, run, scratch, tree};

/// The calls that change something. Each is killed before its first, second … time, until it has no more of them.
const CALLS: [&str; 9] =
    ["openat", "write", "fchmod", "fsync", "renameat", "unlinkat", "mkdirat", "symlinkat", "utimensat"];

/// Kills `args` at every n-th of [`CALLS`] in a copy of `from`, and hands each root that is left to `complete`.
fn at_every_kill(dir: &Path, from: &Path, args: &[&str], stride: usize, complete: impl Fn(&Path, &str)) -> usize {
    let mut kills = 0;
    for call in CALLS {
        for when in (1..).step_by(stride) {
            let root = dir.join("killed");
            copy(from, &root);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            traced.args([
                "-e",
                &format!("inject={call}:signal=KILL:when={when}"),
                env!("CARGO_BIN_EXE_flexnode-build"),
            ]);
            let output = traced.args(args).arg("--root").arg(&root).output().unwrap();
            // strace ends as its child did, and with 1 where it failed itself.
            assert_ne!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
            let killed = !output.status.success();
            complete(&root, &format!("{args:?} killed at {call} {when}"));
            fs::remove_dir_all(&root).unwrap();
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

fn expect(root: &Path, expected: &BTreeMap<String, String>, what: &str) {
    let found = tree(root);
    let differ: Vec<_> = found.iter().filter(|(path, is)| expected.get(*path) != Some(is)).collect();
    let missing: Vec<_> = expected.keys().filter(|path| !found.contains_key(*path)).collect();
    assert!(differ.is_empty() && missing.is_empty(), "{what}: {differ:?}, missing {missing:?}");
}

#[test]
fn a_first_apply_killed_anywhere_is_completed_by_the_next() {
    let dir = scratch();
    let path = bundle(dir.path(), "bundle.tar.zst", OLD);
    let expected = tree(&installed(dir.path(), "expected", OLD));
    let from = root(dir.path(), "from");
    let kills = at_every_kill(dir.path(), &from, &["apply", path.to_str().unwrap()], 1, |root, what| {
        if root.join("var/lib/flexnode/applying.json").exists() {
            let output = on_root("verify", root).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(!output.status.success() && said.contains("an apply was interrupted"), "{what}: {said}");
        }
        apply(&path, root);
        expect(root, &expected, what);
        run(&mut on_root("verify", root));
    });
    assert!(kills > 60, "only {kills} kills");
}

#[test]
fn an_upgrade_killed_anywhere_is_completed_by_the_next() {
    let dir = scratch();
    let (from, newer) = (installed(dir.path(), "from", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    fs::write(from.join("etc/app/changes.conf"), "mine\n").unwrap();
    fs::write(from.join("etc/app/gone.conf"), "mine\n").unwrap();
    let expected = dir.path().join("expected");
    copy(&from, &expected);
    apply(&newer, &expected);
    let expected = tree(&expected);
    let kills = at_every_kill(dir.path(), &from, &["apply", newer.to_str().unwrap()], 1, |root, what| {
        // Whatever there is under a final name is one version or the other.
        let kubelet = fs::read_to_string(root.join("usr/local/bin/kubelet")).unwrap();
        assert!(kubelet == "kubelet 1" || kubelet == "kubelet 2", "{what}: {kubelet:?}");
        apply(&newer, root);
        expect(root, &expected, what);
    });
    assert!(kills > 60, "only {kills} kills");
}

#[test]
fn an_upgrade_killed_anywhere_gives_way_to_another_bundle_or_to_removal() {
    let dir = scratch();
    let (from, newer) = (installed(dir.path(), "from", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    let third = bundle(dir.path(), "third.tar.zst", &[OLD, &[("usr/local/bin/third", "0755", "third")]].concat());
    let expected = dir.path().join("expected");
    copy(&from, &expected);
    apply(&third, &expected);
    let (expected, bare) = (tree(&expected), tree(&root(dir.path(), "bare")));
    let kills = at_every_kill(dir.path(), &from, &["apply", newer.to_str().unwrap()], 2, |root, what| {
        let other = dir.path().join("other");
        copy(root, &other);
        apply(&third, root);
        expect(root, &expected, what);
        remove(&other);
        expect(&other, &bare, what);
        fs::remove_dir_all(&other).unwrap();
    });
    assert!(kills > 30, "only {kills} kills");
}

#[test]
fn a_removal_killed_anywhere_is_completed_by_the_next_and_leaves_nothing() {
    let dir = scratch();
    let (from, bare) = (installed(dir.path(), "from", OLD), tree(&root(dir.path(), "bare")));
    let kills = at_every_kill(dir.path(), &from, &["remove"], 1, |root, what| {
        remove(root);
        expect(root, &bare, what);
    });
    assert!(kills > 20, "only {kills} kills");
}
