//! From a verified bundle to an installed one.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::entrance::{Mounts, Root};
use super::install::install;
use super::plan::Plan;
use super::state::State;
use super::step::Step;
use super::{fit, restart, room, trust};
use crate::bundle::Verified;
use crate::digest::Digest;
use crate::progress::Progress;

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Overwrite programs that are not ours.
    pub force: bool,
    /// Whatever release the root is.
    pub any_release: bool,
    /// Write into mounts below the root too. In `/` that is what is meant anyway.
    pub cross_mounts: bool,
    /// Install a bundle that is older than what is there, where the root trusts keys.
    pub allow_rollback: bool,
}

/// What an apply did, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Digest of the bundle's archive.
    pub bundle: Digest,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Every change and everything that was kept, sorted by path.
    pub steps: Vec<Step>,
    /// On a running system: the units that go on with what was there before, until they are restarted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<&'static str>,
}

/// Installs `bundle` in the root at `path`.
///
/// # Errors
/// When the root is not fit for it, something is in the way, there is no room, or bundle or disk fail. Up to the moment
/// when all is written and synced, nothing that was there has changed then.
pub fn apply(bundle: &Verified, path: &Path, options: Options, progress: &Progress) -> Result<Applied> {
    let root = open(path, options.cross_mounts)?;
    let running = root.is_running()?;
    root.lock(!options.dry_run)?;
    fit::check(bundle.manifest(), &root, options.any_release)?;
    let state = State::read(&root)?;
    trust::check(bundle, &root, &state, options.allow_rollback)?;
    let plan = Plan::new(bundle, &root, &state, options.force, progress)?;
    if !plan.is_done(&state) {
        room::writable(&root, &plan.steps)?;
        room::check(&root, &plan, &state)?;
    }
    if !options.dry_run {
        install(bundle, &root, &state, &plan, progress)?;
    }
    let restart = if running { restart::units(&plan.steps) } else { Vec::new() };
    Ok(Applied { bundle: bundle.sha256(), dry_run: options.dry_run, steps: plan.steps, restart })
}

/// Opens the root at `path`, with the mounts that may be entered.
pub(super) fn open(path: &Path, cross_mounts: bool) -> Result<Root> {
    let root = Root::open(path, if cross_mounts { Mounts::Cross } else { Mounts::Stay })?;
    Ok(if root.is_running()? { root.allowing(Mounts::Cross) } else { root })
}
