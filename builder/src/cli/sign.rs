//! `flexnode-build sign` and `keygen`: signatures beside a bundle that is already built, and keys to make them with.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use super::Output;
use crate::bundle::{Source, Verified, signature_file_of, sigstore_file_of};
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::signing::{self, Passphrase, PrivateKey};

/// Sign a bundle with a key
///
/// Verifies the bundle as `verify` does, and writes its signature beside it:
/// BUNDLE.sigstore.json for cosign, and BUNDLE.sig, which openssl can use.
/// The key is ECDSA P-256 or Ed25519 in PEM, as keygen, cosign and openssl
/// write it. The passphrase of an encrypted one comes from the environment:
/// FLEXNODE_KEY_PASSWORD, COSIGN_PASSWORD, or FLEXNODE_KEY_PASSWORD_FILE.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SignArgs {
    /// The bundle
    bundle: PathBuf,
    /// The private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn sign(args: &SignArgs, output: Output) -> Result<ExitCode> {
    let progress = output.progress();
    let key = PrivateKey::read(&args.key)?;
    let (path, name) = (&args.bundle, args.bundle.display());
    let bundle = Verified::verify(Source::open(path)?, &progress)?;
    // What follows the archive on a device would be signed with it, and nobody else could tell.
    if Digest::of_reader(File::open(path)?)?.0 != bundle.sha256() {
        bail!(
            Failure::new(Class::BadBundle, format!("{name} is not the bundle alone"))
                .hint("sign the file that was built, not a device or what was read from one")
        );
    }
    signing::sign(path, bundle.sha256(), &key)?;
    let public = key.public()?;
    progress.note(&format!("{name} is signed by {public}"));
    let (sigstore, signature) = (sigstore_file_of(path), signature_file_of(path));
    let result = json!({"sha256": bundle.sha256(), "signedBy": public.fingerprint(), "files": [sigstore, signature]});
    output.print(&result, || format!("{}\n{}\n", sigstore.display(), signature.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Make a pair of keys to sign bundles with
///
/// Writes PREFIX.key and PREFIX.pub, as `cosign generate-key-pair` does. The
/// private key is encrypted with the passphrase that the environment gives:
/// FLEXNODE_KEY_PASSWORD, COSIGN_PASSWORD, or FLEXNODE_KEY_PASSWORD_FILE.
/// Files that are there are never overwritten.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct KeygenArgs {
    /// Where the two go, without .key and .pub
    #[arg(long, short, value_name = "PREFIX", default_value = "flexnode")]
    output: PathBuf,
    /// Leave the private key unencrypted, for a store that is itself secret
    #[arg(long)]
    unencrypted: bool,
}

pub(super) fn keygen(args: &KeygenArgs, output: Output) -> Result<ExitCode> {
    // An empty one is a secret of the CI that is not set.
    let given = if args.unencrypted { None } else { Passphrase::from_environment()? };
    let passphrase = given.filter(|passphrase| !passphrase.is_empty());
    if passphrase.is_none() && !args.unencrypted {
        bail!(
            Failure::new(Class::Usage, "there is no passphrase to encrypt the key with")
                .hint("put one into the environment as FLEXNODE_KEY_PASSWORD, or take the risk with --unencrypted")
        );
    }
    let (paths, public) = signing::keygen(&args.output, passphrase.as_ref())?;
    let result = json!({"files": paths, "fingerprint": public.fingerprint()});
    output.print(&result, || paths.iter().map(|path| format!("{}\n", path.display())).collect())?;
    Ok(ExitCode::SUCCESS)
}
