//! One component of the catalog: where it is published, what of it is installed, and its releases.

use anyhow::{Result, bail};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::artifact::{Arch, Artifact, Install, Kind, Ownership, Proof};
use crate::digest::Digest;
use crate::document;
use crate::failure::{Class, Failure};
use crate::overlay::{Mode, OverlayPath};
use crate::request::Wanted;
use crate::sbom::Purl;

/// The format of component files that this program reads.
const FORMAT: u32 = 1;

/// A component file, as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    format: u32,
    /// Its name, which is also the file's.
    pub name: String,
    /// The upstream project.
    pub project: String,
    /// SPDX licence expression.
    pub license: String,
    url: String,
    kind: Kind,
    /// `kubernetes`: released with Kubernetes and versioned like it.
    #[serde(default)]
    follows: Option<Follows>,
    /// Only in a bundle when asked for.
    #[serde(default)]
    pub optional: bool,
    /// The component whose place it takes.
    #[serde(default)]
    pub replaces: Option<String>,
    #[serde(default)]
    ownership: Ownership,
    install: Vec<Member>,
    /// What was released, oldest first.
    pub releases: Vec<Release>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Follows {
    Kubernetes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Member {
    #[serde(default)]
    member: Option<String>,
    path: OverlayPath,
    #[serde(default)]
    mode: Option<Mode>,
    /// The first version that has it.
    #[serde(default)]
    since: Option<Version>,
}

/// One release of a component.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// When upstream released it, where known.
    #[serde(default)]
    pub released: Option<jiff::civil::Date>,
    /// What is worth knowing about it.
    #[serde(default)]
    pub note: Option<String>,
    /// What advisories call it, where the URL does not tell: Debian's build, for example.
    #[serde(default)]
    pub purl: Option<Purl>,
    /// A test program in the place of the real one.
    #[serde(default)]
    pub stand_in: bool,
    /// Overrides the component's.
    #[serde(default)]
    ownership: Option<Ownership>,
    #[serde(default)]
    amd64: Option<Pin>,
    #[serde(default)]
    arm64: Option<Pin>,
}

/// What one architecture's artifact must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// Its digest.
    pub sha256: Digest,
    /// Its length, where known.
    #[serde(default)]
    pub size: Option<u64>,
    /// Who else pins this digest.
    pub pinned_by: Vec<String>,
}

impl Release {
    /// What the artifact for `arch` must be, if there is one.
    #[must_use]
    pub fn pin(&self, arch: Arch) -> Option<&Pin> {
        match arch {
            Arch::Amd64 => self.amd64.as_ref(),
            Arch::Arm64 => self.arm64.as_ref(),
        }
    }

    /// All pins of the release.
    pub fn pins(&self) -> impl Iterator<Item = (Arch, &Pin)> {
        [Arch::Amd64, Arch::Arm64].into_iter().filter_map(|arch| Some((arch, self.pin(arch)?)))
    }
}

impl Component {
    pub(super) fn parse(text: &str, file: &str) -> Result<Self> {
        let mut component: Self = document::parse_yaml(text, file, super::HELP)?;
        if component.format != FORMAT {
            bail!(
                Failure::new(
                    Class::Usage,
                    format!("{file} has format {}, this program reads {FORMAT}", component.format)
                )
                .hint("use the flexnode-build that belongs to the catalog")
            );
        }
        component.releases.sort_by(|a, b| a.version.cmp(&b.version));
        if let Some(twice) = component.releases.windows(2).find(|pair| pair[0].version == pair[1].version) {
            bail!(
                Failure::new(Class::Usage, format!("{file} lists {} twice", twice[0].version))
                    .hint("a digest that changed is an alarm, not a second entry: keep the first and say so in `note`")
            );
        }
        Ok(component)
    }

    /// Whether it is released with Kubernetes and versioned like it.
    #[must_use]
    pub fn follows_kubernetes(&self) -> bool {
        self.follows == Some(Follows::Kubernetes)
    }

    /// Where `version` is published for `arch`.
    #[must_use]
    pub fn url(&self, version: &Version, arch: Arch) -> String {
        self.url.replace("{version}", &version.to_string()).replace("{arch}", &arch.to_string())
    }

    /// Releases for `arch`, newest first.
    pub fn newest_first(&self, arch: Arch) -> impl Iterator<Item = &Release> {
        self.releases.iter().rev().filter(move |release| release.pin(arch).is_some())
    }

    /// The newest release for `arch` that `wanted` matches.
    ///
    /// # Errors
    /// Names the releases nearest to what was wanted.
    pub fn newest(&self, wanted: &Wanted, arch: Arch) -> Result<&Release> {
        if let Some(release) = self.newest_first(arch).find(|release| wanted.matches(&release.version)) {
            return Ok(release);
        }
        let other_arch = self.releases.iter().rev().find(|release| wanted.matches(&release.version));
        let message = match other_arch {
            Some(release) => format!("{} {} has no {arch} artifact in the catalog", self.name, release.version),
            None => format!("the catalog has no {} {wanted}", self.name),
        };
        bail!(Failure::new(Class::Resolution, message).hint(format!(
            "nearest: {}; `flexnode-build catalog {}` lists all",
            self.nearest(wanted.range(), arch).join(", "),
            self.name
        )))
    }

    /// Up to three releases nearest to what was wanted.
    fn nearest(&self, wanted: &VersionReq, arch: Arch) -> Vec<String> {
        let target = wanted.comparators.first();
        let off = |wanted: Option<u64>, has: u64| wanted.map_or(0, |wanted| wanted.abs_diff(has));
        let distance = |v: &Version| {
            let parts = [
                (target.map(|c| c.major), v.major),
                (target.and_then(|c| c.minor), v.minor),
                (target.and_then(|c| c.patch), v.patch),
            ];
            parts.map(|(wanted, has)| off(wanted, has))
        };
        let mut releases: Vec<&Version> = self.newest_first(arch).map(|release| &release.version).collect();
        releases.sort_by_key(|version| distance(version));
        releases.into_iter().take(3).map(Version::to_string).collect()
    }

    /// `release` as the lock pins it.
    #[must_use]
    pub fn artifact(&self, release: &Release, arch: Arch) -> Option<Artifact> {
        let pin = release.pin(arch)?;
        let install =
            self.install.iter().filter(|member| member.since.as_ref().is_none_or(|since| *since <= release.version));
        Some(Artifact {
            name: self.name.clone(),
            version: release.version.to_string(),
            url: self.url(&release.version, arch),
            size: pin.size,
            sha256: pin.sha256,
            license: self.license.clone(),
            proof: Proof::Pinned { by: pin.pinned_by.clone() },
            purl: release.purl.clone(),
            stand_in: release.stand_in,
            kind: self.kind,
            ownership: release.ownership.unwrap_or(self.ownership),
            install: install
                .map(|member| Install {
                    member: member.member.clone(),
                    path: member.path.clone(),
                    mode: member.mode.unwrap_or(Mode::EXECUTABLE),
                })
                .collect(),
        })
    }
}
