//! Writes what was fetched as a mirror: what an air-gapped builder takes along.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;

use super::cache::Blob;
use super::mirror::{path_below, redacted};
use crate::artifact::Artifact;
use crate::digest::{Digest, HashingWriter};
use crate::failure::{Class, Failure};

/// What was done for a mirror.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    /// Files that were written, because they were missing or wrong.
    pub written: usize,
    /// Files that were there and right.
    pub kept: usize,
    /// Artifacts with a `file://` URL, which has no place below a mirror.
    pub local: usize,
}

/// Writes each artifact to `dir/<upstream's host>/<path>`; `blobs` are those that [`super::fetch`] gave for `artifacts`.
///
/// Each file appears complete or not at all, and a right one that is there is kept after its digest was computed.
///
/// # Errors
/// [`Class::Local`] when `dir` cannot be written.
pub fn mirror_to(artifacts: &[Artifact], blobs: &[Blob], dir: &Path) -> Result<Mirrored> {
    ensure!(artifacts.len() == blobs.len(), "{} artifacts and {} blobs do not pair", artifacts.len(), blobs.len());
    let mut done = Mirrored::default();
    for (artifact, blob) in artifacts.iter().zip(blobs) {
        let url = Url::parse(&artifact.url).context("read an artifact's URL")?;
        if url.scheme() == "file" {
            done.local += 1;
            continue;
        }
        let below = path_below(&url).ok_or_else(|| {
            let message = format!("{} has no path that a mirror could use", redacted(&url));
            Failure::new(Class::Usage, message).hint("leave that component out, or give it a plain URL")
        })?;
        let path = dir.join(below);
        let refuse = |error: io::Error| {
            Failure::new(Class::Local, format!("cannot write the mirror's {}: {error}", path.display()))
                .hint("name a directory that you may write and that has room with --mirror-to DIR")
        };
        if holds(&path, blob.sha256()).map_err(refuse)? {
            done.kept += 1;
        } else {
            write(blob, &path).map_err(refuse)?;
            done.written += 1;
        }
    }
    Ok(done)
}

fn holds(path: &Path, sha256: Digest) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Digest::of_reader(File::open(path)?)?.0 == sha256),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A temporary file in the same directory, the content, fsync, rename, fsync of the directory.
fn write(blob: &Blob, path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(parent)?;
    let mut writer = HashingWriter::new(temporary);
    io::copy(&mut blob.content().reader(), &mut writer)?;
    let (temporary, sha256, _) = writer.finish();
    if sha256 != blob.sha256() {
        return Err(io::Error::other("the cache entry changed while it was copied"));
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    File::open(parent)?.sync_all()
}
