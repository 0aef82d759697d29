//! Takes what is needed out of verified artifacts, and refuses what must not be shipped.

pub mod archive;
mod deb;
pub mod elf;
mod magic;
mod members;
pub mod package;
mod tar;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::artifact::{Arch, Artifact, Install, Kind};
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::overlay::{Content, Entry, FileEntry, Overlay, OverlayPath};
use crate::target::Target;
use archive::{Extracted, Limits};
use elf::ElfReport;

/// Puts what `artifact.install` names into the overlay, with the lock's modes and never the archive's; returns a report
/// for each ELF file among it, in the order of `install`.
///
/// `blob` holds the artifact's verified bytes and is read from its start, independently of its cursor. What comes out
/// of an archive is kept in nameless files below `scratch`, so nothing is left behind however this ends.
///
/// # Errors
/// A [`Failure`] of [`Class::Verification`] for anything that must not be shipped, [`Class::Usage`] for an install list
/// that does not fit the artifact's kind or clashes with the overlay, and a plain error when this machine fails.
pub fn stage(
    artifact: &Artifact,
    blob: &Arc<File>,
    arch: Arch,
    target: Target,
    scratch: &Path,
    overlay: &mut Overlay,
) -> Result<Vec<(OverlayPath, ElfReport)>> {
    let is_package = artifact.is_package();
    let files = match artifact.kind {
        Kind::Deb if is_package => package::check(artifact, blob, arch).and_then(|()| whole(artifact, blob)),
        Kind::Binary => whole(artifact, blob),
        Kind::Tar | Kind::TarGz | Kind::Deb => {
            let blob = Content::File(Arc::clone(blob));
            archive::extract(artifact, blob.reader(), scratch, &Limits::default())
        }
    }
    .with_context(|| format!("unpack {artifact}"))?;

    let mut reports = Vec::new();
    for (install, file) in artifact.install.iter().zip(files) {
        if !is_package && let Some(report) = gate(artifact, install, &file.file, arch, target)? {
            reports.push((install.path.clone(), report));
        }
        let entry = FileEntry {
            mode: install.mode,
            size: file.size,
            sha256: file.sha256,
            content: Content::File(file.file),
            component: Some(artifact.name.clone()),
        };
        overlay.insert(install.path.clone(), Entry::File(entry))?;
    }
    Ok(reports)
}

/// Checks a program that comes from no archive, as `flexnode-firstboot` does; `name` is what messages call it.
///
/// # Errors
/// As [`elf::check`].
pub fn check_program(name: &str, file: &File, arch: Arch, target: Target) -> Result<ElfReport> {
    elf::check(name, elf::FileAt::new(file), arch, target, elf::Role::Program)
}

/// The blob itself, once for each place it is installed to.
///
/// It is hashed again: 35 ms for a kubelet buy that what is shipped is what was pinned, whoever held the file meanwhile.
fn whole(artifact: &Artifact, blob: &Arc<File>) -> Result<Vec<Extracted>> {
    if let Some(member) = artifact.install.iter().find_map(|install| install.member.as_deref()) {
        bail!(
            Failure::new(Class::Usage, format!("a file of kind `binary` has no member `{member}`"))
                .hint("leave `member` out, or name the archive's kind: `tar`, `tar.gz` or `deb`")
        );
    }
    let content = Content::File(Arc::clone(blob));
    let (sha256, size) = Digest::of_reader(content.reader()).context("read the artifact")?;
    if sha256 != artifact.sha256 {
        bail!(
            Failure::new(Class::Verification, format!("its sha256 is {sha256}, pinned is {}", artifact.sha256))
                .hint("something changed the file after it was verified; run the build again")
        );
    }
    Ok(artifact.install.iter().map(|_| Extracted { file: Arc::clone(blob), size, sha256 }).collect())
}

/// Lets a file pass if it can run where it will be installed.
///
/// Every ELF file is checked. An executable below a `bin` or `sbin` must be one; elsewhere it may be a script.
fn gate(artifact: &Artifact, install: &Install, file: &File, arch: Arch, target: Target) -> Result<Option<ElfReport>> {
    let path = install.path.as_str();
    let mut parts = path.rsplit('/');
    let file_name = parts.next().unwrap_or(path);
    let is_command = parts.any(|part| matches!(part, "bin" | "sbin"));
    let name = if file_name == artifact.name { artifact.to_string() } else { format!("`{file_name}` of {artifact}") };

    let head = read_head(file).with_context(|| format!("read {name}"))?;
    let is_library = file_name.ends_with(".so") || file_name.contains(".so.");
    let role = if install.mode.is_executable() && !is_library { elf::Role::Program } else { elf::Role::Library };
    if elf::is_elf(&head) {
        return elf::check(&name, elf::FileAt::new(file), arch, target, role).map(Some);
    }
    let may_be_script = !is_command && head.starts_with(b"#!");
    if role == elf::Role::Library || may_be_script {
        return Ok(None);
    }
    let hint = if head.starts_with(b"#!") {
        "install scripts outside of `bin` and `sbin`, where only ELF programs belong"
    } else {
        "check the URL and whose digest is pinned; a file that is not a program takes a mode such as \"0644\""
    };
    bail!(Failure::new(Class::Verification, format!("{name} is not a program: {}", magic::describe(&head))).hint(hint))
}

fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; magic::HEAD];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    head.truncate(filled);
    Ok(head)
}
