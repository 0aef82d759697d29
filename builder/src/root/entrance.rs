//! The way into a root: every directory is opened below the one before, through no link and into no other mount.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags, flock, fstat, open, openat2, stat, statat,
};
use rustix::io::Errno;

use crate::failure::{Class, Failure};

/// Which mounts below a root may be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mounts {
    /// None.
    Stay,
    /// These, by their path.
    Only(BTreeSet<String>),
    /// All.
    Cross,
}

/// A directory that holds, or will hold, a node's files.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
    mounts: Mounts,
    crossed: RefCell<BTreeSet<String>>,
}

/// Nothing is followed out: not `..`, no link, no magic link of `/proc`.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens the directory at `path`, which may itself be reached through links.
    ///
    /// # Errors
    /// When there is no such directory.
    pub(super) fn open(path: &Path, mounts: Mounts) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).with_context(|| {
            Failure::new(Class::Usage, format!("opening the root {}", path.display()))
                .hint("name a directory that holds a node's files, such as / or a mounted image")
        })?;
        Ok(Self { fd, path: path.to_owned(), mounts, crossed: RefCell::default() })
    }

    /// Whether it is the root of this very system.
    ///
    /// # Errors
    /// When `/` cannot be looked at.
    pub(super) fn is_running(&self) -> Result<bool> {
        let (here, running) = (fstat(&self.fd)?, stat("/")?);
        Ok((here.st_dev, here.st_ino) == (running.st_dev, running.st_ino))
    }

    /// The same root, with other mounts that may be entered.
    #[must_use]
    pub(super) fn allowing(mut self, mounts: Mounts) -> Self {
        self.mounts = mounts;
        self
    }

    /// Which mounts were entered.
    pub(super) fn crossed(&self) -> BTreeSet<String> {
        self.crossed.borrow().clone()
    }

    /// Keeps others of our kind out for as long as this root is open: all of them, or the writers. The lock is on the
    /// directory itself, so nothing has to be written for it, and the kernel lifts it however this process ends.
    ///
    /// # Errors
    /// When another process is at work there.
    pub(super) fn lock(&self, writer: bool) -> Result<()> {
        let kind =
            if writer { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        match flock(&self.fd, kind) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => bail!(
                Failure::new(Class::Local, format!("another flexnode-build is at work in {}", self.path.display()))
                    .hint("wait for it to end")
            ),
            Err(error) => Err(error).with_context(|| format!("locking {}", self.path.display())),
        }
    }

    /// `path` inside the root, for people.
    pub(super) fn show(&self, path: &str) -> String {
        // Joined to nothing, a path would end with a slash.
        if path.is_empty() { self.path.display().to_string() } else { self.path.join(path).display().to_string() }
    }

    /// The root directory itself.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens the directory at `path`, relative to the root and normal; `""` is the root. `None` where there is none.
    ///
    /// # Errors
    /// A [`Failure`] that names what is in the way: a link, a mount, or something that is no directory.
    pub(super) fn directory(&self, path: &str) -> Result<Option<OwnedFd>> {
        let (found, whole) = self.nearest(path)?;
        Ok(whole.then_some(found))
    }

    /// The directory at `path`, or the innermost above it that is there; and whether it is `path` itself.
    ///
    /// # Errors
    /// As for [`Root::directory`].
    pub(super) fn nearest(&self, path: &str) -> Result<(OwnedFd, bool)> {
        let mut at = self.fd.try_clone().context("opening the root again")?;
        let ends = path.match_indices('/').map(|(end, _)| end).chain(Some(path.len()).filter(|end| *end > 0));
        let mut begin = 0;
        for end in ends {
            match self.enter(&at, &path[begin..end], &path[..end])? {
                Some(next) => at = next,
                None => return Ok((at, false)),
            }
            begin = end + 1;
        }
        Ok((at, true))
    }

    /// One step from `above` into its `name`; `path` is the whole way to there.
    fn enter(&self, above: &OwnedFd, name: &str, path: &str) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let step = |resolve| resolved(above, name, flags, resolve);
        let stepped = match step(BENEATH | ResolveFlags::NO_XDEV) {
            Err(Errno::XDEV) if self.may_cross(path) => {
                self.crossed.borrow_mut().insert(path.to_owned());
                step(BENEATH)
            }
            stepped => stepped,
        };
        let refuse = |what: &str, hint: &str| Err(self.refusal(path, what, hint).into());
        match stepped {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => refuse(
                "is a link, and nothing is followed here",
                "put a directory in its place, or name the directory that is meant with --root",
            ),
            // Which of the two errors a link gives depends on the kernel's order of checks.
            Err(Errno::NOTDIR) if is_link(above, name) => refuse(
                "is a link, and nothing is followed here",
                "put a directory in its place, or name the directory that is meant with --root",
            ),
            Err(Errno::NOTDIR) => refuse("is no directory", "move it out of the way"),
            Err(Errno::XDEV) => refuse(
                "is a mount of its own",
                "unmount it, or add --cross-mounts if what is mounted there belongs to the node",
            ),
            Err(Errno::NOSYS) => bail!(
                Failure::new(Class::Local, "this kernel has no openat2, which came with Linux 5.6")
                    .hint("work on the image from a newer system, or unpack with `tar --zstd -xpf`")
            ),
            Err(error) => Err(error).with_context(|| format!("opening {}", self.show(path))),
        }
    }

    fn may_cross(&self, path: &str) -> bool {
        match &self.mounts {
            Mounts::Stay => false,
            Mounts::Only(paths) => paths.contains(path),
            Mounts::Cross => true,
        }
    }

    /// A failure of this machine about `path`.
    pub(super) fn refusal(&self, path: &str, what: &str, hint: &str) -> Failure {
        Failure::new(Class::Local, format!("{} {what}", self.show(path))).hint(hint)
    }
}

/// openat2, asked again where the kernel says so: while anybody renames or mounts anything, it cannot tell whether a
/// `..` led out, and answers EAGAIN (openat2(2)).
pub(super) fn resolved(at: impl AsFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    const ATTEMPTS: usize = 1000;
    let mut attempts = (0..ATTEMPTS).map(|_| openat2(&at, path, flags, Mode::empty(), resolve));
    attempts.find(|opened| !matches!(opened, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
}

impl Drop for Root {
    /// Closing alone would not do: a child that another thread is just starting has a copy of the descriptor.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.fd, FlockOperation::Unlock) {
            tracing::debug!(root = %self.path.display(), %error, "lifting the lock");
        }
    }
}

fn is_link(above: &OwnedFd, name: &str) -> bool {
    let found = statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}
