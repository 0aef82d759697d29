//! Keys: how they are made and kept, and which are refused.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use flexnode_build::digest::Digest;
use flexnode_build::signing::PrivateKey;

use super::{PASSWORD, bundle, flexnode_build, pair, refused, run, signing, verifying};

#[test]
fn a_new_key_is_encrypted_its_owners_alone_and_never_replaces_another() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = pair(dir.path(), "flexnode");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&public)), (0o600, 0o644));
    let (pem, public_pem) = (fs::read_to_string(&key).unwrap(), fs::read_to_string(&public).unwrap());
    assert!(pem.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{pem}");

    let again = || flexnode_build(&["keygen", "-o", dir.path().join("flexnode").to_str().unwrap()]);
    assert!(refused(&mut again(), 2).contains("flexnode.key exists, and a key is never overwritten"));
    fs::remove_file(&key).unwrap();
    assert!(refused(&mut again(), 2).contains("flexnode.pub exists"));
    assert!(!key.exists());
    assert_eq!(fs::read_to_string(&public).unwrap(), public_pem);
}

#[test]
fn without_a_passphrase_a_key_is_unencrypted_only_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("plain");
    let keygen = |flags: &[&str]| {
        let mut command = flexnode_build(&["keygen", "-o"]);
        command.arg(&prefix).args(flags).env_remove("FLEXNODE_KEY_PASSWORD");
        command
    };
    let stderr = refused(&mut keygen(&[]), 2);
    assert!(stderr.contains("FLEXNODE_KEY_PASSWORD") && fs::read_dir(dir.path()).unwrap().next().is_none(), "{stderr}");
    assert_eq!(refused(keygen(&[]).env("FLEXNODE_KEY_PASSWORD", ""), 2), stderr);
    run(&mut keygen(&["--unencrypted"]));
    let path = bundle(dir.path(), "bundle.tar.zst", "1\n");
    run(signing(&path, &prefix.with_extension("key")).env_remove("FLEXNODE_KEY_PASSWORD"));
    run(&mut verifying(&path, &prefix.with_extension("pub")));
}

#[test]
fn the_passphrase_comes_from_either_variable_or_a_file_and_must_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = pair(dir.path(), "flexnode");
    let path = bundle(dir.path(), "bundle.tar.zst", "1\n");
    fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let with = |variable: &str, value: &str| {
        let mut command = signing(&path, &key);
        command.env_remove("FLEXNODE_KEY_PASSWORD").env(variable, value);
        command
    };
    run(&mut with("COSIGN_PASSWORD", PASSWORD));
    run(&mut with("FLEXNODE_KEY_PASSWORD_FILE", dir.path().join("password").to_str().unwrap()));
    assert!(refused(&mut with("COSIGN_PASSWORD", "wrong horse"), 2).contains("the passphrase is wrong"));
    assert!(refused(&mut with("UNRELATED", ""), 2).contains("it is encrypted, and there is no passphrase"));
}

#[test]
fn an_ed25519_key_signs_nothing_that_changes_between_its_two_readings() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ed.pem");
    run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&pem));
    let key = PrivateKey::read(&pem).unwrap();
    let readings = Cell::new(0);
    let open = || {
        readings.set(readings.get() + 1);
        Ok(if readings.get() == 1 { b"one".as_slice() } else { b"two".as_slice() })
    };
    assert!(key.sign(Digest::of(b"one"), open).is_err());
    assert_eq!(readings.get(), 2);
    assert!(key.sign(Digest::of(b"two"), open).is_ok());
}

#[test]
fn keys_that_are_none_of_ours_are_refused_with_a_cure_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = pair(dir.path(), "flexnode");
    let path = bundle(dir.path(), "bundle.tar.zst", "1\n");
    let mut said = String::new();
    let mut keep = |title: &str, stderr: String| {
        said += &format!("{title}\n{}\n", stderr.replace(dir.path().to_str().unwrap(), "DIR"));
    };
    let openssl = |name: &str, args: &[&str]| {
        let (secret, open) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.pub")));
        run(Command::new("openssl").arg("genpkey").args(args).arg("-out").arg(&secret));
        run(Command::new("openssl")
            .args(["pkey", "-passin", "pass:x", "-pubout", "-in"])
            .arg(&secret)
            .arg("-out")
            .arg(&open));
        (secret, open)
    };
    let (rsa, rsa_public) = openssl("rsa", &["-algorithm", "RSA"]);
    let (p384, p384_public) = openssl("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let (locked, _) = openssl("locked", &["-algorithm", "ed25519", "-aes256", "-pass", "pass:x"]);
    keep("an RSA key", refused(&mut signing(&path, &rsa), 2));
    keep("a P-384 key", refused(&mut signing(&path, &p384), 2));
    keep("a key that openssl encrypted", refused(&mut signing(&path, &locked), 2));
    keep("a public key", refused(&mut signing(&path, &public), 2));
    let text = dir.path().join("text");
    fs::write(&text, "no key\n").unwrap();
    keep("no key", refused(&mut signing(&path, &text), 2));
    keep("to verify: an RSA key", refused(&mut verifying(&path, &rsa_public), 2));
    keep("to verify: a P-384 key", refused(&mut verifying(&path, &p384_public), 2));
    keep("to verify: a private key", refused(&mut verifying(&path, &key), 2));
    let pem = fs::read_to_string(&rsa).unwrap() + &fs::read_to_string(&key).unwrap();
    assert_eq!(pem.lines().filter(|line| !line.starts_with('-')).find(|line| said.contains(*line)), None);
    insta::assert_snapshot!(said);
}
