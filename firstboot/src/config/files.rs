//! The config's files: `config.yaml`, and the drop-ins of `config.d/` laid over it in the order of their names.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Flaw, Fragment, Problems, Settings};

/// More than any config; keeps a wrong path (an image, a device) from filling the memory.
const LARGEST: u64 = 1 << 20;

/// Proven settings and the files they were read from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// SHA-256, in hex, of what they say. How the operator signs in is left out: a rotated or removed secret makes no
    /// other node.
    pub digest: String,
    /// The files, in the order in which they were laid over each other.
    pub files: Vec<PathBuf>,
}

/// Reads `config` and the drop-ins beside it (`config.d/*.yaml`, `*.yml`, `*.json`), or those in `config_dir`.
/// Reads only; opens no socket.
///
/// # Errors
/// All problems: files that cannot be read, that hold a secret although others may read them, and what is in them.
pub fn load(config: &Path, config_dir: Option<&Path>) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut files = vec![config.to_path_buf()];
    let directory = config_dir.map_or_else(|| config.with_file_name("config.d"), Path::to_path_buf);
    match drop_ins(&directory) {
        Ok(found) => files.extend(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound && config_dir.is_none() => {}
        Err(error) => problems.append(unreadable(&directory, &error)),
    }
    let mut fragments = Vec::new();
    for file in &files {
        match read(file) {
            Ok(fragment) => fragments.push(fragment),
            Err(found) => problems.append(found),
        }
    }
    if !problems.list().is_empty() {
        // What a file that could not be read would have held is not known: only what is wrong by itself is told.
        problems.append(Fragment::problems_of(fragments));
        return Err(problems);
    }
    let digest = Fragment::digest(&fragments);
    Ok(Loaded { settings: Settings::from_fragments(fragments)?, digest, files })
}

fn drop_ins(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let config = matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml" | "json"));
        if config && !hidden {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Fragment, Problems> {
    let source = path.display().to_string();
    // Asked before it is opened: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(Problems::of_file(&source, "not a file of at most 1 MiB", "name the config file"));
    }
    let text = read_text(path, metadata.len()).map_err(|error| unreadable(path, &error))?;
    let mut fragment = Fragment::parse(&text, &source)?;
    if fragment.holds_secret() && metadata.permissions().mode() & 0o077 != 0 {
        let hint = format!("`chmod 600 {source}`, or move the secret into a file named by clientSecretFile");
        fragment.refuse(Flaw::new("holds a secret and may be read by others", hint));
    }
    Ok(fragment)
}

/// The text, wiped when dropped, since a secret may be in it; the room is made beforehand so that no copy stays behind.
fn read_text(path: &Path, length: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "write it, or name another with --config; docs/node-config.md shows examples",
        io::ErrorKind::InvalidData => "save it in UTF-8",
        io::ErrorKind::PermissionDenied => "run as a user who may read it",
        _ => "see whether it is a readable file or directory",
    };
    Problems::of_file(&path.display().to_string(), format!("cannot be read: {error}"), hint)
}
