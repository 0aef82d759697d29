//! Everything that a signature is not: each refused in its own words, and before the archive is unpacked.

use std::fs;
use std::path::Path;

use flexnode_build::bundle::Source;
use flexnode_build::digest::Digest;
use flexnode_build::signing::{PublicKey, check};
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::Value;

use super::{beside, bundle, edit, flexnode_build, pair, refused, run, signed, signing, verifying};

#[test]
fn each_deviation_is_refused_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let (path, public) = signed(dir.path());
    let (sigstore, bare) = (beside(&path, ".sigstore.json"), beside(&path, ".sig"));
    let (archive, json, base64) = (fs::read(&path).unwrap(), fs::read(&sigstore).unwrap(), fs::read(&bare).unwrap());
    let (_, foreign) = pair(dir.path(), "foreign");
    let other = bundle(dir.path(), "other.tar.zst", "another: yes\n");
    run(&mut signing(&other, &dir.path().join("flexnode.key")));
    let ed25519 = dir.path().join("ed25519");
    run(std::process::Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&ed25519));
    let ed25519_public = dir.path().join("ed25519.pub");
    run(std::process::Command::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(&ed25519)
        .arg("-out")
        .arg(&ed25519_public));

    let mut said = String::new();
    let mut keep = |title: &str, key: &Path| {
        let stderr = refused(&mut verifying(&path, key), 5).replace(dir.path().to_str().unwrap(), "DIR");
        said += &format!("{title}\n{}\n", stderr.replace(&fingerprint(key), "FINGERPRINT"));
        fs::write(&path, &archive).unwrap();
        fs::write(&sigstore, &json).unwrap();
        fs::write(&bare, &base64).unwrap();
    };
    keep("another key", &foreign);
    keep("a key of another type", &ed25519_public);
    let mut flipped = archive.clone();
    flipped[archive.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    keep("a flipped bit in the archive", &public);
    fs::copy(beside(&other, ".sigstore.json"), &sigstore).unwrap();
    keep("another bundle's signature", &public);
    fs::copy(beside(&other, ".sig"), &bare).unwrap();
    keep("another bundle's bare signature beside our own", &public);
    fs::write(&bare, "no base64!").unwrap();
    keep("a bare signature that is none", &public);
    edit(&sigstore, "bundle.v0.3+json", "bundle.v0.2+json");
    keep("another media type", &public);
    edit(&sigstore, "SHA2_256", "SHA2_512");
    keep("another hash", &public);
    let digest = serde_json::from_slice::<Value>(&json).unwrap()["messageSignature"]["messageDigest"]["digest"].clone();
    let other_json: Value =
        serde_json::from_str(&fs::read_to_string(beside(&other, ".sigstore.json")).unwrap()).unwrap();
    let other_digest = other_json["messageSignature"]["messageDigest"]["digest"].clone();
    edit(&sigstore, digest.as_str().unwrap(), other_digest.as_str().unwrap());
    keep("another archive's digest", &public);
    edit(&sigstore, "publicKey", "certificate");
    keep("a certificate in the place of a key", &public);
    fs::write(&sigstore, [0xff]).unwrap();
    keep("no text", &public);
    fs::write(&sigstore, "{").unwrap();
    keep("no JSON", &public);
    for file in [&sigstore, &bare] {
        fs::remove_file(file).unwrap();
    }
    keep("no signature at all", &public);
    // Everything was put back: it is these changes that were refused.
    run(&mut verifying(&path, &public));
    let digests = [&path, &other].map(|path| Digest::of(&fs::read(path).unwrap()).to_string());
    insta::assert_snapshot!(said.replace(&digests[0], "DIGEST").replace(&digests[1], "OTHER DIGEST"));
}

/// What is shown of a key changes with each run.
fn fingerprint(public: &Path) -> String {
    PublicKey::read(public).unwrap().fingerprint().short()
}

#[test]
fn nothing_is_unpacked_before_the_signature_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (path, public) = signed(dir.path());
    // A decompressor would choke on it; the signature is what is complained of.
    fs::write(&path, b"this is no archive").unwrap();
    let stderr = refused(&mut verifying(&path, &public), 5);
    assert!(stderr.contains("is not signed as"), "{stderr}");
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut apply = flexnode_build(&["apply"]);
    let stderr = refused(apply.arg(&path).arg("--root").arg(&root).arg("--key").arg(&public), 5);
    assert!(stderr.contains("is not signed as"), "{stderr}");
}

#[test]
fn a_new_archive_never_lies_beside_an_old_signature() {
    let dir = tempfile::tempdir().unwrap();
    let (path, public) = signed(dir.path());
    super::provenance::attest(&path, &dir.path().join("flexnode.key"));
    bundle(dir.path(), "bundle.tar.zst", "signed: not yet\n");
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["bundle.tar.zst", "bundle.tar.zst.sha256", "flexnode.key", "flexnode.pub"]);
    assert!(refused(&mut verifying(&path, &public), 5).contains("is not signed"));
}

#[test]
fn a_damaged_bundle_or_one_with_something_behind_it_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = pair(dir.path(), "flexnode");
    let path = bundle(dir.path(), "bundle.tar.zst", "1\n");
    fs::remove_file(beside(&path, ".sha256")).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused(&mut signing(&path, &key), 6);
    fs::write(&path, [&*whole, &[0; 512]].concat()).unwrap();
    assert!(refused(&mut signing(&path, &key), 6).contains("is not the bundle alone"));
    assert!(!beside(&path, ".sig").exists() && !beside(&path, ".sigstore.json").exists());
}

/// A byte that is not covered: the hint at the key is for people, and blanks say nothing.
fn is_harmless(json: &str, flipped: &[u8]) -> bool {
    let without_hint = |text: &str| {
        let mut value: Value = serde_json::from_str(text).ok()?;
        *value.pointer_mut("/verificationMaterial/publicKey/hint")? = Value::Null;
        Some(value)
    };
    let flipped = str::from_utf8(flipped).ok();
    flipped.is_some_and(|flipped| flipped.trim_end() == json.trim_end() || without_hint(flipped) == without_hint(json))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_of_archive_or_signature_is_noticed_or_harmless(
        which in 0..3_usize, at in any::<proptest::sample::Index>(), bit in 0..8_u32,
    ) {
        static SIGNED: std::sync::OnceLock<(tempfile::TempDir, std::path::PathBuf, PublicKey)> = std::sync::OnceLock::new();
        let (_, path, public) = SIGNED.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let (path, public) = signed(dir.path());
            (dir, path, PublicKey::read(&public).unwrap())
        });
        let file = [path.clone(), beside(path, ".sigstore.json"), beside(path, ".sig")][which].clone();
        let before = fs::read(&file).unwrap();
        let mut flipped = before.clone();
        let at = at.index(before.len());
        flipped[at] ^= 1 << bit;
        fs::write(&file, &flipped).unwrap();
        let checked = check(&Source::open(path).unwrap(), None, std::slice::from_ref(public));
        fs::write(&file, &before).unwrap();
        let harmless = which == 1 && is_harmless(str::from_utf8(&before).unwrap(), &flipped);
        assert_eq!(checked.is_ok(), harmless, "{} byte {at} bit {bit}: {checked:?}", file.display());
    }
}
