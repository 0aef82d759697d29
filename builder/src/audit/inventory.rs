//! What a bundle's SBOM says is inside, as advisories name it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use packageurl::PackageUrl;
use serde::{Deserialize, Serialize};

use super::ecosystem::Ecosystem;
use crate::failure::{Class, Failure};

/// Everything that can be compared, and what cannot.
#[derive(Debug, Default)]
pub struct Inventory {
    /// What can.
    pub subjects: BTreeSet<Subject>,
    /// What cannot, and why.
    pub unjudged: Vec<String>,
}

/// A package with a version, in an ecosystem that has advisories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its name there; for a distribution's package that of its source.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// Whose versions and names these are.
    pub ecosystem: Ecosystem,
    /// The files in which it was found, or the component that it is.
    pub found_in: Vec<String>,
}

impl Inventory {
    /// Reads a CycloneDX document of `flexnode-build`'s, from the bundle at `path`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(cyclonedx: &[u8], path: &Path) -> Result<Self> {
        let document: Document = serde_json::from_slice(cyclonedx).with_context(|| {
            Failure::new(Class::BadBundle, format!("reading the SBOM of {}", path.display()))
                .hint("copy the bundle again or build it again")
        })?;
        let is_empty = |dependency: &Dependency| dependency.depends_on.is_empty();
        let hollow: BTreeSet<&str> =
            document.dependencies.iter().filter(|dep| is_empty(dep)).map(|dep| dep.reference.as_str()).collect();
        let mut inventory = Self::default();
        let mut subjects: BTreeMap<(Ecosystem, String, String), BTreeSet<String>> = BTreeMap::new();
        for component in document.components.iter().filter(|component| component.kind != "file") {
            match component.judge() {
                Verdict::Known(ecosystem, name, version) => {
                    subjects.entry((ecosystem, name, version)).or_default().extend(component.places());
                }
                Verdict::Unknown(why) => inventory.unjudged.push(format!("{} ({why})", component.name)),
                // Its parts are judged, if they are known.
                Verdict::Elsewhere if component.kind == "application" && hollow.contains(&*component.reference) => {
                    inventory.unjudged.push(format!("{} (it does not tell what is in it)", component.name));
                }
                Verdict::Elsewhere => {}
            }
        }
        let subjects = subjects.into_iter().map(|((ecosystem, name, version), found_in)| Subject {
            name,
            version,
            ecosystem,
            found_in: found_in.into_iter().collect(),
        });
        inventory.subjects = subjects.collect();
        Ok(inventory)
    }
}

#[derive(Deserialize)]
struct Document {
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(rename = "dependsOn", default)]
    depends_on: Vec<String>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    #[serde(default)]
    purl: Option<String>,
    #[serde(default)]
    evidence: Evidence,
}

#[derive(Default, Deserialize)]
struct Evidence {
    #[serde(default)]
    occurrences: Vec<Occurrence>,
}

#[derive(Deserialize)]
struct Occurrence {
    location: String,
}

enum Verdict {
    Known(Ecosystem, String, String),
    Unknown(&'static str),
    /// No ecosystem that has advisories.
    Elsewhere,
}

impl Component {
    fn places(&self) -> Vec<String> {
        match self.evidence.occurrences.as_slice() {
            [] => vec![self.name.clone()],
            places => places.iter().map(|place| place.location.clone()).collect(),
        }
    }

    fn judge(&self) -> Verdict {
        let Some(purl) = self.purl.as_deref().and_then(|purl| PackageUrl::from_str(purl).ok()) else {
            return Verdict::Elsewhere;
        };
        let is_ours = matches!(purl.ty(), "golang" | "cargo" | "deb");
        let Some(version) = purl.version().filter(|_| is_ours) else {
            return if is_ours { Verdict::Unknown("it has no version") } else { Verdict::Elsewhere };
        };
        match purl.ty() {
            // The URL's form is all lower case; modules' names are not.
            "golang" => Verdict::Known(Ecosystem::Go, self.name.clone(), version.to_owned()),
            "cargo" => Verdict::Known(Ecosystem::CratesIo, purl.name().to_owned(), version.to_owned()),
            _ => distribution(&purl, version),
        }
    }
}

/// Distributions' advisories are by release and by source package.
fn distribution(purl: &PackageUrl<'_>, version: &str) -> Verdict {
    let release = purl.qualifiers().get("distro").and_then(|distro| distro.split_once('-'));
    let ecosystem = match (purl.namespace(), release) {
        (Some("debian"), Some(("debian", release))) => Ecosystem::Debian(release.to_owned()),
        (Some("ubuntu"), Some(("ubuntu", release))) => Ecosystem::Ubuntu(release.to_owned()),
        (Some("debian" | "ubuntu"), _) => return Verdict::Unknown("it belongs to no release"),
        _ => return Verdict::Elsewhere,
    };
    let source = purl.qualifiers().get("upstream").map_or(purl.name(), AsRef::as_ref);
    let (name, version) = source.split_once('@').unwrap_or((source, version));
    Verdict::Known(ecosystem, name.to_owned(), version.to_owned())
}
