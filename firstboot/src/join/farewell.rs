//! The end of a join: the secret goes, the marker comes.

use anyhow::{Context as _, Result};

use super::Join;
use crate::atomic;
use crate::config::{Operator, SecretSource};
use crate::marker::Marker;

/// The secret goes before the marker that lets the unit be skipped, and the farewell marker before the secret: at no
/// point does a crash leave a secret that nobody removes, or a node that needs one that is gone. Before either, what
/// other programs wrote (units enabled, the Arc agent's state) is put on the disk: the marker says that it is there.
pub(super) fn say_farewell(join: &Join<'_>, marker: &Marker) -> Result<()> {
    let secret = match &join.settings.operator {
        Operator::ServicePrincipal(principal) => match &principal.secret {
            SecretSource::File { path, remove_after_join: true } => Some(path.as_path()),
            _ => None,
        },
        Operator::AzureCli => None,
    };
    let joined = marker.is_joined(join.host)?;
    if !joined {
        atomic::sync_file_systems_of(&["/etc", "/var/lib"].map(|directory| join.host.path(directory)))?;
        marker.write_farewell(join.host)?;
    }
    if let Some(secret) = secret.filter(|secret| secret.exists()) {
        atomic::remove(secret).context("removing the client secret (removeSecretAfterJoin)")?;
    }
    if joined { Ok(()) } else { marker.write_joined(join.host) }
}
