//! A small container image: this Debian's busybox, with the libraries that it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Writes an OCI archive with one image of this name to `to`. It waits until it is killed.
pub(crate) fn write(name: &str, to: &Path) {
    let layer = layer();
    let diff = digest(&layer);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["tail", "-f", "/dev/null"]},
        "rootfs": {"type": "layers", "diff_ids": [diff]},
    });
    let config = config.to_string().into_bytes();
    let about = |kind: &str, blob: &[u8]| {
        let media = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media, "digest": digest(blob), "size": blob.len()})
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": about("config.v1+json", &config), "layers": [about("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = about("manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let mut files = BTreeMap::from([
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
    ]);
    for blob in [layer, config, manifest] {
        files.insert(format!("blobs/{}", digest(&blob).replace(':', "/")), blob);
    }
    fs::write(to, archive(&files)).unwrap();
}

fn layer() -> Vec<u8> {
    const BUSYBOX: &str = "/bin/busybox";
    let output = Command::new("ldd").arg(BUSYBOX).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    // A static one has none.
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    let file = |path: &str| (path.trim_start_matches('/').to_owned(), fs::read(path).unwrap());
    archive(&[BUSYBOX].into_iter().chain(libraries).map(file).collect())
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
