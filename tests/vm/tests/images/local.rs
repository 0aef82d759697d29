//! Images that lie on this machine, as directories and archives of the OCI's layout.

use std::fs::{self, File};

use flexnode_build::failure::Class;
use flexnode_build::fetch::Options;
use serde_json::json;

use super::bench::{Bench, parts, skopeo, told};

#[test]
fn a_layout_and_its_archive_give_the_same_image() {
    let bench = Bench::new();
    let reference = bench.name(&bench.manifest("amd64"));
    let archive = bench.dir.path().join("image.tar");
    let mut tar = tar::Builder::new(File::create(&archive).unwrap());
    tar.append_dir_all(".", bench.layout()).unwrap();
    tar.finish().unwrap();
    let from_directory = bench.take(&reference).unwrap();
    let elsewhere = Bench::new();
    let from_archive = elsewhere.take_from(&reference, Some(&archive), &Options::default()).unwrap();
    assert_eq!(parts(&from_directory), parts(&from_archive));
}

#[test]
fn what_skopeo_writes_is_taken_as_directory_and_as_archive() {
    let bench = Bench::new();
    let manifest = bench.manifest("amd64");
    let reference = bench.name(&manifest);
    let size = fs::metadata(bench.blob(reference.digest())).unwrap().len();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": manifest["mediaType"], "digest": format!("sha256:{}", reference.digest()), "size": size,
    }]});
    fs::write(bench.layout().join("index.json"), index.to_string()).unwrap();
    let from = format!("oci:{}", bench.layout().display());
    for (transport, name) in [("oci", "copied"), ("oci-archive", "copied.tar")] {
        let to = bench.dir.path().join(name);
        skopeo(&["copy", "--quiet", "--preserve-digests", &from, &format!("{transport}:{}", to.display())], None);
        let elsewhere = Bench::new();
        let image = elsewhere.take_from(&reference, Some(&to), &Options::default()).unwrap();
        assert_eq!(parts(&image).len(), 3, "{transport}");
    }
}

#[test]
fn what_is_no_layout_is_refused() {
    let bench = Bench::new();
    let reference = bench.name(&bench.manifest("amd64"));
    let take = |name: &str| told(bench.take_from(&reference, Some(&bench.dir.path().join(name)), &Options::default()));
    assert_eq!(take("nowhere").0, Class::Usage);
    fs::create_dir(bench.dir.path().join("empty")).unwrap();
    assert!(take("empty").1.contains("no file `oci-layout`"));
    fs::write(bench.dir.path().join("text"), "no archive\n".repeat(100)).unwrap();
    let (class, message) = take("text");
    assert_eq!(class, Class::Verification);
    assert!(message.contains("is no OCI image layout"), "{message}");
}

#[test]
fn an_archive_puts_nothing_anywhere_but_blobs_under_their_digests() {
    let bench = Bench::new();
    let reference = bench.name(&bench.manifest("amd64"));
    let secret = bench.dir.path().join("secret");
    fs::write(&secret, "of this machine").unwrap();
    let write = |name: &str, members: &[(&str, tar::EntryType)]| {
        let mut tar = tar::Builder::new(File::create(bench.dir.path().join(name)).unwrap());
        for (member, kind) in members {
            let mut header = tar::Header::new_ustar();
            let field = &mut header.as_old_mut().name;
            field[..member.len()].copy_from_slice(member.as_bytes());
            header.set_entry_type(*kind);
            if kind.is_symlink() {
                header.set_link_name(&secret).unwrap();
            }
            let content: &[u8] = if kind.is_file() { b"hostile" } else { b"" };
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, content).unwrap();
        }
        tar.finish().unwrap();
        told(bench.take_from(&reference, Some(&bench.dir.path().join(name)), &Options::default())).1
    };
    let blob = format!("blobs/sha256/{}", reference.digest());
    let file = tar::EntryType::Regular;
    let said =
        write("climb.tar", &[("oci-layout", file), ("blobs/sha256/../../../climbed", file), ("/absolute", file)]);
    assert!(said.contains("is not in"), "{said}");
    assert!(!bench.dir.path().join("climbed").exists() && !bench.cache().join("climbed").exists());
    assert!(write("link.tar", &[("oci-layout", file), (&blob, tar::EntryType::Symlink)]).contains("is no file"));
    assert!(write("twice.tar", &[("oci-layout", file), (&blob, file), (&blob, file)]).contains("twice"));
    assert!(write("bare.tar", &[(&blob, file)]).contains("no member `oci-layout`"));
    assert_eq!(fs::read_to_string(secret).unwrap(), "of this machine");
}
