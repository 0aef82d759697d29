//! What was downloaded: a folder of files named by their sha256, re-hashed on every hit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};

const SCRATCH: &str = "scratch-";

/// The lab's downloads on this machine. Whoever holds one is its only user.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache in `dir`, creating it, and waits until no other process uses it.
    ///
    /// # Errors
    /// The folder cannot be created or locked.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("sha256")).with_context(|| format!("create the cache `{}`", dir.display()))?;
        let path = dir.join("lock");
        let lock = File::create(&path).with_context(|| format!("create `{}`", path.display()))?;
        lock.lock().with_context(|| format!("lock `{}`", path.display()))?;
        // Nobody else is here, so a scratch folder belongs to somebody who was killed.
        for entry in fs::read_dir(dir).with_context(|| format!("list `{}`", dir.display()))? {
            let entry = entry.with_context(|| format!("list `{}`", dir.display()))?;
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                fs::remove_dir_all(entry.path()).with_context(|| format!("remove `{}`", entry.path().display()))?;
            }
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Where the lab's downloads are kept unless told otherwise: `flexnode-lab` in the user's cache folder.
    ///
    /// # Errors
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    pub fn default_dir() -> Result<PathBuf> {
        let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        named("XDG_CACHE_HOME")
            .or_else(|| named("HOME").map(|home| home.join(".cache")))
            .map(|base| base.join("flexnode-lab"))
            .with_context(|| {
                Failure::new(Class::Usage, "no folder for downloads: neither XDG_CACHE_HOME nor HOME is set")
                    .hint("name one with --cache DIR")
            })
    }

    /// The file with this digest. One whose bytes have changed is removed, as if it had never been there.
    ///
    /// # Errors
    /// A file that is there cannot be read or removed.
    pub fn find(&self, sha256: &Digest) -> Result<Option<PathBuf>> {
        let path = self.place(sha256);
        let Ok(file) = File::open(&path) else { return Ok(None) };
        let (found, _) = Digest::of_reader(file).with_context(|| format!("read `{}`", path.display()))?;
        if found == *sha256 {
            return Ok(Some(path));
        }
        eprintln!("lab: a cached file has changed, fetching it again: {}", path.display());
        fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))?;
        Ok(None)
    }

    /// Moves `file` in under its digest, which must be `sha256`.
    ///
    /// # Errors
    /// The digest is another one, or the file cannot be read or moved.
    pub fn keep(&self, file: &Path, sha256: &Digest) -> Result<PathBuf> {
        let reader = File::open(file).with_context(|| format!("open `{}`", file.display()))?;
        let (found, _) = Digest::of_reader(&reader).with_context(|| format!("read `{}`", file.display()))?;
        ensure!(
            found == *sha256,
            Failure::new(Class::Verification, format!("`{}` has sha256 {found}, not {sha256}", file.display()))
                .hint("somebody has changed what was pinned: do not use it")
        );
        reader.sync_all().with_context(|| format!("sync `{}`", file.display()))?;
        let path = self.place(sha256);
        fs::rename(file, &path).with_context(|| format!("move a download to `{}`", path.display()))?;
        Ok(path)
    }

    /// A new empty folder inside the cache, on the same file system, removed when dropped.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(&self.dir)
            .with_context(|| format!("create a folder in `{}`", self.dir.display()))
    }

    /// A named note of the cache: small JSON beside the files.
    #[must_use]
    pub fn note(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn place(&self, sha256: &Digest) -> PathBuf {
        self.dir.join("sha256").join(sha256.to_string())
    }
}
