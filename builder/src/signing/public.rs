//! Public keys: read from PEM, and what they say of a signature.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::spki::{DecodePublicKey as _, EncodePublicKey as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use crate::digest::{Digest, HashingReader};
use crate::document;
use crate::failure::{Class, Failure};

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    pem: String,
    fingerprint: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    pub(super) fn p256(key: p256::ecdsa::VerifyingKey) -> Result<Self> {
        Self::new(Algorithm::P256(key))
    }

    pub(super) fn ed25519(key: ed25519_dalek::VerifyingKey) -> Result<Self> {
        Self::new(Algorithm::Ed25519(key))
    }

    fn new(algorithm: Algorithm) -> Result<Self> {
        let der = match &algorithm {
            Algorithm::P256(key) => key.to_public_key_der(),
            Algorithm::Ed25519(key) => key.to_public_key_der(),
        };
        let der = der.context("encoding the public key")?;
        let pem = der.to_pem("PUBLIC KEY", p256::pkcs8::LineEnding::LF).context("encoding the public key")?;
        Ok(Self { algorithm, pem, fingerprint: Digest::of(der.as_bytes()) })
    }

    /// Reads the key in the file at `path`.
    ///
    /// # Errors
    /// When it is no public key of ours.
    pub fn read(path: &Path) -> Result<Self> {
        let text = zeroize::Zeroizing::new(document::read(path)?);
        Self::parse(&text).with_context(|| format!("reading the key {}", path.display()))
    }

    /// Parses PEM.
    ///
    /// # Errors
    /// As for [`PublicKey::read`].
    pub fn parse(pem: &str) -> Result<Self> {
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_pem(pem) {
            return Self::p256(key);
        }
        // A weak key is one for which a signature over anything is easily found.
        match ed25519_dalek::VerifyingKey::from_public_key_pem(pem) {
            Ok(key) if !key.is_weak() => Self::ed25519(key),
            _ if pem.contains("PRIVATE KEY-----") => bail!(
                Failure::new(Class::Usage, "it is a private key, and verifying needs the public one")
                    .hint("name the .pub file that was made with it")
            ),
            _ => bail!(
                Failure::new(Class::Usage, "it is no ECDSA P-256 or Ed25519 public key in PEM")
                    .hint("`openssl pkey -in KEY -pubout` and `cosign public-key --key KEY` write one")
            ),
        }
    }

    /// The key as PEM.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// Digest of the key's DER: its name.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// How sigstore bundles hint at it.
    pub(super) fn hint(&self) -> String {
        BASE64_STANDARD.encode(self.fingerprint.as_bytes())
    }

    /// The digest of all that `message` reads, if `signature` is this key's over it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn verify(&self, signature: &[u8], message: impl Read) -> io::Result<Option<Digest>> {
        let mut message = HashingReader::new(message);
        let holds = match &self.algorithm {
            Algorithm::P256(key) => {
                io::copy(&mut message, &mut io::sink())?;
                let digest = message.finish().0;
                let signature = p256::ecdsa::DerSignature::try_from(signature);
                let holds = signature.and_then(|signature| key.verify_prehash(digest.as_bytes(), &signature)).is_ok();
                return Ok(holds.then_some(digest));
            }
            Algorithm::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let Ok(mut stream) = signature.and_then(|signature| key.verify_stream(&signature)) else {
                    return Ok(None);
                };
                let mut buffer = [0; 1 << 14];
                loop {
                    match message.read(&mut buffer)? {
                        0 => break stream.finalize_and_verify().is_ok(),
                        n => stream.update(&buffer[..n]),
                    }
                }
            }
        };
        Ok(holds.then_some(message.finish().0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            Algorithm::P256(_) => "ECDSA P-256",
            Algorithm::Ed25519(_) => "Ed25519",
        };
        write!(f, "{name} key {}", self.fingerprint.short())
    }
}
