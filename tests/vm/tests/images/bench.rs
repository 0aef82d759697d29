//! Images made to order, as layouts on the disk, and the builder's library that takes them in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use flexnode_build::artifact::Arch;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::fetch::{Cache, Options};
use flexnode_build::image::{Image, Reference, Wanted, pull};
use flexnode_build::progress::Progress;
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A folder with one image layout and an empty cache.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("layout/blobs/sha256")).unwrap();
        fs::write(dir.path().join("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir }
    }

    pub(crate) fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.layout().join("blobs/sha256").join(digest.to_string())
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        fs::write(self.blob(digest), bytes).unwrap();
        digest
    }

    /// Writes a blob; its descriptor.
    pub(crate) fn part(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": media_type, "size": bytes.len(), "digest": format!("sha256:{}", self.put(bytes))})
    }

    pub(crate) fn document(&self, media_type: &str, document: &Value) -> Value {
        self.part(media_type, &serde_json::to_vec(document).unwrap())
    }

    /// A sound image of one gzipped layer, for `arch`: its manifest, to be changed or written.
    pub(crate) fn manifest(&self, arch: &str) -> Value {
        let layer = archive(b"a file of the image\n");
        let config = json!({
            "architecture": arch,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", Digest::of(&layer))]},
        });
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(CONFIG, &config),
            "layers": [self.part(GZIP, &gzip(&layer))],
        })
    }

    /// The reference of a document, as `example.test/image:1`.
    pub(crate) fn name(&self, document: &Value) -> Reference {
        self.named("example.test/image:1", document)
    }

    pub(crate) fn named(&self, name: &str, document: &Value) -> Reference {
        let digest = self.put(&serde_json::to_vec(document).unwrap());
        format!("{name}@sha256:{digest}").parse().unwrap()
    }

    /// Takes the image in from the layout.
    pub(crate) fn take(&self, reference: &Reference) -> Result<Image> {
        self.take_from(reference, Some(&self.layout()), &Options::default())
    }

    pub(crate) fn take_from(&self, reference: &Reference, from: Option<&PathBuf>, options: &Options) -> Result<Image> {
        let cache = Cache::open(Some(&self.cache()))?;
        let wanted = [Wanted { reference, from }];
        let quiet = Progress::detect(true);
        let pulled = pull(&wanted, Arch::Amd64, &cache, options, &quiet);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(runtime.block_on(pulled)?.remove(0))
    }

    /// The class and message of a refusal.
    pub(crate) fn refusal(&self, reference: &Reference) -> (Class, String) {
        told(self.take(reference))
    }
}

pub(crate) fn told(outcome: Result<Image>) -> (Class, String) {
    let error = outcome.expect_err("this must be refused");
    (Failure::describe(&error).0, format!("{error:#}"))
}

/// A tar archive of one file.
pub(crate) fn archive(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/motd", content).unwrap();
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// What an image is made of, by digest.
pub(crate) fn parts(image: &Image) -> BTreeMap<Digest, u64> {
    image.parts.iter().map(|(artifact, blob)| (artifact.sha256, blob.size())).collect()
}

/// Copies an image with skopeo.
pub(crate) fn skopeo(arguments: &[&str], config: Option<&Path>) {
    let mut command = std::process::Command::new("skopeo");
    // Only what the caller names: no policy file, no credential of whoever runs the tests.
    command.arg("--insecure-policy").args(arguments).env("HOME", "/nonexistent");
    if let Some(config) = config {
        command.env("REGISTRY_AUTH_FILE", config);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
