//! Takes the wanted members out of an archive in one pass, and refuses the archive if any member is not harmless.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use flate2::bufread::MultiGzDecoder;

use super::members::Census;
use super::tar::{Member, MemberKind, TarReader, show};
use super::{deb, magic};
use crate::artifact::{Artifact, Kind};
use crate::digest::{Digest, HashingWriter};
use crate::failure::{Class, Failure};

/// How much an archive may hold. Decompression stops at these, so a bomb costs time and never disk or memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one member.
    pub member: u64,
    /// Bytes of the whole archive, unpacked, headers included.
    pub total: u64,
    /// Headers of any type.
    pub entries: u64,
}

impl Default for Limits {
    /// Five times the largest real component and more; Kubernetes' whole server archive unpacks to 2 GiB.
    fn default() -> Self {
        Self { member: 1 << 30, total: 4 << 30, entries: 100_000 }
    }
}

/// One file as it came out: held open and nameless, so that nobody can swap it.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// The content, readable from offset 0.
    pub file: Arc<File>,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, computed while it was written.
    pub sha256: Digest,
}

/// Takes what `artifact.install` names out of `blob`, which is the artifact's bytes from their start; one result for
/// each install, in their order. Files live below `scratch` and have no name there.
///
/// # Errors
/// A [`Failure`] of [`Class::Verification`] that names the member and the reason, [`Class::Usage`] when the install list
/// names no member, and a plain error when this machine fails.
pub fn extract(artifact: &Artifact, blob: impl Read, scratch: &Path, limits: &Limits) -> Result<Vec<Extracted>> {
    let mut wanted = Wanted::new(artifact, scratch)?;
    let mut blob = BufReader::with_capacity(64 << 10, blob);
    let head = blob.fill_buf().map_err(read_failure)?;
    expect_magic(artifact.kind, &head[..head.len().min(magic::HEAD)])?;
    match artifact.kind {
        Kind::Binary => bail!(Failure::new(Class::Usage, "a file of kind `binary` is no archive")),
        Kind::Tar => wanted.take_from(blob, artifact, limits)?,
        Kind::TarGz => wanted.take_from(MultiGzDecoder::new(blob), artifact, limits)?,
        Kind::Deb => deb::read_data(blob, |data| wanted.take_from(data, artifact, limits))?,
    }
    artifact.install.iter().map(|install| wanted.found(install.member.as_deref())).collect()
}

/// The members to take, by normalised name.
#[derive(Debug)]
struct Wanted<'a> {
    members: BTreeMap<&'a str, Option<Extracted>>,
    scratch: &'a Path,
}

impl<'a> Wanted<'a> {
    fn new(artifact: &'a Artifact, scratch: &'a Path) -> Result<Self> {
        let mut members = BTreeMap::new();
        for install in &artifact.install {
            let Some(member) = install.member.as_deref() else {
                bail!(
                    Failure::new(Class::Usage, format!("nothing says which member becomes `/{}`", install.path))
                        .hint("name it: `member: bin/…`, as `tar -t` or `dpkg-deb -c` lists it")
                );
            };
            members.insert(plain(member), None);
        }
        Ok(Self { members, scratch })
    }

    /// Reads a tar archive to its end.
    fn take_from(&mut self, input: impl Read, artifact: &Artifact, limits: &Limits) -> Result<()> {
        let mut archive = TarReader::new(Bounded::new(input, limits.total), limits.entries);
        let mut census = Census::new(artifact, limits.member);
        while let Some(member) = archive.next_member()? {
            let name = census.admit(&member)?;
            if let Some(slot) = self.members.get_mut(name.as_str()) {
                *slot = Some(copy_out(&mut archive, &member, self.scratch)?);
            }
        }
        census.finish()?;
        match self.members.iter().find(|(_, found)| found.is_none()) {
            Some((name, _)) => Err(census.missing(name)),
            None => Ok(()),
        }
    }

    fn found(&self, member: Option<&str>) -> Result<Extracted> {
        let found = member.and_then(|member| self.members.get(plain(member))).cloned().flatten();
        found.context("take the members out of the archive")
    }
}

/// A member's name as the lock or a person may write it.
fn plain(member: &str) -> &str {
    member.strip_prefix("./").unwrap_or(member)
}

fn copy_out<R: Read>(archive: &mut TarReader<R>, member: &Member, scratch: &Path) -> Result<Extracted> {
    let name = show(&member.name);
    let what = match member.kind {
        MemberKind::File => None,
        MemberKind::Directory => Some("a directory"),
        MemberKind::Symlink { .. } => Some("a symbolic link"),
        MemberKind::Hardlink { .. } => Some("a hard link"),
    };
    if let Some(what) = what {
        bail!(
            Failure::new(Class::Verification, format!("member `{name}` is {what}, and a file is wanted"))
                .hint("name the file itself as `member`")
        );
    }
    let file = tempfile::tempfile_in(scratch).context("create a scratch file")?;
    let mut writer = HashingWriter::new(file);
    let mut buf = vec![0; 64 << 10];
    loop {
        match archive.read_content(&mut buf)? {
            0 => break,
            n => writer.write_all(&buf[..n]).with_context(|| format!("write member `{name}` to a scratch file"))?,
        }
    }
    let (file, sha256, size) = writer.finish();
    Ok(Extracted { file: Arc::new(file), size, sha256 })
}

/// Archives of the wrong kind are mostly error pages: say so instead of reporting a broken header.
fn expect_magic(kind: Kind, head: &[u8]) -> Result<()> {
    let (magic, what): (&[u8], _) = match kind {
        Kind::TarGz => (b"\x1f\x8b", "gzip data"),
        Kind::Deb => (b"!<arch>\n", "a Debian package"),
        Kind::Tar if head.is_empty() => (b"\0", "a tar archive"),
        Kind::Tar | Kind::Binary => return Ok(()),
    };
    if head.starts_with(magic) {
        return Ok(());
    }
    Err(refuse(format!("the artifact is not {what}: {}", magic::describe(head))))
}

/// Fails once more than `limit` bytes came through.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(TooLarge(self.limit)))?;
        Ok(n)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {0} bytes")]
struct TooLarge(u64);

/// A refusal whose message names the member.
pub(super) fn refuse(message: impl Into<String>) -> anyhow::Error {
    anyhow!(
        Failure::new(Class::Verification, message)
            .hint("no honest release looks like this: check the URL and whose digest is pinned, and tell upstream")
    )
}

/// A refusal of the archive as a whole.
pub(super) fn refuse_archive(what: impl fmt::Display) -> anyhow::Error {
    refuse(format!("the archive {what}"))
}

/// Tells a disk that fails from an archive that is broken: only the former has a code of the operating system.
pub(super) fn read_failure(error: io::Error) -> anyhow::Error {
    if error.raw_os_error().is_some() {
        return anyhow::Error::from(error).context("read the artifact");
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => refuse_archive("is truncated"),
        _ => refuse_archive(format!("cannot be read: {error}")),
    }
}
