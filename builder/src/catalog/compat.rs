//! Which versions belong together by default, and the rules that name a bad pair.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use jiff::civil::Date;
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::document;
use crate::failure::{Class, Failure};

const FORMAT: u32 = 1;

/// Pairings and rules.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compat {
    format: u32,
    /// Kubernetes minors by name (`"1.30"`).
    pub minors: BTreeMap<String, Minor>,
    /// What must not be paired.
    pub rules: Vec<Rule>,
}

/// One Kubernetes minor.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Minor {
    /// First release.
    pub released: Date,
    /// Last day of upstream support.
    pub end_of_life: Date,
    /// What goes with it when nothing else is asked for.
    pub defaults: Defaults,
}

/// A minor's default companions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Defaults {
    /// containerd
    pub containerd: Version,
    /// runc
    pub runc: Version,
    /// CNI plugins
    pub cni_plugins: Version,
    /// crictl
    pub crictl: Version,
    /// The sandbox image, by tag and digest.
    #[serde(rename = "pauseImage")]
    pub pause_image: String,
}

/// A pair that must not be, by name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// What `--allow` calls it.
    pub name: String,
    /// The component it is about.
    pub component: String,
    /// What goes wrong.
    pub why: String,
    /// What to do instead.
    pub cure: String,
    /// Where that is known from.
    pub source: String,
    /// About versions with known vulnerabilities; a distribution that patches under old numbers may leave it out.
    #[serde(default)]
    pub security_floor: bool,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    #[serde(default)]
    kubernetes: Option<VersionReq>,
    #[serde(default)]
    pause_image: Option<ImageForm>,
    versions: Vec<VersionReq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ImageForm {
    TagAndDigest,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The Kubernetes version.
    pub kubernetes: &'a Version,
    /// The sandbox image reference.
    pub pause_image: &'a str,
    /// The component.
    pub component: &'a str,
    /// Its version.
    pub version: &'a Version,
}

impl Compat {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let compat: Self = document::parse_yaml(text, super::COMPAT, super::HELP)?;
        if compat.format != FORMAT {
            bail!(
                Failure::new(
                    Class::Usage,
                    format!("{} has format {}, this program reads {FORMAT}", super::COMPAT, compat.format)
                )
                .hint("use the flexnode-build that belongs to the catalog")
            );
        }
        Ok(compat)
    }

    /// The minor of a Kubernetes version.
    ///
    /// # Errors
    /// When the catalog pairs nothing with that minor.
    pub fn minor(&self, kubernetes: &Version) -> Result<&Minor> {
        let name = format!("{}.{}", kubernetes.major, kubernetes.minor);
        self.minors.get(&name).with_context(|| {
            Failure::new(Class::Resolution, format!("the catalog pairs nothing with Kubernetes {name}"))
                .hint(format!("add it to {} under `minors`", super::COMPAT))
        })
    }

    /// The rules that a pair breaks.
    pub fn broken_by<'a>(&'a self, pair: Pair<'a>) -> impl Iterator<Item = &'a Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.component == pair.component && rule.cases.iter().any(|c| c.holds(pair)))
    }
}

impl Case {
    fn holds(&self, pair: Pair<'_>) -> bool {
        self.kubernetes.as_ref().is_none_or(|wanted| wanted.matches(pair.kubernetes))
            && self.pause_image.is_none_or(|form| form.is_form_of(pair.pause_image))
            && self.versions.iter().any(|bad| bad.matches(pair.version))
    }
}

impl ImageForm {
    fn is_form_of(self, image: &str) -> bool {
        match self {
            Self::TagAndDigest => {
                image.split_once('@').is_some_and(|(name, _)| name.rsplit('/').next().unwrap_or(name).contains(':'))
            }
        }
    }
}
