//! Roots that would lead astray: links in every component, mounts, and things that are no files. Nothing is followed,
//! nothing waits, nothing is changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{OLD, applying, bundle, in_namespace, installed, on_root, paths, refused, root, run, scratch, tree};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flexnode-build");

#[test]
fn a_link_in_any_component_is_named_and_not_followed() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let directories =
        ["usr", "usr/local", "usr/local/bin", "opt", "opt/app", "var", "var/lib", "var/lib/flexnode", "etc/app"];
    for (number, component) in directories.iter().enumerate() {
        for target in [outside.to_str().unwrap(), "../../../../../../../dev/shm", "usr/lib", ".", "loop"] {
            let root = root(dir.path(), &format!("{number}-{}", target.len()));
            let place = root.join(component);
            // What others need of it moves aside, so that the link is all that is wrong.
            if place.exists() {
                fs::rename(&place, root.join("aside")).unwrap();
            }
            symlink(if target == "loop" { component.rsplit('/').next().unwrap() } else { target }, &place).unwrap();
            if *component == "usr" {
                symlink("../aside/lib/os-release", root.join("etc/release")).unwrap();
                fs::rename(root.join("etc/release"), root.join("etc/os-release")).unwrap();
                fs::remove_file(root.join("bin")).unwrap();
                symlink("aside/bin", root.join("bin")).unwrap();
            }
            let before = tree(&root);
            let stderr = refused(&mut applying(&bundle, &root), 1);
            assert!(
                stderr.contains(&format!("{} is a link, and nothing is followed here", place.display())),
                "{stderr}"
            );
            assert_eq!(tree(&root), before, "{component} -> {target}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_link_in_the_place_of_a_file_is_never_written_through() {
    let dir = scratch();
    let (root, bundle) = (root(dir.path(), "root"), bundle(dir.path(), "bundle.tar.zst", OLD));
    let outside = dir.path().join("outside");
    fs::write(&outside, "outside").unwrap();
    symlink(&outside, root.join("usr/local/bin/runc")).unwrap();
    fs::create_dir(root.join("etc/app")).unwrap();
    symlink(&outside, root.join("etc/app/same.conf")).unwrap();
    symlink(&outside, root.join("etc/app/.changes.conf.flexnode-tmp")).unwrap();
    symlink(&outside, root.join("etc/app/same.conf.flexnode-new")).unwrap();
    let stderr = refused(&mut applying(&bundle, &root), 1);
    assert!(stderr.contains("usr/local/bin/runc is in the way: a link that is not ours"), "{stderr}");
    run(applying(&bundle, &root).arg("--force"));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "outside");
    assert!(fs::symlink_metadata(root.join("usr/local/bin/runc")).unwrap().is_file());
    assert_eq!(fs::read_link(root.join("etc/app/same.conf")).unwrap(), outside);
}

#[test]
fn directories_pipes_devices_and_sockets_in_the_way_are_named() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    for (number, path) in
        ["usr/local/bin/runc", "etc/app/same.conf", "var/lib/flexnode/applied.json"].iter().enumerate()
    {
        for (kind, make) in [("directory", "mkdir"), ("fifo", "mkfifo"), ("device", "mknod")] {
            let root = root(dir.path(), &format!("{number}-{kind}"));
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            let mut command = Command::new(make);
            command.arg(root.join(path)).args(if make == "mknod" { &["c", "1", "5"][..] } else { &[] });
            run(&mut command);
            let before = paths(&root);
            let stderr = refused(applying(&bundle, &root).arg("--force"), 1);
            assert!(stderr.contains(path) && stderr.contains("hint: move it away"), "{stderr}");
            assert_eq!(paths(&root), before);
        }
    }
    let root = root(dir.path(), "file");
    fs::write(root.join("opt/app"), "a file").unwrap();
    let stderr = refused(&mut applying(&bundle, &root), 1);
    assert!(stderr.contains("opt/app is no directory"), "{stderr}");
}

#[test]
fn a_mount_is_crossed_only_where_that_was_asked_for() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let outside = dir.path().join("outside");
    for (number, (mount, cure)) in
        [("opt", "--cross-mounts"), ("usr/local/bin", "--cross-mounts"), ("var", "--cross-mounts")].iter().enumerate()
    {
        let root = root(dir.path(), &number.to_string());
        fs::create_dir_all(&outside).unwrap();
        let script =
            format!("mount --bind {outside:?} {root:?}/{mount}; exec {PROGRAM} apply {bundle:?} --root {root:?}");
        let stderr = refused(&mut in_namespace(&script), 1);
        assert!(stderr.contains(&format!("{mount} is a mount of its own")) && stderr.contains(cure), "{stderr}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{mount}");
        run(&mut in_namespace(&format!("{script} --cross-mounts")));
        assert_ne!(fs::read_dir(&outside).unwrap().count(), 0, "{mount}");
        fs::remove_dir_all(&outside).unwrap();
    }
    let root = root(dir.path(), "file");
    fs::write(root.join("usr/local/bin/runc"), "runc").unwrap();
    fs::write(&outside, "outside").unwrap();
    let script = format!(
        "mount --bind {outside:?} {root:?}/usr/local/bin/runc; exec {PROGRAM} apply {bundle:?} --root {root:?} --cross-mounts --force"
    );
    let stderr = refused(&mut in_namespace(&script), 1);
    assert!(stderr.contains("runc is a mount of its own") && stderr.contains("hint: unmount it"), "{stderr}");
}

#[test]
fn on_the_running_system_a_usr_or_var_of_its_own_is_what_is_meant() {
    let dir = scratch();
    let (bundle, root) = (bundle(dir.path(), "bundle.tar.zst", OLD), root(dir.path(), "root"));
    let program = root.join("flexnode-build");
    // The program runs in the root itself, with the loader and libraries of this machine.
    let script = format!(
        "mount --bind {root:?} {root:?}; cp {PROGRAM} {program:?}; cp {bundle:?} {root:?}/bundle; mkdir {root:?}/lib {root:?}/lib64 {root:?}/tmp
         mount --rbind /lib {root:?}/lib; mount --rbind /lib64 {root:?}/lib64
         mount -t tmpfs tmpfs {root:?}/var; mkdir {root:?}/var/lib
         chroot {root:?} /flexnode-build apply /bundle --root /; chroot {root:?} /flexnode-build verify --root /
         grep -A2 mounts {root:?}/var/lib/flexnode/applied.json
         mount -t tmpfs tmpfs {root:?}/opt
         if chroot {root:?} /flexnode-build remove --root /; then exit 9; fi
         umount {root:?}/opt; chroot {root:?} /flexnode-build remove --root / >/dev/null; find {root:?}/var"
    );
    let output = run(&mut in_namespace(&script));
    assert!(output.contains("\"mounts\": [\n    \"var\"\n  ]"), "{output}");
    assert!(output.ends_with(&format!("{0}/var\n{0}/var/lib\n", root.display())), "{output}");
    assert!(!root.join("usr/local/bin/kubelet").exists());
}

#[test]
fn removal_goes_through_no_link_and_into_no_mount() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let outside = dir.path().join("outside");
    super::copy(&root.join("opt/app"), &outside);
    let script = format!("mount --bind {outside:?} {root:?}/opt/app; exec {PROGRAM} remove --root {root:?}");
    let stderr = refused(&mut in_namespace(&script), 1);
    assert!(stderr.contains("opt/app is a mount of its own"), "{stderr}");
    fs::rename(root.join("opt/app"), root.join("opt/aside")).unwrap();
    symlink(&outside, root.join("opt/app")).unwrap();
    let before = tree(&root);
    let stderr = refused(&mut on_root("remove", &root), 1);
    assert!(stderr.contains("opt/app is a link, and nothing is followed here"), "{stderr}");
    assert_eq!(tree(&root), before);
    assert!(outside.join("old/plugin").exists());
}

#[test]
fn a_bundle_that_leads_astray_itself_is_refused() {
    let dir = scratch();
    let root = root(dir.path(), "root");
    for (path, words) in [
        ("var/lib/flexnode/applied.json", "a name that apply needs for itself"),
        ("etc/x.flexnode-new", "a name that apply needs for itself"),
        (&format!("etc/{}", "x".repeat(230)), "leaves no room for a name beside it"),
    ] {
        let bundle = bundle(dir.path(), "reserved.tar.zst", &[(path, "0644", "x")]);
        let before = tree(&root);
        let stderr = refused(&mut applying(&bundle, &root), 6);
        assert!(stderr.contains(words), "{stderr}");
        assert_eq!(tree(&root), before);
    }
}
