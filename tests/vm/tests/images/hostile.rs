//! Images that must not get into a bundle: each is refused for what is wrong with it, and none of it is used.

use std::fs;

use flexnode_build::digest::Digest;
use flexnode_build::failure::Class;
use serde_json::json;

use super::bench::{Bench, CONFIG, GZIP, INDEX, MANIFEST, archive, gzip, parts};

#[test]
fn a_sound_image_is_taken_whole() {
    let bench = Bench::new();
    let image = bench.take(&bench.name(&bench.manifest("amd64"))).unwrap();
    assert_eq!(parts(&image).len(), 3, "manifest, config and layer");
}

#[test]
fn a_flipped_bit_in_any_blob_is_found() {
    let bench = Bench::new();
    let manifest = bench.manifest("amd64");
    let reference = bench.name(&manifest);
    let digest = |of: &serde_json::Value| of["digest"].as_str().unwrap()[7..].parse::<Digest>().unwrap();
    let blobs = [reference.digest(), digest(&manifest["config"]), digest(&manifest["layers"][0])];
    for blob in blobs {
        let good = fs::read(bench.blob(blob)).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(bench.blob(blob), bad).unwrap();
        let (class, message) = bench.refusal(&reference);
        assert_eq!(class, Class::Verification, "{message}");
        assert!(message.contains(&blob.to_string()), "{message}");
        fs::write(bench.blob(blob), good).unwrap();
        // What came along and was good would be taken from there.
        fs::remove_dir_all(bench.cache()).unwrap();
    }
    bench.take(&reference).unwrap();
}

#[test]
fn a_missing_or_cut_off_layer_is_named() {
    let bench = Bench::new();
    let manifest = bench.manifest("amd64");
    let layer: Digest = manifest["layers"][0]["digest"].as_str().unwrap()[7..].parse().unwrap();
    let reference = bench.name(&manifest);
    let whole = fs::read(bench.blob(layer)).unwrap();
    fs::write(bench.blob(layer), &whole[..whole.len() - 1]).unwrap();
    let (class, message) = bench.refusal(&reference);
    assert_eq!(class, Class::Verification, "{message}");
    fs::remove_file(bench.blob(layer)).unwrap();
    let (class, message) = bench.refusal(&reference);
    assert_eq!(class, Class::Verification, "{message}");
    assert!(message.contains(&format!("its layer sha256:{layer} is not in")), "{message}");
}

#[test]
fn an_image_for_another_machine_is_refused_with_what_it_is_for() {
    let bench = Bench::new();
    let (class, message) = bench.refusal(&bench.name(&bench.manifest("arm64")));
    assert_eq!(class, Class::Verification);
    assert!(message.contains("it is for linux/arm64, the bundle for linux/amd64"), "{message}");

    let manifest = bench.document(MANIFEST, &bench.manifest("arm64"));
    let mut of_an_index = manifest.clone();
    of_an_index["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [of_an_index]});
    let (class, message) = bench.refusal(&bench.name(&index));
    assert_eq!(class, Class::Verification);
    assert!(message.contains("nothing for linux/amd64, only [linux/arm64]"), "{message}");

    // An index that lies about what it leads to.
    let mut lying = manifest;
    lying["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [lying]});
    let (_, message) = bench.refusal(&bench.name(&index));
    assert!(message.contains("it is for linux/arm64"), "{message}");
}

#[test]
fn a_layer_that_unpacks_to_something_else_than_its_config_says_is_refused() {
    let bench = Bench::new();
    let mut manifest = bench.manifest("amd64");
    manifest["layers"][0] = bench.part(GZIP, &gzip(&archive(b"another file\n")));
    let (class, message) = bench.refusal(&bench.name(&manifest));
    assert_eq!(class, Class::Verification);
    assert!(message.contains("unpacks to sha256"), "{message}");
    manifest["layers"][0] = bench.part(GZIP, b"no gzip at all");
    let (_, message) = bench.refusal(&bench.name(&manifest));
    assert!(message.contains("cannot be unpacked"), "{message}");
}

/// What makes a sound manifest a bad one.
type Change<'a> = &'a dyn Fn(&mut serde_json::Value);

#[test]
fn what_is_no_image_of_a_node_is_refused_by_its_type() {
    let bench = Bench::new();
    let sound = bench.manifest("amd64");
    let changed = |change: Change<'_>| {
        let mut manifest = sound.clone();
        change(&mut manifest);
        bench.refusal(&bench.name(&manifest))
    };
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let cases: [(&str, Change<'_>); 9] = [
        ("schema 1", &|manifest| manifest["schemaVersion"] = 1.into()),
        ("does not hand out", &|manifest| manifest["layers"][0]["mediaType"] = foreign.into()),
        ("a layer of the type `text/html`", &|manifest| manifest["layers"][0]["mediaType"] = "text/html".into()),
        ("no image's", &|manifest| manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into()),
        ("neither an index nor a manifest", &|manifest| manifest["mediaType"] = "application/json".into()),
        ("is no sha256", &|manifest| manifest["layers"][0]["digest"] = "sha512:00".into()),
        ("is no sha256", &|manifest| manifest["layers"][0]["digest"] = "sha256:../../../etc/passwd".into()),
        ("would have", &|manifest| manifest["layers"][0]["size"] = u64::MAX.into()),
        ("its config knows 1 layers, its manifest 2", &|manifest| {
            let layer = manifest["layers"][0].clone();
            manifest["layers"].as_array_mut().unwrap().push(layer);
        }),
    ];
    for (why, change) in cases {
        let (class, message) = changed(change);
        assert_eq!(class, Class::Verification, "{message}");
        assert!(message.contains(why), "{message}");
    }
    let many = json!({"schemaVersion": 2, "config": sound["config"], "layers": vec![sound["layers"][0].clone(); 200]});
    assert!(bench.refusal(&bench.name(&many)).1.contains("200 layers"));
}

#[test]
fn an_index_that_leads_to_an_index_is_refused() {
    let bench = Bench::new();
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    let mut part = bench.document(MANIFEST, &inner);
    part["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]});
    assert!(bench.refusal(&bench.name(&outer)).1.contains("leads to another index"));
}

#[test]
fn a_config_of_garbage_is_refused() {
    let bench = Bench::new();
    let mut manifest = bench.manifest("amd64");
    manifest["config"] = bench.part(CONFIG, b"{");
    assert!(bench.refusal(&bench.name(&manifest)).1.contains("its config cannot be read"));
}
