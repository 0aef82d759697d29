//! What templates see: `facts`, `values`, and for a template of each registry `registry` and `mirror`.

use anyhow::Result;
use semver::Version;
use serde::Serialize;

use super::templates::{REGISTRY, Template};
use super::values::{Mirror, Values};
use crate::artifact::Arch;
use crate::failure::{Class, Failure};
use crate::target::Target;

/// What the lock settles and templates depend on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Kubernetes' version.
    pub kubernetes: Version,
    /// containerd's version.
    pub containerd: Version,
    /// The node's architecture.
    pub arch: Arch,
    /// The node's distribution.
    pub target: Target,
    /// The sandbox image, with tag and maybe digest.
    pub pause_image: String,
}

/// One rendering's variables.
#[derive(Debug, Serialize)]
pub(super) struct Context<'a> {
    facts: Seen<'a>,
    values: &'a Values,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<&'a Mirror>,
}

impl Context<'_> {
    /// The registry that this rendering is for.
    pub(super) fn registry(&self) -> Option<&str> {
        self.registry
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    kubernetes: Release,
    containerd: Containerd,
    arch: Arch,
    target: Target,
    pause_image: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct Release {
    version: String,
    major: u64,
    minor: u64,
    patch: u64,
}

impl From<&Version> for Release {
    fn from(version: &Version) -> Self {
        Self { version: version.to_string(), major: version.major, minor: version.minor, patch: version.patch }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Containerd {
    #[serde(flatten)]
    release: Release,
    /// The native version of the configuration's format (containerd RELEASES.md, "Daemon Configuration").
    config_version: u8,
    /// Images are pulled by the transfer service, from 2.1 on.
    transfer_service: bool,
    /// `bin_dirs` replaces `bin_dir`, deprecated in 2.1 and gone in 2.4.
    cni_bin_dirs: bool,
}

impl From<&Version> for Containerd {
    fn from(version: &Version) -> Self {
        let release = (version.major, version.minor);
        Self {
            release: version.into(),
            config_version: match release {
                (..2, _) => 2,
                (2, ..3) => 3,
                _ => 4,
            },
            transfer_service: release >= (2, 1),
            cni_bin_dirs: release >= (2, 1),
        }
    }
}

/// The renderings that a template asks for: one, or one for each registry.
pub(super) fn contexts<'a>(template: &Template, facts: &'a Facts, values: &'a Values) -> Result<Vec<Context<'a>>> {
    if facts.kubernetes.major != 1 || facts.containerd.major == 0 {
        return Err(Failure::new(
            Class::Resolution,
            format!("no templates for Kubernetes {} with containerd {}", facts.kubernetes, facts.containerd),
        )
        .into());
    }
    let context = |registry, mirror| Context {
        facts: Seen {
            kubernetes: (&facts.kubernetes).into(),
            containerd: (&facts.containerd).into(),
            arch: facts.arch,
            target: facts.target,
            pause_image: &facts.pause_image,
        },
        values,
        registry,
        mirror,
    };
    Ok(if template.installs.contains(REGISTRY) {
        values
            .containerd
            .mirrors
            .iter()
            .map(|(registry, mirror)| context(Some(registry.as_str()), Some(mirror)))
            .collect()
    } else {
        vec![context(None, None)]
    })
}
