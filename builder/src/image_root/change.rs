//! Changing a root: through no link, into no other mount.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::{Found, ImageRoot, explained, kind, names_in, relative, resolved};

/// Directories nested deeper than this are nothing that a system makes by itself.
const DEEPEST: usize = 64;

impl ImageRoot {
    /// Removes what is at `path`, a directory with all that is in it. Tells whether there was anything.
    ///
    /// # Errors
    /// When a link or another mount is on the way or inside, or it cannot be removed; a part may be gone then.
    pub fn remove(&self, path: &Path) -> io::Result<bool> {
        let Some((above, name)) = self.place(path)? else { return Ok(false) };
        remove_in(above.as_fd(), name, 0)
    }

    /// Replaces the file at `path` by one with `bytes`, at once; a hard link elsewhere keeps what it has.
    ///
    /// # Errors
    /// When a link or another mount is on the way, the path is no file, or it cannot be written.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let Some((above, name)) = self.place(path)? else { return Err(io::ErrorKind::NotFound.into()) };
        let before = rustix::fs::statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let Found::File { mode, .. } = kind(&before) else { return Err(io::Error::other("is no regular file")) };
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(".partial");
        // What a killed run left behind.
        remove_in(above.as_fd(), &partial, 0)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&above, partial.as_os_str(), flags, Mode::from_raw_mode(0o600))?;
        let write = |mut file: File| -> io::Result<()> {
            file.write_all(bytes)?;
            let (user, group) = (Uid::from_raw(before.st_uid), Gid::from_raw(before.st_gid));
            rustix::fs::fchown(&file, Some(user), Some(group))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()?;
            rustix::fs::renameat(&above, partial.as_os_str(), &above, name)?;
            Ok(())
        };
        let written = write(file.into());
        if written.is_err() {
            remove_in(above.as_fd(), &partial, 0)?;
        }
        written
    }

    /// Whether a program outside reaches the same file under the root's path: a link on the way may lead it astray.
    #[must_use]
    pub fn is_straight(&self, path: impl AsRef<Path>) -> bool {
        let leaf = self.found_itself(&path);
        matches!(self.place(path.as_ref()), Ok(Some(_))) && !matches!(leaf, Ok(Some(Found::Link)) | Err(_))
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.within(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    /// The open directory of `path`, reached without links and mounts, and the last part of `path`.
    fn place<'a>(&self, path: &'a Path) -> io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let path = relative(path);
        let name = path.file_name().ok_or_else(|| io::Error::other("names no file"))?;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match enter(self.directory.as_fd(), above) {
            Ok(above) => Ok(Some((above, name))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(explained(error)),
        }
    }
}

/// Opens a directory below `from`, through no link and into no other mount.
fn enter(from: BorrowedFd<'_>, path: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    // Without O_NOFOLLOW, which would say ENOTDIR of a link, as of a file.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    resolved(|| rustix::fs::openat2(from, path.as_ref(), flags, Mode::empty(), resolve))
}

fn remove_in(directory: BorrowedFd<'_>, name: &OsStr, depth: usize) -> io::Result<bool> {
    let found = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        found => kind(&found?),
    };
    if found != Found::Directory {
        rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        return Ok(true);
    }
    if depth == DEEPEST {
        return Err(io::Error::other(format!("has directories nested more than {DEEPEST} deep")));
    }
    let inside = enter(directory, Path::new(name)).map_err(explained)?;
    for name in names_in(inside.as_fd())? {
        remove_in(inside.as_fd(), &name, depth + 1)?;
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}
