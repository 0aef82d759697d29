//! The files that lie beside a bundle: its digest, its signature, and where it came from.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::atomic;

const SIGNATURE: &str = ".sig";
const SIGSTORE: &str = ".sigstore.json";
const PROVENANCE: &str = ".provenance.sigstore.json";

/// The file that holds the digest of the bundle at `path`.
#[must_use]
pub fn digest_file_of(path: &Path) -> PathBuf {
    beside(path, ".sha256")
}

/// The file that holds its signature, in base64, as `cosign --output-signature` writes it.
#[must_use]
pub fn signature_file_of(path: &Path) -> PathBuf {
    beside(path, SIGNATURE)
}

/// The file that holds its signature as a sigstore bundle.
#[must_use]
pub fn sigstore_file_of(path: &Path) -> PathBuf {
    beside(path, SIGSTORE)
}

/// The file that holds its signed provenance.
#[must_use]
pub fn provenance_file_of(path: &Path) -> PathBuf {
    beside(path, PROVENANCE)
}

/// Removes what was signed of the archive that was at `path` before.
///
/// # Errors
/// When something of it is there and stays.
pub(super) fn remove_signatures(path: &Path) -> Result<()> {
    [SIGNATURE, SIGSTORE, PROVENANCE].iter().try_for_each(|suffix| atomic::remove(&beside(path, suffix)))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
