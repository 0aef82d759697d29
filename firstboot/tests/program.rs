//! The program as people and units call it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SOUND: &str = "azure: {tenantId: contoso.example, targetCluster: {resourceId: /subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c}}";
const INLINE: &str =
    "azure: {servicePrincipal: {clientId: 5c6a7d1e-0f0c-4b77-9a51-3f2d3f0a9b11, clientSecret: canary-hunter2}}";

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_flexnode-firstboot")).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn check(config: &Path) -> (Option<i32>, String, String) {
    run(&["check", "--config", config.to_str().unwrap()])
}

/// A directory with `config.yaml` and drop-ins, all of mode 0600.
fn config(directory: &Path, config: &str, drop_ins: &[(&str, &str)]) -> PathBuf {
    let path = directory.join("config.yaml");
    fs::write(&path, config).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for (name, text) in drop_ins {
        fs::create_dir_all(directory.join("config.d")).unwrap();
        let path = directory.join("config.d").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    path
}

#[test]
fn a_sound_config_passes_and_its_secret_stays_unsaid() {
    let directory = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = check(&config(directory.path(), SOUND, &[("10-secret.yaml", INLINE)]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("managedClusters/c") && stdout.contains("10-secret.yaml"), "{stdout}");
    assert!(!stdout.contains("canary"), "{stdout}");
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names_and_others_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let others = [
        ("20.yaml", "node: {name: second}"),
        ("10.yml", "node: {name: first}"),
        ("30.json", "{\"node\": {\"name\": \"third\"}}"),
        ("99.yaml.bak", "garbage: ["),
        (".98.yaml", "garbage: ["),
        ("README", "garbage: ["),
    ];
    let (code, stdout, _) = check(&config(directory.path(), SOUND, &others));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("third") && !stdout.contains("first"), "{stdout}");
}

#[test]
fn all_problems_of_all_files_are_told_with_code_78() {
    let directory = tempfile::tempdir().unwrap();
    let path =
        config(directory.path(), "azure: {}", &[("1.yaml", "node: ["), ("2.yaml", "nodes: {}"), ("3.yaml", "\u{1}")]);
    let (code, stdout, stderr) = check(&path);
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    let count = |word: &str| stderr.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("error: "), count("hint: ")), (3, 3), "{stderr}");
}

#[test]
fn a_secret_in_a_file_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), SOUND, &[("10-secret.yaml", INLINE)]);
    for mode in [0o640, 0o604] {
        fs::set_permissions(directory.path().join("config.d/10-secret.yaml"), Permissions::from_mode(mode)).unwrap();
        let (code, _, stderr) = check(&path);
        assert_eq!(code, Some(78));
        assert!(stderr.contains("may be read by others") && stderr.contains("chmod 600"), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
    }
}

#[test]
fn what_is_no_config_file_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let latin = directory.path().join("latin.yaml");
    fs::write(&latin, b"node: {name: \xe9}").unwrap();
    for path in [directory.path(), Path::new("/dev/zero"), Path::new("/nowhere/config.yaml"), &pipe, &latin] {
        let (code, _, stderr) = check(path);
        assert_eq!(code, Some(78), "{}: {stderr}", path.display());
        assert!(stderr.starts_with("error: ") && stderr.contains("\nhint: "), "{stderr}");
    }
}

#[test]
fn a_named_directory_of_drop_ins_must_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), SOUND, &[]);
    let (code, _, stderr) = run(&["check", "--config", path.to_str().unwrap(), "--config-dir", "/nowhere"]);
    assert_eq!(code, Some(78), "{stderr}");
}

#[test]
fn without_a_config_there_is_nothing_to_join() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("etc")).unwrap();
    fs::write(directory.path().join("etc/hostname"), "edge-1").unwrap();
    for verb in [&[][..], &["run"]] {
        let root = ["--root", directory.path().to_str().unwrap()];
        let (code, stdout, stderr) = run(&[verb, &root].concat());
        assert_eq!((code, stdout.as_str()), (Some(78), ""));
        assert!(stderr.starts_with("error: ") && stderr.contains("\nhint: "), "{stderr}");
    }
}

#[test]
fn the_schema_is_json() {
    let (code, stdout, _) = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, schema == flexnode_firstboot::config::schema()), (Some(0), true));
}

#[test]
fn help_fits_80_columns_and_names_the_exit_codes() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["check", "--help"],
        &["schema", "--help"],
        &["run", "--help"],
        &["status", "--help"],
    ] {
        let (code, stdout, _) = run(arguments);
        assert_eq!(code, Some(0));
        let wide: Vec<_> = stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
    insta::assert_snapshot!(run(&["--help"]).1);
    assert_eq!(run(&["--version"]).1, format!("flexnode-firstboot {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&["--frobnicate"]).0, Some(2));
}
