//! One Debian package: its version, and the programs of it that upstream's archive has.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use semver::Version;

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
#[derive(Debug)]
pub(super) struct Want {
    /// The catalog's name of it.
    pub(super) component: &'static str,
    /// Debian's name of the package.
    pub(super) package: &'static str,
    /// Folders of the package in which the programs may be.
    folders: &'static [&'static str],
    /// The names upstream archives; empty for everything in the folder.
    names: &'static [&'static str],
    /// Without these it is not what it says.
    needed: &'static [&'static str],
}

/// What the lab's container images are made of; no component of a bundle.
pub(super) const BUSYBOX: &str = "busybox";

pub(super) const WANTS: [Want; 4] = [
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
    Want {
        component: BUSYBOX,
        package: "busybox-static",
        folders: &["bin/", "usr/bin/"],
        names: &["busybox"],
        needed: &["busybox"],
    },
];

/// Unpacks what is wanted of the package `deb` into the new folder `to`.
pub(super) fn unpack(want: &Want, deb: &Path, to: &Path) -> Result<Unpacked> {
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

/// The version that the package gives itself.
pub(super) fn dpkg_version(deb: &Path) -> Result<String> {
    let output = Command::new("dpkg-deb").arg("--field").arg(deb).arg("Version").output().context("run dpkg-deb")?;
    ensure!(output.status.success(), "dpkg-deb could not read the package's version");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Upstream's number in a Debian version: `1:2.1.9+ds1-5` and `1.6.20~ds1-1+deb12u2` are 2.1.9 and 1.6.20, while
/// `2.2.0~rc1-1` is no release.
pub(super) fn upstream_version(debian: &str) -> Option<Version> {
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
