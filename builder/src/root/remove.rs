//! Takes a bundle out of a root again: what is as it was installed goes, what was changed by hand stays.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;
use serde::Serialize;

use super::entrance::{Mounts, Root};
use super::known::{Known, mounts};
use super::plan::refuse_obstacles;
use super::removal::Removal;
use super::seen::split;
use super::state::{self, State};
use super::step::{Action, Step};
use super::{room, running, write};
use crate::bundle::Kind;
use crate::overlay::Mode;
use crate::progress::Progress;

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Files that were changed by hand go too.
    pub changed_too: bool,
    /// Remove from mounts below the root too, whether or not apply wrote there.
    pub cross_mounts: bool,
}

/// What a removal did, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Whether anything was recorded there at all.
    pub recorded: bool,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Everything that goes and everything that stays, sorted by path.
    pub steps: Vec<Step>,
}

/// Removes what was applied in the root at `path`.
///
/// # Errors
/// When the record is damaged, or the way to a file is blocked by a link or a mount: then nothing is removed at all.
pub fn remove(path: &Path, options: Options, progress: &Progress) -> Result<Removed> {
    let (root, state) = open(path, options.cross_mounts, !options.dry_run)?;
    let dry_run = options.dry_run;
    if state.record.is_none() && state.journal.is_none() {
        if !dry_run {
            state.sweep(&root)?;
            finish(&root)?;
        }
        return Ok(Removed { recorded: false, dry_run, steps: Vec::new() });
    }
    let removal = Removal::new(&root, &Known::new(&state), &BTreeSet::new(), options.changed_too)?;
    refuse_obstacles(removal.obstacles, progress)?;
    let mut steps = removal.steps;
    for (path, mode) in removal.occupied {
        steps.push(kept(path.as_str(), mode)?);
    }
    let own = own_directory(&root)?;
    steps.extend(own.clone());
    steps.sort_by(|a, b| a.path.cmp(&b.path));
    if root.is_running()? {
        running::refuse(&root, &steps)?;
    }
    room::writable(&root, &steps)?;
    if !dry_run {
        state.sweep(&root)?;
        carry_out(&root, &steps)?;
        state::discard(&root, state::JOURNAL)?;
        if own.is_some_and(|own| own.action == Action::Remove) {
            put_aside(&root)?;
        } else {
            state::discard(&root, state::RECORD)?;
        }
        finish(&root)?;
    }
    Ok(Removed { recorded: true, dry_run, steps })
}

/// Opens a root whose record says which mounts belong to it. Only the running system's record is read through mounts:
/// in `/`, `/var` may well be one.
pub(super) fn open(path: &Path, cross_mounts: bool, writer: bool) -> Result<(Root, State)> {
    let root = Root::open(path, if cross_mounts { Mounts::Cross } else { Mounts::Stay })?;
    let running = root.is_running()?;
    let root = if running { root.allowing(Mounts::Cross) } else { root };
    root.lock(writer)?;
    let state = State::read(&root)?;
    let root = if running && !cross_mounts { root.allowing(Mounts::Only(mounts(&state))) } else { root };
    Ok((root, state))
}

fn carry_out(root: &Root, steps: &[Step]) -> Result<()> {
    let own = |step: &&Step| step.action == Action::Remove && step.path.as_str() != state::DIRECTORY;
    let mut touched = BTreeSet::new();
    for step in steps.iter().filter(own) {
        touched.insert(split(step.path.as_str()).0);
        if !step.is_directory() {
            write::unlink(root, &step.path)?;
        }
    }
    for step in steps.iter().rev().filter(own).filter(|step| step.is_directory()) {
        write::remove_directory(root, &step.path)?;
    }
    touched.iter().try_for_each(|path| write::sync_directory(root, path))
}

/// Whether the directory of the record goes with it: not while firstboot has its state there.
fn own_directory(root: &Root) -> Result<Option<Step>> {
    let Some(names) = root.names(state::DIRECTORY)? else { return Ok(None) };
    let own = [state::RECORD, state::JOURNAL].map(|path| split(path).1);
    let empty = names.iter().all(|name| own.iter().any(|own| name == own || *name == write::temporary(own)));
    let mut step = kept(state::DIRECTORY, Mode::PRIVATE_DIRECTORY)?;
    if empty {
        (step.action, step.why) = (Action::Remove, None);
    }
    Ok(Some(step))
}

fn kept(path: &str, mode: Mode) -> Result<Step> {
    let (path, from) = (path.parse()?, path.parse()?);
    Ok(Step { action: Action::Keep, path, kind: Kind::Directory { mode }, why: Some("it is not empty"), from })
}

/// The directory and the record in it go in one step. Were the record removed first, a kill would leave an empty
/// directory that nobody knows to be ours.
fn put_aside(root: &Root) -> Result<()> {
    let ((above, name), (_, aside)) = (split(state::DIRECTORY), split(state::DISCARDED));
    let context = || format!("removing {}", root.show(state::DIRECTORY));
    let dir = root.directory(above)?.with_context(context)?;
    renameat(&dir, name, &dir, aside).with_context(context)?;
    write::sync_directory(root, above)
}

/// Removes what was put aside, also by a run that was killed then.
pub(super) fn finish(root: &Root) -> Result<()> {
    let (above, aside) = split(state::DISCARDED);
    let Some(dir) = root.directory(above)? else { return Ok(()) };
    if root.directory(state::DISCARDED)?.is_none() {
        return Ok(());
    }
    let record = format!("{}/{}", state::DISCARDED, split(state::RECORD).1);
    write::unlink(root, &record.parse()?)?;
    match unlinkat(&dir, aside, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => write::sync_directory(root, above),
        Err(error) => Err(error).with_context(|| format!("removing {}", root.show(state::DISCARDED))),
    }
}
