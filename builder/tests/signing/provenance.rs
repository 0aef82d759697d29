//! The provenance: what it says, what it does not say, and that it is refused where it does not hold.

use std::fs;
use std::path::Path;

use flexnode_build::artifact::Proof;
use flexnode_build::bundle::Component;
use flexnode_build::digest::Digest;
use flexnode_build::signing::{Invocation, Passphrase, PrivateKey, sign_provenance, statement};
use serde_json::Value;

use super::{PASSWORD, beside, bundle, edit, lock, manifest, pair, refused, run, signed, verifying};

fn component(name: &str, url: &str) -> Component {
    Component {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        url: url.to_owned(),
        sha256: Digest::of(name.as_bytes()),
        size: 1,
        license: "MIT".to_owned(),
        proof: Proof::Local,
        stand_in: false,
        purl: None,
    }
}

fn about(bundle: &Path) -> Value {
    let (mut manifest, _) = manifest("1\n");
    manifest.components.push(component("tool", "https://user:hunter2@example.org/tool?token=hunter3#hunter4"));
    manifest.components.push(component("own", "file:///home/somebody/own"));
    let invocation = Invocation { level: 9, set: vec!["proxy.url"], spec: Some(Digest::of(b"spec")) };
    statement(bundle, Digest::of(&fs::read(bundle).unwrap()), &lock(), &manifest, &invocation).unwrap()
}

/// Writes a provenance by `key` beside the bundle.
pub(super) fn attest(bundle: &Path, key: &Path) {
    let pem = fs::read_to_string(key).unwrap();
    let key = PrivateKey::parse(&pem, || Ok(Passphrase::from(std::ffi::OsString::from(PASSWORD)))).unwrap();
    sign_provenance(bundle, &about(bundle), &key).unwrap();
}

#[test]
fn it_has_every_input_by_digest_and_no_secret_and_no_path_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = bundle(dir.path(), "bundle.tar.zst", "1\n");
    let mut statement = about(&path);
    let text = statement.to_string();
    let forbidden = ["hunter", "somebody", "file:", dir.path().to_str().unwrap()];
    assert_eq!(forbidden.iter().find(|word| text.contains(*word)), None, "{text}");
    let lock = lock().to_json().unwrap();
    let of_lock = &mut statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"];
    assert_eq!(*of_lock, Digest::of(lock.as_bytes()).to_string());
    // It changes with every line of the catalog.
    *of_lock = "of the lock".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&statement).unwrap());
}

#[test]
fn the_same_key_and_inputs_give_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = signed(dir.path());
    let key = dir.path().join("flexnode.key");
    let files = || {
        attest(&path, &key);
        run(&mut super::signing(&path, &key));
        [".sig", ".sigstore.json", ".provenance.sigstore.json"].map(|suffix| fs::read(beside(&path, suffix)).unwrap())
    };
    assert!(files() == files());
}

#[test]
fn a_provenance_that_does_not_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, public) = signed(dir.path());
    let provenance = beside(&path, ".provenance.sigstore.json");
    let said = |stderr: String, words: &str| assert!(stderr.contains(words), "{stderr}\n{words}");

    let (foreign, foreign_public) = pair(dir.path(), "foreign");
    attest(&path, &foreign);
    said(refused(&mut verifying(&path, &public), 5), "it hints at another key");
    // Two keys may be trusted.
    run(verifying(&path, &public).arg("--key").arg(foreign_public));

    let key = dir.path().join("flexnode.key");
    let other = bundle(dir.path(), "other.tar.zst", "2\n");
    attest(&other, &key);
    fs::copy(beside(&other, ".provenance.sigstore.json"), &provenance).unwrap();
    said(refused(&mut verifying(&path, &public), 5), "it is about another archive");

    for (from, to, words) in [
        ("application/vnd.in-toto+json", "application/vnd.in-toto+jsoN", "the signature does not hold"),
        ("\"payload\":\"eyJ", "\"payload\":\"eyK", "the signature does not hold"),
        ("bundle.v0.3+json", "bundle.v0.2+json", "it is of type"),
        ("\"signatures\":[{", "\"signatures\":[],\"more\":[{", "unknown field `more`"),
    ] {
        attest(&path, &key);
        run(&mut verifying(&path, &public));
        edit(&provenance, from, to);
        said(refused(&mut verifying(&path, &public), 5), words);
    }
    // A signature over the archive is no provenance, and the other way round.
    fs::copy(beside(&path, ".sigstore.json"), &provenance).unwrap();
    said(refused(&mut verifying(&path, &public), 5), "it holds no signed statement");
    attest(&path, &key);
    fs::copy(&provenance, beside(&path, ".sigstore.json")).unwrap();
    said(refused(&mut verifying(&path, &public), 5), "it holds no signature over a file");
}
