//! Compares a bundle with its own manifest and its `.sha256`, and lists everything that is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::manifest::{Item, Kind, MANIFEST_PATH, Manifest};
use super::read::{Bundle, Member, recorded_digest};
use super::source::Source;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::overlay::Mode;
use crate::signing::Signed;

/// What verification found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Everything that is wrong, in the archive's order.
    pub problems: Vec<String>,
    /// Digest of the archive, when it could be read to its end.
    pub sha256: Option<Digest>,
    /// Whether a `.sha256` beside the archive named that digest.
    pub digest_file: bool,
    /// How many files were compared.
    pub files: usize,
    /// How many bytes they hold.
    pub bytes: u64,
    /// Fingerprint of the key that signed it, where that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Digest>,
}

/// Reads the whole bundle at `path` and compares.
///
/// # Errors
/// Only when it cannot be read at all; whatever is wrong with its content is in the report.
pub fn verify(path: &Path) -> Result<Report> {
    verify_source(&Source::open(path)?, None)
}

/// The same for a bundle that is already open; where its signature was checked before, it is compared with that, too.
///
/// # Errors
/// As above.
pub fn verify_source(source: &Source, signed: Option<&Signed>) -> Result<Report> {
    let mut report = examine(source)?.0;
    if let Some(signed) = signed {
        report.signed_by = Some(signed.key().fingerprint());
        if let Some(other) = report.sha256.filter(|sha256| *sha256 != signed.sha256()) {
            report.problems.push(format!("the archive has sha256 {other}, signed was {}", signed.sha256()));
            report.ok = false;
        }
    }
    Ok(report)
}

/// The report on `source`, with what was read of it if it could be read to its end.
pub(super) fn examine(source: &Source) -> Result<(Report, Option<Bundle>)> {
    let mut check = Check::default();
    let walked = Bundle::walk_source(source, |manifest, member| {
        check.member(manifest, member);
        Ok(())
    });
    let bundle = match walked {
        Ok(bundle) => Some(bundle),
        // A file that cannot be read is no finding about a bundle.
        Err(error) if error.downcast_ref::<Failure>().is_none() => return Err(error),
        Err(error) => {
            check.problems.push(format!("{error:#}"));
            None
        }
    };
    let recorded = match source.path().map(recorded_digest) {
        None => None,
        Some(Ok(recorded)) => recorded,
        Some(Err(error)) => {
            check.problems.push(format!("{error:#}"));
            None
        }
    };
    if let Some(bundle) = &bundle {
        check.missing(&bundle.manifest);
        check.nested(&bundle.manifest);
        let (actual, padding) = (bundle.archive.0, bundle.padding);
        if let Some(recorded) = recorded.filter(|recorded| *recorded != actual) {
            check.problems.push(format!("the archive has sha256 {actual}, its .sha256 says {recorded}"));
        } else if recorded.is_some() && padding > 0 {
            check.problems.push(format!("{padding} zero bytes follow the archive, its .sha256 knows nothing of them"));
        }
    }
    let report = Report {
        ok: check.problems.is_empty(),
        digest_file: recorded.is_some(),
        sha256: bundle.as_ref().map(|bundle| bundle.archive.0),
        problems: check.problems,
        files: check.files,
        bytes: check.bytes,
        signed_by: None,
    };
    Ok((report, bundle))
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
    seen: BTreeSet<Vec<u8>>,
    last: Vec<u8>,
    files: usize,
    bytes: u64,
}

impl Check {
    fn member(&mut self, manifest: &Manifest, mut member: Member<'_>) {
        let name = member.path_bytes().into_owned();
        let path = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        let shown = String::from_utf8_lossy(&path).escape_debug().to_string();
        if !self.seen.insert(path.clone()) || path == MANIFEST_PATH.as_bytes() {
            self.problems.push(format!("{shown}: is in the archive twice"));
            return;
        }
        if path < self.last {
            self.problems.push(format!("{shown}: is out of order"));
        }
        self.last.clone_from(&path);
        let listed = manifest.files.binary_search_by(|item| item.path.as_str().as_bytes().cmp(&path));
        let Ok(listed) = listed else {
            self.problems.push(format!("{shown}: is in the archive but not in bundle.json"));
            return;
        };
        if let Err(error) = self.compare(&manifest.files[listed], manifest.epoch, &mut member) {
            self.problems.push(format!("{shown}: cannot be read: {error}"));
        }
    }

    fn compare(&mut self, item: &Item, epoch: u64, member: &mut Member<'_>) -> std::io::Result<()> {
        let path = &item.path;
        let header = member.header();
        let (entry_type, mode, size) = match &item.kind {
            Kind::Directory { mode } => (tar::EntryType::Directory, *mode, 0),
            Kind::File { mode, size, .. } => (tar::EntryType::Regular, *mode, *size),
            Kind::Link { .. } => (tar::EntryType::Symlink, Mode::LINK, 0),
        };
        let mut problems = Vec::new();
        if header.entry_type() != entry_type {
            problems.push(format!("{path}: is a {:?}, should be a {entry_type:?}", header.entry_type()));
        }
        if header.mode()? != mode.bits() {
            problems.push(format!("{path}: has mode {:04o}, should have {mode}", header.mode()?));
        }
        if (header.uid()?, header.gid()?) != (0, 0) {
            problems.push(format!("{path}: belongs to {}:{}, should belong to 0:0", header.uid()?, header.gid()?));
        }
        if header.mtime()? != epoch {
            problems.push(format!("{path}: has time {}, should have {epoch}", header.mtime()?));
        }
        if member.size() != size {
            problems.push(format!("{path}: has {} bytes, should have {size}", member.size()));
        }
        match &item.kind {
            Kind::File { sha256, .. } => {
                let (actual, bytes) = Digest::of_reader(&mut *member)?;
                if actual != *sha256 {
                    problems.push(format!("{path}: has sha256 {actual}, should have {sha256}"));
                }
                self.files += 1;
                self.bytes += bytes;
            }
            Kind::Link { target } => {
                let actual = member.link_name_bytes().unwrap_or_default().into_owned();
                if actual != target.as_bytes() {
                    let actual = String::from_utf8_lossy(&actual).escape_debug().to_string();
                    problems.push(format!("{path}: points to {actual}, should point to {target}"));
                }
            }
            Kind::Directory { .. } => {}
        }
        self.problems.append(&mut problems);
        Ok(())
    }

    fn missing(&mut self, manifest: &Manifest) {
        let missing = manifest.files.iter().filter(|item| !self.seen.contains(item.path.as_str().as_bytes()));
        self.problems.extend(missing.map(|item| format!("{}: is in bundle.json but not in the archive", item.path)));
    }
    /// tar would follow a link of the bundle's own, and put what lies below it anywhere.
    fn nested(&mut self, manifest: &Manifest) {
        for item in &manifest.files {
            let is_file = |path: &str| {
                let found = manifest.files.binary_search_by(|item| item.path.as_str().cmp(path));
                found.is_ok_and(|at| !matches!(manifest.files[at].kind, Kind::Directory { .. }))
            };
            if let Some(above) = item.path.ancestors().find(|above| is_file(above) || *above == MANIFEST_PATH) {
                self.problems.push(format!("{}: lies below {above}, which is no directory", item.path));
            }
        }
    }
}
