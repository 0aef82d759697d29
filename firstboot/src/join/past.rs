//! What earlier joins left on the disk: of this machine, or of the machine it was cloned from.

use anyhow::{Context as _, Result};

use super::Join;
use crate::failure::{Exit, Failure};
use crate::marker::Past;
use crate::{arc, atomic, paths, services};

/// On a clone, what belongs to the machine it was cloned from. A join of this machine with another cluster is refused:
/// leaving that one is not ours to decide.
pub(super) async fn forget_what_is_not_ours(join: &Join<'_>, past: &Past, machine_id: &str) -> Result<()> {
    match past {
        Past::None => Ok(()),
        Past::Own(marker) => {
            let wanted = join.settings.cluster.to_string();
            if marker.cluster.eq_ignore_ascii_case(&wanted) {
                return Ok(());
            }
            let message = format!("this machine has joined {}, and the config says {wanted}", marker.cluster);
            let hint = format!(
                "to move it: `kubectl delete node {}` there, then here `azcmagent disconnect` and `rm {}.{machine_id}`",
                join.node,
                paths::MARKER
            );
            Err(Failure::new(Exit::BadConfig, message, hint).into())
        }
        Past::CloneOf(parents) => {
            join.progress.warn("this disk is a clone of a machine that has joined; it joins as a machine of its own");
            services::stop_kubelet(join).await?;
            for parent in parents {
                arc::forget(join, &parent.machine).await?;
            }
            atomic::remove(&join.host.path(paths::KUBECONFIG))?;
            remove_kubelet_certificates(join)?;
            // Last: until here a run after a crash still knows that it is on a clone.
            Past::forget_parents(join.host, machine_id)
        }
    }
}

fn remove_kubelet_certificates(join: &Join<'_>) -> Result<()> {
    let directory = join.host.path(paths::KUBELET_PKI);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    // Before the parent's marker goes: after a power cut nobody would look for them again.
    atomic::sync_directory(&directory)
}
