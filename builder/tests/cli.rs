//! The words people read and the exit codes machines read, from the program itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::{Command, Output};

fn flexnode_build(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexnode-build"));
    command.env_clear().env("HOME", "/nonexistent").args(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = flexnode_build(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and standard error; standard output must be empty.
fn refusal(args: &[&str]) -> String {
    let output = flexnode_build(args);
    assert!(output.stdout.is_empty(), "{args:?} wrote data although it failed");
    format!("{}\n{}", output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

const VERBS: [&[&str]; 18] = [
    &[],
    &["lock"],
    &["fetch"],
    &["catalog"],
    &["catalog", "lint"],
    &["inspect"],
    &["verify"],
    &["audit"],
    &["keygen"],
    &["sign"],
    &["diff"],
    &["apply"],
    &["remove"],
    &["check-root"],
    &["seal"],
    &["schema"],
    &["completions"],
    &["man"],
];

#[test]
fn help_fits_eighty_columns_and_says_what_each_verb_does() {
    for verb in VERBS {
        for flag in ["--help", "-h"] {
            let help = stdout(&[verb, &[flag]].concat());
            let wide = help.lines().find(|line| line.chars().count() > 80);
            assert_eq!(wide, None, "{verb:?} {flag}");
            assert!(help.contains("Usage: flexnode-build"), "{verb:?}");
        }
    }
    insta::assert_snapshot!(stdout(&["--help"]));
}

#[test]
fn each_mistake_has_its_exit_code_its_error_and_its_cure() {
    let mut said = String::new();
    let mistakes: [&[&str]; 17] = [
        &[],
        &["--k8s"],
        &["--k8s", "latest"],
        &["--k8s", "1.30", "--contianerd", "2.1"],
        &["--k8s", "1.99"],
        &["--k8s", "1.30.99"],
        &["--k8s", "1.30", "--runc", ">=9"],
        &["--k8s", "1.30", "--containerd", "2.0.1", "--runc", "1.2.0"],
        &["--k8s", "1.30", "--cni", "1.6.1", "--allow", "cni-plugins-withdrawn"],
        &["--k8s", "1.30", "--with", "kubeproxy"],
        &["--k8s", "1.30", "--with", "runc"],
        &["--k8s", "1.30", "--pause-image", "registry.k8s.io/pause:3.9"],
        &["--k8s", "1.30", "--set", "kubelet.maxpods=5"],
        &["--k8s", "1.30", "--set", "kubelet.maxPods=many"],
        &["--k8s", "1.30", "--mirror", "ftp://example.org"],
        &["--k8s", "1.37", "--output", "/dev/null/x"],
        &["catalog", "kublet"],
    ];
    for args in mistakes {
        said += &format!("$ flexnode-build {}\n{}\n", args.join(" "), refusal(args));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn catalogs_with_each_kind_of_mistake_are_refused() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");
    let digest = "2a0ea7072d1806b8526489bcd3b4847a06ab010ee32ba3c3d4e5a3235d3eb138";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let not_found = "0019dfc4b32d63c1392aa264aed2253c1e0c2fb09216f8e2cc269bbfb8bb49b5";
    let shared = "b8e811578fb66023f90d2e238d80cec3bdfca4b44049af74c374d4fae0f9c090";
    let mistakes = [
        (digest, "abc", 2, "64 hexadecimal digits"),
        (digest, &digest.to_uppercase(), 2, "64 hexadecimal digits"),
        (digest, empty, 5, "cni-plugins 1.4.1 amd64: the digest is that of an empty file"),
        (digest, not_found, 5, "the digest is that of the body `Not Found`"),
        (digest, shared, 5, "the digest is also that of cni-plugins 1.4.1 amd64"),
        ("format: 1", "format: 2", 2, "has format 2"),
        ("name: cni-plugins", "name: cni-plugin", 2, "rename it to cni-plugin.yaml"),
        ("license:", "licence:", 2, "did you mean `license` instead of `licence`?"),
        ("path: opt/cni/bin/bridge", "path: /opt/cni/bin/bridge", 2, "it is absolute"),
        ("path: opt/cni/bin/bridge", "path: opt/../../bridge", 2, "`..`"),
        ("- version: 1.0.1", "- version: 1.0.0", 2, "lists 1.0.0 twice"),
        ("- version: 1.0.1", "- version: 1.0", 2, "unexpected end"),
        ("kind: tar.gz", "kind: zip", 2, "unknown variant `zip`"),
        ("url: https", "url: http", 5, "the URL is not https"),
    ];
    for (from, to, code, words) in mistakes {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(shipped).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        let file = dir.path().join("cni-plugins.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let output = flexnode_build(&["catalog", "lint", "--manifests", dir.path().to_str().unwrap()]);
        let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{to}: {all}");
        assert!(all.contains(words) && all.contains("error: ") && all.contains("hint: "), "{to}: {all}");
    }
}

#[test]
fn the_shipped_catalog_has_no_findings_and_is_listed() {
    assert_eq!(stdout(&["catalog", "lint"]), "");
    let listed: serde_json::Value = serde_json::from_str(&stdout(&["catalog", "--json"])).unwrap();
    assert_eq!(listed["components"].as_object().unwrap().len(), 10);
    assert_eq!(listed["kubernetes"]["1.30"]["endOfLife"], "2025-07-15");
    let runc = stdout(&["catalog", "runc"]);
    assert!(runc.lines().nth(1).unwrap().starts_with("1.5.1    2026-07-14  amd64  "), "{runc}");
}

#[test]
fn a_lock_is_written_without_a_socket_and_is_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let locks = ["a", "b"].map(|name| {
        let path = dir.path().join(name);
        stdout(&["lock", "--k8s", "1.30", "--quiet", "-o", path.to_str().unwrap()]);
        fs::read_to_string(path).unwrap()
    });
    assert_eq!(locks[0], locks[1]);
    // Both digests change with every line of the catalog.
    let steady = locks[0].lines().filter(|line| !line.contains("\"fingerprint\"") && !line.contains("\"catalog\""));
    insta::assert_snapshot!(steady.collect::<Vec<_>>().join("\n"));
}

#[test]
fn completions_and_man_pages_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("flexnode-build"));
    }
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", dir.path().to_str().unwrap()]);
    let mut pages: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    assert_eq!(pages.len(), 17, "{pages:?}");
    let page = fs::read_to_string(dir.path().join("flexnode-build.1")).unwrap();
    assert!(page.contains(".TH flexnode\\-build 1") || page.contains(".TH flexnode-build 1"), "{page}");
}

#[test]
fn schemas_describe_the_spec_and_the_values() {
    let schema: serde_json::Value = serde_json::from_str(&stdout(&["schema"])).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["kubernetes"].is_object() && schema["properties"]["components"].is_object());
    let values: serde_json::Value = serde_json::from_str(&stdout(&["schema", "--values"])).unwrap();
    assert!(values["properties"]["kubelet"].is_object());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let program = env!("CARGO_BIN_EXE_flexnode-build");
    let script = format!("set -o pipefail; {program} catalog kubelet | head -n 1");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
