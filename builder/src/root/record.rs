//! `applied.json`: what is installed in a root, and by which bundle.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};
use rustix::process::{getegid, geteuid};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::bundle::Kind;
use crate::digest::Digest;
use crate::document;
use crate::overlay::OverlayPath;

/// The format that this program reads and writes.
pub(super) const FORMAT: u32 = 1;

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Format version.
    pub version: u32,
    /// Digest of the bundle's archive.
    pub bundle: Digest,
    /// Its Kubernetes version.
    pub kubernetes: Version,
    /// Modification time of every file.
    pub epoch: u64,
    /// Whom the files belong to.
    pub owner: Owner,
    /// The mounts below the root that hold some of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mounts: BTreeSet<String>,
    /// Everything installed, sorted by path.
    pub files: Vec<Installed>,
}

/// One entry of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    /// Where it is.
    pub path: OverlayPath,
    /// What the bundle has for that path.
    #[serde(flatten)]
    pub kind: Kind,
    /// A directory that the bundle does not list: the distribution's, although it was not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub implied: bool,
    /// A directory that was not there before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// Something of the operator's is there instead, and was left: its fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Digest>,
}

/// User and group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    /// Whom files of this process belong to: root's are 0:0 whatever group it is in.
    pub(super) fn current() -> Self {
        let uid = geteuid().as_raw();
        Self { uid, gid: if uid == 0 { 0 } else { getegid().as_raw() } }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Record {
    /// Parses the text of an `applied.json`.
    ///
    /// # Errors
    /// When it has another format or shape, or lists its files out of order.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self> {
        expect_format(text, name)?;
        let record: Self = document::parse_json(text, name, "")?;
        if let Some(pair) = record.files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            bail!("it lists {} twice or out of order", pair[1].path);
        }
        Ok(record)
    }
}

/// Refuses another format before its content, which may look quite different.
pub(super) fn expect_format(text: &str, name: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Format {
        version: u32,
    }
    let Format { version } = document::parse_json(text, name, "")?;
    if version != FORMAT {
        bail!("it has format {version}, this program reads {FORMAT}");
    }
    Ok(())
}
