//! What an apply will do: each path of the bundle against what was installed and what is there now.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result};

use super::entrance::Root;
use super::known::Known;
use super::record::{FORMAT, Installed, Owner, Record};
use super::removal::Removal;
use super::seen::Seen;
use super::state::{self, State};
use super::step::{Action, Step};
use crate::bundle::{Item, Kind, Verified};
use crate::failure::{Class, Failure};
use crate::overlay::{Mode, OverlayPath};
use crate::progress::Progress;

/// What the bundle's version of a file is called, where the operator's was kept.
const BESIDE: &str = ".flexnode-new";

/// All steps, and the record of what is there after them.
#[derive(Debug)]
pub(super) struct Plan {
    /// Sorted by path.
    pub(super) steps: Vec<Step>,
    pub(super) record: Record,
}

impl Plan {
    /// Compares; `force` allows to overwrite programs that are not ours.
    ///
    /// # Errors
    /// When something is in the way. Each such thing is told to `progress`.
    pub(super) fn new(bundle: &Verified, root: &Root, state: &State, force: bool, progress: &Progress) -> Result<Self> {
        bundle.items().iter().try_for_each(|item| refuse_reserved(&item.path))?;
        let mut planner = Planner {
            root,
            known: Known::new(state),
            owner: Owner::current(),
            force,
            wanted: BTreeSet::new(),
            steps: Vec::new(),
            files: BTreeMap::new(),
            obstacles: Vec::new(),
        };
        for (path, mode) in directories(bundle)? {
            planner.directory(path, mode)?;
        }
        for item in bundle.items().iter().filter(|item| !matches!(item.kind, Kind::Directory { .. })) {
            planner.file(item)?;
        }
        planner.remove()?;
        planner.finish(bundle, progress)
    }

    /// Whether anything but the record has to change.
    pub(super) fn changes(&self) -> bool {
        self.steps.iter().any(Step::is_change)
    }

    /// Whether all is as the plan wants it, the record too.
    pub(super) fn is_done(&self, state: &State) -> bool {
        !self.changes() && state.journal.is_none() && state.record.as_ref() == Some(&self.record)
    }
}

/// Configuration is what operators edit: there, what was changed by hand stays.
pub(super) fn is_configuration(path: &str) -> bool {
    path.starts_with("etc/") || path.starts_with("var/")
}

/// Whether it is the bundle's version of a file that was kept.
pub(super) fn is_beside(path: &str) -> bool {
    path.ends_with(BESIDE)
}

/// Every directory that the bundle lists or needs, outermost first, with the mode it is made with; `None` for those
/// that it only needs.
fn directories(bundle: &Verified) -> Result<BTreeMap<OverlayPath, Option<Mode>>> {
    let mut directories = BTreeMap::from([(state::DIRECTORY.parse()?, None)]);
    let record: OverlayPath = state::RECORD.parse()?;
    for path in bundle.items().iter().map(|item| &item.path).chain([&record]) {
        for above in path.ancestors() {
            directories.entry(above.parse()?).or_insert(None);
        }
    }
    let listed = bundle.items().iter().filter_map(|item| match item.kind {
        Kind::Directory { mode } => Some((item.path.clone(), Some(mode))),
        Kind::File { .. } | Kind::Link { .. } => None,
    });
    directories.extend(listed);
    Ok(directories)
}

fn refuse_reserved(path: &OverlayPath) -> Result<()> {
    let text = path.as_str();
    let own = [state::RECORD, state::JOURNAL].contains(&text)
        || text.ends_with(".flexnode-tmp")
        || is_beside(text)
        || text.starts_with(state::DISCARDED);
    if own {
        let message = format!("the bundle has a file /{path}, a name that apply needs for itself");
        return Err(Failure::new(Class::BadBundle, message).hint("build it again with another path").into());
    }
    if is_configuration(text) && format!("{path}{BESIDE}").parse::<OverlayPath>().is_err() {
        let message = format!("the bundle has a file /{path}, which leaves no room for a name beside it");
        return Err(Failure::new(Class::BadBundle, message).hint("build it again with a shorter path").into());
    }
    Ok(())
}

struct Planner<'a> {
    root: &'a Root,
    known: Known,
    owner: Owner,
    force: bool,
    wanted: BTreeSet<OverlayPath>,
    steps: Vec<Step>,
    files: BTreeMap<OverlayPath, Installed>,
    obstacles: Vec<Error>,
}

impl Planner<'_> {
    fn directory(&mut self, path: OverlayPath, listed: Option<Mode>) -> Result<()> {
        self.wanted.insert(path.clone());
        let there = match self.root.directory(path.as_str()) {
            Ok(there) => there,
            Err(error) => return self.obstacle(error),
        };
        let ours = self.known.get(&path);
        // Its own directory is made before there is a journal to note that in, and so are those above it.
        let made = match path.as_str() {
            state::DIRECTORY => true,
            "var" | "var/lib" => false,
            _ => there.is_none() || ours.is_some_and(|ours| ours.made),
        };
        let is_state = path.as_str() == state::DIRECTORY;
        let mode = listed.unwrap_or(if is_state { Mode::PRIVATE_DIRECTORY } else { Mode::DIRECTORY });
        let kind = Kind::Directory { mode };
        let unfinished = match &there {
            None => true,
            Some(there) if ours.is_some_and(|ours| ours.made && ours.interrupted) => {
                let stat = rustix::fs::fstat(there)?;
                stat.st_mode & 0o7777 != mode.bits() || (stat.st_uid, stat.st_gid) != (self.owner.uid, self.owner.gid)
            }
            Some(_) => false,
        };
        if unfinished {
            self.step(Action::Install, &path, &kind, None);
        }
        if made || listed.is_some() {
            let implied = listed.is_none() && !is_state;
            self.files.insert(path.clone(), Installed { path, kind, implied, made, kept: None });
        }
        Ok(())
    }

    fn file(&mut self, item: &Item) -> Result<()> {
        let Item { path, kind } = item;
        self.wanted.insert(path.clone());
        let seen = match self.root.look(path.as_str()) {
            Ok(seen) => seen,
            Err(error) => return self.obstacle(error),
        };
        match &seen {
            Seen::Nothing => self.step(Action::Install, path, kind, None),
            _ if seen.is(kind, self.owner) => {}
            Seen::Directory { .. } | Seen::Special => {
                let hint = "move it away; where it comes from an older bundle, `flexnode-build remove` that first";
                return self.obstacle(self.in_the_way(path, &seen, hint));
            }
            Seen::File { fixed: true, .. } => return self.obstacle(fixed(self.root, path)),
            Seen::File { .. } | Seen::Link { .. } if is_configuration(path.as_str()) => {
                return self.configuration(item, &seen);
            }
            Seen::File { .. } | Seen::Link { .. } => match self.known.get(path) {
                Some(ours) if ours.includes(&seen) => self.step(Action::Replace, path, kind, None),
                Some(_) => self.step(Action::Replace, path, kind, Some("it is not as it was installed")),
                None if seen.holds(kind) => {
                    self.step(Action::Replace, path, kind, Some("its mode or owner is another"));
                }
                None if self.force => self.step(Action::Replace, path, kind, Some("forced, it was not ours")),
                None => {
                    let hint = "move it away or remove its package, or overwrite it with --force";
                    return self.obstacle(self.in_the_way(path, &seen, hint));
                }
            },
        }
        self.record(path.clone(), kind.clone(), None);
        Ok(())
    }

    /// A configuration file that is not as the bundle has it.
    fn configuration(&mut self, item: &Item, seen: &Seen) -> Result<()> {
        let Item { path, kind } = item;
        let ours = self.known.get(path);
        if ours.is_some_and(|ours| ours.includes(seen)) {
            self.step(Action::Replace, path, kind, None);
            self.record(path.clone(), kind.clone(), None);
            return Ok(());
        }
        let beside: OverlayPath = format!("{path}{BESIDE}").parse()?;
        let is_old = ours.and_then(|ours| ours.recorded.as_ref()).is_some_and(|recorded| recorded.kind == *kind);
        if seen.holds(kind) {
            self.step(Action::Keep, path, kind, Some("its mode or owner was changed here"));
        } else if is_old {
            self.step(Action::Keep, path, kind, Some("changed here, and the bundle's is the one it was before"));
            if self.known.get(&beside).is_some() && self.root.look(beside.as_str())? != Seen::Nothing {
                self.wanted.insert(beside.clone());
                self.record(beside, kind.clone(), None);
            }
        } else {
            let why = if ours.is_some() { "changed here" } else { "it was here before" };
            self.step(Action::Keep, path, kind, Some(why));
            match self.root.look(beside.as_str()) {
                Ok(there) if there.is(kind, self.owner) => {}
                Ok(there @ (Seen::Directory { .. } | Seen::Special)) => {
                    return self.obstacle(self.in_the_way(&beside, &there, "move it away"));
                }
                Ok(_) => {
                    let why = Some("the bundle's version, to be merged by hand");
                    let (action, kind, from) = (Action::Beside, kind.clone(), path.clone());
                    self.steps.push(Step { action, path: beside.clone(), kind, why, from });
                }
                Err(error) => return self.obstacle(error),
            }
            self.wanted.insert(beside.clone());
            self.record(beside, kind.clone(), None);
        }
        self.record(path.clone(), kind.clone(), Some(seen));
        Ok(())
    }

    /// What the bundle no longer has.
    fn remove(&mut self) -> Result<()> {
        let removal = Removal::new(self.root, &self.known, &self.wanted, false)?;
        self.steps.extend(removal.steps);
        self.obstacles.extend(removal.obstacles);
        // A directory of ours that others use by now stays ours, for the day when they are gone.
        for (path, mode) in removal.occupied {
            let kind = Kind::Directory { mode };
            self.files.insert(path.clone(), Installed { path, kind, implied: true, made: true, kept: None });
        }
        Ok(())
    }

    fn finish(mut self, bundle: &Verified, progress: &Progress) -> Result<Plan> {
        refuse_obstacles(self.obstacles, progress)?;
        self.steps.sort_by(|a, b| (&a.path, a.action).cmp(&(&b.path, b.action)));
        let record = Record {
            version: FORMAT,
            bundle: bundle.sha256(),
            kubernetes: bundle.manifest().kubernetes.clone(),
            epoch: bundle.manifest().epoch,
            owner: self.owner,
            mounts: self.root.crossed(),
            files: self.files.into_values().collect(),
        };
        Ok(Plan { steps: self.steps, record })
    }

    fn step(&mut self, action: Action, path: &OverlayPath, kind: &Kind, why: Option<&'static str>) {
        self.steps.push(Step { action, path: path.clone(), kind: kind.clone(), why, from: path.clone() });
    }

    fn record(&mut self, path: OverlayPath, kind: Kind, kept: Option<&Seen>) {
        let kept = kept.map(Seen::fingerprint);
        self.files.insert(path.clone(), Installed { path, kind, implied: false, made: false, kept });
    }

    fn in_the_way(&self, path: &OverlayPath, seen: &Seen, hint: &str) -> Error {
        self.root.refusal(path.as_str(), &format!("is in the way: {} that is not ours", seen.noun()), hint).into()
    }

    /// Goes on looking, so that all that is in the way is told at once; what is no refusal is an error right away.
    fn obstacle(&mut self, error: Error) -> Result<()> {
        if error.downcast_ref::<Failure>().is_none() {
            return Err(error);
        }
        self.obstacles.push(error);
        Ok(())
    }
}

/// The attribute that even root has to take away first.
pub(super) fn fixed(root: &Root, path: &OverlayPath) -> Error {
    let hint = format!("chattr -ia {}", root.show(path.as_str()));
    root.refusal(path.as_str(), "is immutable or append-only", &hint).into()
}

/// The first obstacle as the error, the others as warnings before it; each once.
pub(super) fn refuse_obstacles(obstacles: Vec<Error>, progress: &Progress) -> Result<()> {
    let mut told = BTreeSet::new();
    let mut obstacles = obstacles.into_iter().filter(|obstacle| told.insert(format!("{obstacle:#}")));
    let Some(first) = obstacles.next() else { return Ok(()) };
    for other in obstacles {
        progress.warn(&format!("{other:#}"));
    }
    Err(first)
}
