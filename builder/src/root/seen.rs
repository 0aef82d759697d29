//! What is at a path of a root, looked at without a trace: no link is followed and no access time moves.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;

use super::entrance::Root;
use super::record::Owner;
use crate::bundle::Kind;
use crate::digest::Digest;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Directory {
        mode: u32,
        owner: Owner,
    },
    /// `fixed`: the immutable or append-only attribute is set.
    File {
        mode: u32,
        owner: Owner,
        size: u64,
        sha256: Digest,
        fixed: bool,
    },
    Link {
        owner: Owner,
        target: Vec<u8>,
    },
    /// A device, a pipe or a socket.
    Special,
}

impl Seen {
    /// Whether it is `kind` to the last bit, and belongs to `owner`.
    pub(super) fn is(&self, kind: &Kind, expected: Owner) -> bool {
        let same = match (self, kind) {
            (Self::File { mode, .. }, Kind::File { mode: wanted, .. }) => *mode == wanted.bits(),
            _ => true,
        };
        same && self.holds(kind) && self.owner() == Some(expected)
    }

    /// Whether it holds the same bytes, or points to the same place.
    pub(super) fn holds(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::File { size, sha256, .. }, Kind::File { size: wanted, sha256: digest, .. }) => {
                (size, sha256) == (wanted, digest)
            }
            (Self::Link { target, .. }, Kind::Link { target: wanted }) => target == wanted.as_bytes(),
            _ => false,
        }
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        match self {
            Self::Directory { owner, .. } | Self::File { owner, .. } | Self::Link { owner, .. } => Some(*owner),
            Self::Nothing | Self::Special => None,
        }
    }

    /// Stands for all of it in the record.
    pub(super) fn fingerprint(&self) -> Digest {
        let text = match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Special => "special".to_owned(),
            Self::Directory { mode, owner } => format!("directory {mode:o} {owner}"),
            Self::File { mode, owner, size, sha256, .. } => format!("file {mode:o} {owner} {size} {sha256}"),
            Self::Link { owner, target } => format!("link {owner} {}", hex::encode(target)),
        };
        Digest::of(text.as_bytes())
    }

    /// For people.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Directory { .. } => "a directory",
            Self::File { .. } => "a file",
            Self::Link { .. } => "a link",
            Self::Special => "a device, pipe or socket",
        }
    }
}

impl Root {
    /// Looks at `path`.
    ///
    /// # Errors
    /// When the way there is blocked, the file is a mount of its own, or cannot be read.
    pub(super) fn look(&self, path: &str) -> Result<Seen> {
        let (above, name) = split(path);
        let Some(dir) = self.directory(above)? else { return Ok(Seen::Nothing) };
        let context = || format!("reading {}", self.show(path));
        let Some(stat) = stat(&dir, name).with_context(context)? else { return Ok(Seen::Nothing) };
        let owner = Owner { uid: stat.stx_uid, gid: stat.stx_gid };
        let mode = u32::from(stat.stx_mode) & 0o7777;
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Directory => Ok(Seen::Directory { mode, owner }),
            FileType::Symlink => {
                let target = readlinkat(&dir, name, Vec::new()).with_context(context)?.into_bytes();
                Ok(Seen::Link { owner, target })
            }
            FileType::RegularFile => {
                if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
                    // Nothing can be renamed over a mount, so no flag helps.
                    return Err(self.refusal(path, "is a mount of its own", "unmount it").into());
                }
                let (sha256, size) =
                    Digest::of_reader(read(&dir, name).with_context(context)?).with_context(context)?;
                let fixed = stat.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND);
                Ok(Seen::File { mode, owner, size, sha256, fixed })
            }
            _ => Ok(Seen::Special),
        }
    }

    /// The names in a directory, sorted; `None` where there is no such directory.
    ///
    /// # Errors
    /// When the way there is blocked, or it cannot be read.
    pub(super) fn names(&self, path: &str) -> Result<Option<Vec<String>>> {
        let Some(dir) = self.directory(path)? else { return Ok(None) };
        let context = || format!("reading {}", self.show(path));
        let dir = quiet(&dir, ".", OFlags::DIRECTORY).with_context(context)?;
        let mut names = Vec::new();
        for entry in Dir::new(dir).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(Some(names))
    }
}

/// The directory of a path, and its name in there.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

pub(super) fn stat(dir: impl AsFd, name: &str) -> io::Result<Option<Statx>> {
    match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file for reading. It was one a moment ago; should it be a pipe by now, this does not wait for a writer.
pub(super) fn read(dir: impl AsFd, name: &str) -> io::Result<File> {
    let file = File::from(quiet(dir.as_fd(), name, OFlags::NOFOLLOW | OFlags::NONBLOCK)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Without moving the access time, as far as this user may.
fn quiet(dir: impl AsFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let open = |more| openat(dir.as_fd(), name, OFlags::RDONLY | OFlags::CLOEXEC | flags | more, Mode::empty());
    match open(OFlags::NOATIME) {
        Err(Errno::PERM) => open(OFlags::empty()),
        opened => opened,
    }
}
