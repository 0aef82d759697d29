//! Over an older bundle: what is gone goes, what the operator changed stays, and everything else is left alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{NEW, OLD, apply, applying, bundle, installed, on_root, read, refused, root, run, scratch, tree};

#[test]
fn it_ends_as_if_the_new_bundle_had_been_the_first() {
    let dir = scratch();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    insta::assert_snapshot!(apply(&newer, &root));
    assert_eq!(tree(&root), tree(&installed(dir.path(), "fresh", NEW)));
    // And back.
    apply(&dir.path().join("root.tar.zst"), &root);
    assert_eq!(tree(&root), tree(&installed(dir.path(), "old", OLD)));
}

#[test]
fn changed_configuration_stays_and_the_new_version_lies_beside_it() {
    let dir = scratch();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    fs::write(root.join("etc/app/changes.conf"), "mine\n").unwrap();
    fs::write(root.join("etc/app/same.conf"), "mine\n").unwrap();
    fs::write(root.join("etc/app/gone.conf"), "mine\n").unwrap();
    fs::write(root.join("var/lib/kubelet/config.yaml"), "kind: 2\n").unwrap();
    fs::remove_file(root.join("etc/systemd/system/wants/a.service")).unwrap();
    symlink("/dev/null", root.join("etc/systemd/system/wants/a.service")).unwrap();
    fs::write(root.join("opt/app/old/theirs"), "theirs").unwrap();
    insta::assert_snapshot!(apply(&newer, &root));
    for path in ["etc/app/changes.conf", "etc/app/same.conf", "etc/app/gone.conf"] {
        assert_eq!(read(&root, path), "mine\n", "{path}");
    }
    assert_eq!(read(&root, "etc/app/changes.conf.flexnode-new"), "changes: 2\n");
    assert!(!root.join("etc/app/same.conf.flexnode-new").exists(), "it did not change");
    assert_eq!(read(&root, "opt/app/old/theirs"), "theirs");
    fs::remove_file(root.join("opt/app/old/theirs")).unwrap();
    let masked = fs::read_link(root.join("etc/systemd/system/wants/a.service")).unwrap();
    assert_eq!(masked.to_str(), Some("/dev/null"));
    run(&mut on_root("verify", &root));

    // The directory has had to wait for what was in it.
    assert!(apply(&newer, &root).contains("remove   opt/app/old/\n"));
    // Again: everything stays as it is, and what was kept is still told.
    let before = tree(&root);
    let again = apply(&newer, &root);
    assert!(again.lines().all(|line| line.starts_with("keep ")), "{again}");
    assert_eq!(tree(&root), before);

    // Merged by hand: the operator's file is the bundle's now, and nothing is left beside it.
    fs::rename(root.join("etc/app/changes.conf.flexnode-new"), root.join("etc/app/changes.conf")).unwrap();
    let merged = apply(&newer, &root);
    assert!(!merged.contains("changes.conf"), "{merged}");
}

#[test]
fn a_version_beside_goes_once_the_file_is_the_bundles_again() {
    let dir = scratch();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    fs::write(root.join("etc/app/changes.conf"), "mine\n").unwrap();
    apply(&newer, &root);
    fs::write(root.join("etc/app/changes.conf"), "changes: 2\n").unwrap();
    assert_eq!(apply(&newer, &root), "remove   etc/app/changes.conf.flexnode-new\n");
}

#[test]
fn a_changed_mode_is_a_change_too() {
    let dir = scratch();
    let (root, newer) = (installed(dir.path(), "root", OLD), bundle(dir.path(), "new.tar.zst", NEW));
    let config = root.join("etc/app/same.conf");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let done = apply(&newer, &root);
    assert!(done.contains("keep     etc/app/same.conf (its mode or owner was changed here)"), "{done}");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    run(&mut on_root("verify", &root));
}

#[test]
fn on_a_first_apply_configuration_of_others_stays_and_programs_of_others_are_refused() {
    let dir = scratch();
    let (root, bundle) = (root(dir.path(), "root"), bundle(dir.path(), "bundle.tar.zst", OLD));
    fs::create_dir_all(root.join("etc/app")).unwrap();
    fs::write(root.join("etc/app/same.conf"), "theirs\n").unwrap();
    fs::write(root.join("usr/local/bin/runc"), "their runc").unwrap();
    let before = tree(&root);
    let stderr = refused(&mut applying(&bundle, &root), 1);
    assert!(stderr.contains("usr/local/bin/runc is in the way: a file that is not ours"), "{stderr}");
    assert!(stderr.contains("hint: move it away or remove its package, or overwrite it with --force"), "{stderr}");
    assert_eq!(tree(&root), before);

    let done = run(applying(&bundle, &root).arg("--force"));
    assert!(done.contains("replace  usr/local/bin/runc (forced, it was not ours)"), "{done}");
    assert_eq!(
        (read(&root, "etc/app/same.conf"), read(&root, "usr/local/bin/runc")),
        ("theirs\n".into(), "runc".into())
    );
    assert_eq!(read(&root, "etc/app/same.conf.flexnode-new"), "same: 1\n");
}

#[test]
fn directories_that_were_there_keep_mode_and_owner_and_are_not_removed() {
    let dir = scratch();
    let root = root(dir.path(), "root");
    fs::create_dir_all(root.join("opt/app/old")).unwrap();
    fs::set_permissions(root.join("opt/app/old"), fs::Permissions::from_mode(0o2775)).unwrap();
    apply(&bundle(dir.path(), "old.tar.zst", OLD), &root);
    assert_eq!(fs::metadata(root.join("opt/app/old")).unwrap().permissions().mode() & 0o7777, 0o2775);
    apply(&bundle(dir.path(), "new.tar.zst", NEW), &root);
    assert!(root.join("opt/app/old").is_dir() && !root.join("opt/app/old/plugin").exists());
}
