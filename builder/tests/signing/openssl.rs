//! openssl as signer and verifier: nothing but the archive, the bare signature and the key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{beside, bundle, run, signed, signing, verifying};

fn openssl(args: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(args);
    command
}

/// The bare signature of a bundle, as bytes.
fn raw(bundle: &Path) -> PathBuf {
    let raw = beside(bundle, ".raw");
    run(openssl(&["base64", "-d", "-A", "-in"]).arg(beside(bundle, ".sig")).arg("-out").arg(&raw));
    raw
}

#[test]
fn openssl_accepts_what_we_sign_and_no_other_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, public) = signed(dir.path());
    let other = bundle(dir.path(), "other.tar.zst", "signed: no\n");
    let verify = |file: &Path| {
        let mut command = openssl(&["dgst", "-sha256", "-verify"]);
        command.arg(&public).arg("-signature").arg(raw(&ours)).arg(file);
        command
    };
    run(&mut verify(&ours));
    assert!(!verify(&other).status().unwrap().success());
}

#[test]
fn what_openssl_signs_verifies_here() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public, ours) =
        (dir.path().join("p256.pem"), dir.path().join("p256.pub"), dir.path().join("ours.tar.zst"));
    for make in [
        &["ecparam", "-name", "prime256v1", "-genkey", "-out"][..],
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"],
    ] {
        bundle(dir.path(), "ours.tar.zst", "1\n");
        run(openssl(make).arg(&key));
        run(openssl(&["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public));
        let (raw, bare) = (beside(&ours, ".raw"), beside(&ours, ".sig"));
        run(openssl(&["dgst", "-sha256", "-sign"]).arg(&key).arg("-out").arg(&raw).arg(&ours));
        run(openssl(&["base64", "-A", "-in"]).arg(&raw).arg("-out").arg(&bare));
        run(&mut verifying(&ours, &public));
        // openssl's key signs here, whichever of its two forms it has.
        run(&mut signing(&ours, &key));
        run(&mut verifying(&ours, &public));
    }
}

#[test]
fn an_ed25519_signature_is_what_openssl_says_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (key, ours) = (dir.path().join("ed.pem"), bundle(dir.path(), "ours.tar.zst", "1\n"));
    run(openssl(&["genpkey", "-algorithm", "ed25519", "-out"]).arg(&key));
    run(&mut signing(&ours, &key));
    let raw = raw(&ours);
    run(openssl(&["pkeyutl", "-verify", "-rawin", "-inkey"]).arg(&key).arg("-in").arg(&ours).arg("-sigfile").arg(&raw));
    let other = dir.path().join("by-openssl");
    run(openssl(&["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(&key).arg("-in").arg(&ours).arg("-out").arg(&other));
    assert_eq!(fs::read(raw).unwrap(), fs::read(other).unwrap());
}
