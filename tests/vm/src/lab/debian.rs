//! Debian's containerd, runc and CNI plugins: the newest build of each that runs on the bundle's target.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flexnode_build::catalog::{Catalog, Pair};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::sbom::Purl;
use flexnode_build::stage::package::Control;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::apt::{self, Source, Suite};
use super::cache::Cache;
use super::deb::{Unpacked, WANTS, Want, dpkg_version, unpack, upstream_version};
use super::gate::refuse_what_does_not_load;

/// A Debian package that was found to fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The catalog's name of what it holds.
    pub component: String,
    /// Debian's name.
    pub package: String,
    /// The release that had it (`bookworm`).
    pub suite: String,
    /// Debian's version.
    pub debian_version: String,
    /// Upstream's version.
    pub version: Version,
    /// Digest of the package.
    pub sha256: Digest,
}

/// Newest first. The names of releases move on; these do not.
const SUITES: [&str; 4] = ["sid", "stable", "oldstable", "oldoldstable"];

/// What to take of Debian: what the cache holds from an earlier time, or (`afresh`, or when something of it is
/// missing) what the suites have now.
///
/// # Errors
/// No suite can be reached, or none has a build that fits.
pub(super) fn packages(cache: &Cache, catalog: &Catalog, kubernetes: &Version, afresh: bool) -> Result<Vec<Package>> {
    if !afresh && let Some(packages) = remembered(cache)? {
        return Ok(packages);
    }
    let packages = Search { cache, catalog, kubernetes, source: Source::of_system()?, suites: Vec::new() }.all()?;
    let text = serde_json::to_string_pretty(&packages).context("write down Debian's packages")?;
    let note = cache.note(NOTE);
    let partial = cache.note("debian.json.partial");
    fs::write(&partial, text).with_context(|| format!("write `{}`", partial.display()))?;
    fs::rename(&partial, &note).with_context(|| format!("write `{}`", note.display()))?;
    Ok(packages)
}

const NOTE: &str = "debian.json";

fn remembered(cache: &Cache) -> Result<Option<Vec<Package>>> {
    let Ok(text) = fs::read_to_string(cache.note(NOTE)) else { return Ok(None) };
    // A note that another version of this program wrote is no note.
    let Ok(mut packages) = serde_json::from_str::<Vec<Package>>(&text) else { return Ok(None) };
    packages.retain(|package| WANTS.iter().any(|want| want.component == package.component));
    for want in &WANTS {
        let Some(package) = packages.iter().find(|package| package.component == want.component) else {
            return Ok(None);
        };
        if cache.find(&package.sha256)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(packages))
}

/// One search through the suites; each is fetched once, when first needed.
struct Search<'a> {
    cache: &'a Cache,
    catalog: &'a Catalog,
    kubernetes: &'a Version,
    source: Source,
    suites: Vec<(String, Result<Suite, String>)>,
}

impl Search<'_> {
    fn all(mut self) -> Result<Vec<Package>> {
        WANTS.iter().map(|want| self.newest(want)).collect()
    }

    fn newest(&mut self, want: &Want) -> Result<Package> {
        let mut passed_over = Vec::new();
        let own = apt::codename();
        for suite in SUITES.iter().copied().chain([own.as_str()]) {
            match self.take(want, suite) {
                Ok(package) => {
                    eprintln!("lab: {} {} from Debian {}", want.package, package.debian_version, package.suite);
                    return Ok(package);
                }
                Err(why) => {
                    let why = format!("{suite}: {why:#}");
                    eprintln!("lab: {} passed over in {why}", want.package);
                    passed_over.push(why);
                }
            }
        }
        bail!(
            Failure::new(
                Class::Network,
                format!("no Debian suite has a {} that fits: {}", want.package, passed_over.join("; "))
            )
            .hint("see whether `apt-get update` works on this machine (network, proxy, sources, keyring)")
        )
    }

    /// The suite's build, if it is one that can be used.
    fn take(&mut self, want: &Want, suite: &str) -> Result<Package> {
        let scratch = self.cache.scratch()?;
        let to = scratch.path().join("deb");
        fs::create_dir(&to).context("create a folder for the package")?;
        let suite = self.suite(suite)?;
        let deb = suite.download(want.package, &to)?;
        let suite = suite.codename().to_owned();
        let debian_version = dpkg_version(&deb)?;
        let version = upstream_version(&debian_version)
            .with_context(|| format!("{debian_version} is no release of upstream's"))?;
        self.refuse_a_bad_pair(want.component, &version)?;
        for program in unpack(want, &deb, &scratch.path().join("programs"))?.programs {
            let name = format!("{} {debian_version}", program.name);
            refuse_what_does_not_load(&name, &program.path)?;
        }
        let file = File::open(&deb).context("open the package")?;
        let (sha256, _) = Digest::of_reader(file).context("read the package")?;
        self.cache.keep(&deb, &sha256)?;
        let [component, package] = [want.component, want.package].map(str::to_owned);
        Ok(Package { component, package, suite, debian_version, version, sha256 })
    }

    /// Floors set for security are no matter here: Debian patches without changing upstream's number.
    fn refuse_a_bad_pair(&self, component: &str, version: &Version) -> Result<()> {
        let pause_image = &self.catalog.compat.minor(self.kubernetes)?.defaults.pause_image;
        let pair = Pair { kubernetes: self.kubernetes, pause_image, component, version };
        match self.catalog.compat.broken_by(pair).find(|rule| !rule.security_floor) {
            Some(rule) => bail!("{component} {version} breaks {}: {}", rule.name, rule.why),
            None => Ok(()),
        }
    }

    fn suite(&mut self, name: &str) -> Result<&Suite> {
        let at = match self.suites.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                eprintln!("lab: reading the package lists of Debian {name} with apt");
                let suite = Suite::fetch(name, &self.source).map_err(|error| format!("{error:#}"));
                self.suites.push((name.to_owned(), suite));
                self.suites.len() - 1
            }
        };
        match &self.suites[at].1 {
            Ok(suite) => Ok(suite),
            Err(why) => bail!("{why}"),
        }
    }
}

/// What advisories call a package that [`packages`] returned.
pub(super) fn purl(cache: &Cache, package: &Package) -> Result<Purl> {
    let deb = cache.find(&package.sha256)?.with_context(|| format!("find {} in the cache", package.package))?;
    let control = Control::read(File::open(&deb).context("open the package")?)?;
    // Sid has no number: what is in it belongs to no release yet.
    let release = ["bullseye", "bookworm", "trixie", "forky"].iter().position(|name| *name == package.suite);
    let distro = release.map(|at| format!("debian-{}", 11 + at));
    Purl::of_debian_package(&control, "debian", distro.as_deref())
}

/// Unpacks the programs of a package that [`packages`] returned into `to`.
pub(super) fn programs(cache: &Cache, package: &Package, to: &Path) -> Result<Unpacked> {
    let want = WANTS.iter().find(|want| want.component == package.component);
    let want = want.with_context(|| format!("find out what is wanted of {}", package.package))?;
    let deb = cache.find(&package.sha256)?.with_context(|| format!("find {} in the cache", package.package))?;
    unpack(want, &deb, to)
}
