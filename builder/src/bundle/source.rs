//! Where a bundle's bytes come from: a file, a block device, or a pipe that is kept in a nameless file first.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
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
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How long the archive may be, the likeliest length first. A device is filled up with zeros behind it, and the
    /// archive itself may end with a few: the last thing in it is a checksum of four bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lengths(&self) -> io::Result<impl Iterator<Item = u64> + use<>> {
        const CHECKSUM: u64 = 4;
        let size = (&*self.file).seek(SeekFrom::End(0))?;
        let (mut end, mut buffer) = (size, vec![0; 1 << 16]);
        while end > 0 {
            let begin = end.saturating_sub(buffer.len() as u64);
            let bytes = &mut buffer[..usize::try_from(end - begin).map_err(io::Error::other)?];
            self.file.read_exact_at(bytes, begin)?;
            match bytes.iter().rposition(|byte| *byte != 0) {
                Some(last) => {
                    end = begin + last as u64 + 1;
                    break;
                }
                None => end = begin,
            }
        }
        Ok(end..=size.min(end + CHECKSUM))
    }

    /// Reads the first `length` bytes, independently of other readers.
    pub fn prefix(&self, length: u64) -> impl Read + use<> {
        self.reader().take(length)
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
