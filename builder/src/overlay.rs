//! The overlay: what the bundle puts where. Paths and modes are parsed once and then trusted.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::failure::{Class, Failure};

/// A path inside the node's root: relative, normal, printable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OverlayPath(String);

impl OverlayPath {
    /// The path without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every directory above it, outermost first: `a/b/c` gives `a`, `a/b`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl fmt::Display for OverlayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no overlay path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path inside the node: {why}")]
pub struct NotAPath {
    path: String,
    why: &'static str,
}

impl FromStr for OverlayPath {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let refuse = |why| Err(NotAPath { path: text.escape_debug().take(120).collect(), why });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.starts_with('/') {
            return refuse("it is absolute, write it without the leading `/`");
        }
        if text.len() > 240 {
            return refuse("it is longer than 240 bytes");
        }
        if text.chars().any(char::is_control) {
            return refuse("it has a control character");
        }
        for part in text.split('/') {
            match part {
                "" => return refuse("it has an empty part"),
                "." | ".." => return refuse("it has a `.` or `..` part"),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for OverlayPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for OverlayPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OverlayPath".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[^/]", "maxLength": 240})
    }
}

/// Permission bits, written as an octal string (`"0755"`): a bare 0644 is 420 to one YAML reader and 644 to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// rwxr-xr-x
    pub const EXECUTABLE: Self = Self(0o755);
    /// rw-r--r--
    pub const FILE: Self = Self(0o644);
    /// rwxr-xr-x
    pub const DIRECTORY: Self = Self(0o755);
    /// rwx------
    pub const PRIVATE_DIRECTORY: Self = Self(0o700);
    /// What every symbolic link has.
    pub const LINK: Self = Self(0o777);

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether anybody may execute it.
    #[must_use]
    pub fn is_executable(self) -> bool {
        self.0 & 0o111 != 0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Why a text is no mode.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mode is a quoted octal number from \"0000\" to \"0777\", not `{0}`")]
pub struct NotAMode(String);

impl FromStr for Mode {
    type Err = NotAMode;

    fn from_str(text: &str) -> Result<Self, NotAMode> {
        let refuse = || NotAMode(text.chars().take(20).collect());
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(bits) if digits && bits <= 0o777 => Ok(Self(bits)),
            _ => Err(refuse()),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^0?[0-7]{3}$"})
    }
}

/// The bytes of a file: small ones in memory, programs in an open (often nameless) file.
#[derive(Debug, Clone)]
pub enum Content {
    /// Rendered text and metadata.
    Bytes(Arc<[u8]>),
    /// A program, held open so that nobody can swap it by name.
    File(Arc<File>),
}

impl Content {
    /// Reads from the start, independently of other readers of the same file.
    #[must_use]
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, at: 0 }
    }
}

/// Reads a [`Content`] from its start.
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match self.content {
            Content::File(file) => file.read_at(buf, self.at)?,
            Content::Bytes(bytes) => {
                let rest = &bytes[bytes.len().min(usize::try_from(self.at).unwrap_or(usize::MAX))..];
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                n
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}

/// A regular file of the overlay.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Permission bits on the node.
    pub mode: Mode,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the content.
    pub sha256: Digest,
    /// The content.
    pub content: Content,
    /// The component it came from; `None` for configuration.
    pub component: Option<String>,
}

/// One entry of the overlay.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory that is ours; directories of the distribution are not listed.
    Directory(Mode),
    /// A regular file.
    File(FileEntry),
    /// A symbolic link.
    Link {
        /// Where it points, as stored.
        target: String,
    },
}

/// The staged overlay, sorted by path.
#[derive(Debug, Default)]
pub struct Overlay(BTreeMap<OverlayPath, Entry>);

impl Overlay {
    /// Adds an entry; two owners of one path, or a file where another needs a directory, are refused.
    ///
    /// # Errors
    /// Names the path that is taken.
    pub fn insert(&mut self, path: OverlayPath, entry: Entry) -> Result<()> {
        for above in path.ancestors() {
            if let Some(Entry::File(_) | Entry::Link { .. }) = self.0.get(&OverlayPath(above.to_owned())) {
                bail!(taken(&path, &format!("`{above}` is a file")));
            }
        }
        let is_directory = matches!(entry, Entry::Directory(_));
        let below = format!("{path}/");
        if !is_directory
            && self.0.range(OverlayPath(below.clone())..).next().is_some_and(|(p, _)| p.0.starts_with(&below))
        {
            bail!(taken(&path, "it is a directory that holds other files"));
        }
        match self.0.entry(path) {
            btree_map::Entry::Vacant(slot) => {
                slot.insert(entry);
                Ok(())
            }
            btree_map::Entry::Occupied(slot) if is_directory && matches!(slot.get(), Entry::Directory(_)) => Ok(()),
            btree_map::Entry::Occupied(slot) => bail!(taken(slot.key(), "something else is installed there")),
        }
    }

    /// All entries, sorted by path.
    pub fn iter(&self) -> btree_map::Iter<'_, OverlayPath, Entry> {
        self.0.iter()
    }

    /// The entry at `path`.
    #[must_use]
    pub fn get(&self, path: &OverlayPath) -> Option<&Entry> {
        self.0.get(path)
    }
}

impl<'a> IntoIterator for &'a Overlay {
    type Item = (&'a OverlayPath, &'a Entry);
    type IntoIter = btree_map::Iter<'a, OverlayPath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn taken(path: &OverlayPath, why: &str) -> Failure {
    Failure::new(Class::Usage, format!("cannot install `/{path}`: {why}"))
        .hint("give the extra file or component another path, or leave one of the two out")
}
