//! Carries a plan out: everything is written beside its place and synced, and only then does the first file appear.

use std::collections::BTreeSet;
use std::io;

use anyhow::{Context as _, Error, Result};
use rustix::io::Errno;

use super::entrance::Root;
use super::journal::Journal;
use super::plan::Plan;
use super::seen::split;
use super::state::{self, State};
use super::step::{Action, Step};
use super::sync::{hand_over, while_syncing};
use super::{remove, write};
use crate::bundle::{Kind, Verified};
use crate::failure::{Class, Failure};
use crate::overlay::{Mode, OverlayPath};
use crate::progress::{Progress, Task};

/// Carries `plan` out. Where it fails before the first file has appeared, everything is as it was.
///
/// # Errors
/// When the bundle or the disk fails; a killed or failed run is completed by the next one.
pub(super) fn install(bundle: &Verified, root: &Root, state: &State, plan: &Plan, progress: &Progress) -> Result<()> {
    state.sweep(root)?;
    remove::finish(root)?;
    if plan.is_done(state) {
        return Ok(());
    }
    let prepared = prepare(root, state, plan).and_then(|()| {
        let bytes = plan.steps.iter().filter(|step| step.writes()).map(|step| step.kind.size()).sum();
        stage(bundle, root, plan, &progress.work("writing", bytes))
    });
    if let Err(error) = prepared {
        return Err(roll_back(root, state, plan, error, progress));
    }
    commit(root, state, plan).with_context(|| {
        Failure::new(Class::Local, "not all files are in their places yet").hint("the same command again completes it")
    })
}

/// Notes what may be there from now on, and what will be there in the end.
fn prepare(root: &Root, state: &State, plan: &Plan) -> Result<()> {
    for path in ["var", "var/lib", state::DIRECTORY] {
        if root.directory(path)?.is_none() {
            let mode = if path == state::DIRECTORY { Mode::PRIVATE_DIRECTORY } else { Mode::DIRECTORY };
            write::directory(root, &path.parse()?, mode, plan.record.owner)?;
            write::sync_directory(root, split(path).0)?;
        }
    }
    if plan.changes() {
        let journal = Journal::new(state.journal.as_ref(), &plan.record);
        state::stage(root, state::JOURNAL, &journal, plan.record.epoch)?;
        state::publish(root, state::JOURNAL)?;
    }
    // Before the first file appears: after that, a full disk would be one too late.
    state::stage(root, state::RECORD, &plan.record, plan.record.epoch)
}

/// Makes directories, and writes every file and link under its temporary name.
fn stage(bundle: &Verified, root: &Root, plan: &Plan, task: &Task) -> Result<()> {
    let (owner, epoch) = (plan.record.owner, plan.record.epoch);
    for step in plan.steps.iter().filter(|step| step.writes()) {
        match &step.kind {
            Kind::Directory { mode } => write::directory(root, &step.path, *mode, owner)?,
            Kind::Link { target } => write::link(root, &step.path, target, owner, epoch)?,
            Kind::File { .. } => {}
        }
    }
    let files: Vec<&Step> = plan.steps.iter().filter(|step| step.writes() && is_file(step)).collect();
    if files.is_empty() {
        return Ok(());
    }
    let wanted: BTreeSet<&OverlayPath> = files.iter().map(|step| &step.from).collect();
    while_syncing(|queue| {
        bundle.unpack(&wanted, |item, content| {
            // One member goes to one place: beside its own path or to it.
            let Some(step) = files.iter().find(|step| step.from == item.path) else { return Ok(()) };
            let Kind::File { mode, size, .. } = step.kind else { return Ok(()) };
            let file = write::file(root, &step.path, mode, owner, epoch, content)?;
            task.advance(size);
            hand_over(queue, root.show(step.path.as_str()), file)
        })
    })
}

/// Lets everything appear, takes away what goes, and lets the record follow.
fn commit(root: &Root, state: &State, plan: &Plan) -> Result<()> {
    let mut touched = BTreeSet::new();
    for step in plan.steps.iter().filter(|step| step.is_change()) {
        touched.insert(split(step.path.as_str()).0.to_owned());
        if step.is_directory() {
            touched.insert(step.path.to_string());
        } else if step.action == Action::Remove {
            write::unlink(root, &step.path)?;
        } else {
            write::publish(root, &step.path)?;
        }
    }
    for step in plan.steps.iter().rev().filter(|step| step.action == Action::Remove && step.is_directory()) {
        write::remove_directory(root, &step.path)?;
    }
    for file in plan.record.files.iter().filter(|file| file.made) {
        if touched.contains(file.path.as_str()) || state.journal.is_some() {
            write::date(root, &file.path, plan.record.epoch)?;
        }
    }
    for path in &touched {
        write::sync_directory(root, path)?;
    }
    state::publish(root, state::RECORD)?;
    state::discard(root, state::JOURNAL)
}

/// Takes away what was staged, so that a refused bundle or a full disk leaves nothing half done.
fn roll_back(root: &Root, state: &State, plan: &Plan, error: Error, progress: &Progress) -> Error {
    let undo = || -> Result<()> {
        for step in plan.steps.iter().rev().filter(|step| step.writes()) {
            if step.is_directory() {
                write::remove_directory(root, &step.path)?;
            } else {
                state::remove_temporary(root, step.path.as_str())?;
            }
        }
        for path in [state::RECORD, state::JOURNAL] {
            state::remove_temporary(root, path)?;
        }
        // After an earlier kill the journal still tells of what that one left.
        if state.journal.is_none() {
            state::discard(root, state::JOURNAL)?;
        }
        if plan.steps.iter().any(|step| step.path.as_str() == state::DIRECTORY) {
            write::remove_directory(root, &state::DIRECTORY.parse()?)?;
        }
        Ok(())
    };
    if let Err(stuck) = undo() {
        progress.warn(&format!("{stuck:#}; the next run takes away what this one has left"));
    }
    if is_full(&error) {
        let full = Failure::new(Class::Local, "the disk is full, and what was there before is as it was");
        return error.context(full.hint("free some space and run the same command again"));
    }
    error
}

fn is_full(error: &Error) -> bool {
    error.chain().any(|cause| {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        cause.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind()))
            || cause.downcast_ref::<Errno>().is_some_and(|error| full.contains(&error.kind()))
    })
}

fn is_file(step: &Step) -> bool {
    matches!(step.kind, Kind::File { .. })
}
