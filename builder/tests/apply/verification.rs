//! `verify --root`: every kind of difference is found, and nothing else is.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use super::{
    NEW, OLD, applying, bundle, flexnode_build, in_namespace, installed, on_root, paths, refused, root, run, scratch,
    stats, unread,
};

fn findings(root: &Path) -> (i32, String) {
    let output = on_root("verify", root).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_root_as_it_was_installed_has_no_findings_and_is_not_touched() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    // Where others write, more is no difference.
    fs::write(root.join("etc/flexnode/config.yaml"), "secret").unwrap();
    fs::write(root.join("var/lib/kubelet/kubeconfig"), "secret").unwrap();
    fs::write(root.join("usr/local/bin/another"), "another").unwrap();
    let paths = paths(&root);
    unread(&root);
    let before = stats(&root, &paths);
    assert_eq!(findings(&root), (0, String::new()));
    assert_eq!(stats(&root, &paths), before);
}

#[test]
fn directories_of_the_distribution_are_nobodys_alone_though_we_had_to_make_them() {
    let dir = scratch();
    let root = root(dir.path(), "root");
    fs::remove_dir(root.join("opt")).unwrap();
    run(&mut applying(&bundle(dir.path(), "bundle.tar.zst", OLD), &root));
    fs::create_dir(root.join("opt/another")).unwrap();
    assert_eq!(findings(&root), (0, String::new()));
    fs::remove_dir(root.join("opt/another")).unwrap();
    run(&mut on_root("remove", &root));
    assert!(!root.join("opt").exists());
}

#[test]
fn every_kind_of_difference_is_found() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let at = |path: &str| root.join(path);
    fs::remove_file(at("etc/app/gone.conf")).unwrap();
    fs::write(at("etc/app/same.conf"), "same: 2\n").unwrap();
    fs::write(at("usr/local/bin/kubelet"), "longer than it was").unwrap();
    fs::set_permissions(at("usr/local/bin/kubelet"), fs::Permissions::from_mode(0o4755)).unwrap();
    chown(at("usr/local/bin/runc"), Some(7), Some(8)).unwrap();
    fs::set_permissions(at("usr/local/bin/runc"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(at("var/lib/kubelet"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(at("etc/systemd/system/wants/a.service")).unwrap();
    symlink("/dev/null", at("etc/systemd/system/wants/a.service")).unwrap();
    fs::remove_file(at("var/lib/kubelet/config.yaml")).unwrap();
    fs::create_dir(at("var/lib/kubelet/config.yaml")).unwrap();
    fs::write(at("opt/app/extra"), "").unwrap();
    fs::create_dir(at("usr/share/flexnode/extra\x1b[31m")).unwrap();
    fs::rename(at("opt/app/old"), at("opt/aside")).unwrap();
    symlink("../aside", at("opt/app/old")).unwrap();
    fs::write(at("var/lib/flexnode/applying.json"), r#"{"version":1,"owner":{"uid":0,"gid":0},"files":[]}"#).unwrap();
    let (code, found) = findings(&root);
    assert_eq!(code, 7);
    insta::assert_snapshot!(found.replace(root.to_str().unwrap(), "[root]"));
}

#[test]
fn what_the_operator_had_changed_before_is_a_note() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    fs::write(root.join("etc/app/changes.conf"), "mine\n").unwrap();
    assert_eq!(findings(&root).0, 7, "nobody has told us yet");
    run(&mut applying(&bundle(dir.path(), "new.tar.zst", NEW), &root));
    fs::write(root.join("etc/app/changes.conf.flexnode-new"), "being merged\n").unwrap();
    let (code, found) = findings(&root);
    assert_eq!((code, found.split_whitespace().next()), (0, Some("kept")), "{found}");
    fs::write(root.join("etc/app/changes.conf"), "changed once more\n").unwrap();
    assert_eq!(findings(&root).0, 7);

    let mut json = flexnode_build(&["verify", "--json", "--root", root.to_str().unwrap()]);
    let value: serde_json::Value = serde_json::from_slice(&json.output().unwrap().stdout).unwrap();
    assert_eq!((&value["ok"], &value["files"]), (&false.into(), &10.into()));
    assert_eq!(value["findings"][0]["problem"], "changed");
}

#[test]
fn a_mount_over_what_was_installed_is_found() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let script = format!(
        "mount -t tmpfs tmpfs {root:?}/opt/app; exec {} verify --root {root:?}",
        env!("CARGO_BIN_EXE_flexnode-build")
    );
    let output = in_namespace(&script).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(7) && found.contains("opt/app is a mount of its own"), "{found}");
}

#[test]
fn a_root_in_which_nothing_was_applied_is_an_error() {
    let dir = scratch();
    let stderr = refused(&mut on_root("verify", &root(dir.path(), "root")), 1);
    assert!(stderr.contains("no bundle was applied") && stderr.contains("hint: flexnode-build apply"), "{stderr}");
}
