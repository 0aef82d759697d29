//! Container images: pinned by digest, fetched blob by blob, laid out in the bundle for containerd to take in.
//!
//! All hangs on the pinned digest: an index names its manifests by digest and length, a manifest its config and layers,
//! and the config the unpacked layers. Nothing is looked at before it has proven to be what its parent names.

mod document;
mod layers;
mod layout;
mod local;
mod pull;
mod reference;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::layout::{DIRECTORY, lay_out};
pub use self::pull::{Image, Wanted, pull};
pub use self::reference::{NotAReference, Reference};

/// An image of the spec: its name alone, or with the place that holds it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "an image is `name:tag@sha256:…`, or a map of `ref` and `from`")]
pub enum Asked {
    /// From its registry.
    Registry(Reference),
    /// From this machine.
    Local(Local),
}

/// An image that lies on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// `name:tag@sha256:…`
    pub r#ref: Reference,
    /// An OCI image layout: its directory, or an archive of it.
    pub from: Option<PathBuf>,
}

impl Asked {
    /// Which image.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        match self {
            Self::Registry(reference) => reference,
            Self::Local(local) => &local.r#ref,
        }
    }

    /// Where it lies on this machine.
    #[must_use]
    pub fn layout(&self) -> Option<&PathBuf> {
        match self {
            Self::Registry(_) => None,
            Self::Local(local) => local.from.as_ref(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn layout_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Registry(_) => None,
            Self::Local(local) => local.from.as_mut(),
        }
    }
}
