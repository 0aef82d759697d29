//! A new pair of keys in two files, which never replace others.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::key::PrivateKey;
use super::passphrase::Passphrase;
use super::public::PublicKey;
use crate::failure::{Class, Failure};

/// Makes a pair and writes it to `PREFIX.key`, which only its owner can read, and `PREFIX.pub`.
///
/// # Errors
/// When one of the files is there, or cannot be written.
pub fn keygen(prefix: &Path, passphrase: Option<&Passphrase>) -> Result<([PathBuf; 2], PublicKey)> {
    let paths = [".key", ".pub"].map(|suffix| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        bail!(exists(there));
    }
    let key = PrivateKey::generate()?;
    let public = key.public()?;
    write(&paths[0], key.to_pem(passphrase)?.as_bytes(), 0o600)?;
    write(&paths[1], public.to_pem().as_bytes(), 0o644)?;
    Ok((paths, public))
}

fn exists(path: &Path) -> Failure {
    Failure::new(Class::Usage, format!("{} exists, and a key is never overwritten", path.display()))
        .hint("choose another name with -o PREFIX, or move it away")
}

/// Durably, and only if there is no such file by then either.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let context = || format!("writing {}", path.display());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = Permissions::from_mode(mode);
    let file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    let mut file = file.with_context(context)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(context)?;
    match file.persist_noclobber(path) {
        Ok(_file) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => bail!(exists(path)),
        Err(error) => Err(error.error).with_context(context),
    }
}
