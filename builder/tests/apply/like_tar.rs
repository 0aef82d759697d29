//! The happy path: the same tree as from tar, once and not twice, from a file, a pipe or a device.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use super::{
    NEW, OLD, apply, applying, bundle, flexnode_build, installed, on_root, paths, read, root, run, scratch, stats,
    tree, tree_but_state, unread,
};

#[test]
fn it_gives_what_tar_gives_byte_for_byte_and_mode_for_mode() {
    let dir = scratch();
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let (ours, tars) = (root(dir.path(), "ours"), root(dir.path(), "tars"));
    run(Command::new("tar").args(["--zstd", "-xpf"]).arg(&bundle).arg("-C").arg(&tars));
    // Neither umask nor a group of the caller's may show.
    let script = format!("umask 077; exec {:?} apply {bundle:?} --root {ours:?}", env!("CARGO_BIN_EXE_flexnode-build"));
    run(Command::new("setpriv").args(["--regid=4", "--clear-groups", "sh", "-c", &script]));
    assert_eq!(tree_but_state(&ours), tree_but_state(&tars));
    for directory in ["etc/app", "opt/app/old", "var/lib/kubelet"] {
        let [ours, tars] = [&ours, &tars].map(|root| fs::metadata(root.join(directory)).unwrap().mtime());
        assert_eq!(ours, tars, "{directory}");
    }
    let mode = |path| fs::metadata(ours.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("var/lib/flexnode"), mode("var/lib/flexnode/applied.json")), (0o700, 0o644));
}

#[test]
fn long_names_empty_files_and_large_ones_are_as_from_tar_too() {
    let dir = scratch();
    let (deep, long) = (format!("opt/{}name", "long/".repeat(40)), format!("usr/{}", "n".repeat(230)));
    // Large enough for several chunks of whatever reads it, and not alike in any two of them.
    let large: String = (0..600_000).map(|n| format!("{n:x}\n")).collect();
    let files = [
        (deep.as_str(), "0644", "deep"),
        (&long, "0755", "long"),
        ("usr/empty", "0400", ""),
        ("usr/large", "0644", &large),
    ];
    let mut sorted = files;
    sorted.sort_unstable();
    let bundle = bundle(dir.path(), "bundle.tar.zst", &sorted);
    let (ours, tars) = (root(dir.path(), "ours"), root(dir.path(), "tars"));
    run(Command::new("tar").args(["--zstd", "-xpf"]).arg(&bundle).arg("-C").arg(&tars));
    apply(&bundle, &ours);
    assert_eq!(tree_but_state(&ours), tree_but_state(&tars));
    assert_eq!(apply(&bundle, &ours), "");
    super::remove(&ours);
    assert_eq!(tree(&ours), tree(&root(dir.path(), "bare")));
}

#[test]
fn a_second_apply_touches_nothing_and_says_so() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let paths = paths(&root);
    unread(&root);
    let before = stats(&root, &paths);
    let output = applying(&dir.path().join("root.tar.zst"), &root).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert!(String::from_utf8(output.stderr).unwrap().ends_with(": nothing to do\n"));
    assert_eq!(stats(&root, &paths), before);
}

#[test]
fn what_tar_has_unpacked_is_taken_over_as_it_is() {
    let dir = scratch();
    let (bundle, root) = (bundle(dir.path(), "bundle.tar.zst", OLD), root(dir.path(), "root"));
    run(Command::new("tar").args(["--zstd", "-xpf"]).arg(&bundle).arg("-C").arg(&root));
    let paths: Vec<String> = paths(&root).into_iter().filter(|path| path != "var/lib").collect();
    let before = stats(&root, &paths);
    assert_eq!(apply(&bundle, &root), "install  var/lib/flexnode/\n");
    assert_eq!(stats(&root, &paths), before);
    run(&mut on_root("verify", &root));
}

#[test]
fn files_and_programs_that_were_damaged_are_put_right() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    let whole = tree(&root);
    fs::write(root.join("usr/local/bin/kubelet"), "kubelet X").unwrap();
    fs::remove_file(root.join("usr/local/bin/runc")).unwrap();
    fs::set_permissions(root.join("opt/app/old/plugin"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(root.join("etc/app/same.conf")).unwrap();
    let done = apply(&dir.path().join("root.tar.zst"), &root);
    assert_eq!(
        done,
        "install  etc/app/same.conf\n\
         replace  opt/app/old/plugin (it is not as it was installed)\n\
         replace  usr/local/bin/kubelet (it is not as it was installed)\n\
         install  usr/local/bin/runc\n"
    );
    assert_eq!(tree(&root), whole);
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing_not_even_an_access_time() {
    let dir = scratch();
    let root = installed(dir.path(), "root", OLD);
    fs::write(root.join("etc/app/changes.conf"), "mine\n").unwrap();
    let (newer, there) = (bundle(dir.path(), "new.tar.zst", NEW), paths(&root));
    unread(&root);
    let before = stats(&root, &there);
    let planned = run(applying(&newer, &root).arg("--dry-run"));
    assert_eq!(stats(&root, &there), before);
    assert_eq!(paths(&root), there);
    assert_eq!(apply(&newer, &root), planned);
}

#[test]
fn a_bundle_comes_through_a_pipe() {
    let dir = scratch();
    let (path, root) = (bundle(dir.path(), "bundle.tar.zst", OLD), root(dir.path(), "root"));
    let mut applying = flexnode_build(&["apply", "-", "--root", root.to_str().unwrap()]);
    let mut child = applying.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&path).unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(tree(&root), tree(&installed(dir.path(), "other", OLD)));

    // Named, too.
    let fifo = dir.path().join("fifo");
    run(Command::new("mkfifo").arg(&fifo));
    let writer = std::thread::spawn({
        let (fifo, bytes) = (fifo.clone(), fs::read(&path).unwrap());
        move || File::options().write(true).open(fifo).unwrap().write_all(&bytes)
    });
    assert_eq!(apply(&fifo, &root), "");
    writer.join().unwrap().unwrap();
}

#[test]
fn a_bundle_on_a_device_may_be_followed_by_zeros_and_by_nothing_else() {
    let dir = scratch();
    let (path, root) = (bundle(dir.path(), "bundle.tar.zst", OLD), root(dir.path(), "root"));
    let disk = dir.path().join("disk.img");
    fs::copy(&path, &disk).unwrap();
    File::options().append(true).open(&disk).unwrap().set_len(1 << 20).unwrap();
    let script = format!(
        "device=$(losetup --find --show --read-only {disk:?}); trap 'losetup -d $device' EXIT; {:?} apply $device --root {root:?}",
        env!("CARGO_BIN_EXE_flexnode-build")
    );
    run(Command::new("sh").args(["-euc", &script]));
    let from_device = tree(&root);
    // The record names the bundle, not the device: the file itself changes nothing.
    assert_eq!(apply(&path, &root), "");
    assert_eq!(tree(&root), from_device);
    assert_eq!(apply(&disk, &root), "");

    let mut file = File::options().append(true).open(&disk).unwrap();
    file.write_all(b"\x01").unwrap();
    let stderr = super::refused(&mut applying(&disk, &root), 6);
    assert!(stderr.contains("there is data after the end of the archive"), "{stderr}");

    // Beside its digest, a file is as long as it was.
    fs::write(dir.path().join("long.tar.zst"), [fs::read(&path).unwrap(), vec![0; 512]].concat()).unwrap();
    let digest = read(dir.path(), "bundle.tar.zst.sha256").replace("bundle", "long");
    fs::write(dir.path().join("long.tar.zst.sha256"), digest).unwrap();
    let stderr = super::refused(&mut applying(&dir.path().join("long.tar.zst"), &root), 6);
    assert!(stderr.contains("512 zero bytes follow the archive"), "{stderr}");
}

#[test]
fn without_being_root_the_files_are_the_users_and_stay_so() {
    let dir = scratch();
    let (bundle, root) = (bundle(dir.path(), "bundle.tar.zst", OLD), root(dir.path(), "root"));
    run(Command::new("chown").args(["-R", "1234:1234"]).arg(&root));
    let user = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1234", "--regid=1234", "--clear-groups", env!("CARGO_BIN_EXE_flexnode-build")]);
        command.args(args).arg("--root").arg(&root);
        command
    };
    run(&mut user(&["apply", bundle.to_str().unwrap()]));
    assert_eq!(fs::metadata(root.join("usr/local/bin/kubelet")).unwrap().uid(), 1234);
    run(&mut user(&["verify"]));
    assert_eq!(run(&mut user(&["apply", bundle.to_str().unwrap()])), "");
    run(&mut user(&["remove"]));
    assert!(!root.join("usr/local/bin/kubelet").exists());
}
