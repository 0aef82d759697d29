//! What goes with `remove`, and what stays.

use std::fs;

use super::{
    NEW, OLD, apply, bundle, flexnode_build, installed, on_root, paths, read, remove, root, run, scratch, stats, tree,
};

#[test]
fn nothing_is_left_of_what_was_installed() {
    let dir = scratch();
    let root = root(dir.path(), "root");
    let before = tree(&root);
    apply(&bundle(dir.path(), "old.tar.zst", OLD), &root);
    apply(&bundle(dir.path(), "new.tar.zst", NEW), &root);
    insta::assert_snapshot!(remove(&root));
    assert_eq!(tree(&root), before);
    let again = on_root("remove", &root).output().unwrap();
    assert!(again.status.success() && again.stdout.is_empty());
    assert!(String::from_utf8(again.stderr).unwrap().contains("nothing to do, no bundle is recorded there"));
}

#[test]
fn what_was_changed_by_hand_stays_and_is_told() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    fs::write(root.join("etc/app/same.conf"), "mine\n").unwrap();
    fs::write(root.join("usr/local/bin/runc"), "my runc").unwrap();
    fs::write(root.join("etc/flexnode/config.yaml"), "secret").unwrap();
    fs::write(root.join("var/lib/flexnode/state.json"), "{}").unwrap();
    fs::remove_file(root.join("etc/app/changes.conf")).unwrap();
    fs::create_dir(root.join("etc/app/changes.conf")).unwrap();
    let there = paths(&root);
    let before = stats(&root, &there);
    let planned = run(on_root("remove", &root).arg("--dry-run"));
    assert_eq!((stats(&root, &there), paths(&root)), (before, there));
    assert_eq!(remove(&root), planned);
    insta::assert_snapshot!(planned);
    assert_eq!(read(&root, "etc/app/same.conf"), "mine\n");
    assert_eq!(read(&root, "usr/local/bin/runc"), "my runc");
    assert_eq!(read(&root, "etc/flexnode/config.yaml"), "secret");
    assert!(!root.join("var/lib/flexnode/applied.json").exists());
    assert_eq!(remove(&root), "", "what is left is nobody's business any more");
}

#[test]
fn changed_files_go_too_where_that_was_asked_for() {
    let dir = scratch();
    let root = root(dir.path(), "root");
    let before = tree(&root);
    apply(&bundle(dir.path(), "old.tar.zst", OLD), &root);
    fs::write(root.join("etc/app/same.conf"), "mine\n").unwrap();
    fs::write(root.join("usr/local/bin/runc"), "my runc").unwrap();
    run(on_root("remove", &root).arg("--changed-too"));
    assert_eq!(tree(&root), before);
}

#[test]
fn the_result_is_there_for_machines() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let json = run(&mut flexnode_build(&["remove", "--json", "--dry-run", "--root", root.to_str().unwrap()]));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["recorded"], &value["dryRun"]), (&true.into(), &true.into()));
    let steps = value["steps"].as_array().unwrap();
    let kubelet = steps.iter().find(|step| step["path"] == "usr/local/bin/kubelet").unwrap();
    assert_eq!(
        (&kubelet["action"], &kubelet["type"], &kubelet["mode"]),
        (&"remove".into(), &"file".into(), &"0755".into())
    );
}
