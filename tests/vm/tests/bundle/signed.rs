//! A signed build: the archive is the same as without a key, and the key and what was set appear nowhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use flexnode_build::digest::Digest;

use super::{builder, bundle, cache, program, refused, run};

const PASSWORD: &str = "correct horse";
const SET: &str = "kubelet.maxPods=42";

/// A pair of keys in a directory: the private and the public one.
fn pair(dir: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    let prefix = dir.path().join("flexnode");
    run(Command::new(program()).args(["keygen", "-o"]).arg(&prefix).env("FLEXNODE_KEY_PASSWORD", PASSWORD));
    (prefix.with_extension("key"), prefix.with_extension("pub"))
}

#[test]
fn the_bytes_do_not_depend_on_the_key_and_signature_and_provenance_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = pair(&dir);
    let path = dir.path().join("bundle.tar.zst");
    let mut build = builder(&cache(), &["--k8s", "1.30", "-o"]);
    run(build.arg(&path).arg("--sign-key").arg(&key).env("FLEXNODE_KEY_PASSWORD", PASSWORD));
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let verified = run(Command::new(program()).arg("verify").arg(&path).arg("--key").arg(&public));
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(said.contains("and so is its provenance"), "{said}");

    // Built again without a key, it is unsigned again.
    run(builder(&cache(), &["--k8s", "1.30", "-o"]).arg(&path));
    let stderr = refused(Command::new(program()).arg("verify").arg(&path).arg("--key").arg(&public), 5);
    assert!(stderr.contains("is not signed"), "{stderr}");
}

#[test]
fn the_provenance_names_the_builds_inputs_and_shows_neither_values_nor_paths() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = pair(&dir);
    let path = dir.path().join("bundle.tar.zst");
    let mut build = builder(&cache(), &["--k8s", "1.30", "--level", "1", "--set", SET, "-o"]);
    build.arg(&path).arg("--sign-key").arg(&key).env("FLEXNODE_KEY_PASSWORD", PASSWORD);
    let built = run(build.env("SOURCE_DATE_EPOCH", "1700000000"));
    let envelope = fs::read(dir.path().join("bundle.tar.zst.provenance.sigstore.json")).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let payload = envelope["dsseEnvelope"]["payload"].as_str().unwrap();
    let mut decode = Command::new("sh");
    decode.args(["-c", "printf %s \"$1\" | base64 -d", "sh", payload]);
    let text = String::from_utf8(run(&mut decode).stdout).unwrap();
    let statement: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], Digest::of(&fs::read(&path).unwrap()).to_string());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["set"], serde_json::json!(["kubelet.maxPods"]));
    assert_eq!(definition["externalParameters"]["epoch"], 1_700_000_000);
    let inputs = definition["resolvedDependencies"].as_array().unwrap();
    let names: Vec<_> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    let programs = ["flexnode.lock", "containerd", "flexnode-firstboot", "kubelet", "runc"];
    assert!(programs.iter().all(|name| names.contains(name)), "{names:?}");
    assert!(inputs.iter().all(|input| input["digest"]["sha256"].as_str().unwrap().len() == 64), "{text}");

    let pem = fs::read_to_string(&key).unwrap();
    let said = text + &String::from_utf8(built.stdout).unwrap() + &String::from_utf8(built.stderr).unwrap();
    let beside =
        ["sig", "sigstore.json", "sha256"].map(|name| fs::read_to_string(format!("{}.{name}", path.display())));
    let said = beside.into_iter().fold(said, |said, file| said + &file.unwrap());
    let secrets = pem.lines().chain([PASSWORD]);
    assert_eq!(secrets.filter(|secret| !secret.starts_with('-')).find(|secret| said.contains(secret)), None);
    let provenance = statement.to_string();
    let machine = [dir.path(), &cache(), std::path::Path::new("42\"")].map(|path| path.display().to_string());
    assert_eq!(machine.iter().find(|path| provenance.contains(*path)), None, "{provenance}");
}

#[test]
fn a_key_that_does_not_open_ends_the_build_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = pair(&dir);
    let path = dir.path().join("bundle.tar.zst");
    let mut build = builder(&cache(), &["--k8s", "1.30", "-o"]);
    let stderr = refused(build.arg(&path).arg("--sign-key").arg(&key).env("FLEXNODE_KEY_PASSWORD", "wrong"), 2);
    assert!(stderr.contains("the passphrase is wrong") && !stderr.contains("fetching"), "{stderr}");
    assert!(!path.exists() && !stderr.contains(PASSWORD));
}
