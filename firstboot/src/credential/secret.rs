//! The operator's secret, from where the config says it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::{Secret, SecretSource};
use crate::failure::{Exit, Failure};

/// A secret from where the config says it is.
///
/// # Errors
/// When it is not there, is too large, is empty, or lies in a file that others can read.
pub(super) fn secret(source: &SecretSource, credentials_directory: Option<&Path>) -> Result<Secret, Failure> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.clone()),
        SecretSource::File { path, .. } => {
            let hint = format!("write the secret and nothing else to {}, then `chmod 600` it", path.display());
            read_secret(path, true).map_err(|why| {
                Failure::new(Exit::BadConfig, format!("clientSecretFile {}: {why}", path.display()), hint)
            })
        }
        SecretSource::Credential(name) => {
            let hint = format!(
                "`systemctl edit flexnode-firstboot` and add `[Service]` and `LoadCredential={name}:/path/of/the/secret`; \
                 credentials are there under systemd only"
            );
            let fail = |why: &str| Failure::new(Exit::BadConfig, format!("systemd credential {name}: {why}"), &hint);
            let directory = credentials_directory.ok_or_else(|| fail("$CREDENTIALS_DIRECTORY is not set"))?;
            read_secret(&directory.join(name), false).map_err(|why| fail(&why))
        }
    }
}

fn read_secret(path: &Path, must_be_private: bool) -> Result<Secret, String> {
    use std::os::unix::fs::PermissionsExt as _;
    const LARGEST: u64 = 4096;
    let read = || -> io::Result<(u32, Zeroizing<String>)> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(io::Error::other("not a file of at most 4096 bytes"));
        }
        let mut text = Zeroizing::new(String::with_capacity(2 * 4096));
        File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
        Ok((metadata.permissions().mode(), text))
    };
    let (mode, text) = read().map_err(|error| error.to_string())?;
    if must_be_private && mode & 0o077 != 0 {
        return Err("it may be read by others".to_owned());
    }
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        secret => Ok(Secret::from(secret.to_owned())),
    }
}
