//! Stock cosign as signer and verifier: 2 of Debian 13, and 3 of the release after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PASSWORD, beside, bundle, debian, pair, refused, run, signed, signing, verifying};

const SUITES: [&str; 2] = ["trixie", "forky"];

/// cosign of a Debian suite. What it would ask sigstore's servers for, it gets as files: nothing is trusted, nowhere is
/// anything to be logged.
struct Cosign {
    program: PathBuf,
    suite: &'static str,
    dir: PathBuf,
}

impl Cosign {
    fn of(suite: &'static str, dir: &Path) -> Self {
        let package = debian::package(suite, "cosign");
        let unpacked = package.with_extension("unpacked");
        let lock = fs::File::create(package.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if !unpacked.exists() {
            let partial = package.with_extension("partial");
            run(Command::new("dpkg-deb").arg("-x").args([&package, &partial]));
            fs::rename(partial, &unpacked).unwrap();
        }
        let root = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
        fs::write(dir.join("trusted_root.json"), root).unwrap();
        let nowhere = r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}"#;
        fs::write(dir.join("signing_config.json"), nowhere).unwrap();
        Self { program: unpacked.join("usr/bin/cosign"), suite, dir: dir.to_owned() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.dir).env_clear().env("HOME", &self.dir).env("COSIGN_PASSWORD", PASSWORD).args(args);
        command
    }

    fn pair(&self) -> (PathBuf, PathBuf) {
        let prefix = self.dir.join(self.suite);
        run(&mut self.command(&["generate-key-pair", "--output-key-prefix", self.suite]));
        (prefix.with_extension("key"), prefix.with_extension("pub"))
    }

    /// Signs `bundle` in both formats.
    fn sign(&self, bundle: &Path, key: &Path) {
        let mut command = self.command(&["sign-blob", "-y", "--key"]);
        command.arg(key).arg("--bundle").arg(beside(bundle, ".sigstore.json"));
        if self.suite == "trixie" {
            command.args(["--tlog-upload=false", "--new-bundle-format"]);
        } else {
            command.args(["--signing-config", "signing_config.json", "--trusted-root", "trusted_root.json"]);
        }
        run(command.arg(bundle));
        self.sign_bare(bundle, key);
    }

    fn sign_bare(&self, bundle: &Path, key: &Path) {
        let mut command = self.command(&["sign-blob", "-y", "--tlog-upload=false", "--key"]);
        command.arg(key).arg("--output-signature").arg(beside(bundle, ".sig"));
        if self.suite != "trixie" {
            command.args(["--use-signing-config=false", "--new-bundle-format=false"]);
            command.args(["--trusted-root", "trusted_root.json"]);
        }
        run(command.arg(bundle));
    }

    fn verify(&self, verb: &str, bundle: &Path, public: &Path, signature: &[&str], file: &Path) -> Command {
        let mut command = self.command(&[verb, "--insecure-ignore-tlog", "--key"]);
        command.arg(public).args(signature).arg(file).arg(bundle);
        command
    }
}

const SIGSTORE: &[&str] = &["--new-bundle-format", "--trusted-root", "trusted_root.json", "--bundle"];

#[test]
fn stock_cosign_accepts_what_we_sign_and_no_other_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, public) = signed(dir.path());
    let other = bundle(dir.path(), "other.tar.zst", "signed: no\n");
    for suite in SUITES {
        let cosign = Cosign::of(suite, dir.path());
        for (how, suffix) in [(SIGSTORE, ".sigstore.json"), (&["--signature"], ".sig")] {
            let signature = beside(&ours, suffix);
            run(&mut cosign.verify("verify-blob", &ours, &public, how, &signature));
            let refusal = cosign.verify("verify-blob", &other, &public, how, &signature).output().unwrap();
            assert!(!refusal.status.success(), "{suite} {suffix}");
        }
    }
}

#[test]
fn what_stock_cosign_signs_verifies_here_and_no_other_archive_does() {
    for suite in SUITES {
        let dir = tempfile::tempdir().unwrap();
        let cosign = Cosign::of(suite, dir.path());
        let (key, public) = cosign.pair();
        let (ours, other) = (bundle(dir.path(), "ours.tar.zst", "1\n"), bundle(dir.path(), "other.tar.zst", "2\n"));
        cosign.sign(&ours, &key);
        run(&mut verifying(&ours, &public));
        for suffix in [".sigstore.json", ".sig"] {
            let signature = beside(&ours, suffix);
            run(verifying(&ours, &public).arg("--signature").arg(&signature));
            let stderr = refused(verifying(&other, &public).arg("--signature").arg(&signature), 5);
            assert!(stderr.starts_with("error: ") && stderr.contains("other.tar.zst is not signed as"), "{stderr}");
        }
    }
}

#[test]
fn each_reads_the_others_encrypted_keys() {
    let dir = tempfile::tempdir().unwrap();
    let ours = bundle(dir.path(), "ours.tar.zst", "1\n");
    for suite in SUITES {
        let cosign = Cosign::of(suite, dir.path());
        let (key, public) = cosign.pair();
        run(&mut signing(&ours, &key));
        run(&mut cosign.verify("verify-blob", &ours, &public, SIGSTORE, &beside(&ours, ".sigstore.json")));
        let (key, public) = pair(dir.path(), &format!("for-{suite}"));
        cosign.sign(&ours, &key);
        run(&mut verifying(&ours, &public));
    }
}

#[test]
fn ed25519_keys_of_openssl_sign_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, public) = (dir.path().join("ed.pem"), dir.path().join("ed.pub"));
    run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&pem));
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&pem).arg("-out").arg(&public));
    for suite in SUITES {
        let ours = bundle(dir.path(), "ours.tar.zst", "1\n");
        let cosign = Cosign::of(suite, dir.path());
        run(cosign.command(&["import-key-pair", "-y", "--output-key-prefix", "imported", "--key"]).arg(&pem));
        // As it is, and as cosign encrypts it.
        for key in [&pem, &dir.path().join("imported.key")] {
            run(&mut signing(&ours, key));
            run(&mut cosign.verify("verify-blob", &ours, &public, SIGSTORE, &beside(&ours, ".sigstore.json")));
            run(&mut cosign.verify("verify-blob", &ours, &public, &["--signature"], &beside(&ours, ".sig")));
        }
        // cosign 3 makes bundles without a digest with these keys, and then refuses them itself. We do not.
        let sigstore = beside(&ours, ".sigstore.json");
        let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&sigstore).unwrap()).unwrap();
        super::edit(&sigstore, &json["messageSignature"]["messageDigest"].to_string(), "{}");
        cosign.sign_bare(&ours, &dir.path().join("imported.key"));
        run(&mut verifying(&ours, &public));
    }
}

#[test]
fn stock_cosign_accepts_our_provenance_and_we_accept_its() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = pair(dir.path(), "flexnode");
    let ours = bundle(dir.path(), "ours.tar.zst", "1\n");
    run(&mut signing(&ours, &key));
    let provenance = beside(&ours, ".provenance.sigstore.json");
    let how = [&["--type", "slsaprovenance1"], SIGSTORE].concat();
    for suite in SUITES {
        let cosign = Cosign::of(suite, dir.path());
        super::provenance::attest(&ours, &key);
        run(&mut cosign.verify("verify-blob-attestation", &ours, &public, &how, &provenance));
        fs::write(
            dir.path().join("predicate.json"),
            r#"{"buildDefinition":{"buildType":"urn:x"},"runDetails":{"builder":{"id":"urn:y"}}}"#,
        )
        .unwrap();
        let mut attest = cosign.command(&["attest-blob", "-y", "--predicate", "predicate.json", "--type"]);
        attest.arg("slsaprovenance1").arg("--key").arg(&key).arg("--bundle").arg(&provenance);
        if suite == "trixie" {
            attest.args(["--tlog-upload=false", "--new-bundle-format"]);
        } else {
            attest.args(["--signing-config", "signing_config.json", "--trusted-root", "trusted_root.json"]);
        }
        run(attest.arg(&ours));
        let said = String::from_utf8(run(&mut verifying(&ours, &public)).stderr).unwrap();
        assert!(said.contains(", and so is its provenance"), "{said}");
    }
}
