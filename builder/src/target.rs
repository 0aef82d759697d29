//! The operating systems a bundle can be built for, by what their C library offers.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A target distribution release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
pub enum Target {
    /// glibc 2.31
    #[serde(rename = "ubuntu-20.04")]
    #[value(name = "ubuntu-20.04")]
    Ubuntu2004,
    /// glibc 2.35
    #[default]
    #[serde(rename = "ubuntu-22.04")]
    #[value(name = "ubuntu-22.04")]
    Ubuntu2204,
    /// glibc 2.39
    #[serde(rename = "ubuntu-24.04")]
    #[value(name = "ubuntu-24.04")]
    Ubuntu2404,
    /// glibc 2.31
    #[serde(rename = "debian-11")]
    #[value(name = "debian-11")]
    Debian11,
    /// glibc 2.36
    #[serde(rename = "debian-12")]
    #[value(name = "debian-12")]
    Debian12,
}

impl Target {
    /// The newest glibc symbol version a program may need there.
    #[must_use]
    pub fn glibc(self) -> (u32, u32) {
        match self {
            Self::Ubuntu2004 | Self::Debian11 => (2, 31),
            Self::Ubuntu2204 => (2, 35),
            Self::Ubuntu2404 => (2, 39),
            Self::Debian12 => (2, 36),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ubuntu2004 => "ubuntu-20.04",
            Self::Ubuntu2204 => "ubuntu-22.04",
            Self::Ubuntu2404 => "ubuntu-24.04",
            Self::Debian11 => "debian-11",
            Self::Debian12 => "debian-12",
        })
    }
}
