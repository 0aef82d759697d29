//! How the bytes of an ELF file are reached: by offset, and never more of them than a budget allows.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use object::read::{ReadCache, ReadCacheOps, ReadRef};

/// Lends out at most a budget of bytes, because the cache keeps all it ever read and tables can claim any size.
pub(crate) struct Frugal<'a, R: ReadCacheOps> {
    pub(crate) cache: &'a ReadCache<R>,
    pub(crate) budget: &'a Cell<u64>,
}

impl<R: ReadCacheOps> Clone for Frugal<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ReadCacheOps> Copy for Frugal<'_, R> {}

impl<R: ReadCacheOps> Frugal<'_, R> {
    /// What the cache spends on an entry beside its bytes is counted too, or a million small reads would pass for few.
    fn spend(self, size: u64) -> Result<(), ()> {
        self.budget.set(self.budget.get().checked_sub(size.max(256)).ok_or(())?);
        Ok(())
    }
}

impl<'a, R: ReadCacheOps> ReadRef<'a> for Frugal<'a, R> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.spend(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let found = self.cache.read_bytes_at_until(range, delimiter)?;
        self.spend(found.len() as u64)?;
        Ok(found)
    }
}

/// Reads a file by offset, so that its cursor, which others may share, stays where it is.
#[derive(Debug)]
pub(crate) struct FileAt<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FileAt<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FileAt<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for FileAt<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(offset) => (self.at, offset),
            SeekFrom::End(offset) => (self.file.metadata()?.len(), offset),
        };
        self.at = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
