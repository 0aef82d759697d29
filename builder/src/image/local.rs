//! An image that lies on this machine: the blobs of an OCI image layout, as a directory or in a tar archive.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use reqwest::Url;
use tempfile::TempDir;

use super::document::refusal;
use super::reference::Reference;
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// No archive of an image has more; what it holds is checked blob by blob.
const LARGEST_ARCHIVE: u64 = 64 << 30;

/// An image layout whose blobs are files. Each is verified when it is fetched from here, as from anywhere.
#[derive(Debug)]
pub(super) struct Layout {
    blobs: PathBuf,
    said: String,
    _unpacked: Option<TempDir>,
}

impl Layout {
    /// Opens a directory, or unpacks an archive's blobs below `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self> {
        let said = path.display().to_string();
        let kind = fs::metadata(path).map_err(|error| {
            Failure::new(Class::Usage, format!("cannot read the image layout {said}: {error}"))
                .hint("`from` names an OCI image layout: its directory, or a tar archive of it")
        })?;
        if kind.is_dir() {
            if !path.join("oci-layout").is_file() {
                return Err(no_layout(&said, "it has no file `oci-layout`").into());
            }
            let root = fs::canonicalize(path).with_context(|| format!("open the image layout {said}"))?;
            return Ok(Self { blobs: root.join("blobs/sha256"), said, _unpacked: None });
        }
        let unpacked = tempfile::tempdir_in(scratch).context("create a folder for an image's blobs")?;
        unpack(path, unpacked.path())?;
        Ok(Self { blobs: unpacked.path().to_owned(), said, _unpacked: Some(unpacked) })
    }

    /// Where a blob is, as a URL.
    pub(super) fn url(&self, digest: Digest, what: &str, reference: &Reference) -> Result<String> {
        let path = self.blobs.join(digest.to_string());
        if !path.is_file() {
            let why = format!("its {what} sha256:{digest} is not in {}", self.said);
            return Err(refusal(&reference.label(), &why)
                .hint("copy the image again, with all of its layers: `skopeo copy docker://… oci:DIR`")
                .into());
        }
        Url::from_file_path(&path).map(String::from).map_err(|()| no_layout(&self.said, "its path has no URL").into())
    }
}

/// Takes the blobs out of an archive, under their digests and no other names.
fn unpack(archive: &Path, to: &Path) -> Result<()> {
    let said = archive.display().to_string();
    let broken = |error: std::io::Error| no_layout(&said, &format!("it cannot be read as a tar archive: {error}"));
    let file = File::open(archive).with_context(|| format!("open {said}"))?;
    let mut archive = tar::Archive::new(BufReader::new(file.take(LARGEST_ARCHIVE)));
    let (mut is_layout, mut seen) = (false, HashSet::new());
    for member in archive.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        is_layout |= name == "oci-layout";
        let Some(digest) = name.strip_prefix("blobs/sha256/").and_then(|hex| hex.parse::<Digest>().ok()) else {
            // Docker's own files lie beside the layout's; none of them is needed.
            continue;
        };
        if !member.header().entry_type().is_file() {
            bail!(no_layout(&said, &format!("its blob {digest} is no file")));
        }
        if !seen.insert(digest) {
            bail!(no_layout(&said, &format!("it holds the blob {digest} twice")));
        }
        let mut blob = File::create_new(to.join(digest.to_string())).context("create a file for an image's blob")?;
        std::io::copy(&mut member, &mut blob).map_err(broken)?;
    }
    if is_layout { Ok(()) } else { Err(no_layout(&said, "it has no member `oci-layout`").into()) }
}

fn no_layout(said: &str, why: &str) -> Failure {
    Failure::new(Class::Verification, format!("{said} is no OCI image layout: {why}"))
        .hint("write one with `skopeo copy docker://… oci:DIR` or `docker save` (25 or later), uncompressed")
}
