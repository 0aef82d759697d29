//! Reads a dump of the OSV database: JSON files, alone or in zip archives, none of which is trusted.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use zip::ZipArchive;

use super::advisory::Advisory;
use crate::failure::{Class, Failure};

/// The largest advisory, about every kernel of Linux, has 3 MB.
const ADVISORY_LIMIT: u64 = 16 << 20;

/// The whole database has 2 GB in 600,000 advisories.
const TOTAL_LIMIT: u64 = 16 << 30;
const COUNT_LIMIT: u64 = 4_000_000;

/// OSV's dump has a directory for each ecosystem.
const DEPTH_LIMIT: usize = 4;

const HINT: &str = "fetch the dump of the OSV database again";

/// Gives every advisory that was not withdrawn to `visit`, and says how many there were.
pub(super) fn read(path: &Path, visit: &mut dyn FnMut(Advisory)) -> Result<u64> {
    let mut dump = Dump { visit, left: TOTAL_LIMIT, seen: 0, count: 0 };
    let kind = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if kind.is_dir() {
        dump.directory(path, DEPTH_LIMIT)?;
    } else {
        dump.archive(path)?;
    }
    if dump.count == 0 {
        bail!(
            Failure::new(Class::Usage, format!("{} holds no advisories", path.display()))
                .hint("name a directory or a zip archive of OSV's JSON files")
        );
    }
    Ok(dump.count)
}

struct Dump<'a> {
    visit: &'a mut dyn FnMut(Advisory),
    left: u64,
    seen: u64,
    count: u64,
}

impl Dump<'_> {
    /// In the order of names, so that the first mistake is always the same.
    fn directory(&mut self, path: &Path, depth: usize) -> Result<()> {
        let context = || format!("reading {}", path.display());
        let entries = fs::read_dir(path).with_context(context)?.collect::<Result<Vec<_>, _>>().with_context(context)?;
        let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                if depth == 0 {
                    bail!(refuse(format!("{} is too deep", path.display())));
                }
                self.directory(&path, depth - 1)?;
            } else if extension == Some("zip") {
                self.archive(&path)?;
            } else if extension == Some("json") {
                let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
                self.advisory(file, &path.display().to_string())?;
            }
        }
        Ok(())
    }

    fn archive(&mut self, path: &Path) -> Result<()> {
        let context = || Failure::new(Class::Usage, format!("reading the zip archive {}", path.display())).hint(HINT);
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        let mut archive = ZipArchive::new(file).with_context(context)?;
        for at in 0..archive.len() {
            let entry = archive.by_index(at).with_context(context)?;
            let name = entry.name().with_context(context)?.into_owned();
            if name.ends_with(".json") {
                self.advisory(entry, &format!("{name} in {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn advisory(&mut self, reader: impl Read, name: &str) -> Result<()> {
        self.seen += 1;
        if self.seen > COUNT_LIMIT {
            bail!(refuse(format!("there are more than {COUNT_LIMIT} advisories")));
        }
        let mut json = Vec::new();
        let limit = ADVISORY_LIMIT.min(self.left);
        reader.take(limit + 1).read_to_end(&mut json).map_err(|error| refuse(format!("reading {name}: {error}")))?;
        let length = json.len() as u64;
        if length > limit {
            bail!(refuse(format!("{name} is larger than {limit} bytes")));
        }
        self.left -= length;
        let advisory: Advisory =
            serde_json::from_slice(&json).map_err(|error| refuse(format!("{name} is no advisory: {error}")))?;
        if advisory.withdrawn.is_none() {
            self.count += 1;
            (self.visit)(advisory);
        }
        Ok(())
    }
}

fn refuse(message: String) -> Failure {
    Failure::new(Class::Usage, message).hint(HINT)
}
