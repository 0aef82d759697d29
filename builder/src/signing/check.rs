//! Is an archive signed by a key that is trusted? Nothing of it is unpacked to find that out.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::envelope::{Detached, Envelope};
use super::public::PublicKey;
use super::{dsse, provenance};
use crate::bundle::{Source, provenance_file_of, signature_file_of, sigstore_file_of};
use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// A signature is a hundred bytes, a provenance some ten thousand.
const MAX_SIZE: u64 = 4 << 20;

/// An archive's digest, and the key that signed the archive. Nothing but [`check`] makes one.
#[derive(Debug)]
pub struct Signed {
    sha256: Digest,
    key: PublicKey,
}

impl Signed {
    /// Digest of what was signed.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Who signed it.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(crate) fn into_key(self) -> PublicKey {
        self.key
    }
}

/// Checks the signature in the file `named`, or else each one beside `source`: all have to be by one of `keys`.
///
/// # Errors
/// When there is none, or one does not hold.
pub fn check(source: &Source, named: Option<&Path>, keys: &[PublicKey]) -> Result<Signed> {
    let mut signed = None;
    for path in signature_files(source, named)? {
        let context = || format!("{} is not signed as {} says", source.name(), path.display());
        signed = Some(check_file(source, &path, keys).map_err(|why| refused(why, context()))?);
    }
    signed.with_context(|| {
        let hint = match source.path() {
            Some(path) => {
                let beside = sigstore_file_of(path);
                format!("put {} beside it, or name its signature: --signature FILE", beside.display())
            }
            None => "name its signature: --signature FILE".to_owned(),
        };
        Failure::new(Class::Verification, format!("{} is not signed", source.name())).hint(hint)
    })
}

fn signature_files(source: &Source, named: Option<&Path>) -> Result<Vec<PathBuf>> {
    if let Some(path) = named {
        return Ok(vec![path.to_owned()]);
    }
    let Some(path) = source.path() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for beside in [sigstore_file_of(path), signature_file_of(path)] {
        if beside.try_exists().with_context(|| format!("reading {}", beside.display()))? {
            found.push(beside);
        }
    }
    Ok(found)
}

fn check_file(source: &Source, path: &Path, keys: &[PublicKey]) -> Result<Signed> {
    let text = read(path)?;
    let (envelope, Detached { signature, digest }) = parse(&text)?;
    for length in source.lengths().with_context(|| format!("reading {}", source.name()))? {
        for key in keys {
            let verified = key.verify(&signature, source.prefix(length));
            let Some(sha256) = verified.with_context(|| format!("reading {}", source.name()))? else { continue };
            if let Some(other) = digest.filter(|digest| *digest != sha256) {
                bail!("the archive has sha256 {sha256}, the signature's file says {other}");
            }
            return Ok(Signed { sha256, key: key.clone() });
        }
    }
    Err(unverified(envelope.as_ref(), keys))
}

/// A sigstore bundle, or a bare signature in base64.
fn parse(text: &str) -> Result<(Option<Envelope>, Detached)> {
    if text.trim_start().starts_with('{') {
        let envelope = Envelope::parse(text)?;
        let detached = envelope.detached()?;
        return Ok((Some(envelope), detached));
    }
    let signature = BASE64_STANDARD.decode(text.trim_end()).context("it is neither a sigstore bundle nor base64")?;
    Ok((None, Detached { signature, digest: None }))
}

/// Checks the provenance beside the archive at `path`, where there is one: it has to be about this very archive, and by
/// one of `keys`.
///
/// # Errors
/// When there is one and it does not hold.
pub fn check_provenance(path: &Path, sha256: Digest, keys: &[PublicKey]) -> Result<bool> {
    let file = provenance_file_of(path);
    if !file.try_exists().with_context(|| format!("reading {}", file.display()))? {
        return Ok(false);
    }
    let context = || format!("{} is no provenance of {}", file.display(), path.display());
    check_statement(&file, sha256, keys).map_err(|why| refused(why, context()))?;
    Ok(true)
}

fn check_statement(file: &Path, sha256: Digest, keys: &[PublicKey]) -> Result<()> {
    let envelope = Envelope::parse(&read(file)?)?;
    let statement = envelope.attached()?;
    let signed = dsse::encode(&statement.payload_type, &statement.payload);
    let holds =
        |signature: &Vec<u8>| keys.iter().any(|key| matches!(key.verify(signature, signed.as_slice()), Ok(Some(_))));
    // One by us is what we ask for; but one that nobody we know made is no reason to believe the rest of the file.
    if statement.signatures.is_empty() || !statement.signatures.iter().all(holds) {
        return Err(unverified(Some(&envelope), keys));
    }
    ensure!(statement.payload_type == dsse::IN_TOTO, "it is signed, and is no in-toto statement");
    provenance::check_subject(&statement.payload, sha256)
}

fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("reading {}", path.display()))?;
    ensure!(bytes.len() as u64 <= MAX_SIZE, "it is larger than 4 MiB");
    String::from_utf8(bytes).context("it is no text")
}

fn unverified(envelope: Option<&Envelope>, keys: &[PublicKey]) -> Error {
    let names = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    match envelope {
        Some(envelope) if keys.iter().any(|key| envelope.hints_at(key)) => {
            anyhow::anyhow!("the signature does not hold for these bytes and {names}")
        }
        Some(_) => anyhow::anyhow!("it hints at another key than {names}, and does not hold for that"),
        None => anyhow::anyhow!("it is no signature over these bytes by {names}"),
    }
}

/// What cannot be read is this machine's trouble; all else is a signature that does not hold.
fn refused(why: Error, message: String) -> Error {
    if why.chain().any(|cause| cause.is::<io::Error>()) {
        return why;
    }
    why.context(
        Failure::new(Class::Verification, message)
            .hint("get archive and signature again from where they were made, and ask there for the key"),
    )
}
