//! What was asked for: versions, architecture, target, extras. Flags and the spec file both end up here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use semver::{Comparator, Op, Version, VersionReq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::artifact::{Arch, Artifact, Install, Kind, Ownership, PACKAGES, Proof};
use crate::digest::Digest;
use crate::failure::{Class, Failure};
use crate::image::Reference;
use crate::overlay::Mode;
use crate::sbom::Purl;
use crate::target::Target;

/// What to resolve. A field that is absent leaves the choice to the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Request {
    /// Kubernetes minor or version: `1.30`, `1.30.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Wanted>,
    /// containerd version or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerd: Option<Wanted>,
    /// runc version or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runc: Option<Wanted>,
    /// CNI plugins version or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cni: Option<Wanted>,
    /// crictl version or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crictl: Option<Wanted>,
    /// The nodes' architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// The distribution that the nodes run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Sandbox image, by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_image: Option<String>,
    /// Container images to preload, besides the sandbox image.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<Reference>,
    /// Whether the sandbox image is left out of those that are preloaded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_pause_image: bool,
    /// Optional components of the catalog: `kube-proxy`, `nerdctl=2.1`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub with: BTreeSet<String>,
    /// Rules that may be broken, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<String>,
    /// Components that the catalog does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ExtraComponent>,
    /// Debian packages for first boot to install.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
}

impl Request {
    /// The flags that ask for the same, for hints.
    #[must_use]
    pub fn flags(&self) -> String {
        let mut flags = Vec::new();
        let wanted = [
            ("--k8s", &self.kubernetes),
            ("--containerd", &self.containerd),
            ("--runc", &self.runc),
            ("--cni", &self.cni),
            ("--crictl", &self.crictl),
        ];
        for (flag, wanted) in wanted {
            flags.extend(wanted.as_ref().map(|wanted| format!("{flag} {}", quoted(&wanted.text))));
        }
        flags.extend(self.arch.map(|arch| format!("--arch {arch}")));
        flags.extend(self.target.map(|target| format!("--target {target}")));
        flags.extend(self.pause_image.as_ref().map(|image| format!("--pause-image {}", quoted(image))));
        flags.extend(self.images.iter().map(|image| format!("--image {}", quoted(&image.to_string()))));
        flags.extend(self.without_pause_image.then(|| "--no-pause-image".to_owned()));
        flags.extend(self.with.iter().map(|with| format!("--with {}", quoted(with))));
        flags.extend(self.allow.iter().map(|rule| format!("--allow {}", quoted(rule))));
        flags.join(" ")
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@' | '=');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A component that the catalog does not have: pinned by whoever writes the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraComponent {
    /// Its name in the bundle.
    pub name: String,
    /// Its version, as text.
    pub version: String,
    /// Where it is: https, http or file.
    pub url: String,
    /// What it must be.
    pub sha256: Digest,
    /// Length in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How it is wrapped.
    pub kind: Kind,
    /// SPDX licence expression.
    #[serde(default = "no_assertion")]
    pub license: String,
    /// What advisories call it, as a package URL, if the URL does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<Purl>,
    /// Whether the archive's members may belong to somebody else than root.
    #[serde(default)]
    pub ownership: Ownership,
    /// What of it goes where.
    pub install: Vec<Install>,
}

fn no_assertion() -> String {
    "NOASSERTION".to_owned()
}

impl ExtraComponent {
    /// As the lock pins it.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        let extra = self.clone();
        Artifact {
            name: extra.name,
            version: extra.version,
            url: extra.url,
            size: extra.size,
            sha256: extra.sha256,
            license: extra.license,
            proof: Proof::Pinned { by: vec!["spec".to_owned()] },
            purl: extra.purl,
            stand_in: false,
            kind: extra.kind,
            ownership: extra.ownership,
            install: extra.install,
        }
    }
}

/// A Debian package that first boot installs: pinned by whoever writes the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// Its name, as `dpkg-deb --info` shows it.
    pub name: String,
    /// Its version, as `dpkg-deb --info` shows it.
    pub version: String,
    /// Where it is: https, http or file.
    pub url: String,
    /// What it must be.
    pub sha256: Digest,
    /// Length in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SPDX licence expression.
    #[serde(default = "no_assertion")]
    pub license: String,
}

impl Package {
    /// As the lock pins it.
    ///
    /// # Errors
    /// When name or version are none of a Debian package.
    pub fn artifact(&self) -> Result<Artifact> {
        let is = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
        let (name, version) = (&self.name, &self.version);
        // deb-control(5). The epoch is no part of a package's file name.
        if name.len() < 2 || !is(name, "+-.") || version.is_empty() || !is(version, ".+-~:") {
            bail!(
                Failure::new(
                    Class::Usage,
                    format!(
                        "`{} {}` is no Debian package's name and version",
                        name.escape_debug(),
                        version.escape_debug()
                    )
                )
                .hint("write `name` and `version` as `dpkg-deb --info FILE` shows them")
            );
        }
        let plain = version.split_once(':').map_or(version.as_str(), |(_, plain)| plain);
        let path = format!("{PACKAGES}{name}_{plain}.deb").parse().context("name the package's file")?;
        let package = self.clone();
        Ok(Artifact {
            name: package.name,
            version: package.version,
            url: package.url,
            size: package.size,
            sha256: package.sha256,
            license: package.license,
            proof: Proof::Pinned { by: vec!["spec".to_owned()] },
            purl: None,
            stand_in: false,
            kind: Kind::Deb,
            ownership: Ownership::Root,
            install: vec![Install { member: None, path, mode: Mode::FILE }],
        })
    }
}

/// A version, a minor, or a semver range, and the text it was given as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    text: String,
    range: VersionReq,
}

impl Wanted {
    /// The range of versions that will do.
    #[must_use]
    pub fn range(&self) -> &VersionReq {
        &self.range
    }

    /// Whether `version` will do.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.range.matches(version)
    }

    /// Exactly `version`.
    #[must_use]
    pub fn exactly(version: &Version) -> Self {
        let comparator = Comparator {
            op: Op::Exact,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        };
        Self { text: version.to_string(), range: VersionReq { comparators: vec![comparator] } }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is neither a version nor a range.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no version and no range ({source}); write 1.30, 1.30.4 or \">=1.30, <1.32\"")]
pub struct NotAVersion {
    text: String,
    source: semver::Error,
}

impl FromStr for Wanted {
    type Err = NotAVersion;

    /// `1.30.4` is exactly that, `1.30` any patch of it; anything else is a semver range.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let text = text.trim();
        let bare = text.strip_prefix('v').unwrap_or(text).trim_start();
        let fail = |source| NotAVersion { text: text.to_owned(), source };
        let all_numbers = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let range = match (all_numbers, bare.split('.').count()) {
            (true, 3) => format!("={bare}"),
            (true, 2) => format!("~{bare}"),
            _ => bare.to_owned(),
        };
        let range = VersionReq::parse(&range).map_err(fail)?;
        Ok(Self { text: bare.to_owned(), range })
    }
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Wanted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VersionOrRange".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A version (1.30.4), a minor (1.30) or a semver range (>=1.30, <1.32)."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_means_any_patch_and_a_version_exactly_that() {
        let matches =
            |wanted: &str, version: &str| wanted.parse::<Wanted>().unwrap().matches(&Version::parse(version).unwrap());
        assert!(matches("1.30", "1.30.14") && !matches("1.30", "1.31.0"));
        assert!(matches("v1.30.4", "1.30.4") && !matches("1.30.4", "1.30.5"));
        assert!(matches(">=2.0, <2.3", "2.2.7") && !matches(">=2.0, <2.3", "2.3.0"));
        assert!(matches("~2.1", "2.1.9") && !matches("~2.1", "2.2.0"));
    }

    #[test]
    fn a_version_is_written_as_it_is_read_again() {
        // The fuzzer's find: the blank behind the v was kept.
        let wanted: Wanted = "\nv 1".parse().unwrap();
        assert_eq!(wanted.to_string().parse::<Wanted>().unwrap(), wanted);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "latest", "1.30.4.5", "1..2", "v", "99999999999999999999.1"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }
}
