//! Files that appear whole or not at all: written beside their place, synced, renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

/// A file beside `path`, to be filled and then given to [`publish`].
///
/// # Errors
/// When the directory cannot be written.
pub fn beside(path: &Path) -> io::Result<NamedTempFile> {
    // A result is for everybody whom the umask lets in, not private like a temporary file.
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".flexnode-")
        .suffix(".partial")
        .permissions(permissions)
        .tempfile_in(directory(path))
}

/// Makes a finished file appear at `path`.
///
/// # Errors
/// When it cannot be synced or renamed; nothing is left behind then.
pub fn publish(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().with_context(|| format!("syncing {}", path.display()))?;
    file.persist(path).map_err(|failed| failed.error).with_context(|| format!("renaming to {}", path.display()))?;
    File::open(directory(path))
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("syncing the directory of {}", path.display()))
}

/// Writes `bytes` to `path` atomically.
///
/// # Errors
/// When the file cannot be written; what was there before stays.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = beside(path)?;
    file.write_all(bytes)?;
    publish(file, path)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
