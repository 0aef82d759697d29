//! Private keys as cosign encrypts them: PKCS#8 in a NaCl secretbox, its key made of a passphrase by scrypt.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use p256::pkcs8::LineEnding;
use p256::pkcs8::der::pem;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use crate::failure::{Class, Failure};

/// What cosign calls them since 2.0, and what it called them before.
const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// cosign's cost, 64 MiB and a fifth of a second.
const LOG_N: u8 = 16;
const R: u32 = 8;
const P: u32 = 1;

/// More is an attack, not a cost: 1 GiB.
const MAX_LOG_N: u8 = 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Whether it is such a key.
pub(super) fn is_encrypted(text: &str) -> bool {
    pem::decode_label(text.as_bytes()).is_ok_and(|label| LABELS.contains(&label))
}

/// The key's PKCS#8.
///
/// # Errors
/// When it is damaged, of another kind, or the passphrase is wrong.
pub(super) fn decrypt(text: &str, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>> {
    let damaged = || Failure::new(Class::Usage, "the encrypted key is damaged").hint("restore it from a copy");
    let (_, json) = pem::decode_vec(text.as_bytes()).with_context(damaged)?;
    let envelope: Envelope = serde_json::from_slice(&json).with_context(damaged)?;
    let Kdf { name, params, salt } = &envelope.kdf;
    let log_n = u8::try_from(params.n.trailing_zeros()).unwrap_or(u8::MAX);
    let is_cosigns = name == "scrypt" && params.n.is_power_of_two() && envelope.cipher.name == "nacl/secretbox";
    if !is_cosigns || log_n > MAX_LOG_N || params.r > R || params.p > P {
        bail!(damaged());
    }
    let salt = BASE64_STANDARD.decode(salt).with_context(damaged)?;
    let nonce = BASE64_STANDARD.decode(&envelope.cipher.nonce).with_context(damaged)?;
    let nonce: [u8; 24] = nonce.try_into().ok().with_context(damaged)?;
    let ciphertext = BASE64_STANDARD.decode(&envelope.ciphertext).with_context(damaged)?;
    let secretbox = secretbox(passphrase, &salt, log_n, params.r, params.p)?;
    let opened = secretbox.decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice()).ok().with_context(|| {
        Failure::new(Class::Usage, "the passphrase is wrong, or the encrypted key is damaged")
            .hint("compare the passphrase; what an editor or `echo` adds to its end is part of it")
    });
    Ok(Zeroizing::new(opened?))
}

/// PEM of the key that has this PKCS#8.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn encrypt(pkcs8: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<String>> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).context("asking for randomness")?;
    let sealed = secretbox(passphrase, &salt, LOG_N, R, P)?.encrypt(Nonce::from_slice(&nonce), pkcs8);
    let sealed = sealed.ok().context("encrypting the key")?;
    let envelope = Envelope {
        kdf: Kdf {
            name: "scrypt".to_owned(),
            params: Params { n: 1 << LOG_N, r: R, p: P },
            salt: BASE64_STANDARD.encode(salt),
        },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: BASE64_STANDARD.encode(nonce) },
        ciphertext: BASE64_STANDARD.encode(sealed),
    };
    let json = serde_json::to_vec(&envelope)?;
    let text = pem::encode_string(LABELS[0], LineEnding::LF, &json).context("encoding the key")?;
    Ok(Zeroizing::new(text))
}

fn secretbox(passphrase: &Passphrase, salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<XSalsa20Poly1305> {
    let params = scrypt::Params::new(log_n, r, p).context("reading the key's scrypt parameters")?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), salt, &params, key.as_mut_slice()).context("running scrypt")?;
    Ok(XSalsa20Poly1305::new(Key::from_slice(key.as_slice())))
}
