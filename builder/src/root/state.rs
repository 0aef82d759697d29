//! The record and the journal on the disk: read whole or refused, written atomically, and swept of what kills left.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;
use serde::Serialize;

use super::entrance::Root;
use super::journal::Journal;
use super::record::{Owner, Record};
use super::seen::{read, split, stat};
use super::write;
use crate::overlay::Mode;

/// The directory that record and journal lie in; firstboot's state does too.
pub(super) const DIRECTORY: &str = "var/lib/flexnode";

/// What is installed.
pub(super) const RECORD: &str = "var/lib/flexnode/applied.json";

/// What is being installed.
pub(super) const JOURNAL: &str = "var/lib/flexnode/applying.json";

/// What [`DIRECTORY`] is called while it is being removed, so that no kill leaves an empty one that nobody owns.
pub(super) const DISCARDED: &str = "var/lib/.flexnode-removed";

/// A record is about as large as the bundle.json that it comes from.
const MAX_SIZE: u64 = 32 << 20;

/// What an earlier apply noted in a root.
#[derive(Debug)]
pub(super) struct State {
    pub(super) record: Option<Record>,
    /// Only there when an apply was interrupted.
    pub(super) journal: Option<Journal>,
}

impl State {
    /// Reads both.
    ///
    /// # Errors
    /// When one of them is there and is not what this program wrote: what is ours is not to be guessed.
    pub(super) fn read(root: &Root) -> Result<Self> {
        let record = text(root, RECORD)?.map(|text| {
            Record::parse(&text, "applied.json").with_context(|| {
                root.refusal(
                    RECORD,
                    "is damaged, so what is installed is not known",
                    "restore it from a backup; or move it away and apply the same bundle again, which takes files \
                     that are as in the bundle for its own",
                )
            })
        });
        let journal = text(root, JOURNAL)?.map(|text| {
            Journal::parse(&text, "applying.json").with_context(|| {
                root.refusal(
                    JOURNAL,
                    "is damaged, so what an interrupted apply left is not known",
                    "move it away and apply again; files of the bundle that was interrupted may then be in the way",
                )
            })
        });
        Ok(Self { record: record.transpose()?, journal: journal.transpose()? })
    }

    /// Removes what a killed run may have left half written.
    ///
    /// # Errors
    /// When it is there and stays.
    pub(super) fn sweep(&self, root: &Root) -> Result<()> {
        for path in self.leftovers() {
            remove_temporary(root, &path)?;
        }
        Ok(())
    }

    /// How many bytes [`State::sweep`] will give back on the filesystem of each directory: (device, bytes).
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub(super) fn reclaimable(&self, root: &Root) -> Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for path in self.leftovers() {
            let (above, name) = split(&path);
            let Some(dir) = root.directory(above)? else { continue };
            if let Some(stat) = stat(&dir, &write::temporary(name))? {
                found.push((rustix::fs::fstat(&dir)?.st_dev, stat.stx_blocks * 512));
            }
        }
        Ok(found)
    }

    /// Every path beside which a half-written file may lie.
    fn leftovers(&self) -> Vec<String> {
        let files = self.journal.iter().flat_map(|journal| &journal.files).map(|file| file.path.to_string());
        files.chain([RECORD, JOURNAL].map(str::to_owned)).collect()
    }
}

/// Writes one of the two documents beside its place, durably: it is on the disk and appears with [`publish`].
///
/// # Errors
/// When it cannot be written.
pub(super) fn stage(root: &Root, path: &'static str, document: &impl Serialize, epoch: u64) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(document).context("encoding the record")?;
    json.push(b'\n');
    let file = write::file(root, &path.parse()?, Mode::FILE, Owner::current(), epoch, &mut json.as_slice())?;
    file.sync_all().with_context(|| format!("syncing {}", root.show(path)))
}

/// Lets a staged document appear, durably.
///
/// # Errors
/// When it cannot be renamed.
pub(super) fn publish(root: &Root, path: &'static str) -> Result<()> {
    write::publish(root, &path.parse()?)?;
    write::sync_directory(root, DIRECTORY)
}

/// Removes one of the two documents, durably.
///
/// # Errors
/// When it is there and stays.
pub(super) fn discard(root: &Root, path: &str) -> Result<()> {
    let (above, name) = split(path);
    let Some(dir) = root.directory(above)? else { return Ok(()) };
    match unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) => write::sync_directory(root, above),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", root.show(path))),
    }
}

/// Removes the temporary file that was to become `path`.
///
/// # Errors
/// When it is there and stays.
pub(super) fn remove_temporary(root: &Root, path: &str) -> Result<()> {
    let (above, name) = split(path);
    let Some(dir) = root.directory(above)? else { return Ok(()) };
    // Looked at first: even where there is nothing to remove, a read-only filesystem would refuse.
    if stat(&dir, &write::temporary(name))?.is_none() {
        return Ok(());
    }
    match unlinkat(&dir, write::temporary(name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", root.show(&write::beside(path)))),
    }
}

fn text(root: &Root, path: &str) -> Result<Option<String>> {
    let (above, name) = split(path);
    let Some(dir) = root.directory(above)? else { return Ok(None) };
    let context = || format!("reading {}", root.show(path));
    let Some(stat) = stat(&dir, name).with_context(context)? else { return Ok(None) };
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile || stat.stx_size > MAX_SIZE {
        bail!(root.refusal(path, "is no record of ours", "move it away"));
    }
    let mut bytes = Vec::new();
    read(&dir, name).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes)).with_context(context)?;
    // What is no text is no JSON either, and is refused as such.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
