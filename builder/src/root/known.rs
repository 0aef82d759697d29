//! What in a root may be ours: the record's entries, and those of an apply that was interrupted.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::Journal;
use super::record::{Installed, Owner, Record};
use super::seen::Seen;
use super::state::State;
use crate::bundle::Kind;
use crate::overlay::OverlayPath;

/// All paths that may be ours.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<OverlayPath, Ours>);

/// What we may have put at one path.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// What the record says, where it says something.
    pub(super) recorded: Option<Installed>,
    /// Whether it is a directory that we made.
    pub(super) made: bool,
    /// Whether an apply that was interrupted was about to put it there.
    pub(super) interrupted: bool,
    versions: Vec<(Kind, Owner)>,
}

impl Known {
    pub(super) fn new(state: &State) -> Self {
        let mut known = Self::default();
        if let Some(Record { files, owner, .. }) = &state.record {
            for file in files {
                known.add(file, *owner).recorded = Some(file.clone());
            }
        }
        if let Some(Journal { files, owner, .. }) = &state.journal {
            for file in files {
                known.add(file, *owner).interrupted = true;
            }
        }
        known
    }

    fn add(&mut self, file: &Installed, owner: Owner) -> &mut Ours {
        let ours = self.0.entry(file.path.clone()).or_default();
        ours.made |= file.made;
        ours.versions.push((file.kind.clone(), owner));
        ours
    }

    pub(super) fn get(&self, path: &OverlayPath) -> Option<&Ours> {
        self.0.get(path)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&OverlayPath, &Ours)> {
        self.0.iter()
    }
}

impl Ours {
    /// Whether `seen` is as we put it there.
    pub(super) fn includes(&self, seen: &Seen) -> bool {
        self.versions.iter().any(|(kind, owner)| seen.is(kind, *owner))
    }

    /// What we put there last; for a directory, the mode it was made with.
    pub(super) fn kind(&self) -> Option<&Kind> {
        self.versions.first().map(|(kind, _)| kind)
    }

    /// Whether we ever put a file or link there.
    pub(super) fn is_file(&self) -> bool {
        self.versions.iter().any(|(kind, _)| !matches!(kind, Kind::Directory { .. }))
    }
}

/// The mounts that hold what is ours.
pub(super) fn mounts(state: &State) -> BTreeSet<String> {
    let recorded = state.record.iter().flat_map(|record| &record.mounts);
    recorded.chain(state.journal.iter().flat_map(|journal| &journal.mounts)).cloned().collect()
}
