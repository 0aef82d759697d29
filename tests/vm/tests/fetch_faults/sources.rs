//! Mirrors, upstream, and no network at all.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use flexnode_build::artifact::Artifact;
use flexnode_build::digest::Digest;
use flexnode_build::failure::Class;
use flexnode_build::fetch::{Mirrored, Origin, mirror_to};
use flexnode_vm::faults::{Fault, Server};

use crate::bench::{Bench, PATH, artifact, bytes, mirror};

/// What the one file is called upstream, where no name resolves.
fn upstream(bench: &Bench) -> Artifact {
    artifact(&format!("https://dl.k8s.invalid{PATH}"), &bench.body)
}

fn below_mirror() -> String {
    format!("/dl.k8s.invalid{PATH}")
}

#[tokio::test]
async fn mirrors_are_asked_in_order_before_upstream() {
    let mut bench = Bench::new(100_000);
    let empty = Server::http(&bench.dir.path().join("nothing")).expect("a server");
    bench.publish(&format!("/base{}", below_mirror()), &bench.body);
    bench.options.mirrors = vec![mirror(&empty.url()), mirror(&format!("{}/base/", bench.server.url()))];
    let blobs = bench.fetch(&[upstream(&bench)]).await.expect("the right bytes");
    assert!(bytes(&blobs[0]) == bench.body);
    assert_eq!(empty.requests()[0].target, below_mirror());
    assert_eq!(*blobs[0].origin(), Origin::Url(format!("{}/base{}", bench.server.url(), below_mirror())));
}

#[tokio::test]
async fn a_mirror_with_other_bytes_is_named_and_the_next_one_asked() {
    let mut bench = Bench::new(100_000);
    let bad = Server::http(&bench.dir.path().join("nothing")).expect("a server");
    bad.always(&below_mirror(), Fault::Swap(b"<html>sign in</html>".to_vec()));
    bench.publish(&below_mirror(), &bench.body);
    bench.options.mirrors = vec![mirror(&bad.url()), mirror(&bench.server.url())];
    bench.fetch(&[upstream(&bench)]).await.expect("the right bytes");
    let said = bench.said();
    let warning = said.lines().find(|line| line.starts_with("warning: ")).expect("a warning");
    assert!(warning.contains(&bad.url()) && warning.contains("<html>sign in</html>"), "{warning}");
}

#[tokio::test]
async fn wrong_bytes_weigh_more_than_a_source_that_is_down() {
    let mut bench = Bench::new(100_000);
    bench.options.retries = 0;
    bench.server.always(&below_mirror(), Fault::Swap(b"Not Found".to_vec()));
    bench.options.mirrors = vec![mirror(&bench.server.url())];
    let artifact = artifact(&format!("http://127.0.0.1:1{PATH}"), &bench.body);
    bench.server.always(&format!("/127.0.0.1:1{PATH}"), Fault::Swap(b"Not Found".to_vec()));
    let (class, message, _) = bench.fetch_bad(&[artifact]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("`Not Found`") && message.contains("Connection refused"), "{message}");
}

#[tokio::test]
async fn a_mirror_that_is_down_is_waited_for_once_and_not_for_each_artifact() {
    let mut bench = Bench::new(1000);
    bench.options.jobs = std::num::NonZeroUsize::MIN;
    bench.options.retries = 2;
    bench.options.mirrors = vec![mirror("http://127.0.0.1:1"), mirror(&bench.server.url())];
    let artifacts = ["a", "b", "c"].map(|name| {
        bench.publish(&format!("/dl.k8s.invalid/{name}"), name.as_bytes());
        artifact(&format!("https://dl.k8s.invalid/{name}"), name.as_bytes())
    });
    bench.fetch(&artifacts).await.expect("the right bytes");
    let said = bench.said();
    assert_eq!(said.matches("trying again").count(), 2, "{said}");
}

#[tokio::test]
async fn when_no_source_has_it_each_is_named_with_its_reason() {
    let mut bench = Bench::new(1000);
    let empty_dir = bench.dir.path().join("empty");
    fs::create_dir(&empty_dir).expect("a directory");
    bench.options.retries = 0;
    bench.options.mirrors =
        vec![mirror(empty_dir.to_str().expect("text")), mirror(&bench.server.url()), mirror("http://127.0.0.1:1")];
    let artifact = artifact(&format!("http://localhost:1{PATH}"), &bench.body);
    let (class, message, _) = bench.fetch_bad(&[artifact]).await;
    assert_eq!(class, Class::Network);
    let message =
        message.replace(&bench.server.url(), "http://SERVER").replace(bench.dir.path().to_str().expect("text"), "DIR");
    insta::assert_snapshot!(message, @r"
    cannot fetch kubelet 1.30.4
      DIR/empty/localhost:1/release/kubelet: No such file or directory (os error 2)
      http://SERVER/localhost:1/release/kubelet: HTTP 404 Not Found
      http://127.0.0.1:1/localhost:1/release/kubelet: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
      http://localhost:1/release/kubelet: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
    ");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_says_so() {
    let mut bench = Bench::new(1000);
    bench.options.retries = 0;
    let (class, message, hint) = bench.fetch_bad(&[upstream(&bench)]).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("dns error"), "{message}");
    assert!(hint.contains("--mirror") && hint.contains("HTTPS_PROXY"), "{hint}");
}

#[tokio::test]
async fn directories_and_files_serve_too() {
    let mut bench = Bench::new(100_000);
    bench.publish(&below_mirror(), &bench.body);
    let site = bench.dir.path().join("site");
    let path = site.join(below_mirror().trim_start_matches('/'));
    for text in [site.to_str().expect("text").to_owned(), format!("file://{}", site.display())] {
        bench.options.mirrors = vec![mirror(&text)];
        let blobs = bench.fetch(&[upstream(&bench)]).await.expect("the right bytes");
        assert_eq!(*blobs[0].origin(), Origin::File(path.clone()));
        fs::remove_dir_all(bench.cache_dir()).expect("a cache to remove");
    }
    bench.options.mirrors.clear();
    let own = artifact(&format!("file://{}", path.display()), &bench.body);
    bench.fetch(std::slice::from_ref(&own)).await.expect("the right bytes");

    fs::remove_dir_all(bench.cache_dir()).expect("a cache to remove");
    fs::write(&path, "{\"error\": \"no\"}").expect("a file");
    let (class, message, _) = bench.fetch_bad(&[own]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("`{\"error\": \"no\"}`"), "{message}");
}

#[tokio::test]
async fn a_mirror_directory_that_is_missing_is_a_usage_error() {
    let mut bench = Bench::new(1000);
    bench.options.mirrors = vec![mirror("/nowhere/at/all")];
    let (class, message, _) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Usage);
    assert!(message.contains("/nowhere/at/all"), "{message}");
}

#[tokio::test]
async fn offline_opens_no_socket_and_names_everything_that_is_missing() {
    let mut bench = Bench::new(1000);
    bench.options.offline = true;
    bench.options.mirrors = vec![mirror(&bench.server.url())];
    let other = Artifact { name: "runc".to_owned(), ..artifact("https://github.invalid/runc", b"runc") };
    let (class, message, hint) = bench.fetch_bad(&[bench.artifact(), other.clone(), upstream(&bench)]).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("kubelet 1.30.4") && message.contains("runc 1.30.4"), "{message}");
    assert!(message.contains("https://github.invalid/runc"), "{message}");
    assert!(hint.contains("fetch --mirror-to DIR") && hint.contains("--mirror DIR"), "{hint}");
    assert_eq!(bench.server.connections(), 0);

    let dir = bench.dir.path().join("mirror");
    fs::create_dir_all(dir.join("github.invalid")).expect("a directory");
    fs::write(dir.join("github.invalid/runc"), "runc").expect("a file");
    bench.options.mirrors.push(mirror(dir.to_str().expect("text")));
    bench.fetch(&[other]).await.expect("the right bytes");
    assert_eq!(bench.server.connections(), 0);
}

#[tokio::test]
async fn equal_digests_are_fetched_once_and_order_is_kept() {
    let bench = Bench::new(100_000);
    bench.publish("/small", b"small");
    let small = artifact(&format!("{}/small", bench.server.url()), b"small");
    let blobs = bench.fetch(&[bench.artifact(), small, bench.artifact()]).await.expect("the right bytes");
    let sizes: Vec<u64> = blobs.iter().map(flexnode_build::fetch::Blob::size).collect();
    assert_eq!(sizes, [100_000, 5, 100_000]);
    assert_eq!(bench.ranges().len(), 1);
}

#[tokio::test]
async fn a_pinned_length_that_contradicts_its_digest_is_found_in_a_warm_cache() {
    let bench = Bench::new(1000);
    bench.fetch_good().await;
    let (class, message, _) = bench.fetch_bad(&[Artifact { size: Some(999), ..bench.artifact() }]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("999"), "{message}");
}

#[tokio::test]
async fn one_failure_stops_the_others_and_keeps_what_they_have() {
    let mut bench = Bench::new(1 << 20);
    bench.options.retries = 0;
    bench.server.once(PATH, [Fault::Truncate { after: 100_000 }]);
    bench.fetch_bad(&[bench.artifact()]).await;

    // With the stall timeout of 30 s, only being stopped ends this soon.
    bench.server.always(PATH, Fault::Stall { after: 0 });
    let missing = artifact(&format!("{}/missing", bench.server.url()), b"missing");
    let start = std::time::Instant::now();
    let (class, message, _) = bench.fetch_bad(&[bench.artifact(), missing]).await;
    assert!(start.elapsed() < bench.options.stall_timeout);
    assert_eq!(class, Class::Network);
    assert!(message.contains("/missing"), "{message}");
    assert_eq!(fs::metadata(bench.partial()).expect("a partial").len(), 100_000);

    bench.server.behave(PATH);
    bench.fetch_good().await;
    assert!(bench.ranges().contains(&Some("bytes=100000-".to_owned())));
}

#[tokio::test]
async fn a_mirror_is_written_once_repaired_and_serves_without_network() {
    let mut bench = Bench::new(100_000);
    let local = bench.dir.path().join("local");
    fs::write(&local, b"local").expect("a file");
    let artifacts = [bench.artifact(), artifact(&format!("file://{}", local.display()), b"local")];
    let blobs = bench.fetch(&artifacts).await.expect("the right bytes");
    let dir = bench.dir.path().join("to/mirror");
    let write = || mirror_to(&artifacts, &blobs, &dir).expect("a mirror");
    assert_eq!(write(), Mirrored { written: 1, kept: 0, local: 1 });
    assert_eq!(write(), Mirrored { written: 0, kept: 1, local: 1 });

    let file = dir.join(bench.server.address().to_string()).join(PATH.trim_start_matches('/'));
    assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o644);
    fs::write(&file, b"damaged").expect("a file");
    assert_eq!(write(), Mirrored { written: 1, kept: 0, local: 1 });
    assert_eq!(Digest::of(&fs::read(&file).expect("a file")), bench.artifact().sha256);

    fs::remove_dir_all(bench.cache_dir()).expect("a cache to remove");
    let before = bench.server.connections();
    bench.options.offline = true;
    bench.options.mirrors = vec![mirror(dir.to_str().expect("text"))];
    bench.fetch_good().await;
    assert_eq!(bench.server.connections(), before);
}
