//! What a Debian package says of itself: deb-control(5), from its control archive.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use anyhow::{Result, bail};
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

use super::archive::{Bounded, refuse};
use super::deb;
use super::tar::{MemberKind, TarReader};
use crate::artifact::{Arch, Artifact};
use crate::failure::{Class, Failure};
use crate::overlay::Content;

/// More than any control file has.
const CONTROL_LIMIT: u64 = 1 << 20;

/// A control archive holds scripts, checksums and lists.
const ARCHIVE_LIMIT: u64 = 64 << 20;
const MEMBER_LIMIT: u64 = 1_000;

/// What the control archive tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `Package`
    pub name: String,
    /// `Version`
    pub version: String,
    /// `Architecture`: `all`, or dpkg's name of one.
    pub architecture: String,
    /// The source package it was built from, `Source`, and its version where that is another: `name@version`.
    pub source: Option<String>,
    /// `Maintainer`
    pub maintainer: Option<String>,
    /// What must be installed before it or with it, alternatives within: `Pre-Depends` and `Depends`, names alone.
    pub depends: Vec<Vec<String>>,
    /// What else it can be taken for: the names in `Provides`.
    pub provides: Vec<String>,
    /// The day on which it was written; none where its author left that out.
    pub built: Option<Date>,
}

impl Control {
    /// Reads a package up to the end of its control archive.
    ///
    /// # Errors
    /// A [`Failure`] of [`Class::Verification`] when it is not laid out as dpkg does it or names no package.
    pub fn read(deb: impl Read) -> Result<Self> {
        let mut control = None;
        let written = deb::read_control(BufReader::new(deb), |archive| {
            let mut archive = TarReader::new(Bounded::new(archive, ARCHIVE_LIMIT), MEMBER_LIMIT);
            while let Some(member) = archive.next_member()? {
                if matches!(member.name.as_slice(), b"control" | b"./control") && member.kind == MemberKind::File {
                    if member.size > CONTROL_LIMIT {
                        return Err(refuse(format!("its control file is {} bytes long", member.size)));
                    }
                    let mut text = Vec::new();
                    let mut part = [0; 4096];
                    loop {
                        match archive.read_content(&mut part)? {
                            0 => break,
                            n => text.extend_from_slice(&part[..n]),
                        }
                    }
                    control = Some(text);
                }
            }
            Ok(())
        })?;
        let control = control.ok_or_else(|| refuse("the package has no control file"))?;
        let mut package = Self::parse(&String::from_utf8_lossy(&control))?;
        let day = || Some(Offset::UTC.to_datetime(Timestamp::from_second(i64::try_from(written).ok()?).ok()?).date());
        package.built = if written == 0 { None } else { day() };
        Ok(package)
    }

    fn parse(control: &str) -> Result<Self> {
        let fields = fields(control);
        let field =
            |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let needed = |name: &str| match field(name) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(refuse(format!("the control file has no {name}"))),
        };
        let names = |list: Option<&str>| list.map(relations).unwrap_or_default();
        Ok(Self {
            name: needed("Package")?,
            version: needed("Version")?,
            architecture: needed("Architecture")?,
            source: field("Source").filter(|source| !source.is_empty()).map(source),
            maintainer: field("Maintainer").map(str::to_owned),
            depends: [names(field("Pre-Depends")), names(field("Depends"))].concat(),
            provides: names(field("Provides")).concat(),
            built: None,
        })
    }

    /// `debian` or `ubuntu`, if it is theirs, as maintainer and version tell.
    #[must_use]
    pub fn vendor(&self) -> Option<&'static str> {
        let maintainer = self.maintainer.as_deref().unwrap_or_default();
        if self.version.contains("ubuntu") || maintainer.contains("@lists.ubuntu.com") {
            return Some("ubuntu");
        }
        let is_debian = maintainer.contains("debian.org") || maintainer.starts_with("Debian ");
        is_debian.then_some("debian")
    }

    /// The warning for an Arc agent that Microsoft no longer supports on `today`: it does for one year after the release.
    #[must_use]
    pub fn age_warning(&self, today: Date) -> Option<String> {
        let built = self.built.filter(|_| self.name == "azcmagent")?;
        let is_old = built.checked_add(1.year()).is_ok_and(|end| end < today);
        is_old.then(|| {
            format!(
                "azcmagent {} was built on {built}: Microsoft supports a version of the Arc agent for one year after its release",
                self.version
            )
        })
    }
}

/// Refuses a package that is not what the lock says, or not for the nodes.
pub(super) fn check(artifact: &Artifact, blob: &Arc<File>, arch: Arch) -> Result<()> {
    let package = Control::read(Content::File(Arc::clone(blob)).reader())?;
    if (package.name.as_str(), package.version.as_str()) != (artifact.name.as_str(), artifact.version.as_str()) {
        bail!(
            Failure::new(Class::Verification, format!("it is the package {} {}", package.name, package.version))
                .hint("write the name and version that `dpkg-deb --info` shows")
        );
    }
    if package.architecture != "all" && package.architecture != arch.to_string() {
        bail!(
            Failure::new(
                Class::Verification,
                format!("it is a package for {}, the nodes are {arch}", package.architecture)
            )
            .hint(format!("name the package for {arch}, and its digest"))
        );
    }
    Ok(())
}

/// The fields of the first paragraph, continuation lines joined.
fn fields(text: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in text.trim_start_matches('\n').lines().take_while(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key, value.trim().to_owned()));
        }
    }
    fields
}

/// `name (version)` as `name@version`.
fn source(text: &str) -> String {
    let (name, version) = text.split_once('(').unwrap_or((text, ""));
    match (name.trim(), version.trim_end_matches(')').trim()) {
        (name, "") => name.to_owned(),
        (name, version) => format!("{name}@{version}"),
    }
}

/// `a (>= 1) | b, c:any [amd64]` without versions, architectures and qualifiers.
pub(crate) fn relations(list: &str) -> Vec<Vec<String>> {
    let name = |text: &str| text.trim().split([' ', '(', '[', ':', '<']).next().unwrap_or_default().to_owned();
    let groups = list.split(',').map(|group| group.split('|').map(name).filter(|name| !name.is_empty()).collect());
    groups.filter(|group: &Vec<String>| !group.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Package: azcmagent\nVersion: 1.61.03319.859\nArchitecture: amd64\nPre-Depends: dpkg (>= 1.15)\n\
                           Depends: systemd (>= 204), curl | wget:any,\n openssl\nProvides: arc (= 1)\n\
                           Description: the agent\n Depends: nothing\n";

    #[test]
    fn names_and_relations_are_read_as_dpkg_reads_them() {
        let package = Control::parse(CONTROL).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("azcmagent", "1.61.03319.859"));
        let depends: [&[&str]; 4] = [&["dpkg"], &["systemd"], &["curl", "wget"], &["openssl"]];
        assert_eq!(package.depends, depends);
        assert_eq!(package.provides, ["arc"]);
        assert_eq!((package.source.as_deref(), package.vendor()), (None, None));
        let debian = "Package: libc6\nVersion: 2.36-9+b1\nArchitecture: amd64\nSource: glibc (2.36-9)\n\
                      Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>\n";
        let package = Control::parse(debian).unwrap();
        assert_eq!((package.source.as_deref(), package.vendor()), (Some("glibc@2.36-9"), Some("debian")));
        let error = Control::parse("Package: x\nVersion:\n").unwrap_err();
        assert_eq!(error.to_string(), "the control file has no Version");
    }

    #[test]
    fn an_arc_agent_of_more_than_a_year_is_warned_of_and_nothing_else_is() {
        let built =
            |name: &str, built| Control { built, ..Control::parse(&CONTROL.replace("azcmagent", name)).unwrap() };
        let (today, day) = (jiff::civil::date(2026, 11, 25), jiff::civil::date);
        let warning = built("azcmagent", Some(day(2025, 11, 24))).age_warning(today).unwrap();
        assert!(warning.starts_with("azcmagent 1.61.03319.859 was built on 2025-11-24: "), "{warning}");
        assert_eq!(built("azcmagent", Some(day(2025, 11, 25))).age_warning(today), None);
        assert_eq!(built("azcmagent", None).age_warning(today), None);
        assert_eq!(built("conntrack", Some(day(2020, 1, 1))).age_warning(today), None);
    }
}
