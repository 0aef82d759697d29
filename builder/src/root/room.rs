//! Whether there is room for what will be written, and leave to write it: asked before the first write.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanBytes;
use rustix::fs::{Access, AtFlags, accessat, fstat, fstatvfs};
use rustix::io::Errno;

use super::entrance::Root;
use super::plan::Plan;
use super::seen::split;
use super::state::{self, State};
use super::step::Step;
use crate::failure::{Class, Failure};

/// What one filesystem has to take.
struct Demand {
    /// A directory on it.
    at: OwnedFd,
    path: String,
    bytes: u64,
    files: u64,
}

/// Refuses a plan that does not fit on the filesystems it writes to.
///
/// # Errors
/// Says how much is needed where, and how much there is.
pub(super) fn check(root: &Root, plan: &Plan, state: &State) -> Result<()> {
    let mut demands = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.writes()) {
        demand(root, split(step.path.as_str()).0, step.kind.size(), &mut demands)?;
    }
    // Record and journal, which is no larger than the record and what it held before.
    let record = serde_json::to_vec_pretty(&plan.record).context("encoding the record")?.len() as u64;
    for _document in 0..2 {
        demand(root, state::DIRECTORY, record, &mut demands)?;
    }
    let reclaimable = state.reclaimable(root)?;
    for (device, Demand { at, path, bytes, files }) in demands {
        let stat = fstatvfs(&at)?;
        let reclaimed: u64 = reclaimable.iter().filter(|(on, _)| *on == device).map(|(_, bytes)| bytes).sum();
        let free = stat.f_bavail.saturating_mul(stat.f_frsize).saturating_add(reclaimed);
        let refuse = |needed: String, free: String| -> Result<()> {
            let (root, message) = (root.show(&path), format!("{needed} are needed, {free} are free"));
            bail!(
                Failure::new(Class::Local, format!("there is no room in {root}: {message}"))
                    .hint("free some space there; nothing was changed")
            )
        };
        if bytes > free {
            refuse(HumanBytes(bytes).to_string(), HumanBytes(free).to_string())?;
        }
        // Filesystems that make inodes as they need them say that they have none at all.
        if stat.f_files > 0 && files > stat.f_favail {
            refuse(format!("{files} inodes"), stat.f_favail.to_string())?;
        }
    }
    Ok(())
}

fn demand(root: &Root, directory: &str, size: u64, demands: &mut BTreeMap<u64, Demand>) -> Result<()> {
    let (at, _) = root.nearest(directory)?;
    let block = fstatvfs(&at)?.f_frsize.max(1);
    let device = fstat(&at)?.st_dev;
    let demand = demands.entry(device).or_insert(Demand { at, path: directory.to_owned(), bytes: 0, files: 0 });
    demand.bytes += size.max(1).next_multiple_of(block);
    demand.files += 1;
    Ok(())
}

/// Refuses steps in directories that may not be written.
///
/// # Errors
/// Names the directory, and why.
pub(super) fn writable(root: &Root, steps: &[Step]) -> Result<()> {
    let changed = steps.iter().filter(|step| step.is_change()).map(|step| split(step.path.as_str()).0);
    let directories: BTreeSet<&str> = changed.chain([state::DIRECTORY]).collect();
    for path in directories {
        let (nearest, _) = root.nearest(path)?;
        let refuse = |what, hint: &str| Err(root.refusal(path, what, hint).into());
        match accessat(&nearest, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => {}
            Err(Errno::ROFS) => {
                return refuse("is on a read-only filesystem", "mount it writable: mount -o remount,rw");
            }
            Err(Errno::PERM) => return refuse("is immutable", "chattr -i, on it or what is above it"),
            Err(Errno::ACCESS) => return refuse("may not be written by this user", "run this as root"),
            Err(error) => return Err(error).with_context(|| format!("looking at {}", root.show(path))),
        }
    }
    Ok(())
}
