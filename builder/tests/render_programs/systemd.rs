//! systemd reads the units: nothing to complain about, and as little exposed as the docs say.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use flexnode_build::overlay::{Entry, OverlayPath};
use flexnode_build::render::Values;

use crate::{skip, stderr, text, tree};

#[test]
fn systemd_accepts_the_units() {
    for minor in [28, 37] {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        write_tree(root, &tree(minor, "2.2.0", &Values::default()));
        for program in ["kubelet", "containerd", "flexnode-firstboot"] {
            program_file(&root.join("usr/local/bin").join(program));
        }
        program_file(&root.join("bin/sh"));
        let units: Vec<PathBuf> = ["containerd", "kubelet", "flexnode-firstboot", "flexnode-images"]
            .map(|unit| root.join(format!("etc/systemd/system/{unit}.service")))
            .to_vec();
        let Some(said) = verify(root, &units) else { return };
        assert_eq!(said, "", "1.{minor}");

        // And it would have said something.
        let unit = fs::read_to_string(&units[2]).expect("a unit");
        fs::write(&units[2], unit.replace("RestartSec=30", "RestartForceExitStatus=75")).expect("a unit");
        let said = verify(root, &units).expect("it ran a moment ago");
        assert!(said.contains("isn't allowed for Type=oneshot"), "{said}");
    }
}

/// What `systemd-analyze verify` complains about; the status is not zero then.
fn verify(root: &Path, units: &[PathBuf]) -> Option<String> {
    let system = root.join("usr/lib/systemd/system");
    if !system.exists() {
        fs::create_dir_all(&system).expect("a directory");
        // The distribution's units that ours are ordered by.
        for entry in fs::read_dir("/lib/systemd/system").into_iter().flatten().flatten() {
            let name = entry.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "target" || extension == "slice") {
                fs::copy(entry.path(), system.join(&name)).expect("a copy");
            }
        }
    }
    let relative = units.iter().map(|unit| Path::new("/").join(unit.strip_prefix(root).expect("it is below the root")));
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").arg("--man=no").arg(format!("--root={}", root.display())).args(relative);
    match command.output() {
        Ok(output) => {
            let said = stderr(&output);
            assert_eq!(output.status.success(), said.is_empty(), "{said}");
            Some(said)
        }
        Err(error) => {
            skip(&format!("systemd-analyze is not installed ({error})"));
            None
        }
    }
}

#[test]
fn the_images_unit_holds_next_to_nothing() {
    let Some(score) = exposure("flexnode-images") else { return };
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images.md")).expect("the page");
    assert!(page.contains(&format!("The unit scores {score} ")), "it scores {score}");
}

#[test]
fn the_agents_unit_is_no_more_exposed_than_the_docs_say() {
    let Some(score) = exposure("flexnode-firstboot") else { return };
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/first-boot.md")).expect("the page");
    assert!(page.contains(&format!("The unit scores {score} ")), "it scores {score}");
}

/// What `systemd-analyze security` gives a unit: 0.0 is a hermit, 10.0 may do anything.
fn exposure(unit: &str) -> Option<String> {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join(format!("{unit}.service"));
    let tree = tree(30, "2.2.0", &Values::default());
    fs::write(&path, text(&tree, &format!("etc/systemd/system/{unit}.service"))).expect("a unit");
    let mut command = Command::new("systemd-analyze");
    let output = match command.args(["security", "--offline=true", "--no-pager"]).arg(&path).output() {
        Ok(output) => output,
        Err(error) => {
            skip(&format!("systemd-analyze is not installed ({error})"));
            return None;
        }
    };
    let said = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let score = said.split(&format!("{unit}.service: ")).nth(1).and_then(|rest| rest.split(' ').next());
    Some(score.unwrap_or_else(|| panic!("no score in `{said}` {}", stderr(&output))).to_owned())
}

fn write_tree(root: &Path, tree: &[(OverlayPath, Entry)]) {
    for (path, entry) in tree {
        let at = root.join(path.as_str());
        fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
        match entry {
            Entry::Directory(_) => fs::create_dir_all(&at),
            Entry::Link { target } => symlink(target, &at),
            Entry::File(_) => fs::write(&at, text(tree, path.as_str())),
        }
        .expect("the tree can be written");
    }
}

fn program_file(path: &Path) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}
