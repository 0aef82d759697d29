//! Whose names and versions a package has, and how those versions are ordered.

use std::cmp::Ordering;
use std::fmt;

use semver::Version;
use serde::{Serialize, Serializer};

/// The ecosystems that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    /// Go modules, and `stdlib`.
    Go,
    /// Crates.
    CratesIo,
    /// Source packages of a release of Debian: `12`.
    Debian(String),
    /// Source packages of a release of Ubuntu: `22.04`.
    Ubuntu(String),
}

impl Ecosystem {
    /// Whether OSV means this one by `name`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let rest = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(':'));
        match self {
            Self::Go => name == "Go",
            Self::CratesIo => name == "crates.io",
            Self::Debian(release) => rest("Debian") == Some(release),
            // `Ubuntu:Pro:…` are packages that only subscribers get.
            Self::Ubuntu(release) => rest("Ubuntu").is_some_and(|name| name.trim_end_matches(":LTS") == release),
        }
    }

    /// How two versions are ordered; nothing where one of them is no version here.
    #[must_use]
    pub fn compare(&self, left: &str, right: &str) -> Option<Ordering> {
        match self {
            Self::Go | Self::CratesIo => Some(semantic(left)?.cmp_precedence(&semantic(right)?)),
            Self::Debian(_) | Self::Ubuntu(_) => {
                // deb-version(7). The crate takes any text, counts in bytes and slices by character.
                let allowed = |c: char| c.is_ascii_alphanumeric() || ".+~-:".contains(c);
                let is_version = |text: &str| !text.is_empty() && text.chars().all(allowed);
                (is_version(left) && is_version(right)).then(|| deb_version::compare_versions(left, right))
            }
        }
    }
}

/// A version of semver, with Go's `v` or without; some advisories leave out zeros at its end.
fn semantic(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let is_short = text.split('.').count() < 3 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let padded = || format!("{text}{}", ".0".repeat(3 - text.split('.').count()));
    Version::parse(text).ok().or_else(|| is_short.then(|| Version::parse(&padded()).ok())?)
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Go => f.write_str("Go"),
            Self::CratesIo => f.write_str("crates.io"),
            Self::Debian(release) => write!(f, "Debian:{release}"),
            Self::Ubuntu(release) => write!(f, "Ubuntu:{release}"),
        }
    }
}

impl Serialize for Ecosystem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
