//! Debian's containerd, runc and CNI plugins: the newest build of each that runs on the bundle's target.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use flexnode_build::catalog::{Catalog, Pair};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::apt::{self, Source, Suite};
use super::cache::Cache;
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

/// What of a package goes into upstream's archive.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Sorted by name.
    pub(super) programs: Vec<Program>,
    /// Debian's account of the licences.
    pub(super) copyright: String,
}

/// A program out of a package.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name in upstream's archive.
    pub(super) name: String,
    /// Where it was unpacked.
    pub(super) path: PathBuf,
}

/// What is wanted of a package.
struct Want {
    component: &'static str,
    package: &'static str,
    /// Folders of the package in which the programs may be.
    folders: &'static [&'static str],
    /// The names upstream archives; empty for everything in the folder.
    names: &'static [&'static str],
    /// Without these it is not what it says.
    needed: &'static [&'static str],
}

const WANTS: [Want; 3] = [
    Want {
        component: "containerd",
        package: "containerd",
        folders: &["usr/bin/"],
        names: &["containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr"],
        needed: &["containerd", "containerd-shim-runc-v2", "ctr"],
    },
    Want {
        component: "runc",
        package: "runc",
        // Debian is merging the two folders; whichever holds the file and not a link is it.
        folders: &["usr/sbin/", "usr/bin/"],
        names: &["runc"],
        needed: &["runc"],
    },
    Want {
        component: "cni-plugins",
        package: "containernetworking-plugins",
        folders: &["usr/lib/cni/", "usr/libexec/cni/"],
        names: &[],
        needed: &["bandwidth", "bridge", "host-local", "loopback", "portmap"],
    },
];

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
    let Ok(packages) = serde_json::from_str::<Vec<Package>>(&text) else { return Ok(None) };
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

/// Unpacks the programs of a package that [`packages`] returned into `to`.
pub(super) fn programs(cache: &Cache, package: &Package, to: &Path) -> Result<Unpacked> {
    let want = WANTS.iter().find(|want| want.component == package.component);
    let want = want.with_context(|| format!("find out what is wanted of {}", package.package))?;
    let deb = cache.find(&package.sha256)?.with_context(|| format!("find {} in the cache", package.package))?;
    unpack(want, &deb, to)
}

fn unpack(want: &Want, deb: &Path, to: &Path) -> Result<Unpacked> {
    fs::create_dir(to).with_context(|| format!("create `{}`", to.display()))?;
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("run dpkg-deb")?;
    let stream = dpkg.stdout.take().context("read from dpkg-deb")?;
    let (mut programs, mut copyright) = (Vec::new(), String::new());
    let mut members = tar::Archive::new(stream);
    for member in members.entries().context("read the package")? {
        let mut member = member.context("read the package")?;
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let path = path.trim_start_matches("./");
        if path.strip_prefix("usr/share/doc/") == Some(&format!("{}/copyright", want.package)) {
            member.read_to_string(&mut copyright).context("read the package's licences")?;
            continue;
        }
        let name = want.folders.iter().find_map(|folder| path.strip_prefix(folder));
        let Some(name) = name.filter(|name| !name.contains('/') && !name.is_empty()) else { continue };
        if !member.header().entry_type().is_file() || !(want.names.is_empty() || want.names.contains(&name)) {
            continue;
        }
        let path = to.join(name);
        let mut file = File::create_new(&path).with_context(|| format!("create `{}`", path.display()))?;
        std::io::copy(&mut member, &mut file).with_context(|| format!("unpack {name}"))?;
        programs.push(Program { name: name.to_owned(), path });
    }
    // What follows the archive's end is read too, or dpkg-deb would die of a closed pipe.
    std::io::copy(&mut members.into_inner(), &mut std::io::sink()).context("read the package")?;
    let status = dpkg.wait().context("wait for dpkg-deb")?;
    ensure!(status.success(), "dpkg-deb could not unpack {}", want.package);
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    for needed in want.needed {
        ensure!(programs.iter().any(|program| program.name == *needed), "the package {} has no {needed}", want.package);
    }
    Ok(Unpacked { programs, copyright })
}

fn dpkg_version(deb: &Path) -> Result<String> {
    let output = Command::new("dpkg-deb").arg("--field").arg(deb).arg("Version").output().context("run dpkg-deb")?;
    ensure!(output.status.success(), "dpkg-deb could not read the package's version");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Upstream's number in a Debian version: `1:2.1.9+ds1-5` and `1.6.20~ds1-1+deb12u2` are 2.1.9 and 1.6.20, while
/// `2.2.0~rc1-1` is no release.
fn upstream_version(debian: &str) -> Option<Version> {
    let without_epoch = debian.split_once(':').map_or(debian, |(_, rest)| rest);
    let upstream = without_epoch.rsplit_once('-').map_or(without_epoch, |(upstream, _)| upstream);
    let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
    let (number, repacked) = upstream.split_at(end);
    let is_repack = ["", "+ds", "~ds", "+dfsg", "~dfsg"].iter().any(|mark| {
        repacked.strip_prefix(mark).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    });
    if is_repack { Version::parse(number).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_version_names_upstreams() {
        let cases = [
            ("2.1.9+ds1-5", Some("2.1.9")),
            ("1.6.20~ds1-1+deb12u3", Some("1.6.20")),
            ("1.1.5+ds1-1+deb12u1+b2", Some("1.1.5")),
            ("1:1.9.1-1", Some("1.9.1")),
            ("2.2.0~rc1+ds1-1", None),
            ("2.2.0+git20260101-1", None),
            ("2.2-1", None),
        ];
        for (debian, upstream) in cases {
            assert_eq!(upstream_version(debian), upstream.map(|v| Version::parse(v).unwrap()), "{debian}");
        }
    }
}
