//! Compares a root with the record of what was installed in it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};
use rustix::fs::fstat;
use semver::Version;
use serde::Serialize;

use super::entrance::Root;
use super::plan::{is_beside, is_configuration};
use super::record::{Installed, Owner, Record};
use super::remove::open;
use super::seen::Seen;
use super::state;
use crate::bundle::Kind;
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// What the comparison found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether all is as it was installed.
    pub ok: bool,
    /// Digest of the bundle that was applied.
    pub bundle: Digest,
    /// Its Kubernetes version.
    pub kubernetes: Version,
    /// How many files and links were compared.
    pub files: usize,
    /// Everything that is not as it was installed, sorted by path.
    pub findings: Vec<Finding>,
    /// What the operator changed and apply left: no reason for alarm.
    pub notes: Vec<Finding>,
}

/// One difference.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Where.
    pub path: String,
    /// Which.
    pub problem: Problem,
    /// In words.
    pub detail: String,
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Problem {
    /// It is not there.
    Missing,
    /// Its content, or a link's target, is another.
    Changed,
    /// Its permission bits are others.
    Mode,
    /// It belongs to somebody else.
    Owner,
    /// It is something else: a link, a mount, a directory.
    Kind,
    /// Nobody installed it, in a directory that is the bundle's alone.
    Extra,
    /// An apply was interrupted.
    Interrupted,
    /// The operator's version was there when the bundle was applied, and was left.
    Kept,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Kind => "kind",
            Self::Extra => "extra",
            Self::Interrupted => "interrupted",
            Self::Kept => "kept",
        })
    }
}

/// Compares the root at `path`.
///
/// # Errors
/// When nothing was applied there, or the record is damaged.
pub fn verify(path: &Path, cross_mounts: bool) -> Result<Report> {
    let (root, state) = open(path, cross_mounts, false)?;
    let mut check = Check { root: &root, findings: Vec::new(), notes: Vec::new() };
    if state.journal.is_some() {
        check.find(state::JOURNAL, Problem::Interrupted, "an apply was interrupted, run it again");
    }
    let Some(record) = &state.record else {
        let why = if state.journal.is_some() { "an apply was interrupted" } else { "no bundle was applied" };
        bail!(
            Failure::new(Class::Local, format!("there is no record in {}: {why}", root.show("")))
                .hint("flexnode-build apply BUNDLE --root DIR, which takes what tar has unpacked for its own")
        );
    };
    for file in &record.files {
        check.installed(file, record)?;
    }
    check.extra(record)?;
    let Check { mut findings, notes, .. } = check;
    findings.sort_by(|a, b| a.path.cmp(&b.path));
    let files = record.files.iter().filter(|file| !matches!(file.kind, Kind::Directory { .. })).count();
    let (bundle, kubernetes) = (record.bundle, record.kubernetes.clone());
    Ok(Report { ok: findings.is_empty(), bundle, kubernetes, files, findings, notes })
}

struct Check<'a> {
    root: &'a Root,
    findings: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Check<'_> {
    fn installed(&mut self, file: &Installed, record: &Record) -> Result<()> {
        let path = file.path.as_str();
        let compared = match &file.kind {
            Kind::Directory { .. } => self.directory(file, record),
            Kind::File { .. } | Kind::Link { .. } => self.file(file, record),
        };
        match compared {
            // The way is blocked: that is a finding, and says by what.
            Err(error) if error.downcast_ref::<Failure>().is_some() => {
                self.find(path, Problem::Kind, format!("{error:#}"));
                Ok(())
            }
            compared => compared,
        }
    }

    fn directory(&mut self, file: &Installed, record: &Record) -> Result<()> {
        let (path, Kind::Directory { mode }) = (file.path.as_str(), &file.kind) else { return Ok(()) };
        let Some(there) = self.root.directory(path)? else {
            self.find(path, Problem::Missing, "it is not there");
            return Ok(());
        };
        let stat = fstat(&there)?;
        // One that was there before has the mode that it had.
        if file.made {
            self.mode(path, stat.st_mode & 0o7777, mode.bits());
            let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
            self.owner(path, owner, record);
        }
        Ok(())
    }

    fn file(&mut self, file: &Installed, record: &Record) -> Result<()> {
        let (path, kind) = (file.path.as_str(), &file.kind);
        let seen = self.root.look(path)?;
        if seen.is(kind, record.owner) {
            return Ok(());
        }
        if is_beside(path) {
            // It is there to be merged, edited and removed.
            return Ok(());
        }
        if file.kept.is_some_and(|kept| kept == seen.fingerprint()) {
            let detail = "the operator's, left when the bundle was applied".to_owned();
            self.notes.push(Finding { path: path.to_owned(), problem: Problem::Kept, detail });
            return Ok(());
        }
        match (&seen, kind) {
            (Seen::Nothing, _) => self.find(path, Problem::Missing, "it is not there"),
            (Seen::File { .. }, Kind::File { .. }) | (Seen::Link { .. }, Kind::Link { .. }) => {
                if !seen.holds(kind) {
                    self.find(path, Problem::Changed, difference(&seen, kind));
                }
                if let (Seen::File { mode, .. }, Kind::File { mode: wanted, .. }) = (&seen, kind) {
                    self.mode(path, *mode, wanted.bits());
                }
                if let Some(owner) = seen.owner() {
                    self.owner(path, owner, record);
                }
            }
            _ => self.find(path, Problem::Kind, format!("it is {}", seen.noun())),
        }
        Ok(())
    }

    /// In directories that are the bundle's and were not there before; where nodes keep their configuration and state,
    /// and in those of the distribution, others write too.
    fn extra(&mut self, record: &Record) -> Result<()> {
        let known: BTreeSet<&str> = record.files.iter().map(|file| file.path.as_str()).collect();
        let ours = record
            .files
            .iter()
            .filter(|file| file.made && !file.implied && matches!(file.kind, Kind::Directory { .. }));
        for directory in ours.map(|file| file.path.as_str()).filter(|path| !is_configuration(path)) {
            // One that is blocked or missing was found already.
            let Ok(Some(names)) = self.root.names(directory) else { continue };
            for name in names {
                let path = format!("{directory}/{name}");
                if !known.contains(path.as_str()) {
                    self.find(&path, Problem::Extra, "nobody installed it");
                }
            }
        }
        Ok(())
    }

    fn mode(&mut self, path: &str, is: u32, should: u32) {
        if is != should {
            self.find(path, Problem::Mode, format!("it has mode {is:04o}, should have {should:04o}"));
        }
    }

    fn owner(&mut self, path: &str, is: Owner, record: &Record) {
        if is != record.owner {
            self.find(path, Problem::Owner, format!("it belongs to {is}, should belong to {}", record.owner));
        }
    }

    fn find(&mut self, path: &str, problem: Problem, detail: impl Into<String>) {
        self.findings.push(Finding { path: path.to_owned(), problem, detail: detail.into() });
    }
}

fn difference(seen: &Seen, kind: &Kind) -> String {
    match (seen, kind) {
        (Seen::File { size, .. }, Kind::File { size: wanted, .. }) if size != wanted => {
            format!("it has {size} bytes, should have {wanted}")
        }
        (Seen::File { sha256, .. }, Kind::File { sha256: wanted, .. }) => {
            format!("it has sha256 {}, should have {}", sha256.short(), wanted.short())
        }
        (Seen::Link { target, .. }, Kind::Link { target: wanted }) => {
            format!("it points to {}, should point to {wanted}", String::from_utf8_lossy(target).escape_debug())
        }
        _ => "it is another".to_owned(),
    }
}
