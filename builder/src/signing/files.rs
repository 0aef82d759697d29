//! Signs an archive, and writes what lies beside it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::dsse;
use super::envelope::Envelope;
use super::key::PrivateKey;
use crate::atomic;
use crate::bundle::{provenance_file_of, signature_file_of, sigstore_file_of};
use crate::digest::Digest;

/// Signs the archive at `path`, which has the digest `sha256`: in sigstore's format, and bare.
///
/// # Errors
/// When it is no longer that archive, or the signature cannot be written.
pub fn sign(path: &Path, sha256: Digest, key: &PrivateKey) -> Result<()> {
    let signature = key.sign(sha256, || File::open(path)).with_context(|| format!("signing {}", path.display()))?;
    let envelope = Envelope::of_message(&key.public()?, sha256, &signature);
    let (sigstore, bare) = (sigstore_file_of(path), signature_file_of(path));
    // Never two signatures that disagree, not even for a moment.
    atomic::remove(&bare)?;
    atomic::write(&sigstore, envelope.to_json()?.as_bytes())?;
    atomic::write(&bare, BASE64_STANDARD.encode(&signature).as_bytes())
}

/// Signs `statement`, which is about the archive at `path`.
///
/// # Errors
/// When it cannot be written.
pub fn sign_provenance(path: &Path, statement: &Value, key: &PrivateKey) -> Result<()> {
    let payload = serde_json::to_vec(statement).context("encoding the provenance")?;
    let signed = dsse::encode(dsse::IN_TOTO, &payload);
    let signature = key.sign(Digest::of(&signed), || Ok(signed.as_slice())).context("signing the provenance")?;
    let envelope = Envelope::of_statement(&key.public()?, dsse::IN_TOTO, &payload, &signature);
    atomic::write(&provenance_file_of(path), envelope.to_json()?.as_bytes())
}
