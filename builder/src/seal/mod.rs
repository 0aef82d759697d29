//! `seal`: is this root fit to become a golden image? What belongs to one machine, or is a secret, must not be cloned.

mod arc;
mod containers;
mod glob;
mod iscsi;
mod machine_id;
mod node_config;
mod traces;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Serialize, Serializer};

use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

/// What one machine, or a person, left behind.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// What it is; never changes, for machines.
    pub name: &'static str,
    /// Why it must not be cloned.
    pub why: &'static str,
    /// Where it is on the node.
    #[serde(serialize_with = "as_text")]
    pub paths: Vec<PathBuf>,
    /// The command, or what to do where there is none.
    pub cure: String,
    /// Why clearing left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    #[serde(skip)]
    clearing: Clearing,
}

/// How a trace goes away.
#[derive(Debug, Clone)]
enum Clearing {
    /// With all that is in it.
    Remove,
    /// The file stays, with these bytes.
    Replace(Vec<u8>),
    /// Only a person knows how; why.
    ByHand(&'static str),
}

/// What clearing did.
#[derive(Debug)]
pub struct Cleared {
    /// What is gone or empty now, in order.
    pub paths: Vec<PathBuf>,
    /// What is still there, and why.
    pub left: Vec<Trace>,
}

/// All traces in `root`, in the same order every time; secrets at the paths `allowed` are meant to be there.
///
/// # Errors
/// When the root cannot be looked at.
pub fn look(root: &ImageRoot, allowed: &[PathBuf]) -> Result<Vec<Trace>> {
    let shell = Shell::new(root.path());
    let mut traces = Vec::new();
    traces.extend(machine_id::look(root, &shell)?);
    traces.extend(arc::look(root, &shell)?);
    traces.extend(node_config::look(root, &shell)?);
    traces.extend(traces::look(root, &shell)?);
    traces.extend(iscsi::look(root, &shell)?);
    traces.extend(containers::look(root, &shell)?);
    for trace in &mut traces {
        trace.paths.retain(|path| !allowed.contains(path));
        let astray = !trace.paths.iter().all(|path| root.is_straight(path));
        if astray && matches!(trace.clearing, Clearing::Remove) {
            trace.cure = shell.with_paths_inside("rm -rf", &trace.paths);
        }
    }
    traces.retain(|trace| !trace.paths.is_empty());
    Ok(traces)
}

/// Clears the traces in `root`, and looks again. Killed and run again, it completes.
///
/// # Errors
/// When the root cannot be looked at or synced; what cannot be cleared is in the result.
pub fn clear(root: &ImageRoot, allowed: &[PathBuf]) -> Result<Cleared> {
    let mut due = Vec::new();
    for trace in look(root, allowed)? {
        due.extend(trace.paths.into_iter().map(|path| (path, trace.clearing.clone())));
    }
    // A link is only removed once it leads nowhere, which it may after what it leads to has gone.
    due.sort_by_key(|(path, _)| matches!(root.found_itself(path), Ok(Some(Found::Link))));
    let mut paths = Vec::new();
    let mut reasons = BTreeMap::new();
    for (path, clearing) in due {
        match clear_one(root, &path, &clearing) {
            Ok(true) => paths.push(path),
            // It went with another one.
            Ok(false) => {}
            Err(error) => {
                reasons.insert(path, error.to_string());
            }
        }
    }
    root.sync().with_context(|| format!("syncing {}", root.path().display()))?;
    let mut left = look(root, allowed)?;
    for trace in &mut left {
        trace.left = trace.paths.iter().find_map(|path| reasons.get(path).cloned());
    }
    Ok(Cleared { paths, left })
}

/// Tells whether there was anything.
fn clear_one(root: &ImageRoot, path: &Path, clearing: &Clearing) -> io::Result<bool> {
    match clearing {
        Clearing::ByHand(why) => Err(io::Error::other(*why)),
        Clearing::Replace(bytes) => root.replace(path, bytes).map(|()| true),
        Clearing::Remove => match root.found_itself(path)? {
            // The link would go and what it leads to would stay.
            Some(Found::Link) if matches!(root.found(path)?, Some(Found::File { .. })) => {
                Err(io::Error::other("it is a link; remove what it leads to first"))
            }
            _ => root.remove(path),
        },
    }
}

impl Trace {
    /// `paths` are relative to the root.
    fn new(name: &'static str, why: &'static str, paths: Vec<PathBuf>, shell: &Shell) -> Self {
        // A command of twenty names is none that anybody reads.
        let cure = if paths.len() <= 4 {
            shell.with_paths("rm -rf", &paths)
        } else {
            format!("flexnode-build seal --root {} --fix", shell.root())
        };
        let paths = paths.into_iter().map(|path| Path::new("/").join(path)).collect();
        Self { name, why, paths, cure, left: None, clearing: Clearing::Remove }
    }

    fn cleared_by(mut self, clearing: Clearing, cure: impl Into<String>) -> Self {
        self.clearing = clearing;
        self.cure = cure.into();
        self
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let shown: Vec<_> = self.paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
        write!(f, "error: {}: {}: {}", self.name, self.why, shown.join(", "))?;
        if self.paths.len() > SHOWN {
            write!(f, " and {} more", self.paths.len() - SHOWN)?;
        }
        if let Some(left) = &self.left {
            write!(f, " (left alone: {left})")?;
        }
        write!(f, "\nhint: {}", self.cure)
    }
}

/// Names that are no UTF-8 are shown as well as they can be.
fn as_text<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// What cannot be looked at must not pass for absent.
fn seen<T>(root: &ImageRoot, path: &Path, looked: io::Result<T>) -> Result<T> {
    looked.with_context(|| format!("looking at {}", root.path().join(path.strip_prefix("/").unwrap_or(path)).display()))
}
