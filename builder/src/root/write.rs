//! Single changes to a root: a file is written beside its place under a name of its own, and appears by a rename.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use rustix::fs::{
    AtFlags, Gid, Mode as Bits, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fsync, futimens, mkdirat,
    openat, renameat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::entrance::Root;
use super::record::Owner;
use super::seen::split;
use crate::overlay::{Mode, OverlayPath};

/// What a file is called while it grows. No program takes such a name for configuration.
pub(super) fn temporary(name: &str) -> String {
    format!(".{name}.flexnode-tmp")
}

/// The path of what will become `path`.
pub(super) fn beside(path: &str) -> String {
    let (above, name) = split(path);
    if above.is_empty() { temporary(name) } else { format!("{above}/{}", temporary(name)) }
}

/// Writes what will become the file at `path`, complete but not synced.
///
/// # Errors
/// When it cannot be written.
pub(super) fn file(
    root: &Root,
    path: &OverlayPath,
    mode: Mode,
    owner: Owner,
    epoch: u64,
    content: &mut dyn Read,
) -> Result<File> {
    let context = || format!("writing {}", root.show(path.as_str()));
    let (dir, name) = place(root, path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(&dir, &name, flags, Bits::RUSR | Bits::WUSR).with_context(context)?;
    let mut file = File::from(fd);
    io::copy(content, &mut file).with_context(context)?;
    // Owner first: a change of it takes mode bits away.
    fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))).with_context(context)?;
    fchmod(&file, Bits::from_raw_mode(mode.bits())).with_context(context)?;
    futimens(&file, &times(epoch)).with_context(context)?;
    Ok(file)
}

/// Makes what will become the link at `path`.
///
/// # Errors
/// When it cannot be made.
pub(super) fn link(root: &Root, path: &OverlayPath, target: &str, owner: Owner, epoch: u64) -> Result<()> {
    let context = || format!("writing {}", root.show(path.as_str()));
    let (dir, name) = place(root, path)?;
    symlinkat(target, &dir, &name).with_context(context)?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    chownat(&dir, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).with_context(context)?;
    utimensat(&dir, &name, &times(epoch), AtFlags::SYMLINK_NOFOLLOW).with_context(context)
}

/// Makes what was written for `path` appear there.
///
/// # Errors
/// When it cannot be renamed.
pub(super) fn publish(root: &Root, path: &OverlayPath) -> Result<()> {
    let (above, name) = split(path.as_str());
    let context = || format!("renaming to {}", root.show(path.as_str()));
    let dir = root.directory(above)?.with_context(context)?;
    renameat(&dir, temporary(name), &dir, name).with_context(context)
}

/// Makes a directory; one that is there is ours, from a run that was killed before it had its mode.
///
/// # Errors
/// When it cannot be made.
pub(super) fn directory(root: &Root, path: &OverlayPath, mode: Mode, owner: Owner) -> Result<()> {
    let (above, name) = split(path.as_str());
    let context = || format!("making the directory {}", root.show(path.as_str()));
    let dir = root.directory(above)?.with_context(context)?;
    match mkdirat(&dir, name, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error).with_context(context),
    }
    let made = root.directory(path.as_str())?.with_context(context)?;
    fchown(&made, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))).with_context(context)?;
    fchmod(&made, Bits::from_raw_mode(mode.bits())).with_context(context)
}

/// Removes a file or link; that it is gone is fine.
///
/// # Errors
/// When it stays.
pub(super) fn unlink(root: &Root, path: &OverlayPath) -> Result<()> {
    remove(root, path, AtFlags::empty())
}

/// Removes a directory that is empty; that it is gone, or holds something by now, is fine.
///
/// # Errors
/// When it stays although it is empty.
pub(super) fn remove_directory(root: &Root, path: &OverlayPath) -> Result<()> {
    remove(root, path, AtFlags::REMOVEDIR)
}

fn remove(root: &Root, path: &OverlayPath, flags: AtFlags) -> Result<()> {
    let (above, name) = split(path.as_str());
    let Some(dir) = root.directory(above)? else { return Ok(()) };
    match unlinkat(&dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) if flags == AtFlags::REMOVEDIR => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", root.show(path.as_str()))),
    }
}

/// Sets the time of a directory to the bundle's, as tar does once it is filled.
///
/// # Errors
/// When it cannot be set.
pub(super) fn date(root: &Root, path: &OverlayPath, epoch: u64) -> Result<()> {
    let Some(dir) = root.directory(path.as_str())? else { return Ok(()) };
    futimens(&dir, &times(epoch)).with_context(|| format!("dating {}", root.show(path.as_str())))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// When the disk fails.
pub(super) fn sync_directory(root: &Root, path: &str) -> Result<()> {
    let Some(dir) = root.directory(path)? else { return Ok(()) };
    fsync(&dir).with_context(|| format!("syncing the directory {}", root.show(path)))
}

/// The directory of `path` and the temporary name in it, where nothing is any more.
fn place(root: &Root, path: &OverlayPath) -> Result<(impl AsFd + use<>, String)> {
    let (above, name) = split(path.as_str());
    let context = || format!("writing {}", root.show(path.as_str()));
    let (dir, name) = (root.directory(above)?.with_context(context)?, temporary(name));
    match unlinkat(&dir, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok((dir, name)),
        Err(error) => Err(error).with_context(|| format!("removing {}", root.show(&beside(path.as_str())))),
    }
}

fn times(epoch: u64) -> Timestamps {
    let at = Timespec { tv_sec: i64::try_from(epoch).unwrap_or(i64::MAX), tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}
