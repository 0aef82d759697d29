//! Container images of the lab: small ones of Debian's static busybox, in the mirror as their registries have them.
//!
//! `pause` is an OCI index whose manifest for arm64 nobody has, `busybox` is of Docker's older format; they share a
//! layer. No registry of packages has upstream's images, so both are stand-ins under the names of the real ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use flexnode_build::digest::Digest;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::archive::MTIME;

/// The lab's images by their full names, with tag and digest, as the spec's `images` takes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Images {
    /// A stand-in for the sandbox image, which every bundle of the lab holds: it waits until it is told to end.
    pub pause: String,
    /// A shell and the usual programs.
    pub busybox: String,
}

/// What `/pause` is.
const PAUSE: &str = "#!/bin/sh\n# A stand-in by the Flexnode lab: waits until it is told to end.\ntrap 'exit 0' INT \
                     TERM\nwhile :; do\n  sleep 3600 &\n  wait\ndone\n";

/// Programs that go by their own name in the image of busybox.
const APPLETS: [&str; 16] = [
    "cat", "echo", "env", "grep", "hostname", "httpd", "id", "ip", "ls", "nc", "ping", "ps", "sleep", "tail", "true",
    "wget",
];

/// Writes both images below `root`; tells their names, and the digest of every file.
pub(super) fn write(root: &Path, busybox: &Path, version: &Version) -> Result<(Images, BTreeMap<String, Digest>)> {
    let program = fs::read(busybox).with_context(|| format!("read `{}`", busybox.display()))?;
    let base = Layer::of(&[
        Member::Folder("bin/"),
        Member::File("bin/busybox", &program, 0o755),
        Member::Link("bin/sh", "busybox"),
        Member::Link("bin/sleep", "busybox"),
    ])?;
    let waiting = Layer::of(&[Member::File("pause", PAUSE.as_bytes(), 0o755)])?;
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    let mut members = vec![
        Member::Folder("etc/"),
        Member::File("etc/passwd", users.as_bytes(), 0o644),
        Member::Folder("root/"),
        Member::Folder("tmp/"),
    ];
    let names: Vec<String> =
        APPLETS.iter().filter(|name| **name != "sleep").map(|name| format!("bin/{name}")).collect();
    members.extend(names.iter().map(|name| Member::Link(name, "busybox")));
    let everyday = Layer::of(&members)?;

    let mut repository = Repository::new(root, "registry.k8s.io", "pause");
    let manifest = repository.image(Format::Oci, json!({"Entrypoint": ["/pause"]}), &[&base, &waiting])?;
    // As in upstream's index: manifests for other machines, which a bundle does not need.
    let elsewhere = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", Digest::of(b"nobody has this manifest")),
        "size": 500,
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    });
    let mut here = manifest;
    here["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [elsewhere, here],
    });
    let index = repository.put("manifests", &bytes(&index)?)?;
    let pause = format!("registry.k8s.io/pause:3.9@sha256:{index}");
    let mut files = repository.files;

    let mut repository = Repository::new(root, "registry-1.docker.io", "library/busybox");
    let command = json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]});
    let manifest = repository.image(Format::Docker, command, &[&base, &everyday])?;
    let busybox =
        format!("docker.io/library/busybox:{version}@{}", manifest["digest"].as_str().context("name the image")?);
    files.append(&mut repository.files);
    Ok((Images { pause, busybox }, files))
}

/// Whose media types an image has.
#[derive(Debug, Clone, Copy)]
enum Format {
    Oci,
    Docker,
}

impl Format {
    /// Those of manifest, config and layer.
    fn media_types(self) -> [&'static str; 3] {
        match self {
            Self::Oci => [
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
        }
    }
}

/// A repository of a registry, in the mirror.
struct Repository<'a> {
    root: &'a Path,
    place: String,
    files: BTreeMap<String, Digest>,
}

impl<'a> Repository<'a> {
    fn new(root: &'a Path, host: &str, name: &str) -> Self {
        Self { root, place: format!("mirror/{host}/v2/{name}"), files: BTreeMap::new() }
    }

    /// Writes an image for amd64; tells its manifest's descriptor.
    fn image(&mut self, format: Format, config: Value, layers: &[&Layer]) -> Result<Value> {
        let [manifest_type, config_type, layer_type] = format.media_types();
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
        let config = bytes(&json!({
            "created": "2024-04-17T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))?;
        let mut descriptors = Vec::new();
        for layer in layers {
            descriptors.push(descriptor(layer_type, self.put("blobs", &layer.packed)?, &layer.packed));
        }
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, self.put("blobs", &config)?, &config),
            "layers": descriptors,
        }))?;
        Ok(descriptor(manifest_type, self.put("manifests", &manifest)?, &manifest))
    }

    fn put(&mut self, kind: &str, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let name = format!("{}/{kind}/sha256:{digest}", self.place);
        let path = self.root.join(&name);
        let context = || format!("write `{}`", path.display());
        fs::create_dir_all(path.parent().unwrap_or(self.root)).with_context(context)?;
        fs::write(&path, bytes).with_context(context)?;
        self.files.insert(name, digest);
        Ok(digest)
    }
}

fn descriptor(media_type: &str, digest: Digest, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "size": bytes.len(), "digest": format!("sha256:{digest}")})
}

fn bytes(document: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(document).context("write a document of an image")
}

/// A layer: its gzipped bytes, and the digest of what is in them.
struct Layer {
    packed: Vec<u8>,
    diff_id: Digest,
}

/// A member of a layer; all belong to root.
enum Member<'a> {
    Folder(&'a str),
    File(&'a str, &'a [u8], u32),
    Link(&'a str, &'a str),
}

impl Layer {
    fn of(members: &[Member<'_>]) -> Result<Self> {
        let mut archive = tar::Builder::new(Vec::new());
        for member in members {
            let mut header = tar::Header::new_ustar();
            header.set_mtime(MTIME);
            let (name, content): (&str, &[u8]) = match member {
                Member::Folder(name) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(if *name == "tmp/" { 0o1777 } else { 0o755 });
                    (*name, &[])
                }
                Member::File(name, content, mode) => {
                    header.set_mode(*mode);
                    (*name, *content)
                }
                Member::Link(name, target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_link_name(target).context("write a link of a layer")?;
                    (*name, &[])
                }
            };
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).with_context(|| format!("write {name} of a layer"))?;
        }
        let archive = archive.into_inner().context("finish a layer")?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        gzip.write_all(&archive).context("pack a layer")?;
        Ok(Self { packed: gzip.finish().context("pack a layer")?, diff_id: Digest::of(&archive) })
    }
}
