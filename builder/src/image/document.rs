//! The JSON documents of an image: index, manifest, config, of OCI and of Docker's schema 2.

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::artifact::Arch;
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// An index or a manifest has a few kilobytes; registries refuse more than this (distribution, containerd).
pub(super) const LARGEST_MANIFEST: u64 = 4 << 20;

/// A config has a history of its build; this is containerd's limit for documents of an image.
const LARGEST_CONFIG: u64 = 8 << 20;

/// No image of a node has more, and a wrong number must not fill the disk.
const LARGEST_LAYER: u64 = 16 << 30;

/// overlayfs takes no more lower directories than this.
const MOST_LAYERS: usize = 127;

/// How a layer is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A part of an image, named by what it must be.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What a digest led to.
#[derive(Debug)]
pub(super) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// Manifests for several platforms.
#[derive(Debug)]
pub(super) struct Index {
    manifests: Vec<Descriptor>,
}

/// One platform's image.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Part,
    pub(super) layers: Vec<(Part, Packing)>,
}

/// What the config says that must fit.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    architecture: String,
    os: String,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Document {
    /// Reads an index or a manifest of the image that messages call `name`.
    pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        let refuse = |why: &str| refusal(name, why);
        let raw: Raw = parse(bytes, name, "its manifest")?;
        if raw.schema_version != 2 {
            bail!(refuse("its manifest is of Docker's schema 1, which has no digests of what it unpacks to"));
        }
        let media_type = raw.media_type.as_deref().unwrap_or_default();
        let known = |names: [&str; 2]| media_type.is_empty() || names.contains(&media_type);
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if known(INDEX) => Ok(Self::Index(Index { manifests })),
            (None, Some(config), Some(layers)) if known(MANIFEST) => {
                Manifest::new(&config, &layers, name).map(Self::Manifest)
            }
            _ => bail!(refuse(&format!(
                "it is neither an index nor a manifest of an image (`{}`)",
                media_type.escape_debug()
            ))),
        }
    }
}

const INDEX: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

impl Index {
    /// The manifest for nodes of `arch`: the first one, as containerd chooses.
    pub(super) fn choose(&self, arch: Arch, name: &str) -> Result<Part> {
        let chosen = self
            .manifests
            .iter()
            .find(|descriptor| descriptor.platform.as_ref().is_some_and(|platform| platform.is_of(arch)));
        let Some(chosen) = chosen else {
            let offered = self.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
            let offered: Vec<String> = offered
                .filter(|platform| platform.os != "unknown")
                .map(|platform| format!("{}/{}", platform.os, platform.architecture).escape_debug().to_string())
                .take(20)
                .collect();
            let why = format!("its index has nothing for linux/{arch}, only [{}]", offered.join(", "));
            bail!(refusal(name, &why).hint("take another image, or the architecture it is for with --arch"));
        };
        if !MANIFEST.contains(&chosen.media_type.as_str()) {
            bail!(refusal(name, &format!("its index leads to a `{}`", chosen.media_type.escape_debug())));
        }
        chosen.part(name, "manifest", LARGEST_MANIFEST)
    }
}

impl Platform {
    fn is_of(&self, arch: Arch) -> bool {
        let variant = self.variant.as_deref().unwrap_or_default();
        let runs = match arch {
            Arch::Amd64 => matches!(variant, "" | "v1"),
            Arch::Arm64 => matches!(variant, "" | "v8" | "8"),
        };
        self.os == "linux" && self.architecture == arch.to_string() && runs
    }
}

impl Manifest {
    fn new(config: &Descriptor, layers: &[Descriptor], name: &str) -> Result<Self> {
        if !CONFIG.contains(&config.media_type.as_str()) {
            bail!(refusal(name, &format!("its config is a `{}`, no image's", config.media_type.escape_debug())));
        }
        if layers.len() > MOST_LAYERS {
            bail!(refusal(name, &format!("it has {} layers, a node takes {MOST_LAYERS}", layers.len())));
        }
        let config = config.part(name, "config", LARGEST_CONFIG)?;
        let layers = layers
            .iter()
            .map(|layer| Ok((layer.part(name, "layer", LARGEST_LAYER)?, layer.packing(name)?)))
            .collect::<Result<_>>()?;
        Ok(Self { config, layers })
    }
}

impl Descriptor {
    fn part(&self, name: &str, what: &str, largest: u64) -> Result<Part> {
        let digest = self.digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        let Some(digest) = digest else {
            bail!(refusal(name, &format!("the digest of its {what} is no sha256: `{}`", self.digest.escape_debug())));
        };
        if self.size > largest {
            bail!(refusal(name, &format!("its {what} would have {} bytes, at most {largest} are taken", self.size)));
        }
        Ok(Part { digest, size: self.size })
    }

    fn packing(&self, name: &str) -> Result<Packing> {
        Ok(match self.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Packing::Plain,
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Packing::Gzip
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                Packing::Zstd
            }
            other if other.contains("nondistributable") || other.contains("foreign") => {
                bail!(refusal(name, "it has a layer that its registry does not hand out (foreign, nondistributable)"))
            }
            other => bail!(refusal(name, &format!("it has a layer of the type `{}`", other.escape_debug()))),
        })
    }
}

impl Config {
    /// Reads the config and holds it against what the bundle is for and what the manifest names; tells what each layer
    /// must unpack to.
    pub(super) fn diff_ids(bytes: &[u8], arch: Arch, layers: usize, name: &str) -> Result<Vec<Digest>> {
        let config: Self = parse(bytes, name, "its config")?;
        if config.os != "linux" || config.architecture != arch.to_string() {
            let found = format!("{}/{}", config.os, config.architecture);
            let why = format!("it is for {}, the bundle for linux/{arch}", found.escape_debug());
            bail!(refusal(name, &why).hint("name the digest of its index, or of its manifest for that architecture"));
        }
        let found = config.rootfs.diff_ids;
        if found.len() != layers {
            bail!(refusal(name, &format!("its config knows {} layers, its manifest {layers}", found.len())));
        }
        let digest = |text: &String| text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        match found.iter().map(digest).collect() {
            Some(digests) => Ok(digests),
            None => bail!(refusal(name, "its config names a layer by something else than a sha256")),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], name: &str, what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| refusal(name, &format!("{what} cannot be read: {error}")).into())
}

/// An image that must not be shipped.
pub(super) fn refusal(name: &str, why: &str) -> Failure {
    Failure::new(Class::Verification, format!("the image {name} cannot go into the bundle: {why}"))
        .hint("take another digest of it, or build it again; none of it was used")
}
