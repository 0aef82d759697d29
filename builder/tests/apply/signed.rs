//! A root that trusts keys lets in what one of them signed, and nothing that is older than what it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{
    EPOCH, Files, NEW, OLD, applying, bundle, bundle_of, flexnode_build, paths, refused, root, run, scratch, stats,
    tree, unread,
};

const TRUSTED: &str = "etc/flexnode/trusted-keys";

/// A pair of keys: the private and the public one.
fn pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let prefix = dir.join(name);
    run(flexnode_build(&["keygen", "--unencrypted", "-o"]).arg(&prefix));
    (prefix.with_extension("key"), prefix.with_extension("pub"))
}

fn sign(bundle: &Path, key: &Path) {
    run(flexnode_build(&["sign", "--key"]).arg(key).arg(bundle));
}

/// A root that trusts a key.
fn trusting(dir: &Path, name: &str, public: &Path) -> PathBuf {
    let root = root(dir, name);
    fs::create_dir_all(root.join(TRUSTED)).unwrap();
    fs::copy(public, root.join(TRUSTED).join("build.pub")).unwrap();
    root
}

/// Runs a command that must refuse, and leave every byte and every time as it was.
fn refused_untouched(command: &mut Command, root: &Path, code: i32) -> String {
    unread(root);
    let paths = paths(root);
    let before = stats(root, &paths);
    let stderr = refused(command, code);
    assert_eq!(stats(root, &paths), before, "{command:?}");
    stderr
}

#[test]
fn a_root_that_trusts_a_key_refuses_what_it_did_not_sign_before_the_first_write() {
    let dir = scratch();
    let (key, public) = pair(dir.path(), "ours");
    let (foreign, foreign_public) = pair(dir.path(), "foreign");
    let root = trusting(dir.path(), "root", &public);
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    let mut said = String::new();
    let mut keep = |title: &str, command: &mut Command| {
        let stderr = refused_untouched(command, &root, 5).replace(dir.path().to_str().unwrap(), "DIR");
        let stderr = stderr.lines().filter(|line| !line.starts_with("verifying"));
        let stderr = stderr.map(|line| without_fingerprints(line) + "\n").collect::<String>();
        said += &format!("{title}\n{stderr}\n");
    };
    keep("unsigned", &mut applying(&bundle, &root));
    sign(&bundle, &foreign);
    keep("signed by another", &mut applying(&bundle, &root));
    // Who runs apply does not get to say whom the root trusts.
    keep("signed by another, who is named", applying(&bundle, &root).arg("--key").arg(&foreign_public));
    sign(&bundle, &key);
    keep("signed, but not by whom --key names", applying(&bundle, &root).arg("--key").arg(&foreign_public));
    insta::assert_snapshot!(said);
    run(applying(&bundle, &root).arg("--dry-run"));
    run(&mut applying(&bundle, &root));
}

/// What is shown of a key changes with each run.
fn without_fingerprints(line: &str) -> String {
    let is_hex = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = line.split(' ').map(|word| if is_hex(word.trim_end_matches(',')) { "FINGERPRINT" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_trusted_key_that_cannot_be_read_lets_nothing_in() {
    let dir = scratch();
    let (key, public) = pair(dir.path(), "ours");
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    sign(&bundle, &key);
    let root = trusting(dir.path(), "root", &public);
    let other = root.join(TRUSTED).join("other.pub");
    fs::write(&other, "no key\n").unwrap();
    let stderr = refused_untouched(&mut applying(&bundle, &root), &root, 1);
    assert!(stderr.contains("other.pub is no key to trust"), "{stderr}");
    fs::remove_file(&other).unwrap();
    std::os::unix::fs::symlink(&public, &other).unwrap();
    assert!(refused(&mut applying(&bundle, &root), 1).contains("reading the trusted key"));
    fs::remove_file(&other).unwrap();
    run(&mut applying(&bundle, &root));
}

#[test]
fn an_older_bundle_is_refused_where_keys_are_trusted_unless_it_is_allowed() {
    let dir = scratch();
    let (key, public) = pair(dir.path(), "ours");
    let make = |name: &str, files: Files, kubernetes: &str, epoch: u64| {
        let path = bundle_of(dir.path(), name, files, kubernetes, epoch);
        sign(&path, &key);
        path
    };
    let old = make("old.tar.zst", OLD, "1.30.0", EPOCH + 1);
    let new = make("new.tar.zst", NEW, "1.30.0", EPOCH + 2);
    let lower = make("lower.tar.zst", OLD, "1.29.9", EPOCH + 2);
    let rebuilt = make("rebuilt.tar.zst", OLD, "1.29.9", EPOCH + 3);

    let root = trusting(dir.path(), "root", &public);
    run(&mut applying(&new, &root));
    let words = "is older than what is installed: Kubernetes 1.30.0 of 315532801, and there is 1.30.0 of 315532802";
    let stderr = refused_untouched(&mut applying(&old, &root), &root, 5);
    assert!(stderr.contains(words) && stderr.contains("--allow-rollback"), "{stderr}");
    assert!(refused_untouched(&mut applying(&lower, &root), &root, 5).contains("is older than what is installed"));
    // The same again, one that is built later, and going back on purpose.
    run(&mut applying(&new, &root));
    run(&mut applying(&rebuilt, &root));
    run(applying(&new, &root).arg("--allow-rollback"));
    run(applying(&old, &root).arg("--allow-rollback"));

    // Where no key is trusted, going back is nobody's business.
    let free = super::root(dir.path(), "free");
    run(&mut applying(&new, &free));
    run(&mut applying(&old, &free));
}

#[test]
fn a_bundle_from_a_pipe_or_a_padded_device_is_checked_with_a_signature_that_is_named() {
    let dir = scratch();
    let (key, public) = pair(dir.path(), "ours");
    let bundle = bundle(dir.path(), "bundle.tar.zst", OLD);
    sign(&bundle, &key);
    let signature = dir.path().join("bundle.tar.zst.sigstore.json");
    // As a device has it: zeros up to its end.
    let padded = dir.path().join("padded");
    fs::write(&padded, [fs::read(&bundle).unwrap(), vec![0; 100_000]].concat()).unwrap();
    let mut trees = Vec::new();
    for file in [&bundle, &padded] {
        let root = trusting(dir.path(), &format!("root{}", trees.len()), &public);
        let piped = || {
            let mut command = flexnode_build(&["apply", "-", "--root", root.to_str().unwrap()]);
            command.stdin(fs::File::open(file).unwrap());
            command
        };
        assert!(refused_untouched(&mut piped(), &root, 5).contains("hint: name its signature: --signature FILE"));
        run(piped().arg("--signature").arg(&signature));
        run(piped().arg("--signature").arg(dir.path().join("bundle.tar.zst.sig")));
        trees.push(tree(&root));
    }
    assert_eq!(trees[0], trees[1]);
    let free = root(dir.path(), "free");
    let stderr = refused(applying(&bundle, &free).arg("--signature").arg(&signature), 2);
    assert!(stderr.contains("there is no key to check the signature with"), "{stderr}");
}
