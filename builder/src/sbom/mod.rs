//! What is inside a bundle, down to the Go modules and crates of its programs: one model, written as SPDX 2.3 and as
//! CycloneDX 1.6.
//!
//! Nothing in it depends on the machine or the hour: identifiers come from the content and the date is the epoch.

mod collect;
mod crates;
mod cyclonedx;
mod elf;
mod go;
mod purl;
mod spdx;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

pub use self::collect::collect;
pub use self::go::{GoBuild, Module};
pub use self::purl::Purl;
use crate::bundle::{BuiltBy, Bundle};
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// Where the two documents lie in the bundle and on the node. They list every file but themselves and bundle.json.
pub const SPDX_PATH: &str = "usr/share/flexnode/sbom.spdx.json";
/// The other one.
pub const CYCLONEDX_PATH: &str = "usr/share/flexnode/sbom.cdx.json";

/// The two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// SPDX 2.3 JSON
    Spdx,
    /// CycloneDX 1.6 JSON
    Cyclonedx,
}

impl Format {
    /// Where the document lies in the bundle.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Spdx => SPDX_PATH,
            Self::Cyclonedx => CYCLONEDX_PATH,
        }
    }
}

/// A bundle's content.
#[derive(Debug, Serialize)]
pub struct Sbom {
    /// What wrote it.
    pub builder: BuiltBy,
    /// The epoch.
    pub created: Timestamp,
    /// The bundle itself.
    pub bundle: Package,
    /// Everything that it is made of, sorted by key.
    pub packages: Vec<Package>,
    /// Every regular file, sorted by path.
    pub files: Vec<File>,
}

/// Something with a name and a version.
#[derive(Debug, Clone, Serialize)]
pub struct Package {
    /// Its key in this model, unique.
    pub key: String,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version, where somebody says it.
    pub version: Option<String>,
    /// What advisories call it.
    pub purl: Option<Purl>,
    /// Who makes or publishes it, where that is known.
    pub supplier: Option<String>,
    /// A valid SPDX licence expression, where it is known.
    pub license: Option<String>,
    /// Where it was fetched from.
    pub url: Option<String>,
    /// Digest of what was fetched.
    pub sha256: Option<Digest>,
    /// The files in which it was found.
    pub found_in: BTreeSet<String>,
    /// What else is to be said.
    pub note: Option<String>,
    /// Keys of what is part of it.
    pub contains: BTreeSet<String>,
    /// Keys of what it needs.
    pub depends_on: BTreeSet<String>,
}

/// What a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// The bundle.
    Bundle,
    /// One of its components.
    Component,
    /// A module of a Go program, or Go's standard library.
    GoModule,
    /// A crate of a Rust program.
    Crate,
}

/// One regular file.
#[derive(Debug, Serialize)]
pub struct File {
    /// Where it goes on the node.
    pub path: String,
    /// SPDX wants it.
    pub sha1: String,
    /// The digest in bundle.json.
    pub sha256: Digest,
    /// Whether it may be executed.
    pub executable: bool,
    /// Key of the component it came from.
    pub component: Option<String>,
}

impl Sbom {
    /// The document, ready to be a file.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn document(&self, format: Format) -> serde_json::Result<Vec<u8>> {
        let document = match format {
            Format::Spdx => spdx::document(self)?,
            Format::Cyclonedx => cyclonedx::document(self)?,
        };
        let mut json = serde_json::to_vec_pretty(&document)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The same for the same content, and for no other.
    fn id(&self) -> serde_json::Result<Uuid> {
        let content = Digest::of(&serde_json::to_vec(self)?);
        Ok(Uuid::new_v5(&Uuid::NAMESPACE_OID, content.to_string().as_bytes()))
    }

    fn all_packages(&self) -> impl Iterator<Item = &Package> {
        std::iter::once(&self.bundle).chain(&self.packages)
    }
}

/// The document of this form in the bundle at `path`.
///
/// # Errors
/// When it is no bundle, or one from before there were such documents.
pub fn read(path: &Path, format: Format) -> Result<Vec<u8>> {
    /// A bundle of the largest programs has 2 MB of it.
    const LIMIT: u64 = 64 << 20;
    Bundle::file(path, format.path(), LIMIT)?.with_context(|| {
        Failure::new(Class::BadBundle, format!("{} has no SBOM", path.display()))
            .hint("it was built by an older flexnode-build: build it again")
    })
}

impl Package {
    fn new(key: impl Into<String>, kind: Kind, name: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            kind,
            name: name.into(),
            version: None,
            purl: None,
            supplier: None,
            license: None,
            url: None,
            sha256: None,
            found_in: BTreeSet::new(),
            note: None,
            contains: BTreeSet::new(),
            depends_on: BTreeSet::new(),
        }
    }
}

/// A name for `key` in the letters that both formats allow; `prefix` keeps packages and files apart.
fn reference(prefix: &str, name: &str, key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.rsplit('/').next().unwrap_or(name).chars().map(allowed).take(40).collect();
    format!("{prefix}-{name}-{}", &Digest::of(key.as_bytes()).to_string()[..12])
}
