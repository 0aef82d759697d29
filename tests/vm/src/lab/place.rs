//! A lab's folder: locked by whom uses it, complete or absent, never anybody else's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};

use super::{Inputs, Record};

const RECORD: &str = "lab.json";

/// A lab's folder and what is beside it while it is made.
pub(super) struct Place {
    dir: PathBuf,
    /// Where a lab is made before it is put in place.
    pub(super) partial: PathBuf,
    old: PathBuf,
    lock: PathBuf,
}

impl Place {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("find `{}`", dir.display()))?;
        let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(|name| name.to_str())) else {
            bail!(
                Failure::new(Class::Usage, format!("`{}` cannot be a lab's folder", dir.display()))
                    .hint("name a folder that is to be made, such as target/lab")
            )
        };
        fs::create_dir_all(parent).with_context(|| format!("create `{}`", parent.display()))?;
        let beside = |ending: &str| parent.join(format!("{name}.{ending}"));
        let (partial, old, lock) = (beside("partial"), beside("old.partial"), beside("lock"));
        Ok(Self { dir, partial, old, lock })
    }

    pub(super) fn lock_file(&self) -> Result<File> {
        File::create(&self.lock).with_context(|| format!("create `{}`", self.lock.display()))
    }

    /// The record of the lab that is here, if it was made of `inputs` and every file of it is intact.
    pub(super) fn holds(&self, inputs: &Inputs) -> Result<Option<Record>> {
        let Some(record) = self.record()?.filter(|record| record.inputs == *inputs) else { return Ok(None) };
        for (name, sha256) in &record.files {
            let Ok(file) = File::open(self.dir.join(name)) else { return Ok(None) };
            let (found, _) = Digest::of_reader(file).with_context(|| format!("read `{name}` of the lab"))?;
            if found != *sha256 {
                eprintln!("lab: `{name}` has changed, making the lab again");
                return Ok(None);
            }
        }
        Ok(Some(record))
    }

    fn record(&self) -> Result<Option<Record>> {
        let path = self.dir.join(RECORD);
        match fs::read_to_string(&path) {
            // A record that another version of this program wrote is no reason to stop: the lab is made again.
            Ok(text) => Ok(serde_json::from_str(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
        }
    }

    /// Makes room for a new lab; what is no lab is not touched.
    pub(super) fn clear(&self) -> Result<()> {
        for leftover in [&self.partial, &self.old] {
            remove(leftover)?;
        }
        let mut entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("list `{}`", self.dir.display()))?,
        };
        if entries.next().is_some() && !self.dir.join(RECORD).is_file() {
            bail!(
                Failure::new(Class::Usage, format!("`{}` holds something that is no lab", self.dir.display()))
                    .hint("name another folder, or empty this one")
            )
        }
        Ok(())
    }

    /// Puts the finished lab where it belongs.
    pub(super) fn finish(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_string_pretty(record).context("write the lab's record")?;
        fs::write(self.partial.join(RECORD), text + "\n").context("write the lab's record")?;
        let context = || format!("put the lab to `{}`", self.dir.display());
        if self.dir.exists() {
            fs::rename(&self.dir, &self.old).with_context(context)?;
        }
        fs::rename(&self.partial, &self.dir).with_context(context)?;
        remove(&self.old)
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}
