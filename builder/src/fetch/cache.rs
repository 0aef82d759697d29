//! The content-addressed cache: `sha256/ab/<digest>`, shared by builds that run at once, trusted by none of them.
//!
//! An entry appears by rename, after what is on the disk matched its digest; until then it is a `.partial` beside its
//! final place, which outlives a killed build and is resumed by the next one. Whoever holds the lock on that file
//! (flock(2), so the kernel releases it with the process) may write the entry; others wait and then find it finished.

mod partial;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use rustix::fs::{Mode, OFlags};

pub(super) use self::partial::{Partial, WrongDigest};
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::overlay::Content;
use crate::progress::Progress;

/// The cache's directory. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: Arc<Path>,
}

/// Bytes that were proven to be what was pinned. Only the cache makes one.
#[derive(Debug, Clone)]
pub struct Blob {
    file: Arc<File>,
    sha256: Digest,
    size: u64,
    origin: Origin,
}

/// Where a blob's bytes came from in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// They were in the cache.
    Cache,
    /// A file of a mirror or of the artifact's own `file://` URL.
    File(PathBuf),
    /// A URL, without user name, password and query.
    Url(String),
}

/// What the cache holds under a digest.
#[derive(Debug)]
pub(super) enum Entry {
    Good(Blob),
    /// Something, but not what its name promises; the reason is for people.
    Bad(String),
    Missing,
}

/// The answer to asking for the right to write an entry.
#[derive(Debug)]
pub(super) enum Claim {
    Granted(Partial),
    /// Somebody else finished it in the meantime.
    Finished(Blob),
}

impl Cache {
    /// Opens the cache at `dir`, by default `$XDG_CACHE_HOME/flexnode` or `~/.cache/flexnode`, creating it if need be.
    /// A cache on a read-only file system serves what it holds.
    ///
    /// # Errors
    /// [`Class::Local`] when it cannot be created.
    pub fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => Xdg::new()
                .map_err(|_no_home| {
                    Failure::new(Class::Local, "cannot find a place for the cache: there is no home directory")
                        .hint("name a directory with --cache-dir DIR")
                })?
                .cache_dir()
                .join("flexnode"),
        };
        fs::create_dir_all(&dir).map_err(|error| refused("create the cache", &dir, &error))?;
        let dir = fs::canonicalize(&dir).map_err(|error| refused("open the cache", &dir, &error))?;
        Ok(Self { dir: dir.into() })
    }

    /// The cache's absolute path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory for nameless temporary files, on the cache's file system.
    ///
    /// # Errors
    /// [`Class::Local`] when it cannot be created.
    pub fn scratch_dir(&self) -> Result<PathBuf> {
        let dir = self.dir.join("scratch");
        fs::create_dir_all(&dir).map_err(|error| refused("create", &dir, &error))?;
        Ok(dir)
    }

    /// Looks an entry up, and hashes it through the descriptor that is handed out.
    pub(super) fn find(&self, sha256: Digest) -> Result<Entry> {
        let path = self.entry_path(sha256);
        let file = match open(&path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Entry::Missing),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(Entry::Bad("it is a symbolic link".to_owned()));
            }
            Err(error) => return Err(refused("open", &path, &error).into()),
        };
        let metadata = file.metadata().map_err(|error| refused("look at", &path, &error))?;
        if !metadata.is_file() {
            return Ok(Entry::Bad("it is no regular file".to_owned()));
        }
        let (blob, found) = Blob::hash(file, Origin::Cache).map_err(|error| refused("read", &path, &error))?;
        Ok(if found == sha256 { Entry::Good(blob) } else { Entry::Bad(format!("its sha256 is {found}")) })
    }

    /// Asks for the right to write an entry. A bad one is removed, which only the lock's holder may do: anyone else
    /// could remove the good one that has just taken its place. `None` while somebody else has that right.
    pub(super) fn claim(&self, sha256: Digest, progress: &Progress) -> Result<Option<Claim>> {
        let entry = self.entry_path(sha256);
        let path = entry.with_extension("partial");
        if let Some(parent) = entry.parent() {
            fs::create_dir_all(parent).map_err(|error| refused("create", parent, &error))?;
        }
        let Some(partial) = Partial::lock(self, sha256, &path)? else {
            return Ok(None);
        };
        match self.find(sha256)? {
            Entry::Good(blob) => {
                fs::remove_file(&path).map_err(|error| refused("remove", &path, &error))?;
                return Ok(Some(Claim::Finished(blob)));
            }
            Entry::Bad(why) => {
                progress.warn(&format!("removed a bad cache entry, {}: {why}", entry.display()));
                fs::remove_file(&entry).map_err(|error| refused("remove the bad cache entry", &entry, &error))?;
            }
            Entry::Missing => {}
        }
        Ok(Some(Claim::Granted(partial)))
    }

    fn entry_path(&self, sha256: Digest) -> PathBuf {
        let name = sha256.to_string();
        self.dir.join("sha256").join(&name[..2]).join(name)
    }
}

impl Blob {
    /// The open file. Its position is shared: read with [`Blob::content`] or by offset.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The bytes, as the overlay takes them.
    #[must_use]
    pub fn content(&self) -> Content {
        Content::File(Arc::clone(&self.file))
    }

    /// What they were proven to be.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where they came from in this run.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A blob that claims to be no more than what it was found to be.
    fn hash(file: File, origin: Origin) -> io::Result<(Self, Digest)> {
        let file = Arc::new(file);
        let (sha256, size) = Digest::of_reader(Content::File(Arc::clone(&file)).reader())?;
        Ok((Self { file, sha256, size, origin }, sha256))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => f.write_str("the cache"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Never through a symbolic link, and never waiting for the other end of a pipe.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?.into())
}

fn refused(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(Class::Local, format!("cannot {verb} {}: {error}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.hint("make room there, or keep the cache elsewhere with --cache-dir DIR; what is there is resumed")
        }
        _ => failure.hint("keep the cache where you may write with --cache-dir DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        (dir, cache)
    }

    fn quiet() -> Progress {
        Progress::plain_to(io::sink())
    }

    fn granted(cache: &Cache, sha256: Digest) -> Partial {
        match cache.claim(sha256, &quiet()).expect("an answer") {
            Some(Claim::Granted(partial)) => partial,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_appears_only_with_the_right_bytes() {
        let (_dir, cache) = cache();
        let sha256 = Digest::of(b"right");
        let partial = granted(&cache, sha256);
        partial.append(b"wrong").expect("room");
        let wrong = partial.finish(Origin::Cache).expect("no I/O error").expect_err("these are other bytes");
        assert_eq!((wrong.found, wrong.size), (Digest::of(b"wrong"), 5));
        assert!(matches!(cache.find(sha256), Ok(Entry::Missing)));

        partial.restart().expect("a truncated file");
        partial.append(b"right").expect("room");
        let blob = partial.finish(Origin::Cache).expect("no I/O error").expect("the right bytes");
        assert_eq!((blob.sha256(), blob.size()), (sha256, 5));
        assert!(matches!(cache.find(sha256), Ok(Entry::Good(_))));
    }

    #[test]
    fn only_one_may_write_and_the_next_one_resumes() {
        let (_dir, cache) = cache();
        let sha256 = Digest::of(b"right");
        let first = granted(&cache, sha256);
        first.append(b"ri").expect("room");
        assert!(matches!(cache.claim(sha256, &quiet()), Ok(None)));
        drop(first);

        let second = granted(&cache, sha256);
        assert_eq!(second.len().expect("a length"), 2);
        second.append(b"ght").expect("room");
        let blob = second.finish(Origin::Cache).expect("no I/O error").expect("the right bytes");
        drop(second);
        // The blob is still held: its descriptor must not hold the lock.
        let claim = cache.claim(sha256, &quiet());
        assert!(matches!(claim, Ok(Some(Claim::Finished(found))) if found.sha256() == blob.sha256()));
        assert!(!cache.entry_path(sha256).with_extension("partial").exists());
    }

    #[test]
    fn whatever_lies_in_place_of_an_entry_is_bad_and_goes_away() {
        let (_dir, cache) = cache();
        let sha256 = Digest::of(b"right");
        let entry = cache.entry_path(sha256);
        fs::create_dir_all(entry.parent().expect("a parent")).expect("a directory");
        let elsewhere = cache.dir().join("elsewhere");
        fs::write(&elsewhere, b"right").expect("a file");

        std::os::unix::fs::symlink(&elsewhere, &entry).expect("a link");
        assert!(matches!(cache.find(sha256), Ok(Entry::Bad(_))));
        drop(granted(&cache, sha256));
        assert!(elsewhere.exists(), "the link goes, not what it points to");

        fs::write(&entry, b"right?").expect("a file");
        assert!(matches!(cache.find(sha256), Ok(Entry::Bad(_))));
        drop(granted(&cache, sha256));
        assert!(matches!(cache.find(sha256), Ok(Entry::Missing)));
    }
}
