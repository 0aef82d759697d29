//! Packs an overlay: manifest first, then every entry in order, with nothing in it that depends on the machine.

use std::io::{self, Read, Write};

use anyhow::{Context as _, Result, ensure};
use zstd::stream::raw::CParameter;

use super::beside::{digest_file_of, remove_signatures};
use super::manifest::{MANIFEST_PATH, Manifest};
use super::read::digest_line;
use crate::atomic::{self, Partial};
use crate::digest::{Digest, HashingReader, HashingWriter};
use crate::overlay::{Entry, Mode, Overlay};

/// The window: the largest that stock `zstd -d` and `tar --zstd` accept without a flag.
const WINDOW_LOG: u32 = 27;

/// Bytes per compression job. Part of the output: another size gives other bytes.
const JOB_SIZE: u32 = 128 << 20;

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// zstd level.
    pub level: i32,
    /// Compression threads; the output does not depend on them.
    pub jobs: u32,
    /// Modification time of every member.
    pub epoch: u64,
}

/// A finished archive.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    /// Its digest.
    pub sha256: Digest,
    /// Its length.
    pub size: u64,
}

/// Writes the bundle and its digest beside it; both appear whole or not at all. `advance` hears of each byte packed.
///
/// # Errors
/// When the output cannot be written, or a staged file is no longer what it was.
pub fn pack(
    manifest: &Manifest,
    overlay: &Overlay,
    partial: Partial,
    packing: Packing,
    advance: &dyn Fn(u64),
) -> Result<Packed> {
    let path = partial.path().to_owned();
    let (partial, sha256, size) = write(manifest, overlay, partial, packing, advance)
        .with_context(|| format!("writing the bundle {}", path.display()))?;

    // A bundle without its digest says so; one beside the digest or signature of another would look damaged or forged.
    let digest_file = digest_file_of(&path);
    atomic::remove(&digest_file)?;
    remove_signatures(&path)?;
    partial.publish()?;
    atomic::write(&digest_file, digest_line(sha256, &path).as_bytes())?;
    Ok(Packed { sha256, size })
}

fn write<W: Write>(
    manifest: &Manifest,
    overlay: &Overlay,
    out: W,
    packing: Packing,
    advance: &dyn Fn(u64),
) -> Result<(W, Digest, u64)> {
    let mut encoder = zstd::Encoder::new(HashingWriter::new(out), packing.level)?;
    encoder.include_checksum(true)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    // No workers at all gives other bytes than one, two or four.
    encoder.set_parameter(CParameter::NbWorkers(packing.jobs.max(1)))?;
    encoder.set_parameter(CParameter::JobSize(JOB_SIZE))?;

    let mut archive = tar::Builder::new(encoder);
    let json = serde_json::to_vec_pretty(manifest).context("encoding bundle.json")?;
    let mut header = header(tar::EntryType::Regular, Mode::FILE, json.len() as u64, packing.epoch);
    archive.append_data(&mut header, MANIFEST_PATH, json.as_slice())?;
    for (path, entry) in overlay {
        append(&mut archive, path.as_str(), entry, packing.epoch, advance).with_context(|| format!("adding {path}"))?;
    }
    let encoder = archive.into_inner().context("ending the archive")?;
    Ok(encoder.finish().context("ending the compressed stream")?.finish())
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    entry: &Entry,
    epoch: u64,
    advance: &dyn Fn(u64),
) -> Result<()> {
    match entry {
        Entry::Directory(mode) => {
            let mut header = header(tar::EntryType::Directory, *mode, 0, epoch);
            archive.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Entry::Link { target } => {
            let mut header = header(tar::EntryType::Symlink, Mode::LINK, 0, epoch);
            archive.append_link(&mut header, path, target)?;
        }
        Entry::File(file) => {
            let mut header = header(tar::EntryType::Regular, file.mode, file.size, epoch);
            let mut content = HashingReader::new(Heard { inner: file.content.reader(), advance });
            archive.append_data(&mut header, path, &mut content)?;
            let (digest, size) = content.finish();
            ensure!((digest, size) == (file.sha256, file.size), "its content changed while the bundle was written");
        }
    }
    Ok(())
}

/// Tells what is read through it.
struct Heard<'a, R> {
    inner: R,
    advance: &'a dyn Fn(u64),
}

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        (self.advance)(n as u64);
        Ok(n)
    }
}

/// Written by hand: the tar crate's deterministic mode has a date of its own and keeps what it finds on the disk.
fn header(kind: tar::EntryType, mode: Mode, size: u64, epoch: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode.bits());
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch);
    header.set_size(size);
    header
}
