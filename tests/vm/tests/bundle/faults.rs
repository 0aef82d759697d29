//! The lab served over HTTP by a server that misbehaves: the same bundle in the end, or a refusal with its cure.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flexnode_vm::faults::{Authority, Fault, Request, Server};

use super::{bundle, lab, program, refused, run};

const KUBECTL: &str = "/dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubectl";
const KUBELET: &str = "/dl.k8s.io/release/v1.30.0/bin/linux/amd64/kubelet";

/// The builder with the lab behind `server`, and a cache of its own in `dir`.
fn builder(server: &Server, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["--k8s", "1.30", "--manifests"]).arg(lab().manifests());
    command.args(["--mirror", &server.url(), "--cache-dir"]).arg(dir.join("cache")).args(args);
    command.args(["--connect-timeout", "5", "-o"]).arg(dir.join("bundle.tar.zst"));
    command
}

#[test]
fn a_bad_network_delays_the_same_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(&lab().mirror()).unwrap();
    server.once(
        KUBECTL,
        [
            Fault::Reset { after: 10_000_000 },
            Fault::Truncate { after: 5_000_000 },
            Fault::IgnoreRange,
            Fault::Stall { after: 1_000_000 },
        ],
    );
    server.once(
        KUBELET,
        [Fault::answer(503, ("Retry-After", "0"), "later"), Fault::answer(429, ("Retry-After", "0"), "slower")],
    );
    let manifests: Vec<String> = server_paths(&lab().mirror());
    for path in manifests.iter().filter(|path| path.contains("cni-plugins")) {
        server.once(
            path,
            [Fault::Slow { chunk: 4 << 20, pause: Duration::from_millis(1) }, Fault::answer(500, ("X-A", "b"), "")],
        );
    }
    run(&mut builder(&server, dir.path(), &["--stall-timeout", "1"]));
    assert!(fs::read(dir.path().join("bundle.tar.zst")).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let ranges: Vec<_> = server.requests_for(KUBECTL).iter().map(|r| r.header("range").map(str::to_owned)).collect();
    assert!(ranges.len() >= 3 && ranges[1].as_deref().is_some_and(|range| range.starts_with("bytes=")), "{ranges:?}");
}

/// Paths below a mirror, as a client asks for them.
fn server_paths(mirror: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(mirror).args(["-type", "f", "-printf", "/%P\\n"]));
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_wrong_body_is_refused_with_both_digests_and_nothing_good_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(&lab().mirror()).unwrap();
    let page = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>";
    server.always(KUBECTL, Fault::Swap(page.into()));
    fs::write(dir.path().join("bundle.tar.zst"), "the old one").unwrap();
    // One at a time, so that what comes before kubectl is in the cache by then.
    let stderr = refused(&mut builder(&server, dir.path(), &["--jobs", "1", "--retries", "0"]), 5);
    for words in [
        "error: ",
        "kubectl 1.30.0",
        "7c3807c0f5c1b30110a2ff1e55da1d112a6d0096201f1beb81b269f582b5d1c5",
        "NoSuchKey",
        "hint: ",
    ] {
        assert!(stderr.contains(words), "{words} is missing in\n{stderr}");
    }
    assert_eq!(fs::read(dir.path().join("bundle.tar.zst")).unwrap(), b"the old one");
    let kept = run(Command::new("find").arg(dir.path().join("cache/sha256")).args(["-type", "f", "-size", "+1M"]));
    assert!(!kept.stdout.is_empty(), "what was good is gone");

    // The server mends its ways: only what is missing is asked for again.
    let mended = Server::http(&lab().mirror()).unwrap();
    run(&mut builder(&mended, dir.path(), &["--jobs", "1"]));
    assert!(fs::read(dir.path().join("bundle.tar.zst")).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let again = |request: &Request| request.target.contains("kubeadm") || request.target.contains("containerd");
    assert!(!mended.requests().iter().any(again), "{:?}", mended.requests());
}

#[test]
fn what_cannot_be_fetched_is_a_network_failure_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::http(&lab().mirror()).unwrap();
    server.always(KUBECTL, Fault::answer(404, ("Content-Type", "text/html"), "<html>Not here</html>"));
    let stderr = refused(&mut builder(&server, dir.path(), &["--retries", "0"]), 4);
    assert!(stderr.contains("404") && stderr.contains("hint: "), "{stderr}");

    let looping = Server::http(&lab().mirror()).unwrap();
    looping.always(KUBECTL, Fault::redirect(KUBECTL));
    let stderr = refused(&mut builder(&looping, dir.path(), &["--retries", "0"]), 4);
    assert!(stderr.contains("redirect") && stderr.contains("hint: "), "{stderr}");
    assert!(!dir.path().join("bundle.tar.zst").exists());
}

#[test]
fn an_unknown_authority_is_refused_and_ca_cert_is_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let server = Server::https(&lab().mirror(), &authority, &[]).unwrap();
    let stderr = refused(&mut builder(&server, dir.path(), &["--retries", "0"]), 4);
    assert!(stderr.contains("UnknownIssuer") && stderr.contains("--ca-cert"), "{stderr}");

    let pem = dir.path().join("ca.pem");
    fs::write(&pem, authority.pem()).unwrap();
    run(&mut builder(&server, dir.path(), &["--ca-cert", pem.to_str().unwrap()]));
    assert!(fs::read(dir.path().join("bundle.tar.zst")).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
}
