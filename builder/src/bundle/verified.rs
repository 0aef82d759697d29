//! A bundle that was verified to its last byte: the only thing that can be applied.

use std::collections::BTreeSet;
use std::io::{self, Read};

use anyhow::{Result, bail};

use super::manifest::{Item, Kind, MANIFEST_PATH, Manifest};
use super::read::Bundle;
use super::source::Source;
use super::verify::examine;
use crate::digest::{Digest, HashingReader};
use crate::failure::{Class, Failure};
use crate::overlay::{Mode, OverlayPath};
use crate::progress::Progress;
use crate::signing::{PublicKey, Signed};

/// A whole bundle. Nothing but [`Verified::verify`] makes one.
#[derive(Debug)]
pub struct Verified {
    source: Source,
    manifest: Manifest,
    json: String,
    items: Vec<Item>,
    sha256: Digest,
    digest_file: bool,
    signed_by: Option<PublicKey>,
}

impl Verified {
    /// Reads all of `source` and compares it with its own manifest, and with the `.sha256` beside it where there is one.
    ///
    /// # Errors
    /// When anything is wrong with it; each finding is told to `progress`.
    pub fn verify(source: Source, progress: &Progress) -> Result<Self> {
        let (report, bundle) = examine(&source)?;
        let Some(bundle) = bundle.filter(|_| report.ok) else {
            let (count, name) = (report.problems.len(), source.name());
            let problems = if count == 1 { "problem" } else { "problems" };
            for problem in &report.problems {
                progress.warn(problem);
            }
            bail!(
                Failure::new(Class::BadBundle, format!("{name} has {count} {problems}, nothing was changed"))
                    .hint("copy it again from where it was built, or build it again")
            );
        };
        let mut items = bundle.manifest.files.clone();
        let size = bundle.json.len() as u64;
        let kind = Kind::File { mode: Mode::FILE, size, sha256: Digest::of(bundle.json.as_bytes()), component: None };
        let own = Item { path: MANIFEST_PATH.parse()?, kind };
        let at = items.partition_point(|item| item.path < own.path);
        items.insert(at, own);
        let (sha256, _) = bundle.archive;
        let digest_file = report.digest_file;
        let (manifest, json) = (bundle.manifest, bundle.json);
        Ok(Self { source, manifest, json, items, sha256, digest_file, signed_by: None })
    }

    /// The same for a bundle whose signature was checked before a byte of it was unpacked.
    ///
    /// # Errors
    /// As above, and when it is by now another one than was signed.
    pub fn verify_signed(source: Source, signed: Signed, progress: &Progress) -> Result<Self> {
        let mut verified = Self::verify(source, progress)?;
        if signed.sha256() != verified.sha256 {
            return Err(verified.changed());
        }
        verified.signed_by = Some(signed.into_key());
        Ok(verified)
    }

    /// Who signed it, where that was checked.
    #[must_use]
    pub fn signed_by(&self) -> Option<&PublicKey> {
        self.signed_by.as_ref()
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every member, bundle.json among them, sorted by path.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The archive's digest.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Whether a `.sha256` beside it named that digest.
    #[must_use]
    pub fn digest_file(&self) -> bool {
        self.digest_file
    }

    /// Reads the bundle again, through the same open file, and gives the content of each file in `wanted` to `write`.
    /// Whatever `write` made of it counts only if this succeeds: the bundle may have changed since it was verified.
    ///
    /// # Errors
    /// When a byte is not what was verified, or `write` fails.
    pub fn unpack(
        &self,
        wanted: &BTreeSet<&OverlayPath>,
        mut write: impl FnMut(&Item, &mut dyn Read) -> Result<()>,
    ) -> Result<()> {
        let bundle = Bundle::walk_source(&self.source, |_, member| {
            let name = member.path_bytes().into_owned();
            let at = self.items.binary_search_by(|item| item.path.as_str().as_bytes().cmp(&name));
            let Some(item) = at.ok().map(|at| &self.items[at]).filter(|item| wanted.contains(&item.path)) else {
                return Ok(());
            };
            let Kind::File { size, sha256, .. } = item.kind else { return Ok(()) };
            let mut content = HashingReader::new(member.take(size));
            write(item, &mut content)?;
            io::copy(&mut content, &mut io::sink())?;
            if content.finish() != (sha256, size) { Err(self.changed()) } else { Ok(()) }
        })?;
        if bundle.archive.0 != self.sha256 {
            return Err(self.changed());
        }
        let own = self.items.iter().find(|item| item.path.as_str() == MANIFEST_PATH);
        own.filter(|own| wanted.contains(&own.path)).map_or(Ok(()), |own| write(own, &mut self.json.as_bytes()))
    }

    fn changed(&self) -> anyhow::Error {
        Failure::new(Class::BadBundle, format!("{} changed while it was read", self.name()))
            .hint("apply it again when nobody writes to it")
            .into()
    }
}
