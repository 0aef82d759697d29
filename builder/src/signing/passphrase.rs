//! The passphrase of a key: from the environment or a file, never from an argument, which others can read.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use zeroize::Zeroizing;

use crate::document;
use crate::failure::{Class, Failure};

/// Where it is looked for, in this order; the second is cosign's.
const VARIABLES: [&str; 2] = ["FLEXNODE_KEY_PASSWORD", "COSIGN_PASSWORD"];

/// Names a file whose first line it is.
const FILE_VARIABLE: &str = "FLEXNODE_KEY_PASSWORD_FILE";

/// A passphrase. Its memory is wiped when it goes.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// The one that the environment gives, if it gives one.
    ///
    /// # Errors
    /// When the file that it names cannot be read.
    pub fn from_environment() -> Result<Option<Self>> {
        if let Some(text) = VARIABLES.iter().find_map(std::env::var_os) {
            return Ok(Some(text.into()));
        }
        let Some(path) = std::env::var_os(FILE_VARIABLE) else { return Ok(None) };
        let text = document::read(Path::new(&path)).with_context(|| format!("reading what {FILE_VARIABLE} names"))?;
        let text = Zeroizing::new(text);
        Ok(Some(Self(Zeroizing::new(text.lines().next().unwrap_or_default().as_bytes().to_vec()))))
    }

    /// The one that the environment gives.
    ///
    /// # Errors
    /// When it gives none.
    pub fn needed() -> Result<Self> {
        Self::from_environment()?.with_context(|| {
            Failure::new(Class::Usage, "it is encrypted, and there is no passphrase").hint(format!(
                "put it into the environment as {} or {}, or the path of a file with it as {FILE_VARIABLE}",
                VARIABLES[0], VARIABLES[1]
            ))
        })
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<OsString> for Passphrase {
    fn from(text: OsString) -> Self {
        Self(Zeroizing::new(text.into_encoded_bytes()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").finish_non_exhaustive()
    }
}
