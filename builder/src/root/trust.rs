//! The keys that a root trusts: where there are any, only what one of them signed gets in, and nothing older than what
//! is installed.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::apply::open;
use super::entrance::Root;
use super::seen::read;
use super::state::State;
use crate::bundle::Verified;
use crate::failure::{Class, Failure};
use crate::signing::PublicKey;

/// Where they lie, as `NAME.pub`.
const DIRECTORY: &str = "etc/flexnode/trusted-keys";

/// A key is two hundred bytes.
const MAX_SIZE: u64 = 64 << 10;

/// The keys that the root at `path` trusts; none where nobody has put any there.
///
/// # Errors
/// When one cannot be read: a root whose keys are not known lets nothing in.
pub fn trusted_keys(path: &Path, cross_mounts: bool) -> Result<Vec<PublicKey>> {
    keys(&open(path, cross_mounts)?)
}

/// # Errors
/// When `bundle` may not be installed in `root`.
pub(super) fn check(bundle: &Verified, root: &Root, state: &State, allow_rollback: bool) -> Result<()> {
    let keys = keys(root)?;
    if keys.is_empty() {
        return Ok(());
    }
    let (name, at) = (bundle.name(), root.show(DIRECTORY));
    let Some(signer) = bundle.signed_by() else {
        bail!(
            Failure::new(Class::Verification, format!("{name} is not known to be signed, and {at} asks for that"))
                .hint("name its signature: --signature FILE")
        );
    };
    if !keys.contains(signer) {
        bail!(
            Failure::new(Class::Verification, format!("{name} is signed by {signer}, which is none of those in {at}"))
                .hint("sign it with a key of those, or put this one there")
        );
    }
    let Some(installed) = &state.record else { return Ok(()) };
    let manifest = bundle.manifest();
    let is_older = (manifest.epoch, &manifest.kubernetes) < (installed.epoch, &installed.kubernetes);
    if is_older && !allow_rollback {
        let (new, epoch) = (&manifest.kubernetes, manifest.epoch);
        let (old, installed) = (&installed.kubernetes, installed.epoch);
        let message = format!(
            "{name} is older than what is installed: Kubernetes {new} of {epoch}, and there is {old} of {installed}"
        );
        bail!(
            Failure::new(Class::Verification, message)
                .hint("apply a newer one; or, where going back is what you want, add --allow-rollback")
        );
    }
    Ok(())
}

fn keys(root: &Root) -> Result<Vec<PublicKey>> {
    let names = root.names(DIRECTORY)?.unwrap_or_default();
    names.iter().filter(|name| name.ends_with(".pub")).map(|name| key(root, name)).collect()
}

fn key(root: &Root, name: &str) -> Result<PublicKey> {
    let path = format!("{DIRECTORY}/{name}");
    let dir = root.directory(DIRECTORY)?.context("opening the trusted keys")?;
    let mut bytes = Vec::new();
    let opened = read(&dir, name).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes));
    opened.with_context(|| format!("reading the trusted key {}", root.show(&path)))?;
    let key = PublicKey::parse(&String::from_utf8_lossy(&bytes));
    key.with_context(|| {
        root.refusal(&path, "is no key to trust", "put a public key of `keygen` there, or move it away")
    })
}
