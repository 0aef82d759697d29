//! The root of a node or of an image, which may be hostile: looked at without leaving it, changed without following.
//!
//! Looking resolves links as a program inside would (`RESOLVE_IN_ROOT`: `/etc/alternatives` is full of absolute ones),
//! so nothing outside is ever opened. Changing follows no link and enters no other mount.

mod change;

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::failure::{Class, Failure};

/// More names than a directory of the system has.
const MOST_NAMES: usize = 50_000;

/// A root, held open.
#[derive(Debug)]
pub struct ImageRoot {
    directory: OwnedFd,
    path: PathBuf,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file of this size.
    File {
        /// In bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

impl ImageRoot {
    /// Opens the root at `path`.
    ///
    /// # Errors
    /// When it is not a directory with `etc` and `usr` in it.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(io::Error::from)
            .with_context(|| format!("opening {}", path.display()))?;
        let root = Self { directory, path: path.to_owned() };
        for part in ["etc", "usr"] {
            let found = root.found(part).with_context(|| format!("looking at {}", path.join(part).display()))?;
            if found != Some(Found::Directory) {
                bail!(
                    Failure::new(Class::Usage, format!("{} is no root of a system: it has no {part}", path.display()))
                        .hint("name the directory in which the image is mounted or unpacked, or `/`")
                );
            }
        }
        Ok(root)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the root of the system that runs here.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_running_system(&self) -> Result<bool> {
        let running = rustix::fs::stat("/").map_err(io::Error::from).context("looking at /")?;
        let own = rustix::fs::fstat(&self.directory)
            .map_err(io::Error::from)
            .with_context(|| format!("looking at {}", self.path.display()))?;
        Ok((running.st_dev, running.st_ino) == (own.st_dev, own.st_ino))
    }

    /// Bytes that can still be written to its file system.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// What `path` leads to.
    ///
    /// # Errors
    /// When it cannot be told; what is not there, or is reached through a file, is `None`.
    pub fn found(&self, path: impl AsRef<Path>) -> io::Result<Option<Found>> {
        self.look(path.as_ref(), OFlags::empty())
    }

    /// What `path` is itself, a link in its last part not followed.
    ///
    /// # Errors
    /// As [`Self::found`].
    pub fn found_itself(&self, path: impl AsRef<Path>) -> io::Result<Option<Found>> {
        self.look(path.as_ref(), OFlags::NOFOLLOW)
    }

    fn look(&self, path: &Path, flags: OFlags) -> io::Result<Option<Found>> {
        let Some(file) = unless_absent(self.within(path, OFlags::PATH | flags))? else { return Ok(None) };
        Ok(Some(kind(&rustix::fs::fstat(file)?)))
    }

    /// Where the link at `path` points, as stored; `None` when it is no link.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn link_target(&self, path: impl AsRef<Path>) -> io::Result<Option<PathBuf>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Some(link) = unless_absent(self.within(path.as_ref(), flags))? else { return Ok(None) };
        match rustix::fs::readlinkat(link, "", Vec::new()) {
            Ok(target) => Ok(Some(OsStr::from_bytes(target.as_bytes()).into())),
            // What readlinkat(2) says of an open file that is no link.
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of the file at `path`, if it is there.
    ///
    /// # Errors
    /// When it is no regular file, has more than `limit` bytes, or cannot be read.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(path, limit)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The file at `path`, opened for reading, if it is there.
    ///
    /// # Errors
    /// When it is no regular file, has more than `limit` bytes, or cannot be opened.
    pub fn open_file(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Option<File>> {
        let path = path.as_ref();
        // Asked before it is opened: opening a device may do something, opening a pipe may wait.
        match self.found(path)? {
            None => return Ok(None),
            Some(Found::File { size, .. }) if size <= limit => {}
            Some(Found::File { .. }) => return Err(io::Error::other(format!("has more than {limit} bytes"))),
            Some(_) => return Err(io::Error::other("is no regular file")),
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(unless_absent(self.unnoticed(path, flags))?.map(File::from))
    }

    /// The names in the directory at `path`, sorted; none when there is no such directory.
    ///
    /// # Errors
    /// When it cannot be read, or has far too many.
    pub fn names(&self, path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
        match unless_absent(self.unnoticed(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY))? {
            Some(directory) => names_in(directory.as_fd()),
            None => Ok(Vec::new()),
        }
    }

    /// Opens `path` and leaves its access time as it is, which only its owner and root may.
    fn unnoticed(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match self.within(path, flags | OFlags::NOATIME) {
            Err(Errno::PERM) => self.within(path, flags),
            opened => opened,
        }
    }

    /// Opens `path` as a program whose root this is would.
    fn within(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        resolved(|| {
            rustix::fs::openat2(&self.directory, relative(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        })
    }
}

/// openat2(2): EAGAIN says that something was renamed meanwhile, and to try again.
fn resolved(open: impl Fn() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    let mut opened = open();
    for _ in 0..16 {
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
        opened = open();
    }
    opened
}

fn names_in(directory: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
        if names.len() > MOST_NAMES {
            return Err(io::Error::other(format!("has more than {MOST_NAMES} entries")));
        }
    }
    names.sort();
    Ok(names)
}

fn kind(stat: &Stat) -> Found {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            Found::File { size: u64::try_from(stat.st_size).unwrap_or_default(), mode: stat.st_mode & 0o7777 }
        }
        FileType::Directory => Found::Directory,
        FileType::Symlink => Found::Link,
        _ => Found::Other,
    }
}

/// Relative to the root; the root itself is `.`.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// What is not there is no error. A part that is a file, or links that lead to each other, lead nowhere either.
fn unless_absent(opened: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(explained(error)),
    }
}

/// openat2(2)'s refusals in words.
fn explained(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => io::Error::other("a symbolic link is on the way"),
        Errno::XDEV => io::Error::other("another file system is mounted on the way"),
        Errno::NOSYS => {
            io::Error::other("this needs openat2 (Linux 5.6), which the kernel or its sandbox does not have")
        }
        error => error.into(),
    }
}
