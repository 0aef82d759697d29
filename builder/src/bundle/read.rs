//! Reads a bundle as a stream: manifest first, then one member after another, bounded in memory and size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Error, Result, bail};

use super::ahead::Ahead;
use super::beside::digest_file_of;
use super::frames::Frames;
use super::manifest::{Kind, MANIFEST_PATH, Manifest};
use super::source::Source;
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// No manifest is larger.
const MAX_MANIFEST: u64 = 8 << 20;

/// A member of the archive.
pub type Member<'a> = tar::Entry<'a, Ahead<Frames>>;

/// A bundle whose manifest has been read.
#[derive(Debug)]
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its bundle.json as it is in the archive.
    pub json: String,
    /// Digest and length of the archive as read.
    pub archive: (Digest, u64),
    /// How many zero bytes follow the archive, as they do on a device.
    pub padding: u64,
}

impl Bundle {
    /// Reads the manifest only.
    ///
    /// # Errors
    /// When it is no bundle, or one of another format.
    pub fn manifest(path: &Path) -> Result<Manifest> {
        let source = Source::open(path)?;
        let mut archive = tar::Archive::new(Ahead::new(Frames::new(source.reader())?));
        let mut members = archive.entries().map_err(|error| damaged(&source, error))?;
        let first = members.next().ok_or_else(|| no_bundle(&source, "the archive is empty"))?;
        Ok(parse_manifest(&source, first.map_err(|error| damaged(&source, error))?)?.0)
    }

    /// The content of one file of the bundle, which must be what the manifest says and no longer than `limit`; nothing
    /// if the bundle has no such file.
    ///
    /// # Errors
    /// When it is no bundle, is damaged, or the file is not what the manifest says.
    pub fn file(path: &Path, wanted: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let source = Source::open(path)?;
        let mut archive = tar::Archive::new(Ahead::new(Frames::new(source.reader())?));
        let mut expected = None;
        for member in archive.entries().map_err(|error| damaged(&source, error))? {
            let member = member.map_err(|error| damaged(&source, error))?;
            let Some((size, sha256)) = expected else {
                let (manifest, _) = parse_manifest(&source, member)?;
                let item = manifest.files.into_iter().find(|item| item.path.as_str() == wanted);
                let Some(Kind::File { size, sha256, .. }) = item.map(|item| item.kind) else { return Ok(None) };
                expected = Some((size, sha256));
                continue;
            };
            if member.path_bytes() == wanted.as_bytes() {
                let mut content = Vec::new();
                member.take(limit + 1).read_to_end(&mut content).map_err(|error| damaged(&source, error))?;
                if content.len() as u64 > limit || (content.len() as u64, Digest::of(&content)) != (size, sha256) {
                    bail!(no_bundle(&source, &format!("its {wanted} is not what its bundle.json says, or too large")));
                }
                return Ok(Some(content));
            }
        }
        Err(no_bundle(&source, &format!("it lacks {wanted}, which its bundle.json lists")))
    }

    /// Reads the whole bundle once; `visit` sees every member after the manifest, in the archive's order.
    ///
    /// # Errors
    /// When it is no bundle, is damaged, or `visit` fails.
    pub fn walk(path: &Path, visit: impl FnMut(&Manifest, Member<'_>) -> Result<()>) -> Result<Self> {
        Self::walk_source(&Source::open(path)?, visit)
    }

    /// The same for a bundle that is already open.
    ///
    /// # Errors
    /// As above.
    pub fn walk_source(source: &Source, mut visit: impl FnMut(&Manifest, Member<'_>) -> Result<()>) -> Result<Self> {
        let mut archive = tar::Archive::new(Ahead::new(Frames::new(source.reader())?));
        let mut first = None;
        for member in archive.entries().map_err(|error| damaged(source, error))? {
            let member = member.map_err(|error| damaged(source, error))?;
            match &first {
                None => first = Some(parse_manifest(source, member)?),
                Some((manifest, _)) => visit(manifest, member)?,
            }
        }
        let (manifest, json) = first.ok_or_else(|| no_bundle(source, "the archive is empty"))?;

        // tar stops at its end mark: read on, so that what follows is decoded, checked and hashed too.
        let mut rest = archive.into_inner();
        let mut buffer = [0; 8192];
        loop {
            match rest.read(&mut buffer).map_err(|error| damaged(source, error))? {
                0 => break,
                n if buffer[..n].iter().any(|byte| *byte != 0) => {
                    bail!(no_bundle(source, "there is data after the end of the archive"));
                }
                _ => {}
            }
        }
        let (archive, padding) = rest.finish().and_then(Frames::finish).map_err(|error| damaged(source, error))?;
        Ok(Self { manifest, json, archive, padding })
    }
}

fn parse_manifest(source: &Source, mut member: Member<'_>) -> Result<(Manifest, String)> {
    if member.path_bytes() != MANIFEST_PATH.as_bytes() {
        bail!(no_bundle(source, "its first member is not bundle.json"));
    }
    if member.size() > MAX_MANIFEST {
        bail!(no_bundle(source, "its bundle.json is larger than 8 MiB"));
    }
    let mut text = String::new();
    member.read_to_string(&mut text).map_err(|error| damaged(source, error))?;
    let manifest = Manifest::parse(&text).with_context(|| {
        Failure::new(Class::BadBundle, format!("reading bundle.json of {}", source.name()))
            .hint("it was built by another version of flexnode-build, or changed afterwards: build it again")
    })?;
    Ok((manifest, text))
}

fn no_bundle(source: &Source, why: &str) -> Error {
    Failure::new(Class::BadBundle, format!("{} is no flexnode bundle: {why}", source.name()))
        .hint("bundles are made by `flexnode-build --k8s 1.30 -o bundle.tar.zst`")
        .into()
}

fn damaged(source: &Source, error: io::Error) -> Error {
    let failure = Failure::new(Class::BadBundle, format!("{} is damaged or no bundle", source.name()))
        .hint("compare it with its .sha256, copy it again or build it again");
    Error::new(error).context(failure)
}

/// The line that `sha256sum -c` checks.
pub(super) fn digest_line(sha256: Digest, path: &Path) -> String {
    format!("{sha256}  {}\n", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The digest that the file beside the bundle at `path` names, if there is such a file.
pub(super) fn recorded_digest(path: &Path) -> Result<Option<Digest>> {
    let digest_file = digest_file_of(path);
    let file = match File::open(&digest_file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", digest_file.display())),
    };
    let mut line = Vec::new();
    file.take(4096).read_to_end(&mut line).with_context(|| format!("reading {}", digest_file.display()))?;
    let digest = line.get(..64).filter(|_| line.get(64..66) == Some(b"  ")).and_then(|hex| str::from_utf8(hex).ok());
    let digest = digest.and_then(|hex| hex.parse().ok()).filter(|digest| line == digest_line(*digest, path).as_bytes());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => bail!(
            "{} is not the line `sha256  {}`",
            digest_file.display(),
            path.file_name().unwrap_or_default().to_string_lossy()
        ),
    }
}
