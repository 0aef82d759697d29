//! Files that appear whole or not at all: written beside their place, synced, renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Class, Failure};

/// A file on its way to `path`: it grows as `path.partial`, which a killed run leaves behind and the next one reuses.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Partial {
    /// Opens `path.partial`, empty, for this process alone.
    ///
    /// # Errors
    /// When the directory cannot be written, or another process is writing the same file.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            bail!(Failure::new(Class::Usage, format!("{} is a directory", path.display())).hint("name a file"));
        }
        let partial = partial_of(path);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&partial)
                .with_context(|| format!("creating {}", partial.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                bail!(
                    Failure::new(Class::Local, format!("another process is writing {}", path.display()))
                        .hint("wait for it, or choose another output")
                );
            }
            // Between open and lock its last owner may have renamed it into place: then this is no longer the partial.
            let ours = file.metadata()?.ino();
            if std::fs::metadata(&partial).is_ok_and(|on_disk| on_disk.ino() == ours) {
                file.set_len(0)?;
                return Ok(Self { file, path: path.to_owned(), published: false });
            }
        }
    }

    /// Where it will appear.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the finished file appear.
    ///
    /// # Errors
    /// When it cannot be synced or renamed; nothing is left behind then.
    pub fn publish(mut self) -> Result<()> {
        let path = self.path.display();
        self.file.sync_all().with_context(|| format!("syncing {path}"))?;
        std::fs::rename(partial_of(&self.path), &self.path).with_context(|| format!("renaming to {path}"))?;
        self.published = true;
        sync_directory_of(&self.path)
    }
}

impl Write for Partial {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = std::fs::remove_file(partial_of(&self.path))
        {
            tracing::debug!(path = %self.path.display(), %error, "removing an unfinished file");
        }
    }
}

/// Writes `bytes` to `path` atomically.
///
/// # Errors
/// When the file cannot be written; what was there before stays.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = Partial::create(path)?;
    partial.write_all(bytes).with_context(|| format!("writing {}", path.display()))?;
    partial.publish()
}

/// Removes `path`, durably; that it is not there is fine.
///
/// # Errors
/// When it is there and stays.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("syncing the directory {}", directory.display()))
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}
