//! Before the first write: the wrong root, the wrong bundle, no room, no permission; and a disk that fills up later.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flexnode_build::bundle::{Source, Verified};
use flexnode_build::progress::Progress;
use flexnode_build::root::{self as roots, Applying};

use super::{
    NEW, OLD, apply, applying, bundle, elf, in_namespace, installed, on_root, refused, root, run, scratch, tree,
    tree_but_state,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flexnode-build");

#[test]
fn a_root_that_is_none_or_of_another_kind_is_refused() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let refuse = |root: &Path, words: &str| {
        let before = tree(root);
        let stderr = refused(&mut applying(&bundle, root), 2);
        assert!(stderr.contains(words) && stderr.contains("hint: "), "{stderr}");
        assert_eq!(tree(root), before);
    };
    let changed = |name: &str, path: &str, content: Option<&[u8]>| {
        let root = root(dir.path(), name);
        match content {
            Some(content) => fs::write(root.join(path), content).unwrap(),
            None => fs::remove_file(root.join(path)).unwrap(),
        }
        root
    };
    refuse(&changed("no-release", "usr/lib/os-release", None), "is no node's root: it has neither");
    refuse(&changed("no-shell", "usr/bin/sh", None), "is no node's root: it has no bin/sh");
    refuse(&changed("script", "usr/bin/sh", Some(b"#!/bin/true")), "its bin/sh is no program for amd64 or arm64");
    refuse(&changed("arm", "usr/bin/sh", Some(&elf(183))), "is arm64, the bundle is for amd64");
    let noble = changed("noble", "usr/lib/os-release", Some(b"ID=ubuntu\nVERSION_ID=24.04\n"));
    refuse(&noble, "is ubuntu-24.04, the bundle is for ubuntu-22.04");
    run(applying(&bundle, &noble).arg("--any-release"));
    refused(&mut applying(&bundle, &dir.path().join("nowhere")), 2);
    refused(&mut applying(&bundle, &bundle), 2);
}

#[test]
fn a_damaged_bundle_changes_nothing() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let path = bundle(dir.path(), "new.tar.zst", NEW);
    let (whole, before) = (fs::read(&path).unwrap(), tree(&root));
    for with_digest in [true, false] {
        if !with_digest {
            fs::remove_file(dir.path().join("new.tar.zst.sha256")).unwrap();
        }
        for at in (0..whole.len()).step_by(whole.len() / 20) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            refused(&mut applying(&path, &root), 6);
            assert!(tree(&root) == before, "a flip at {at} changed something");
        }
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused(&mut applying(&path, &root), 6);
    assert!(tree(&root) == before);
}

#[test]
fn a_bundle_that_changes_after_it_was_verified_leaves_nothing_behind() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let path = bundle(dir.path(), "new.tar.zst", NEW);
    let progress = Progress::plain_to(std::io::sink());
    let before = tree(&root);
    // Another bundle of the same names, and a broken one.
    let other = fs::read(bundle(dir.path(), "other.tar.zst", OLD)).unwrap();
    let whole = fs::read(&path).unwrap();
    let flipped = {
        let mut bytes = whole.clone();
        let middle = bytes.len() - 20;
        bytes[middle] ^= 1;
        bytes
    };
    for changed in [other, flipped] {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&whole, 0).unwrap();
        let verified = Verified::verify(Source::open(&path).unwrap(), &progress).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&changed, 0).unwrap();
        let error = roots::apply(&verified, &root, Applying::default(), &progress).unwrap_err();
        let words = format!("{error:#}");
        assert!(words.contains("changed while it was read") || words.contains("is damaged"), "{words}");
        assert_eq!(tree(&root), before);
    }
    // Replaced by name, it is still the open file that counts.
    fs::write(&path, &whole).unwrap();
    let verified = Verified::verify(Source::open(&path).unwrap(), &progress).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "something else").unwrap();
    roots::apply(&verified, &root, Applying::default(), &progress).unwrap();
    assert_eq!(tree_but_state(&root), tree_but_state(&installed(dir.path(), "fresh", NEW)));
}

#[test]
fn too_little_room_is_told_before_the_first_write() {
    let dir = scratch();
    let large = "x".repeat(3 << 20);
    let path = bundle(dir.path(), "bundle.tar.zst", &[("opt/large", "0644", &large), ("usr/other", "0644", "y")]);
    for (options, words) in [("size=2m", "are needed, "), ("size=16m,nr_inodes=20", "inodes are needed, ")] {
        let root = root(dir.path(), options);
        let disk = dir.path().join("disk");
        fs::create_dir_all(&disk).unwrap();
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs {disk:?}; cp -a {root:?}/etc {root:?}/usr {root:?}/bin {disk:?}
             find {disk:?} | sort >{disk:?}.before; code=0; {PROGRAM} apply {path:?} --root {disk:?} || code=$?
             find {disk:?} | sort | cmp - {disk:?}.before; exit $code"
        );
        let stderr = refused(&mut in_namespace(&script), 1);
        assert!(stderr.contains("there is no room in ") && stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_disk_that_fills_up_or_fails_leaves_everything_as_it_was_or_is_completed() {
    let dir = scratch();
    let old = installed(dir.path(), "old", OLD);
    let newer = bundle(dir.path(), "new.tar.zst", NEW);
    let expected = tree(&installed(dir.path(), "fresh", NEW));
    let mut refusals = 0;
    for (call, error) in [
        ("write", "ENOSPC"),
        ("mkdirat", "ENOSPC"),
        ("symlinkat", "ENOSPC"),
        ("fsync", "EIO"),
        ("renameat", "EIO"),
        ("unlinkat", "EIO"),
    ] {
        // A line for people that cannot be written is no reason to fail, so one success is not the end.
        let (mut when, mut successes) = (0, 0);
        while successes < 4 {
            when += 1;
            let root = dir.path().join("root");
            super::copy(&old, &root);
            let before = tree(&root);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            traced.args(["-e", &format!("inject={call}:error={error}:when={when}")]);
            let output = traced.arg(PROGRAM).arg("apply").arg(&newer).arg("--root").arg(&root).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            if output.status.success() {
                successes += 1;
            } else {
                (refusals, successes) = (refusals + 1, 0);
                assert_eq!(output.status.code(), Some(1), "{call} {when}: {stderr}");
                let after = tree(&root);
                // All done but for telling, half done and told so, or nothing done at all.
                if after != expected && !stderr.contains("the same command again completes it") {
                    assert_eq!(after, before, "{call} {when}: {stderr}");
                }
                assert!(error != "ENOSPC" || !stderr.contains("completes it"), "{call} {when}: {stderr}");
                if stderr.contains("No space left") {
                    assert!(stderr.contains("hint: free some space"), "{call} {when}: {stderr}");
                }
            }
            apply(&newer, &root);
            assert_eq!(tree(&root), expected, "{call} {when}: {stderr}");
            fs::remove_dir_all(&root).unwrap();
        }
    }
    assert!(refusals > 40, "only {refusals} calls failed");
}

#[test]
fn what_may_not_be_written_is_named_before_the_first_write() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let (root, done) = (root(dir.path(), "root"), installed(dir.path(), "done", OLD));
    let before = tree(&root);
    let read_only = |root: &Path| {
        in_namespace(&format!(
            "mount --bind {root:?} {root:?}; mount -o remount,bind,ro {root:?}
             exec {PROGRAM} apply {bundle:?} --root {root:?}"
        ))
    };
    assert_eq!(run(&mut read_only(&done)), "", "where there is nothing to do, nothing need be writable");
    let stderr = refused(&mut read_only(&root), 1);
    assert!(stderr.contains("is on a read-only filesystem") && stderr.contains("hint: mount it writable"), "{stderr}");

    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "apply"]).arg(&bundle);
    let stderr = refused(nobody.arg("--root").arg(&root), 1);
    assert!(
        stderr.contains("may not be written by this user") && stderr.contains("hint: run this as root"),
        "{stderr}"
    );
    assert_eq!(tree(&root), before);
}

#[test]
fn what_is_immutable_is_named_before_the_first_write() {
    // Not every kernel has the attribute in memory.
    let dir = tempfile::tempdir().unwrap();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    let before = tree(&root);
    for path in ["usr/local/bin/kubelet", "opt/app/old/plugin", "etc/app", "usr/local/bin"] {
        let attribute = |change: &str| run(Command::new("chattr").arg(change).arg(root.join(path)));
        attribute("+i");
        let output = applying(&newer, &root).output().unwrap();
        attribute("-i");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains(path) && stderr.contains("immutable") && stderr.contains("hint: chattr -i"),
            "{stderr}"
        );
        assert_eq!(tree(&root), before, "{path}");
    }
    apply(&newer, &root);
}

#[test]
fn two_at_once_do_not_mix() {
    let dir = scratch();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    let before = tree(&root);
    let script = format!("exec 9<{root:?}; flock -x 9; {PROGRAM} apply {newer:?} --root {root:?}");
    let stderr = refused(Command::new("sh").args(["-c", &script]), 1);
    assert!(stderr.contains("another flexnode-build is at work in ") && stderr.contains("hint: wait"), "{stderr}");
    assert_eq!(tree(&root), before);
    // However many begin at once: each completes or is told to wait, and the end is whole.
    let old = dir.path().join("root.tar.zst");
    let begin = |n: usize| {
        let mut command = applying(if n.is_multiple_of(2) { &newer } else { &old }, &root);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(begin).collect();
    let ends: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(ends.iter().any(|end| end.status.success()));
    for end in ends.iter().filter(|end| !end.status.success()) {
        let stderr = String::from_utf8_lossy(&end.stderr);
        assert!(stderr.contains("another flexnode-build is at work in "), "{stderr}");
    }
    run(&mut on_root("verify", &root));
}

#[test]
fn a_damaged_record_is_an_error_with_a_cure_and_never_overlooked() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let bundle = dir.path().join("root.tar.zst");
    let record = root.join("var/lib/flexnode/applied.json");
    let whole = fs::read_to_string(&record).unwrap();
    for (damaged, words) in [
        (whole[..whole.len() / 2].to_owned(), "EOF while parsing"),
        (String::new(), "EOF while parsing"),
        (whole.replace("\"version\": 1", "\"version\": 2"), "it has format 2, this program reads 1"),
        (whole.replacen("\"path\": \"etc/app\"", "\"path\": \"../../etc/shadow\"", 1), "`.` or `..` part"),
        (whole.replacen("\"path\": \"etc/app\"", "\"path\": \"usr\"", 1), "twice or out of order"),
        (whole.replacen("\"mode\"", "\"mood\"", 1), "mood"),
    ] {
        fs::File::create(&record).unwrap().write_all(damaged.as_bytes()).unwrap();
        let before = tree(&root);
        for command in [&mut applying(&bundle, &root), &mut on_root("verify", &root), &mut on_root("remove", &root)] {
            let stderr = refused(command, 1);
            assert!(stderr.contains("applied.json is damaged") && stderr.contains(words), "{words}: {stderr}");
            assert!(stderr.contains("hint: restore it from a backup"), "{stderr}");
        }
        assert_eq!(tree(&root), before);
    }
    // The cure cures.
    fs::rename(&record, root.join("aside")).unwrap();
    fs::write(root.join("var/lib/flexnode/applying.json"), "{\"version\":1,").unwrap();
    for command in [&mut applying(&bundle, &root), &mut on_root("verify", &root), &mut on_root("remove", &root)] {
        let stderr = refused(command, 1);
        assert!(stderr.contains("applying.json is damaged") && stderr.contains("hint: move it away"), "{stderr}");
    }
    fs::remove_file(root.join("var/lib/flexnode/applying.json")).unwrap();
    apply(&bundle, &root);
    run(&mut on_root("verify", &root));
}
