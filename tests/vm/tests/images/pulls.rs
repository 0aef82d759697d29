//! The lab's images, from its mirror: what comes, where from, and that it is the same every time.

use std::fs;
use std::path::PathBuf;

use flexnode_build::failure::Class;
use flexnode_build::fetch::{Mirror, Options, mirror_to};
use flexnode_build::image::Reference;
use flexnode_vm::lab;

use super::bench::{Bench, parts, told};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn offline(mirrors: Vec<Mirror>) -> Options {
    Options { mirrors, offline: true, ..Options::default() }
}

fn labs_mirror() -> Vec<Mirror> {
    vec![Mirror::Directory(lab::shared().unwrap().mirror())]
}

#[test]
fn of_an_index_comes_what_nodes_of_this_architecture_need() {
    let bench = Bench::new();
    let pause = reference(&lab::shared().unwrap().images().pause);
    let image = bench.take_from(&pause, None, &offline(labs_mirror())).unwrap();
    assert_eq!(image.parts[0].0.sha256, pause.digest(), "the index itself, so that its digest names the image");
    assert_eq!(image.parts.len(), 5, "index, manifest, config, two layers; nothing of arm64");
}

#[test]
fn what_is_in_the_cache_needs_no_mirror_and_no_network() {
    let bench = Bench::new();
    let busybox = reference(&lab::shared().unwrap().images().busybox);
    let (class, message) = told(bench.take_from(&busybox, None, &offline(Vec::new())));
    assert_eq!(class, Class::Network);
    assert!(message.contains("neither in the cache nor in a mirror"), "{message}");
    let first = bench.take_from(&busybox, None, &offline(labs_mirror())).unwrap();
    let second = bench.take_from(&busybox, None, &offline(Vec::new())).unwrap();
    assert_eq!(parts(&first), parts(&second));
}

#[test]
fn a_mirror_is_written_that_gives_the_same_image() {
    let bench = Bench::new();
    let pause = reference(&lab::shared().unwrap().images().pause);
    let image = bench.take_from(&pause, None, &offline(labs_mirror())).unwrap();
    let expected = parts(&image);
    let (artifacts, blobs): (Vec<_>, Vec<_>) = image.parts.into_iter().unzip();
    let dir: PathBuf = bench.dir.path().join("mirror");
    mirror_to(&artifacts, &blobs, &dir).unwrap();
    let elsewhere = Bench::new();
    let again = elsewhere.take_from(&pause, None, &offline(vec![Mirror::Directory(dir.clone())])).unwrap();
    assert_eq!(parts(&again), expected);

    // A mirror need not be trusted.
    let layer = image_layer(&dir);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[100] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let (class, message) = told(Bench::new().take_from(&pause, None, &offline(vec![Mirror::Directory(dir)])));
    assert_eq!(class, Class::Verification, "{message}");
}

/// The largest blob of the mirrored pause image.
fn image_layer(mirror: &std::path::Path) -> PathBuf {
    let blobs = fs::read_dir(mirror.join("registry.k8s.io/v2/pause/blobs")).unwrap();
    blobs.map(|blob| blob.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}
