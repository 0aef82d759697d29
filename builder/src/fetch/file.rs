//! Bytes from a file: of a directory mirror, or of an artifact whose own URL is `file://`.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::cache::{Blob, Origin, Partial};
use super::http::Expected;
use super::problem::{Found, HEAD, Mismatch, Problem};
use crate::digest::Digest;
use crate::overlay::Content;

/// Copies a file into `partial`, once it has proven right: a bad file costs no byte that is already there.
pub(super) fn copy(path: &Path, partial: &Partial, pinned: Digest, expected: Expected) -> Result<Blob, Problem> {
    let (content, size) = open(path).map_err(|error| Problem::Refused(error.to_string()))?;
    if size > expected.limit {
        return Err(wrong(Found::TooLong { limit: expected.limit }, &content));
    }
    let (sha256, size) = Digest::of_reader(content.reader()).map_err(|error| Problem::Refused(error.to_string()))?;
    if sha256 != pinned {
        return Err(wrong(Found::Digest { sha256, size }, &content));
    }
    partial.restart()?;
    partial.append_all(content.reader())?;
    match partial.finish(Origin::File(path.to_owned()))? {
        Ok(blob) => Ok(blob),
        // It was replaced while we read it.
        Err(changed) => Err(wrong(Found::Digest { sha256: changed.found, size: changed.size }, &content)),
    }
}

fn open(path: &Path) -> io::Result<(Content, u64)> {
    // Asked before opening, for opening a pipe would wait for its other end.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    Ok((Content::File(Arc::new(File::open(path)?)), metadata.len()))
}

fn wrong(found: Found, content: &Content) -> Problem {
    let mut head = Vec::new();
    // What cannot be read now is not shown; that it is wrong is known already.
    drop(io::Read::read_to_end(&mut io::Read::take(content.reader(), HEAD as u64), &mut head));
    Problem::Wrong(Mismatch { found, head })
}
