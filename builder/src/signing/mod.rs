//! Signatures over bundles, by a key pair: in sigstore's format, as cosign writes and reads it, and as openssl does.
//!
//! A `key` signs the archive's bytes and what the `provenance` says of them; `files` lie beside the archive; `check`
//! turns a source, its signature and trusted `public` keys into a [`Signed`], before a byte of it is unpacked.

mod check;
mod dsse;
mod encrypted;
mod envelope;
mod files;
mod key;
mod keygen;
mod passphrase;
mod provenance;
mod public;

pub use self::check::{Signed, check, check_provenance};
pub use self::files::{sign, sign_provenance};
pub use self::key::PrivateKey;
pub use self::keygen::keygen;
pub use self::passphrase::Passphrase;
pub use self::provenance::{Invocation, statement};
pub use self::public::PublicKey;
