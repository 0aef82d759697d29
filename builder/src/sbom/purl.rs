//! Package URLs: what advisories and scanners call a package.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};
use packageurl::PackageUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bundle::Component;
use crate::stage::package::Control;
use crate::target::Target;

/// A package URL in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purl(String);

impl Purl {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the catalog or the spec calls the component, what its URL tells, or else the URL itself.
    pub(super) fn of(component: &Component) -> Result<Self> {
        if let Some(purl) = component.purl.as_ref().filter(|_| !component.stand_in) {
            return Ok(purl.clone());
        }
        // A stand-in is not what lies at that URL.
        let url = Some(component.url.as_str()).filter(|url| is_web(url) && !component.stand_in);
        if let Some((owner, repository, tag)) = url.and_then(github) {
            return Self::new("github", Some(owner), repository, Some(tag), &[]);
        }
        let checksum = format!("sha256:{}", component.sha256);
        let mut qualifiers = vec![("checksum", checksum.as_str())];
        qualifiers.extend(url.map(|url| ("download_url", url)));
        Self::new("generic", None, &component.name, Some(&component.version), &qualifiers)
    }

    /// A Go module, by its path; `stdlib` is the standard library's.
    pub(super) fn of_go_module(path: &str, version: Option<&str>) -> Result<Self> {
        let (namespace, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
        Self::new("golang", namespace, name, version, &[])
    }

    /// A crate of the registry that cargo takes by default.
    pub(super) fn of_crate(name: &str, version: &str) -> Result<Self> {
        Self::new("cargo", None, name, Some(version), &[])
    }

    /// A package of Debian's or Ubuntu's. `distro` is the release, such as `debian-12`; advisories are by release and by
    /// source package.
    ///
    /// # Errors
    /// When name or version cannot be written in a URL.
    pub fn of_debian_package(control: &Control, vendor: &str, distro: Option<&str>) -> Result<Self> {
        let mut qualifiers = vec![("arch", control.architecture.as_str())];
        qualifiers.extend(control.source.as_deref().map(|source| ("upstream", source)));
        qualifiers.extend(distro.map(|distro| ("distro", distro)));
        Self::new("deb", Some(vendor), &control.name, Some(&control.version), &qualifiers)
    }

    /// A package that travels whole, if Debian or Ubuntu made it: others number theirs as they like.
    ///
    /// # Errors
    /// As above.
    pub fn of_package(control: &Control, target: Target) -> Result<Option<Self>> {
        let ubuntu = target.to_string();
        let (vendor, distro) = match control.vendor() {
            Some("ubuntu") => ("ubuntu", ubuntu.starts_with("ubuntu-").then_some(ubuntu)),
            Some(vendor) => (vendor, debian_release(&control.version).map(|release| format!("debian-{release}"))),
            None => return Ok(None),
        };
        Self::of_debian_package(control, vendor, distro.as_deref()).map(Some)
    }

    fn new(
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        version: Option<&str>,
        qualifiers: &[(&str, &str)],
    ) -> Result<Self> {
        let build = || {
            let mut purl = PackageUrl::new(kind.to_owned(), name.to_owned())?;
            if let Some(namespace) = namespace {
                purl.with_namespace(namespace.to_owned())?;
            }
            if let Some(version) = version {
                purl.with_version(version.to_owned())?;
            }
            for (key, value) in qualifiers {
                purl.add_qualifier((*key).to_owned(), (*value).to_owned())?;
            }
            Ok::<_, packageurl::Error>(purl.to_string())
        };
        build().map(Self).with_context(|| format!("writing the package URL of {name}"))
    }
}

/// Owner, repository and tag of a release on GitHub.
fn github(url: &str) -> Option<(&str, &str, &str)> {
    let mut parts = url.strip_prefix("https://github.com/")?.split('/');
    let (owner, repository) = (parts.next()?, parts.next()?);
    let tag = (parts.next()? == "releases" && parts.next()? == "download").then(|| parts.next())??;
    Some((owner, repository, tag))
}

/// Whether others can fetch from there, too.
pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Debian's release in the version of an update to it (`1.2-3+deb12u1`) or of a backport (`1.2-3~bpo12+1`).
fn debian_release(version: &str) -> Option<&str> {
    ["+deb", "~deb", "~bpo", "+bpo"].iter().find_map(|mark| {
        let (_, rest) = version.rsplit_once(mark)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        (digits > 0).then(|| &rest[..digits])
    })
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Purl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        ensure!(text.len() <= 2048, "a package URL has at most 2048 bytes");
        let purl =
            PackageUrl::from_str(text).with_context(|| format!("`{}` is no package URL", text.escape_debug()))?;
        purl.validate().with_context(|| format!("`{}` is no package URL", text.escape_debug()))?;
        Ok(Self(purl.to_string()))
    }
}

impl Serialize for Purl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Purl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{error:#}")))
    }
}

impl JsonSchema for Purl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Purl".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^pkg:", "maxLength": 2048})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_debian_is_read_from_the_version_of_an_update() {
        assert_eq!(debian_release("1.1.5+ds1-1+deb12u1"), Some("12"));
        assert_eq!(debian_release("1:2.0-3~bpo11+1"), Some("11"));
        assert_eq!(debian_release("1.4.7-1"), None);
        assert_eq!(debian_release("1+debian"), None);
    }

    #[test]
    fn packages_of_a_distribution_have_its_urls_and_those_of_others_have_none() {
        let of = |version: &str, maintainer: &str| {
            let control = Control {
                name: "conntrack".to_owned(),
                version: version.to_owned(),
                architecture: "amd64".to_owned(),
                source: Some("conntrack-tools".to_owned()),
                maintainer: Some(maintainer.to_owned()),
                depends: Vec::new(),
                provides: Vec::new(),
                built: None,
            };
            Purl::of_package(&control, Target::default()).unwrap().map(|purl| purl.to_string())
        };
        let debian = of("1:1.4.7-1+deb12u2", "Debian Netfilter Packaging Team <x@alioth-lists.debian.net>").unwrap();
        assert!(debian.ends_with("?arch=amd64&distro=debian-12&upstream=conntrack-tools"), "{debian}");
        let ubuntu = of("1:1.4.6-2build2", "Ubuntu Developers <ubuntu-devel-discuss@lists.ubuntu.com>").unwrap();
        assert!(
            ubuntu.starts_with("pkg:deb/ubuntu/conntrack@1:1.4.6-2build2?arch=amd64&distro=ubuntu-22.04&"),
            "{ubuntu}"
        );
        assert_eq!(of("1.61.03319.859", "Microsoft <support@example.com>"), None);
    }

    #[test]
    fn a_package_url_is_kept_in_its_canonical_form_and_others_are_refused() {
        let purl: Purl = "pkg:deb/debian/runc@1.1.5%2Bds1-1?distro=debian-12&arch=amd64".parse().unwrap();
        assert_eq!(purl.as_str(), "pkg:deb/debian/runc@1.1.5%2Bds1-1?arch=amd64&distro=debian-12");
        for wrong in ["", "runc", "pkg:", "pkg:swift/name@1", &format!("pkg:generic/{}", "a".repeat(3000))] {
            assert!(wrong.parse::<Purl>().is_err(), "{wrong}");
        }
    }
}
