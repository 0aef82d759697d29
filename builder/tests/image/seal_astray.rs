//! Roots that would lead `seal --fix` elsewhere: by links, hard links and mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use flexnode_build::seal::clear;

use crate::good_root::GoodRoot;
use crate::seal::{found, names};

#[test]
fn nothing_is_cleared_through_a_link() {
    let root = GoodRoot::new();
    fs::create_dir(root.outside()).unwrap();
    for name in [".bash_history", "key", "joined.a"] {
        fs::write(root.outside().join(name), "not ours").unwrap();
    }
    // Out of the root: what a program inside would see is nothing.
    root.write("root/.profile", "");
    root.link("root/.bash_history", root.outside().join(".bash_history"));
    root.link("var/lib/flexnode", root.outside());
    root.link("home", "../outside");
    root.link("root/.lesshst", ".lesshst");
    // Within the root: found, and left to a person.
    root.write("data/keys/ssh_host_rsa_key", "x");
    root.link("etc/ssh", "/data/keys");
    root.write("data/machine-id", "0123456789abcdef0123456789abcdef\n");
    root.link("etc/machine-id", "/data/machine-id");
    root.write("data/history", "x");
    root.link("root/.zsh_history", "/data/history");
    let before = root.listing();
    let cleared = clear(&root.open(), &[]).unwrap();
    assert_eq!(root.listing(), before);
    assert!(cleared.paths.is_empty());
    let left: Vec<_> = cleared.left.iter().map(|trace| (trace.name, trace.left.as_deref().unwrap())).collect();
    assert_eq!(
        left,
        [
            ("machine-id", "it is a link; empty what it leads to"),
            ("ssh-host-keys", "a symbolic link is on the way"),
            ("histories", "it is a link; remove what it leads to first"),
        ]
    );
    // Outside, the same path would lead to a file of the machine on which the image is made.
    let inside = format!("chroot {} rm -rf /etc/ssh/ssh_host_rsa_key", root.path().display());
    assert_eq!(cleared.left[1].cure, inside);
    assert_eq!(cleared.left[0].cure, format!("chroot {} truncate -s 0 /etc/machine-id", root.path().display()));
}

#[test]
fn a_link_to_nowhere_is_no_history() {
    let root = GoodRoot::new();
    root.write("root/.profile", "");
    symlink("/dev/null", root.at("root/.bash_history")).unwrap();
    root.write("home/ann/.bash_history", "");
    assert_eq!(names(&found(&root)), [""; 0]);
}

#[test]
fn a_hard_link_elsewhere_keeps_its_content() {
    let root = GoodRoot::new();
    root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    fs::create_dir(root.outside()).unwrap();
    let copy = root.outside().join("machine-id-of-the-parent");
    fs::hard_link(root.at("etc/machine-id"), &copy).unwrap();
    clear(&root.open(), &[]).unwrap();
    assert_eq!(fs::read_to_string(copy).unwrap().len(), 33);
    assert_eq!(fs::metadata(root.at("etc/machine-id")).unwrap().len(), 0);
}

#[test]
fn nothing_is_cleared_through_a_mount() {
    let root = GoodRoot::new();
    root.write("var/lib/cloud/data/instance-id", "i-1\n");
    fs::create_dir_all(root.at("var/lib/cloud/data/mounted")).unwrap();
    root.write("var/log/journal/a/system.journal", "x");
    // In a mount namespace of its own, so that nothing stays mounted whatever happens.
    let script = "set -e; cd \"$1\"; mount -t tmpfs none var/lib/cloud/data/mounted; echo kept > var/lib/cloud/data/mounted/file; \
                  mount -t tmpfs none var/log/journal; echo kept > var/log/journal/file; \
                  \"$2\" seal --root . --fix || true; cat var/lib/cloud/data/mounted/file var/log/journal/file";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(root.path())
        .arg(env!("CARGO_BIN_EXE_flexnode-build"))
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(told.contains("kept\nkept\n"), "{told}");
    assert_eq!(told.matches("another file system is mounted on the way").count(), 2, "{told}");
}
