//! `bundle.json`: what a bundle is made of and what every file in it must be.

use anyhow::{Result, bail};
use jiff::civil::Date;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::artifact::{Arch, Artifact, Proof};
use crate::digest::Digest;
use crate::document;
use crate::lock::{Allowed, Lock};
use crate::overlay::{Entry, Mode, Overlay, OverlayPath};
use crate::sbom::Purl;
use crate::target::Target;

/// Where it lies in the bundle and on the node.
pub const MANIFEST_PATH: &str = "usr/share/flexnode/bundle.json";

/// The format of manifests that this program reads and writes.
const FORMAT: u32 = 1;

/// The first member of every bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Format version.
    pub version: u32,
    /// The Kubernetes version.
    pub kubernetes: Version,
    /// Last day of upstream support of that minor.
    pub end_of_life: Date,
    /// The nodes' architecture.
    pub arch: Arch,
    /// The distribution that the nodes run.
    pub target: Target,
    /// The sandbox image.
    pub pause_image: String,
    /// What built it.
    pub builder: BuiltBy,
    /// Modification time of every member, in seconds since 1970.
    pub epoch: u64,
    /// Rules that are broken with permission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// What it is made of, sorted by name.
    pub components: Vec<Component>,
    /// Every member but this one, sorted by path.
    pub files: Vec<Item>,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuiltBy {
    /// `flexnode-build`
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from.
    pub url: String,
    /// Digest of what came from there.
    pub sha256: Digest,
    /// Length of what came from there.
    pub size: u64,
    /// SPDX licence expression.
    pub license: String,
    /// Who says that it is upstream's.
    pub proof: Proof,
    /// What advisories call it, where the URL does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<Purl>,
    /// A test program in the place of the real one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stand_in: bool,
}

impl BuiltBy {
    /// This program.
    #[must_use]
    pub fn this() -> Self {
        Self { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl Component {
    /// The component that `artifact` became, once it was fetched.
    #[must_use]
    pub fn of(artifact: &Artifact, size: u64) -> Self {
        Self {
            name: artifact.name.clone(),
            version: artifact.version.clone(),
            url: artifact.url.clone(),
            sha256: artifact.sha256,
            size,
            license: artifact.license.clone(),
            proof: artifact.proof.clone(),
            purl: artifact.purl.clone(),
            stand_in: artifact.stand_in,
        }
    }
}

/// One member of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Where it goes on the node.
    pub path: OverlayPath,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// A directory that is ours.
    Directory {
        /// Permission bits.
        mode: Mode,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: Mode,
        /// Length in bytes.
        size: u64,
        /// Digest of the content.
        sha256: Digest,
        /// The component it came from; absent for configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<String>,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as stored.
        target: String,
    },
}

impl Manifest {
    /// Describes `overlay`, built from `lock`.
    #[must_use]
    pub fn new(lock: &Lock, mut components: Vec<Component>, overlay: &Overlay, epoch: u64) -> Self {
        components.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            version: FORMAT,
            kubernetes: lock.kubernetes.clone(),
            end_of_life: lock.end_of_life,
            arch: lock.arch,
            target: lock.target,
            pause_image: lock.pause_image.clone(),
            builder: BuiltBy::this(),
            epoch,
            allowed: lock.allowed.clone(),
            components,
            files: overlay.iter().map(|(path, entry)| Item { path: path.clone(), kind: kind(entry) }).collect(),
        }
    }

    /// Parses the text of a `bundle.json`.
    ///
    /// # Errors
    /// When it has another format or shape, or lists its files out of order.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let (name, help) = ("bundle.json", "build the bundle again");
        let Format { version } = document::parse_json(text, name, help)?;
        if version != FORMAT {
            bail!("it has format {version}, this program reads {FORMAT}");
        }
        let manifest: Self = document::parse_json(text, name, help)?;
        if let Some(pair) = manifest.files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            bail!("it lists {} twice or out of order", pair[1].path);
        }
        Ok(manifest)
    }

    /// The files that belong to `component`.
    pub fn files_of(&self, component: &str) -> impl Iterator<Item = &Item> {
        self.files.iter().filter(move |item| item.kind.component() == Some(component))
    }
}

impl Kind {
    /// The component it came from.
    #[must_use]
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::File { component, .. } => component.as_deref(),
            Self::Directory { .. } | Self::Link { .. } => None,
        }
    }

    /// Length in bytes; 0 for what is no file.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Directory { .. } | Self::Link { .. } => 0,
        }
    }
}

fn kind(entry: &Entry) -> Kind {
    match entry {
        Entry::Directory(mode) => Kind::Directory { mode: *mode },
        Entry::Link { target } => Kind::Link { target: target.clone() },
        Entry::File(file) => {
            Kind::File { mode: file.mode, size: file.size, sha256: file.sha256, component: file.component.clone() }
        }
    }
}
