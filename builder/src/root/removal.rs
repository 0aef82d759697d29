//! What of ours goes: files that are as we put them there, and directories that we made and that are empty then.

use std::collections::BTreeSet;

use anyhow::{Error, Result};

use super::entrance::Root;
use super::known::Known;
use super::plan::fixed;
use super::seen::Seen;
use super::state;
use super::step::{Action, Step};
use super::write::temporary;
use crate::bundle::Kind;
use crate::failure::Failure;
use crate::overlay::{Mode, OverlayPath};

/// What goes, what stays, and what forbids to tell.
#[derive(Debug, Default)]
pub(super) struct Removal {
    pub(super) steps: Vec<Step>,
    /// Directories of ours that hold something that stays.
    pub(super) occupied: Vec<(OverlayPath, Mode)>,
    pub(super) obstacles: Vec<Error>,
}

impl Removal {
    /// Everything known that is not `wanted`; with `changed_too`, files and links whatever has become of them.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub(super) fn new(root: &Root, known: &Known, wanted: &BTreeSet<OverlayPath>, changed_too: bool) -> Result<Self> {
        let mut removal = Self::default();
        let mut gone = BTreeSet::new();
        // From the inside to the outside: a directory comes after all that is in it.
        for (path, ours) in known.iter().rev().filter(|(path, _)| !wanted.contains(*path)) {
            let Some(kind) = ours.kind() else { continue };
            let taken = if ours.is_file() {
                removal.file(root, path, kind, |seen| ours.includes(seen), changed_too)
            } else if let (true, Kind::Directory { mode }) = (ours.made, kind) {
                removal.directory(root, known, path, *mode, &gone)
            } else {
                continue;
            };
            match taken {
                Ok(true) => {
                    gone.insert(path.to_string());
                    let (path, kind, from) = (path.clone(), kind.clone(), path.clone());
                    removal.steps.push(Step { action: Action::Remove, path, kind, why: None, from });
                }
                Ok(false) => {}
                Err(error) if error.downcast_ref::<Failure>().is_some() => removal.obstacles.push(error),
                Err(error) => return Err(error),
            }
        }
        removal.steps.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(removal)
    }

    /// Whether a file or link goes.
    fn file(
        &mut self,
        root: &Root,
        path: &OverlayPath,
        kind: &Kind,
        is_ours: impl Fn(&Seen) -> bool,
        changed_too: bool,
    ) -> Result<bool> {
        let seen = root.look(path.as_str())?;
        let goes = match &seen {
            Seen::Nothing => return Ok(false),
            Seen::File { .. } | Seen::Link { .. } => changed_too || is_ours(&seen),
            Seen::Directory { .. } | Seen::Special => false,
        };
        if let (true, Seen::File { fixed: true, .. }) = (goes, &seen) {
            return Err(fixed(root, path));
        }
        if !goes {
            let (path, kind, from) = (path.clone(), kind.clone(), path.clone());
            let why = Some("it is not as it was installed");
            self.steps.push(Step { action: Action::Keep, path, kind, why, from });
        }
        Ok(goes)
    }

    /// Whether a directory is empty once all in `gone` is.
    fn directory(
        &mut self,
        root: &Root,
        known: &Known,
        path: &OverlayPath,
        mode: Mode,
        gone: &BTreeSet<String>,
    ) -> Result<bool> {
        // It goes last, with the record in it, or not at all.
        if path.as_str() == state::DIRECTORY {
            return Ok(false);
        }
        let Some(names) = root.names(path.as_str())? else { return Ok(false) };
        // What a killed run left half written goes too, also of files that never appeared.
        let inside = format!("{path}/");
        let unfinished = known.iter().filter_map(|(path, _)| path.as_str().strip_prefix(&inside)).map(temporary);
        let unfinished: BTreeSet<String> = unfinished.collect();
        let empty = names.iter().all(|name| unfinished.contains(name) || gone.contains(&format!("{inside}{name}")));
        if !empty {
            self.occupied.push((path.clone(), mode));
        }
        Ok(empty)
    }
}
