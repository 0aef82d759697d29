//! What signatures promise, with stock cosign and openssl as signers and verifiers in both directions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cosign;
#[path = "../debian/mod.rs"]
mod debian;
mod deviations;
mod keys;
mod openssl;
mod provenance;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Manifest, Packing, pack};
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use flexnode_build::lock::Lock;
use flexnode_build::overlay::{Content, Entry, FileEntry, Mode, Overlay};
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;

const PASSWORD: &str = "correct horse";

fn lock() -> Lock {
    let request = Request { kubernetes: Some("1.30".parse().unwrap()), ..Request::default() };
    resolve(request, &Catalog::embedded().unwrap()).unwrap().lock
}

fn manifest(content: &str) -> (Manifest, Overlay) {
    let mut overlay = Overlay::default();
    let (size, sha256) = (content.len() as u64, Digest::of(content.as_bytes()));
    let content = Content::Bytes(content.as_bytes().into());
    let entry = Entry::File(FileEntry { mode: Mode::FILE, size, sha256, content, component: None });
    overlay.insert("etc/app.conf".parse().unwrap(), entry).unwrap();
    (Manifest::new(&lock(), Vec::new(), &overlay, 315_532_800), overlay)
}

/// Packs a small bundle.
fn bundle(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    let (manifest, overlay) = manifest(content);
    let packing = Packing { level: 3, jobs: 1, epoch: 315_532_800 };
    pack(&manifest, &overlay, Partial::create(&path).unwrap(), packing, &|_| ()).unwrap();
    path
}

/// A pair of keys by `keygen`, encrypted: the private and the public one.
fn pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let prefix = dir.join(name);
    run(flexnode_build(&["keygen", "-o"]).arg(&prefix));
    (prefix.with_extension("key"), prefix.with_extension("pub"))
}

/// A bundle that is signed by a key of `keygen`: the bundle, and the public key.
fn signed(dir: &Path) -> (PathBuf, PathBuf) {
    let (key, public) = pair(dir, "flexnode");
    let bundle = bundle(dir, "bundle.tar.zst", "signed: yes\n");
    run(&mut signing(&bundle, &key));
    (bundle, public)
}

fn flexnode_build(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexnode-build"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("FLEXNODE_KEY_PASSWORD", PASSWORD).args(args);
    command
}

fn signing(bundle: &Path, key: &Path) -> Command {
    let mut command = flexnode_build(&["sign"]);
    command.arg(bundle).arg("--key").arg(key);
    command
}

fn verifying(bundle: &Path, public: &Path) -> Command {
    let mut command = flexnode_build(&["verify"]);
    command.arg(bundle).arg("--key").arg(public);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Standard error of a command that must end with `code`.
fn refused(command: &mut Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}\n{stderr}");
    stderr
}

/// `bundle.tar.zst` with another ending.
fn beside(bundle: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", bundle.display()).into()
}

/// Changes a file's text.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}
