//! Reads documents that people write (YAML) and that we write (JSON): one-line errors, with the cure.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flexnode_firstboot::suggest;
use serde::de::DeserializeOwned;

use crate::failure::{Class, Failure};

/// Nothing we read is larger: the largest catalog file has 32 KB, a bundle.json about 20 KB.
const MAX_SIZE: u64 = 8 << 20;

/// The text of a file, of a size that a document may have.
///
/// # Errors
/// When it cannot be read, is too large or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let context = || format!("reading {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(context)?;
    if file.take(MAX_SIZE + 1).read_to_string(&mut text).with_context(context)? as u64 > MAX_SIZE {
        anyhow::bail!(Failure::new(Class::Usage, format!("{} is larger than 8 MiB", path.display())));
    }
    Ok(text)
}

/// Parses YAML; `name` is what the error calls the document, `help` where its form is described.
///
/// # Errors
/// One line that names the place; for an unknown key the hint names the right one.
pub fn parse_yaml<T: DeserializeOwned>(text: &str, name: &str, help: &str) -> Result<T> {
    let options = serde_yaml::options! { with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| refusal(name, &error.to_string(), help).into())
}

/// Parses JSON; `name` is what the error calls the document, `help` where its form is described.
///
/// # Errors
/// As for YAML.
pub fn parse_json<T: DeserializeOwned>(text: &str, name: &str, help: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| refusal(name, &error.to_string(), help).into())
}

fn refusal(name: &str, message: &str, help: &str) -> Failure {
    let line = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let hint = suggest::hint_for_unknown(message).unwrap_or_else(|| help.to_owned());
    Failure::new(Class::Usage, format!("{name}: {line}")).hint(hint)
}
