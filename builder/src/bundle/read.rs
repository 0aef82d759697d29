//! Reads a bundle as a stream: manifest first, then one member after another, bounded in memory and size.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail};

use super::manifest::{MANIFEST_PATH, Manifest};
use crate::digest::{Digest, HashingReader};
use crate::failure::{Class, Failure};

/// The largest window that we (and stock zstd) decode.
const WINDOW_LOG_MAX: u32 = 27;

/// No manifest is larger.
const MAX_MANIFEST: u64 = 8 << 20;

type Archive = tar::Archive<zstd::Decoder<'static, BufReader<HashingReader<File>>>>;

/// A member of the archive.
pub type Member<'a> = tar::Entry<'a, zstd::Decoder<'static, BufReader<HashingReader<File>>>>;

/// A bundle whose manifest has been read.
#[derive(Debug)]
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Digest and length of the archive as read.
    pub archive: (Digest, u64),
}

impl Bundle {
    /// Reads the manifest only.
    ///
    /// # Errors
    /// When it is no bundle, or one of another format.
    pub fn manifest(path: &Path) -> Result<Manifest> {
        let mut archive = open(path)?;
        let mut members = archive.entries().map_err(|error| damaged(path, error))?;
        let first = members.next().ok_or_else(|| no_bundle(path, "the archive is empty"))?;
        parse_manifest(path, first.map_err(|error| damaged(path, error))?)
    }

    /// Reads the whole bundle once; `visit` sees every member after the manifest, in the archive's order.
    ///
    /// # Errors
    /// When it is no bundle, is damaged, or `visit` fails.
    pub fn walk(path: &Path, mut visit: impl FnMut(&Manifest, Member<'_>) -> Result<()>) -> Result<Self> {
        let mut archive = open(path)?;
        let mut manifest = None;
        for member in archive.entries().map_err(|error| damaged(path, error))? {
            let member = member.map_err(|error| damaged(path, error))?;
            match &manifest {
                None => manifest = Some(parse_manifest(path, member)?),
                Some(manifest) => visit(manifest, member)?,
            }
        }
        let manifest = manifest.ok_or_else(|| no_bundle(path, "the archive is empty"))?;

        // tar stops at its end mark: read on, so that what follows is decoded, checked and hashed too.
        let mut rest = archive.into_inner();
        let mut buffer = [0; 8192];
        loop {
            match rest.read(&mut buffer).map_err(|error| damaged(path, error))? {
                0 => break,
                n if buffer[..n].iter().any(|byte| *byte != 0) => {
                    bail!(no_bundle(path, "there is data after the end of the archive"));
                }
                _ => {}
            }
        }
        let mut compressed = rest.finish().into_inner();
        io::copy(&mut compressed, &mut io::sink()).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { manifest, archive: compressed.finish() })
    }
}

fn open(path: &Path) -> Result<Archive> {
    let file = File::open(path).with_context(|| format!("opening the bundle {}", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!(Failure::new(Class::Usage, format!("{} is a directory", path.display())).hint("name the bundle file"));
    }
    let mut decoder = zstd::Decoder::new(HashingReader::new(file))?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(tar::Archive::new(decoder))
}

fn parse_manifest(path: &Path, mut member: Member<'_>) -> Result<Manifest> {
    if member.path_bytes() != MANIFEST_PATH.as_bytes() {
        bail!(no_bundle(path, "its first member is not bundle.json"));
    }
    if member.size() > MAX_MANIFEST {
        bail!(no_bundle(path, "its bundle.json is larger than 8 MiB"));
    }
    let mut text = String::new();
    member.read_to_string(&mut text).map_err(|error| damaged(path, error))?;
    Manifest::parse(&text).with_context(|| {
        Failure::new(Class::BadBundle, format!("reading bundle.json of {}", path.display()))
            .hint("it was built by another version of flexnode-build, or changed afterwards: build it again")
    })
}

fn no_bundle(path: &Path, why: &str) -> Error {
    Failure::new(Class::BadBundle, format!("{} is no flexnode bundle: {why}", path.display()))
        .hint("bundles are made by `flexnode-build --k8s 1.30 -o bundle.tar.zst`")
        .into()
}

fn damaged(path: &Path, error: io::Error) -> Error {
    let failure = Failure::new(Class::BadBundle, format!("{} is damaged or no bundle", path.display()))
        .hint("compare it with its .sha256, copy it again or build it again");
    Error::new(error).context(failure)
}

/// The file that holds the digest of the bundle at `path`.
#[must_use]
pub fn digest_file_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
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
