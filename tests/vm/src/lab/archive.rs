//! Archives in upstream's layouts, from any programs: the same input gives the same bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

/// Every member's time: 2024-04-17, the release of Kubernetes 1.30.
pub(super) const MTIME: u64 = 1_713_312_000;

/// The owner of an archive's members.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// 0:0
    Root,
    /// The user of a CI runner, as some upstreams archive.
    Runner,
}

/// One member of an archive.
#[derive(Debug)]
pub(super) enum Member<'a> {
    /// A folder; its name ends in `/`.
    Folder(&'a str),
    /// A program, from the file at this path.
    Program(String, &'a Path),
    /// A text.
    Text(&'a str, String),
}

/// Writes `members` in their order as a gzipped tar at `to`.
pub(super) fn tar_gz(to: &Path, owner: Owner, members: &[Member<'_>]) -> Result<()> {
    let file = File::create_new(to).with_context(|| format!("create `{}`", to.display()))?;
    // No name and no time: gzip's own header is as fixed as what it holds.
    let gzip = GzBuilder::new().mtime(0).write(file, Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for member in members {
        let context = || format!("write {member:?} to `{}`", to.display());
        let (name, kind, mode) = match member {
            Member::Folder(name) => (*name, tar::EntryType::Directory, 0o755),
            Member::Program(name, _) => (name.as_str(), tar::EntryType::Regular, 0o755),
            Member::Text(name, _) => (*name, tar::EntryType::Regular, 0o644),
        };
        let (size, mut content): (u64, Box<dyn Read>) = match member {
            Member::Folder(_) => (0, Box::new(io::empty())),
            Member::Text(_, text) => (text.len() as u64, Box::new(text.as_bytes())),
            Member::Program(_, path) => {
                let file = File::open(path).with_context(context)?;
                (file.metadata().with_context(context)?.len(), Box::new(file))
            }
        };
        let header = header(name, kind, mode, owner, size).with_context(context)?;
        tar.append(&header, &mut content).with_context(context)?;
    }
    let context = || format!("finish `{}`", to.display());
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).and_then(|file| file.sync_all()).with_context(context)
}

fn header(name: &str, kind: tar::EntryType, mode: u32, owner: Owner, size: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    // Straight into the field: the crate's own setter would drop the leading `./` that upstream writes.
    let field = &mut header.as_old_mut().name;
    field.get_mut(..name.len()).context("fit a name into a tar header")?.copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    let (id, user) = match owner {
        Owner::Root => (0, "root"),
        Owner::Runner => (1001, "runner"),
    };
    header.set_uid(id);
    header.set_gid(id);
    header.set_username(user).context("name the owner in a tar header")?;
    header.set_groupname(user).context("name the owner in a tar header")?;
    header.set_cksum();
    Ok(header)
}
