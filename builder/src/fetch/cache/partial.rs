//! An entry on its way: locked, appended to, verified, renamed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{FlockOperation, OFlags};

use super::{Blob, Cache, Origin, open, refused};
use crate::digest::Digest;

/// An entry on its way: its lock is held for as long as this lives.
#[derive(Debug)]
pub(in crate::fetch) struct Partial {
    cache: Cache,
    sha256: Digest,
    path: PathBuf,
    file: File,
}

/// What was downloaded is complete and is something else.
#[derive(Debug)]
pub(in crate::fetch) struct WrongDigest {
    pub(in crate::fetch) found: Digest,
    pub(in crate::fetch) size: u64,
}

/// Every method takes `&self`: the file is the state, so blocking threads can share it.
impl Partial {
    /// Opens and locks the file; `None` when somebody else has it.
    pub(in crate::fetch) fn lock(cache: &Cache, sha256: Digest, path: &Path) -> Result<Option<Self>> {
        let file = lock(path).map_err(|error| refused("write to the cache at", path, &error))?;
        Ok(file.map(|file| Self { cache: cache.clone(), sha256, path: path.to_owned(), file }))
    }

    /// Bytes that are there.
    pub(in crate::fetch) fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|error| refused("look at", &self.path, &error))?.len())
    }

    /// The first bytes, at most `n`.
    pub(in crate::fetch) fn head(&self, n: usize) -> Result<Vec<u8>> {
        let mut head = vec![0; n];
        let n = self.file.read_at(&mut head, 0).map_err(|error| refused("read", &self.path, &error))?;
        head.truncate(n);
        Ok(head)
    }

    /// Adds bytes at the end.
    pub(in crate::fetch) fn append(&self, bytes: &[u8]) -> Result<()> {
        Ok((&self.file).write_all(bytes).map_err(|error| refused("write", &self.path, &error))?)
    }

    /// Adds everything that `reader` holds.
    pub(in crate::fetch) fn append_all(&self, mut reader: impl io::Read) -> Result<()> {
        io::copy(&mut reader, &mut &self.file).map_err(|error| refused("write", &self.path, &error))?;
        Ok(())
    }

    /// Forgets what is there.
    pub(in crate::fetch) fn restart(&self) -> Result<()> {
        Ok(self.file.set_len(0).map_err(|error| refused("truncate", &self.path, &error))?)
    }

    /// Makes it an entry, if it is what was pinned; otherwise it stays as it is.
    ///
    /// The digest is computed over what the disk holds, through the read-only descriptor that is then handed out.
    pub(in crate::fetch) fn finish(&self, origin: Origin) -> Result<Result<Blob, WrongDigest>> {
        let path = &self.path;
        let file = open(path, OFlags::RDONLY).map_err(|error| refused("open", path, &error))?;
        let (blob, found) = Blob::hash(file, origin).map_err(|error| refused("read", path, &error))?;
        if found != self.sha256 {
            return Ok(Err(WrongDigest { found, size: blob.size }));
        }
        let entry = self.cache.entry_path(self.sha256);
        self.file.sync_all().map_err(|error| refused("write", path, &error))?;
        fs::rename(path, &entry).map_err(|error| refused("write", &entry, &error))?;
        let parent = entry.parent().unwrap_or(&self.cache.dir);
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(|error| refused("write", parent, &error))?;
        Ok(Ok(blob))
    }
}

/// Opens and locks a `.partial`; `None` when another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = open(path, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // Its last holder may have renamed or removed it between our open and our lock.
        match fs::symlink_metadata(path) {
            Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}
