//! Where a bundle's bytes come from: a file, a block device, or a pipe that is kept in a nameless file first.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::failure::{Class, Failure};

/// An open bundle. Every reading goes through the same open file, so what was verified is what is read next.
#[derive(Debug, Clone)]
pub struct Source {
    file: Arc<File>,
    name: String,
    path: Option<PathBuf>,
}

impl Source {
    /// Opens a file or a block device; what comes through a named pipe is spooled.
    ///
    /// # Errors
    /// When it cannot be opened, or is something that cannot be read twice.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("opening the bundle {name}"))?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            bail!(Failure::new(Class::Usage, format!("{name} is a directory")).hint("name the bundle file"));
        }
        if kind.is_fifo() || kind.is_socket() {
            return Self::spool(&name, file);
        }
        if !kind.is_file() && !kind.is_block_device() {
            bail!(
                Failure::new(Class::Usage, format!("{name} is no file, pipe or block device"))
                    .hint("name the bundle file")
            );
        }
        let path = kind.is_file().then(|| path.to_owned());
        Ok(Self { file: Arc::new(file), name, path })
    }

    /// Takes all that `reader` has into a nameless file, which the system forgets however this process ends.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn spool(name: &str, mut reader: impl Read) -> Result<Self> {
        let (mut file, directory) = (tempfile::tempfile(), std::env::temp_dir());
        let spooled = file.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        spooled.and_then(|file| io::copy(&mut reader, file)).with_context(|| {
            let message = format!("keeping the bundle from {name} in {}", directory.display());
            Failure::new(Class::Local, message).hint("set TMPDIR to a directory with room for the whole bundle")
        })?;
        Ok(Self { file: Arc::new(file?), name: name.to_owned(), path: None })
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path, where it is a regular file: beside that its digest may lie.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads from the start, independently of other readers.
    pub(super) fn reader(&self) -> SourceReader {
        SourceReader { file: Arc::clone(&self.file), at: 0 }
    }
}

/// Reads a [`Source`] from its start.
#[derive(Debug)]
pub(super) struct SourceReader {
    file: Arc<File>,
    at: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
