//! Files that appear whole or not at all: written beside their place, synced, renamed, the directory synced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::crash;

/// Writes `bytes` to `path` with `mode`. A killed run leaves `.NAME.partial` behind, which the next one replaces.
/// There is one writer: the join holds a lock.
///
/// # Errors
/// When it cannot be written; what was there before stays.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let partial = partial_of(path);
    let write = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Created with its mode, so that a secret is at no time readable by others; set again against the umask.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        crash::point();
        file.write_all(bytes)?;
        file.sync_all()?;
        crash::point();
        fs::rename(&partial, path)?;
        crash::point();
        sync_directory_of(path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Writes `bytes` unless the file has them, and `mode`, already; tells whether it wrote. Durable either way: a run that
/// was killed may have renamed the file and not synced it.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn ensure(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let same = holds(path, bytes, mode)?;
    if same {
        sync_directory_of(path).with_context(|| format!("syncing {}", path.display()))?;
    } else {
        write(path, bytes, mode)?;
    }
    Ok(!same)
}

/// Whether the file has these bytes and this mode.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn holds(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let Some(found) = read(path)? else { return Ok(false) };
    let metadata = fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(found == bytes && metadata.is_file() && metadata.permissions().mode() & 0o7777 == mode)
}

/// The file's bytes, if it is there.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Removes `path` and what a killed run left of it, durably; that neither is there is fine.
///
/// # Errors
/// When one is there and stays.
pub(crate) fn remove(path: &Path) -> Result<()> {
    for path in [partial_of(path), path.to_owned()] {
        match fs::remove_file(&path) {
            Ok(()) => sync_directory_of(&path).with_context(|| format!("removing {}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("removing {}", path.display())),
        }
    }
    Ok(())
}

/// Gives a file another name in its directory, durably; what had that name is replaced.
///
/// # Errors
/// When it is not there or cannot be renamed.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    crash::point();
    let renamed = fs::rename(from, to);
    crash::point();
    renamed.and_then(|()| sync_directory_of(to)).with_context(|| format!("renaming {}", from.display()))
}

/// Makes sure that a directory is there, durably; where it is not, it gets `mode`, and so do its missing parents.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        directory(parent, mode)?;
    }
    let made = DirBuilder::new().mode(mode).create(path);
    // A file synced in a directory that its parent does not know yet would be lost with it.
    made.and_then(|()| sync_directory_of(path)).with_context(|| format!("creating {}", path.display()))
}

/// Puts everything on the disk that was written to the file systems of these directories, by whomever.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn sync_file_systems_of(directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        let sync = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(directory)?)?) };
        sync().with_context(|| format!("syncing the file system of {}", directory.display()))?;
    }
    Ok(())
}

/// Puts what was made, renamed and removed in a directory on the disk.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("syncing {}", directory.display()))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn partial_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_with_its_mode_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(partial_of(&path), "left by a killed run").unwrap();
        assert!(ensure(&path, b"a", 0o600).unwrap());
        assert!(!ensure(&path, b"a", 0o600).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(ensure(&path, b"a", 0o600).unwrap(), "a mode that others can read by is put right");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn a_directory_is_made_with_its_parents_and_their_mode_and_one_that_is_there_keeps_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (parent, path) = (directory.path().join("a"), directory.path().join("a/b"));
        super::directory(&path, 0o700).unwrap();
        super::directory(&parent, 0o755).unwrap();
        for made in [&parent, &path] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o7777, 0o700);
        }
        fs::write(path.join("f"), "").unwrap();
        assert!(super::directory(&path.join("f"), 0o700).is_err(), "a file is no directory");
    }

    #[test]
    fn what_was_there_stays_when_writing_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::create_dir(partial_of(&path)).unwrap();
        assert!(write(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
