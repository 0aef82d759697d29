//! One upstream artifact as the lock pins it: where it is, what it must be, and what of it goes where.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::overlay::{Mode, OverlayPath};
use crate::sbom::Purl;

/// The processor architectures that nodes have.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64
    #[default]
    Amd64,
    /// AArch64
    Arm64,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

/// How an artifact is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The program itself.
    #[serde(rename = "binary")]
    Binary,
    /// A plain tar archive.
    #[serde(rename = "tar")]
    Tar,
    /// A gzipped tar archive, `.tgz` included.
    #[serde(rename = "tar.gz", alias = "tgz")]
    TarGz,
    /// A Debian package.
    #[serde(rename = "deb")]
    Deb,
}

/// What an archive's owners may be. They are never restored; this says whether a foreign one is a surprise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// Every member belongs to 0:0; anything else is refused.
    #[default]
    Root,
    /// Upstream is known to archive as the user of its CI runner.
    Any,
}

/// Who says that these bytes are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Proof {
    /// The digest was recorded when the release was first seen.
    Pinned {
        /// Who else pins the same digest.
        by: Vec<String>,
    },
    /// Supplied by whoever ran the builder.
    Local,
}

impl Proof {
    /// The proof's kind, as written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pinned { .. } => "pinned",
            Self::Local => "local",
        }
    }
}

/// One file to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Install {
    /// The archive's member, without a leading `./`; absent when the artifact is the file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Where it goes on the node.
    pub path: OverlayPath,
    /// Its permission bits.
    #[serde(default = "executable")]
    pub mode: Mode,
}

fn executable() -> Mode {
    Mode::EXECUTABLE
}

/// One artifact, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Artifact {
    /// The component's name.
    pub name: String,
    /// Its version, without a leading `v`.
    pub version: String,
    /// Where upstream publishes it.
    pub url: String,
    /// Length in bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What it must be.
    pub sha256: Digest,
    /// SPDX licence expression.
    pub license: String,
    /// Who says so.
    pub proof: Proof,
    /// What advisories call it, where the URL does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<Purl>,
    /// A test program that takes the place of the real one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stand_in: bool,
    /// How it is wrapped.
    pub kind: Kind,
    /// Which owners its members may have.
    #[serde(default, skip_serializing_if = "is_root")]
    pub ownership: Ownership,
    /// What of it goes where.
    pub install: Vec<Install>,
}

impl Artifact {
    /// Whether it is a Debian package that travels whole, for dpkg to install at the first boot.
    #[must_use]
    pub fn is_package(&self) -> bool {
        let whole = |install: &Install| install.member.is_none() && install.path.as_str().starts_with(PACKAGES);
        self.kind == Kind::Deb && self.install.iter().all(whole)
    }
}

/// Where packages lie on the node.
pub(crate) const PACKAGES: &str = "usr/share/flexnode/debs/";

fn is_root(ownership: &Ownership) -> bool {
    *ownership == Ownership::Root
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
