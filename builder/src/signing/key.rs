//! Private keys: ECDSA P-256 and Ed25519, read from PEM, and what they sign.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, SecretDocument};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::{PublicKey, encrypted};
use crate::digest::{Digest, HashingReader};
use crate::document;
use crate::failure::{Class, Failure};

/// A key that signs. Its memory is wiped when it goes.
pub struct PrivateKey(Algorithm);

enum Algorithm {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// A new ECDSA P-256 key, which is what cosign makes.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self> {
        let key = p256::ecdsa::SigningKey::try_generate().context("making a key")?;
        Ok(Self(Algorithm::P256(key)))
    }

    /// Reads the key in the file at `path`; the passphrase of an encrypted one comes from the environment.
    ///
    /// # Errors
    /// When it is no key of ours, or the passphrase is missing or wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = Zeroizing::new(document::read(path)?);
        Self::parse(&text, Passphrase::needed).with_context(|| format!("reading the key {}", path.display()))
    }

    /// Parses PEM; `passphrase` is asked for only if the key is encrypted.
    ///
    /// # Errors
    /// As for [`PrivateKey::read`].
    pub fn parse(pem: &str, passphrase: impl FnOnce() -> Result<Passphrase>) -> Result<Self> {
        // `openssl ecparam -genkey` writes the curve's name before the key.
        let pem = pem.find("-----BEGIN EC PRIVATE KEY-----").map_or(pem, |at| &pem[at..]);
        if encrypted::is_encrypted(pem) {
            let der = encrypted::decrypt(pem, &passphrase()?)?;
            return Self::from_der(&der);
        }
        if let Ok(key) = p256::SecretKey::from_sec1_pem(pem) {
            return Ok(Self(Algorithm::P256(key.into())));
        }
        let (label, der) = SecretDocument::from_pem(pem).map_err(|error| no_key(&format!("it is no PEM: {error}")))?;
        if label != "PRIVATE KEY" {
            bail!(no_key(&format!("it is PEM of a `{}`", label.escape_debug())));
        }
        Self::from_der(der.as_bytes())
    }

    fn from_der(der: &[u8]) -> Result<Self> {
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Ok(Self(Algorithm::P256(key)));
        }
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der);
        let key = key.map_err(|_other| no_key("it is neither ECDSA P-256 nor Ed25519"))?;
        Ok(Self(Algorithm::Ed25519(key)))
    }

    /// The key as PEM: encrypted as cosign does where there is a passphrase, PKCS#8 otherwise.
    ///
    /// # Errors
    /// When it cannot be encoded or encrypted.
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>> {
        let der = match &self.0 {
            Algorithm::P256(key) => key.to_pkcs8_der(),
            Algorithm::Ed25519(key) => key.to_pkcs8_der(),
        };
        let der = der.map_err(anyhow::Error::new).context("encoding the key")?;
        match passphrase {
            Some(passphrase) => encrypted::encrypt(der.as_bytes(), passphrase),
            None => der.to_pem("PRIVATE KEY", p256::pkcs8::LineEnding::LF).context("encoding the key"),
        }
    }

    /// The other half.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn public(&self) -> Result<PublicKey> {
        match &self.0 {
            Algorithm::P256(key) => PublicKey::p256(*key.verifying_key()),
            Algorithm::Ed25519(key) => PublicKey::ed25519(key.verifying_key()),
        }
    }

    /// Signs what `open` reads, which has the digest `sha256`.
    ///
    /// Both algorithms are deterministic: the same key and bytes give the same signature.
    ///
    /// # Errors
    /// When it cannot be read, or is not what has that digest.
    pub fn sign<R: Read>(&self, sha256: Digest, open: impl Fn() -> io::Result<R>) -> Result<Vec<u8>> {
        match &self.0 {
            Algorithm::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign_prehash(sha256.as_bytes())?;
                Ok(signature.as_bytes().to_vec())
            }
            Algorithm::Ed25519(key) => {
                // Ed25519 reads its message twice. Were the two not the same, the signature would give the key away, so
                // each reading has to be what was asked for.
                let feed = |hasher: &mut Sha512| -> Result<(), ed25519_dalek::SignatureError> {
                    let read = open().and_then(|reader| hash(reader, hasher));
                    let read = read.map_err(ed25519_dalek::SignatureError::from_source)?;
                    if read == sha256 { Ok(()) } else { Err(ed25519_dalek::SignatureError::from_source(CHANGED)) }
                };
                let expanded = ExpandedSecretKey::from(key.as_bytes());
                Ok(raw_sign_byupdate(&expanded, feed, &key.verifying_key())?.to_vec())
            }
        }
    }
}

fn no_key(why: &str) -> Failure {
    Failure::new(Class::Usage, format!("it is no private key that signs here: {why}")).hint(
        "make one with `flexnode-build keygen`, or bring another with `openssl pkey -in KEY -out KEY.pem` or \
         `cosign import-key-pair --key KEY`",
    )
}

/// A key is not shown, not even to those who debug.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").finish_non_exhaustive()
    }
}

const CHANGED: &str = "it changed while it was signed";

fn hash(reader: impl Read, hasher: &mut Sha512) -> io::Result<Digest> {
    let mut reader = HashingReader::new(reader);
    let mut buffer = [0; 1 << 14];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(reader.finish().0),
            n => hasher.update(&buffer[..n]),
        }
    }
}
